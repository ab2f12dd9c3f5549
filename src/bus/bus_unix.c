/* bus_unix - endpoints that meet at a switch. See bus_unix.h.
 *
 *   AWAY --connected, HELLO--> JOINING --WELCOME--> JOINED --held up, HELLO--> JOINING
 *    ^                            |                   |
 *    +--- the connection ends ----+-------------------+      (again every RECONNECT_MS)
 *
 * AWAY has no link; JOINED is `joined`. What is read in JOINING is of the life before: deliveries
 * have bounced, bounces still count. */
#include "bus/bus_unix.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/map.h"
#include "base/mem.h"
#include "bus/bus_door.h"
#include "bus/bus_link.h"
#include "bus/bus_transport.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>

enum {
    SUBSCRIPTIONS_MAX = 65536,
    CONTROLS_MAX = SUBSCRIPTIONS_MAX + 1024, /* that wait to leave */
    LINGER_MS = 1000,
    RECONNECT_MS = 20,
    BATCH = 64, /* kept messages handled in a turn */
};

struct bus_unix {
    struct sockaddr_un address;
    struct id generation;
    atomic_uint endpoints_opened, endpoints_open;
};

/* A message of the switch that came while somebody waited for an answer: kept for the loop. */
struct arrived {
    struct list link;
    struct parcel *parcel;
    struct envelope envelope; /* points into parcel */
    struct slice frame;
};

struct endpoint {
    struct bus bus;
    struct bus_unix *bus_unix;
    struct bus_link *link; /* NULL: AWAY */
    bool joined;
    uint64_t lives; /* how often it joined */
    struct map *subscriptions;
    uint64_t last_id, last_token;
    uint64_t handled; /* the last delivery or bounce of this life */
    size_t unacked_bytes, lazy_bytes;
    bool ack_is_due;
    size_t unsettled_bytes, unsettled_max;
    uint64_t dead_us, beat_us; /* the last beat */
    uint64_t retry_us;         /* AWAY: not before */
    struct deadline beat;
    struct list arrived; /* struct arrived.link; bounded by the switch's cap */
    struct deferred handle_arrived;
    /* What an exchange waits for: this kind with this number. */
    bool is_waiting;
    enum envelope_kind awaited_kind;
    uint64_t awaited_number;
    bool answered;
    enum err answer;
    struct free_later free_later;
};

struct unix_subscription {
    struct bus_subscription base;
    uint64_t id;
    size_t subject_bytes, group_bytes;
    char subject[BUS_SUBJECT_MAX_BYTES], group[BUS_SUBJECT_MAX_BYTES]; /* to subscribe again */
};

static struct endpoint *endpoint_of(struct bus *bus)
{
    return CONTAINER_OF(bus, struct endpoint, bus);
}

/* --- control messages to the switch --- */

static void say_number(struct endpoint *endpoint, enum envelope_kind kind, uint64_t number)
{
    const struct envelope envelope = {.kind = kind, .number = number};
    if (endpoint->link)
        bus_link_say(endpoint->link, &envelope);
}

/* Early: before what was said because of what is acknowledged. */
static void acknowledge(struct endpoint *endpoint)
{
    const struct envelope ack = {.kind = ENVELOPE_ACK, .number = endpoint->handled};
    if (endpoint->ack_is_due && endpoint->joined)
        bus_link_say_early(endpoint->link, &ack);
    endpoint->ack_is_due = false;
    endpoint->unacked_bytes = 0;
}

/* And acknowledges all before. */
static void reject(struct endpoint *endpoint, uint64_t number)
{
    const struct envelope rejected = {.kind = ENVELOPE_REJECT, .number = number};
    bus_link_say_early(endpoint->link, &rejected);
    endpoint->ack_is_due = false;
    endpoint->unacked_bytes = 0;
}

static void say_subscribe(struct endpoint *endpoint, const struct unix_subscription *subscription)
{
    const struct envelope envelope = {
        .kind = ENVELOPE_SUBSCRIBE,
        .number = subscription->id,
        .subject = slice_of(subscription->subject, subscription->subject_bytes),
        .reply = slice_of(subscription->group, subscription->group_bytes)};
    bus_link_say(endpoint->link, &envelope);
}

/* --- joining and leaving --- */

static void on_ready(void *owner);

static void before_send(void *owner)
{
    acknowledge(owner);
}

static const struct link_events events = {.on_ready = on_ready, .before_send = before_send};

static void say_hello(struct endpoint *endpoint)
{
    say_number(endpoint, ENVELOPE_HELLO, ++endpoint->last_token);
    if (endpoint->awaited_kind == ENVELOPE_WELCOME)
        endpoint->awaited_number = endpoint->last_token;
}

/* ERR_AGAIN: nobody there, or it is too early to try. */
static enum err join(struct endpoint *endpoint)
{
    uint64_t now_us = clock_monotonic_us();
    if (now_us < endpoint->retry_us)
        return ERR_AGAIN;
    endpoint->retry_us = now_us + RECONNECT_MS * 1000;
    TRY(bus_link_connect(endpoint->bus.loop, &endpoint->bus_unix->address, &events, endpoint,
                         &endpoint->link));
    say_hello(endpoint);
    return ERR_OK;
}

static void arrived_free(struct arrived *arrived)
{
    list_remove(&arrived->link);
    parcel_unref(arrived->parcel);
    mem_free(arrived);
}

/* A bounce is told to nobody else; nobody counts it any more. */
static void belongs_to_an_earlier_life(struct envelope *bounce)
{
    bounce->number = bounce->value = 0;
}

/* What was delivered in an earlier life has bounced. */
static void drop_arrived(struct endpoint *endpoint, bool bounces_too)
{
    LIST_FOREACH_SAFE (link, &endpoint->arrived) {
        struct arrived *arrived = CONTAINER_OF(link, struct arrived, link);
        if (bounces_too || arrived->envelope.kind != ENVELOPE_BOUNCE)
            arrived_free(arrived);
        else
            belongs_to_an_earlier_life(&arrived->envelope);
    }
}

static void end_life(struct endpoint *endpoint)
{
    endpoint->joined = false;
    endpoint->handled = 0;
    endpoint->ack_is_due = false;
    endpoint->unacked_bytes = 0;
    endpoint->unsettled_bytes = 0;
    drop_arrived(endpoint, false);
}

static void lose_link(struct endpoint *endpoint)
{
    end_life(endpoint);
    bus_link_close(&endpoint->link);
    endpoint->retry_us = clock_monotonic_us() + RECONNECT_MS * 1000;
    deadline_after(&endpoint->beat, RECONNECT_MS * 1000);
}

/* Who stood still so long has been taken for dead, or is about to be: what lies in the socket does
 * not count. A tenth earlier than the switch, which may have heard our last beat a little later. */
static void check_held_up(struct endpoint *endpoint)
{
    if (!endpoint->joined ||
        clock_monotonic_us() - endpoint->beat_us < endpoint->dead_us - endpoint->dead_us / 10)
        return;
    end_life(endpoint);
    say_hello(endpoint);
}

/* What waits to leave says as well that we live. */
static void beat(struct endpoint *endpoint)
{
    check_held_up(endpoint);
    if (endpoint->joined && bus_link_is_idle(endpoint->link))
        say_number(endpoint, ENVELOPE_PING, 0);
    endpoint->beat_us = clock_monotonic_us();
}

/* Without a switch, or a descriptor, it is tried again, and again. */
static void on_beat(void *ctx)
{
    struct endpoint *endpoint = ctx;
    if (endpoint->link)
        beat(endpoint);
    else
        (void)join(endpoint);
    if (endpoint->link)
        deadline_round(&endpoint->beat, bus_beat_us(endpoint->dead_us));
    else
        deadline_after(&endpoint->beat, RECONNECT_MS * 1000);
}

static bool welcome_is_sane(const struct envelope *welcome)
{
    return welcome->value > BUS_OVERHEAD_MAX && welcome->value <= SIZE_MAX / 64 &&
           welcome->extra > 0 && welcome->extra <= UINT32_MAX;
}

static void on_welcome(struct endpoint *endpoint, const struct envelope *welcome)
{
    if (welcome->number != endpoint->last_token || endpoint->joined || welcome->why != ERR_OK ||
        !welcome_is_sane(welcome))
        return;
    size_t cap = (size_t)welcome->value, frame_max = cap - BUS_OVERHEAD_MAX;
    endpoint->joined = true;
    endpoint->lives++;
    endpoint->dead_us = welcome->extra * 1000;
    endpoint->beat_us = clock_monotonic_us();
    endpoint->unsettled_max = BUS_OUT_WINDOWS * cap;
    endpoint->lazy_bytes = cap / 4 < BUS_LAZY_BYTES ? cap / 4 : BUS_LAZY_BYTES;
    endpoint->bus.frame_max_bytes =
        frame_max < BUS_FRAME_MAX_BYTES ? frame_max : BUS_FRAME_MAX_BYTES;
    size_t cursor = 0;
    void *subscription;
    for (uint64_t id; map_next(endpoint->subscriptions, &cursor, &id, &subscription);)
        say_subscribe(endpoint, subscription);
    deadline_round(&endpoint->beat, bus_beat_us(endpoint->dead_us));
}

/* --- receiving --- */

static void on_settled(struct endpoint *endpoint, uint64_t bytes)
{
    endpoint->unsettled_bytes -=
        bytes < endpoint->unsettled_bytes ? (size_t)bytes : endpoint->unsettled_bytes;
}

/* Everything but deliveries and bounces. */
static void on_control(struct endpoint *endpoint, const struct envelope *envelope)
{
    if (envelope->kind == ENVELOPE_WELCOME)
        on_welcome(endpoint, envelope);
    else if (envelope->kind == ENVELOPE_SETTLED && endpoint->joined)
        on_settled(endpoint, envelope->value);
    if (envelope->kind == endpoint->awaited_kind && envelope->number == endpoint->awaited_number) {
        endpoint->answered = true;
        endpoint->answer = envelope->why;
    }
}

static void on_delivery(struct endpoint *endpoint, const struct envelope *envelope,
                        const struct bus_message *message)
{
    struct unix_subscription *subscription = map_get(endpoint->subscriptions, envelope->value);
    if (subscription)
        bus_deliver(&subscription->base, message);
    else
        reject(endpoint, envelope->number);
}

/* The callbacks may unsubscribe, publish, or close the endpoint, whose memory stays until the turn
 * ends. It counts as handled from here on: if it is closed meanwhile, it was delivered. */
static void handle(struct endpoint *endpoint, const struct envelope *envelope, struct slice frame)
{
    const struct bus_message message = {envelope->subject, envelope->reply, frame};
    if (envelope->number) {
        endpoint->handled = envelope->number;
        endpoint->unacked_bytes += bus_cost(envelope, frame.len);
        endpoint->ack_is_due = true;
    }
    if (envelope->kind == ENVELOPE_BOUNCE) {
        on_settled(endpoint, envelope->value);
        bus_bounce(&endpoint->bus, &message, envelope->why);
    } else if (envelope->kind == ENVELOPE_DELIVER) {
        on_delivery(endpoint, envelope, &message);
    }
}

/* Without memory for it this life ends. */
static void keep(struct endpoint *endpoint, const struct envelope *envelope,
                 const struct framed *framed)
{
    struct parcel *parcel = framed_keep(framed);
    if (!parcel) {
        lose_link(endpoint);
        return;
    }
    struct arrived *arrived = mem_alloc(sizeof(*arrived));
    arrived->parcel = parcel;
    enum err err = envelope_decode_front(slice_of(parcel->bytes, parcel->len), &arrived->envelope,
                                         &arrived->frame);
    ASSERT(err == ERR_OK); /* it was decoded when it came */
    arrived->envelope.number = envelope->number;
    arrived->envelope.value = envelope->value;
    list_push_back(&endpoint->arrived, &arrived->link);
    loop_defer(endpoint->bus.loop, &endpoint->handle_arrived);
}

/* Where it lies, unless somebody waits for an answer, or others have to be handled before it. */
static bool on_message(void *ctx, const struct framed *framed)
{
    struct endpoint *endpoint = ctx;
    struct bus_link *link = endpoint->link;
    struct envelope envelope = framed->envelope;
    if (!envelope_has_frame(envelope.kind)) {
        on_control(endpoint, &envelope);
        return true;
    }
    if (!endpoint->joined && envelope.kind != ENVELOPE_BOUNCE)
        return true;
    if (!endpoint->joined)
        belongs_to_an_earlier_life(&envelope);
    if (endpoint->is_waiting || !list_is_empty(&endpoint->arrived))
        keep(endpoint, &envelope, framed);
    else
        handle(endpoint, &envelope, framed->frame);
    return endpoint->link == link;
}

static enum err receive(struct endpoint *endpoint)
{
    struct bus_link *link = endpoint->link;
    enum err err = bus_link_read(link, on_message, endpoint);
    if (err != ERR_OK && err != ERR_AGAIN && endpoint->link == link)
        lose_link(endpoint);
    return err;
}

static void acknowledge_much(struct endpoint *endpoint)
{
    if (endpoint->unacked_bytes >= endpoint->lazy_bytes)
        acknowledge(endpoint);
}

static void on_handle_arrived(void *ctx)
{
    struct endpoint *endpoint = ctx;
    check_held_up(endpoint);
    for (int i = 0; i < BATCH && !list_is_empty(&endpoint->arrived); i++) {
        struct arrived *arrived = CONTAINER_OF(endpoint->arrived.next, struct arrived, link);
        list_remove(&arrived->link);
        handle(endpoint, &arrived->envelope, arrived->frame);
        arrived_free(arrived);
    }
    acknowledge_much(endpoint);
    if (!list_is_empty(&endpoint->arrived))
        loop_defer(endpoint->bus.loop, &endpoint->handle_arrived);
}

static void on_ready(void *owner)
{
    struct endpoint *endpoint = owner;
    check_held_up(endpoint);
    if (!list_is_empty(&endpoint->arrived))
        return; /* they are handled in this turn; the socket is ready in the next one too */
    (void)receive(endpoint); /* whatever it was is dealt with */
    acknowledge_much(endpoint);
}

/* --- exchanges: ask the switch, and wait for its answer --- */

static void sleep_ms(uint64_t ms)
{
    (void)poll(NULL, 0, (int)ms); /* a signal: the caller looks at its clock */
}

/* Takes what is there, or sleeps until something is. False: too late. */
static bool step(struct endpoint *endpoint, uint64_t deadline_us)
{
    uint64_t now_us = clock_monotonic_us(), beat_us = bus_beat_us(endpoint->dead_us);
    if (now_us >= deadline_us)
        return false;
    uint64_t left_us = deadline_us - now_us;
    if (!endpoint->link && join(endpoint) != ERR_OK) {
        sleep_ms(left_us < RECONNECT_MS * 1000 ? left_us / 1000 + 1 : RECONNECT_MS);
        return true;
    }
    if (endpoint->joined && now_us - endpoint->beat_us >= beat_us)
        beat(endpoint);
    if (receive(endpoint) == ERR_AGAIN)
        bus_link_wait(endpoint->link, (left_us < beat_us ? left_us : beat_us) / 1000 + 1);
    return true;
}

/* Asks again if the endpoint had to join anew meanwhile. */
static void ask_until(struct endpoint *endpoint, const struct envelope *request,
                      uint64_t deadline_us)
{
    uint64_t asked_in_life = 0;
    do {
        if (request && endpoint->joined && endpoint->lives != asked_in_life) {
            asked_in_life = endpoint->lives;
            bus_link_say(endpoint->link, request);
        }
    } while (!endpoint->answered && step(endpoint, deadline_us));
}

/* `request` NULL: what is awaited was asked for by joining. */
static enum err exchange(struct endpoint *endpoint, const struct envelope *request,
                         enum envelope_kind answer_kind, uint64_t number)
{
    endpoint->is_waiting = true;
    endpoint->awaited_kind = answer_kind;
    endpoint->awaited_number = number;
    endpoint->answered = false;
    ask_until(endpoint, request, clock_monotonic_us() + endpoint->dead_us);
    endpoint->awaited_kind = 0;
    endpoint->is_waiting = false;
    return endpoint->answered ? endpoint->answer : ERR_TIMEOUT;
}

enum err bus_unix_sync(struct bus *bus)
{
    struct endpoint *endpoint = endpoint_of(bus);
    const struct envelope ping = {.kind = ENVELOPE_PING, .number = ++endpoint->last_token};
    check_held_up(endpoint);
    return exchange(endpoint, &ping, ENVELOPE_PONG, ping.number);
}

/* --- what bus.c calls --- */

static enum err publish(struct bus *bus, struct slice subject, struct slice reply,
                        struct slice frame)
{
    struct endpoint *endpoint = endpoint_of(bus);
    const struct envelope envelope = {.kind = ENVELOPE_PUBLISH, .subject = subject, .reply = reply};
    size_t cost = bus_cost(&envelope, frame.len);
    if (!endpoint->joined || cost > endpoint->unsettled_max - endpoint->unsettled_bytes)
        return ERR_FULL;
    struct piece *piece = piece_new(&envelope, frame);
    if (!piece)
        return ERR_LIMIT;
    endpoint->unsettled_bytes += cost;
    bus_link_push(endpoint->link, piece);
    return ERR_OK;
}

static void keep_name(struct slice name, char *out_bytes, size_t *out_len)
{
    if (name.len)
        memcpy(out_bytes, name.data, name.len);
    *out_len = name.len;
}

static void unsubscribe(struct bus_subscription *base)
{
    struct unix_subscription *subscription = CONTAINER_OF(base, struct unix_subscription, base);
    struct endpoint *endpoint = endpoint_of(base->bus);
    (void)map_remove(endpoint->subscriptions, subscription->id); /* it is there */
    if (endpoint->joined)
        say_number(endpoint, ENVELOPE_UNSUBSCRIBE, subscription->id);
    mem_free(subscription);
}

static bool is_full(const struct endpoint *endpoint)
{
    return map_count(endpoint->subscriptions) == SUBSCRIPTIONS_MAX ||
           (endpoint->link && bus_link_said(endpoint->link) >= CONTROLS_MAX);
}

static enum err subscribe(struct bus *bus, struct slice subject, struct slice group,
                          struct bus_subscription **out_subscription)
{
    struct endpoint *endpoint = endpoint_of(bus);
    if (is_full(endpoint))
        return ERR_FULL;
    struct unix_subscription *subscription = mem_alloc(sizeof(*subscription));
    subscription->id = ++endpoint->last_id;
    keep_name(subject, subscription->subject, &subscription->subject_bytes);
    keep_name(group, subscription->group, &subscription->group_bytes);
    const struct envelope request = {
        .kind = ENVELOPE_SUBSCRIBE, .number = subscription->id, .subject = subject, .reply = group};
    check_held_up(endpoint);
    enum err err = exchange(endpoint, &request, ENVELOPE_CONFIRM, request.number);
    if (err == ERR_OK)
        err = map_put(endpoint->subscriptions, subscription->id, subscription);
    if (err != ERR_OK) {
        if (endpoint->joined)
            say_number(endpoint, ENVELOPE_UNSUBSCRIBE, subscription->id);
        mem_free(subscription);
        return err;
    }
    *out_subscription = &subscription->base;
    return ERR_OK;
}

/* --- life --- */

static void release(void *pointer)
{
    struct endpoint *endpoint = pointer;
    map_free(endpoint->subscriptions);
    mem_free(endpoint);
}

/* The switch bounces what it had passed on and not seen handled. */
static void close_endpoint(struct bus *bus)
{
    struct endpoint *endpoint = endpoint_of(bus);
    endpoint->ack_is_due = false; /* CLOSE says it */
    if (endpoint->joined) {
        say_number(endpoint, ENVELOPE_CLOSE, endpoint->handled);
        bus_link_drain(endpoint->link, LINGER_MS);
    }
    bus_link_close(&endpoint->link);
    endpoint->joined = false;
    drop_arrived(endpoint, true);
    deferred_cancel(&endpoint->handle_arrived);
    deadline_clear(&endpoint->beat);
    atomic_fetch_sub(&endpoint->bus_unix->endpoints_open, 1);
    loop_free_later(bus->loop, &endpoint->free_later, release, endpoint);
}

static const struct bus_ops ops = {publish, subscribe, unsubscribe, close_endpoint};

static struct endpoint *make(struct bus_unix *bus_unix, struct loop *loop, uint32_t wait_ms)
{
    struct endpoint *endpoint = mem_alloc(sizeof(*endpoint));
    char generation[ID_TEXT_BYTES + 1], inbox[ID_TEXT_BYTES + 32];
    id_format(bus_unix->generation, generation);
    unsigned number = atomic_fetch_add(&bus_unix->endpoints_opened, 1) + 1;
    snprintf(inbox, sizeof(inbox), "inbox.%s.%u", generation, number);
    bus_init(&endpoint->bus, &ops, loop, slice_str(inbox), 0);
    endpoint->bus_unix = bus_unix;
    endpoint->subscriptions = map_new(SUBSCRIPTIONS_MAX);
    endpoint->dead_us = (uint64_t)wait_ms * 1000; /* until the switch has told its own */
    list_init(&endpoint->arrived);
    deferred_init(&endpoint->handle_arrived, on_handle_arrived, endpoint);
    deadline_init(&endpoint->beat, loop, on_beat, endpoint);
    atomic_fetch_add(&bus_unix->endpoints_open, 1);
    return endpoint;
}

enum err bus_unix_open(struct bus_unix *bus_unix, struct loop *loop, uint32_t wait_ms,
                       struct bus **out_bus)
{
    struct endpoint *endpoint = make(bus_unix, loop, wait_ms);
    enum err err = join(endpoint);
    if (err != ERR_SYSTEM)
        err = exchange(endpoint, NULL, ENVELOPE_WELCOME, endpoint->last_token);
    if (err == ERR_OK && !endpoint->joined)
        err = ERR_PROTOCOL; /* what it said about itself makes no sense */
    struct bus *bus = &endpoint->bus;
    if (err != ERR_OK)
        bus_close(&bus);
    else
        *out_bus = bus;
    return err;
}

enum err bus_unix_new(const char *directory, struct bus_unix **out_bus_unix)
{
    struct sockaddr_un address;
    TRY(bus_door_address(directory, &address));
    struct bus_unix *bus_unix = mem_alloc(sizeof(*bus_unix));
    bus_unix->address = address;
    bus_unix->generation = id_new();
    *out_bus_unix = bus_unix;
    return ERR_OK;
}

void bus_unix_free(struct bus_unix *bus_unix)
{
    if (!bus_unix)
        return;
    ASSERT_MSG(atomic_load(&bus_unix->endpoints_open) == 0, "%u endpoints are still open",
               atomic_load(&bus_unix->endpoints_open));
    mem_free(bus_unix);
}
