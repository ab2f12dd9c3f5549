/* bus_zmq - endpoints that meet at a switch. See bus_zmq.h.
 *
 *   JOINING --WELCOME--> JOINED --GONE, silence--> JOINING (a new socket, the old one unread)
 *
 * The new socket is what keeps old deliveries away: the switch has bounced them. */
#include "bus/bus_zmq.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/map.h"
#include "base/mem.h"
#include "bus/bus_transport.h"
#include "bus/bus_zmq_frame.h"
#include "bus/bus_zmq_link.h"
#include "bus/zmq_switch_listen.h"

#include <stdatomic.h>
#include <stdio.h>

enum { SUBSCRIPTIONS_MAX = 65536, BEATS_PER_DEATH = 5, LINGER_MS = 1000, RECONNECT_MS = 20 };

struct bus_zmq {
    void *zmq_context;
    char address[ZMQ_SWITCH_ADDRESS_BYTES];
    struct id generation;
    atomic_uint endpoints_opened, endpoints_open;
};

enum { PART_ENVELOPE, PART_FRAME };

/* A message of the switch that waits for the loop. */
struct arrived {
    struct list link;
    struct zparts parts;
    struct envelope envelope; /* points into parts */
};

struct endpoint {
    struct bus bus;
    struct bus_zmq *bus_zmq;
    struct zlink *link;
    bool joined, closed;
    uint64_t lives; /* how often it joined */
    struct map *subscriptions;
    uint64_t last_id, last_token;
    uint64_t handled; /* the last delivery or bounce of this life */
    bool ack_is_due;
    size_t unsettled_bytes, unsettled_max;
    uint64_t heard_us, dead_us;
    struct deadline beat;
    struct list arrived; /* struct arrived.link; bounded by the switch, as the socket is */
    /* What an exchange waits for: this kind with this number. */
    enum envelope_kind awaited_kind;
    uint64_t awaited_number;
    bool answered;
    enum err answer;
    struct free_later free_later;
};

struct zmq_subscription {
    struct bus_subscription base;
    uint64_t id;
    size_t subject_bytes, group_bytes;
    char subject[BUS_SUBJECT_MAX_BYTES], group[BUS_SUBJECT_MAX_BYTES]; /* to subscribe again */
};

static void rejoin(struct endpoint *endpoint);

static struct endpoint *endpoint_of(struct bus *bus)
{
    return CONTAINER_OF(bus, struct endpoint, bus);
}

/* --- control messages to the switch --- */

/* A DEALER takes whatever it is given (bus_zmq_link rule 3); what does not arrive is found by
 * silence. */
static void say(struct endpoint *endpoint, const struct envelope *envelope)
{
    if (endpoint->link)
        (void)zlink_send(endpoint->link, (struct slice){0}, envelope, NULL); /* see above */
}

static void say_number(struct endpoint *endpoint, enum envelope_kind kind, uint64_t number)
{
    const struct envelope envelope = {.kind = kind, .number = number};
    say(endpoint, &envelope);
}

static void acknowledge(struct endpoint *endpoint)
{
    if (endpoint->ack_is_due && endpoint->joined)
        say_number(endpoint, ENVELOPE_ACK, endpoint->handled);
    endpoint->ack_is_due = false;
}

static void say_subscribe(struct endpoint *endpoint, const struct zmq_subscription *subscription)
{
    const struct envelope envelope = {
        .kind = ENVELOPE_SUBSCRIBE,
        .number = subscription->id,
        .subject = slice_of(subscription->subject, subscription->subject_bytes),
        .reply = slice_of(subscription->group, subscription->group_bytes)};
    say(endpoint, &envelope);
}

/* --- joining --- */

static void on_ready(void *owner);

static enum err connect_link(struct endpoint *endpoint)
{
    struct zlink *link = NULL;
    TRY(zlink_open(endpoint->bus_zmq->zmq_context, ZMQ_DEALER, endpoint->bus.loop, on_ready,
                   endpoint, &link));
    int reconnect_ms = RECONNECT_MS;
    void *socket = zlink_socket(link);
    zmq_setsockopt(socket, ZMQ_ROUTING_ID, endpoint->bus.inbox, endpoint->bus.inbox_bytes);
    zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &reconnect_ms, sizeof(reconnect_ms));
    enum err err =
        zmq_connect(socket, endpoint->bus_zmq->address) == 0 ? zlink_watch(link) : ERR_SYSTEM;
    if (err != ERR_OK)
        zlink_close(&link, 0);
    endpoint->link = link;
    return err;
}

static void arrived_free(struct arrived *arrived)
{
    list_remove(&arrived->link);
    zparts_fini(&arrived->parts);
    mem_free(arrived);
}

/* What was delivered in an earlier life has bounced; a bounce is told to nobody else. */
static void drop_arrived(struct endpoint *endpoint, bool bounces_too)
{
    LIST_FOREACH_SAFE (link, &endpoint->arrived) {
        struct arrived *arrived = CONTAINER_OF(link, struct arrived, link);
        if (bounces_too || arrived->envelope.kind != ENVELOPE_BOUNCE)
            arrived_free(arrived);
        else
            arrived->envelope.number = arrived->envelope.value = 0; /* nobody counts it any more */
    }
}

/* Without a descriptor left it is tried again at the next beat. */
static void rejoin(struct endpoint *endpoint)
{
    endpoint->joined = false;
    endpoint->handled = 0;
    endpoint->ack_is_due = false;
    endpoint->unsettled_bytes = 0;
    endpoint->heard_us = clock_monotonic_us();
    drop_arrived(endpoint, false);
    zlink_close(&endpoint->link, 0);
    if (connect_link(endpoint) == ERR_OK)
        say_number(endpoint, ENVELOPE_HELLO, ++endpoint->last_token);
    if (endpoint->link && !list_is_empty(&endpoint->arrived))
        zlink_again(endpoint->link);
}

static bool welcome_is_sane(const struct envelope *welcome)
{
    return welcome->value > ZLINK_OVERHEAD_MAX && welcome->value <= SIZE_MAX / 64 &&
           welcome->extra >= BEATS_PER_DEATH && welcome->extra <= UINT32_MAX;
}

static void on_welcome(struct endpoint *endpoint, const struct envelope *welcome)
{
    if (welcome->number != endpoint->last_token || endpoint->joined || welcome->why != ERR_OK ||
        !welcome_is_sane(welcome))
        return;
    endpoint->joined = true;
    endpoint->lives++;
    endpoint->dead_us = welcome->extra * 1000;
    endpoint->unsettled_max = ZLINK_OUT_WINDOWS * (size_t)welcome->value;
    size_t frame_max = (size_t)welcome->value - ZLINK_OVERHEAD_MAX;
    endpoint->bus.frame_max_bytes =
        frame_max < BUS_FRAME_MAX_BYTES ? frame_max : BUS_FRAME_MAX_BYTES;
    size_t cursor = 0;
    void *subscription;
    for (uint64_t id; map_next(endpoint->subscriptions, &cursor, &id, &subscription);)
        say_subscribe(endpoint, subscription);
    deadline_after(&endpoint->beat, endpoint->dead_us / BEATS_PER_DEATH);
}

/* --- receiving --- */

static void on_settled(struct endpoint *endpoint, uint64_t bytes)
{
    endpoint->unsettled_bytes -=
        bytes < endpoint->unsettled_bytes ? (size_t)bytes : endpoint->unsettled_bytes;
}

/* Everything but deliveries and bounces, which wait for the loop. */
static void on_control(struct endpoint *endpoint, const struct envelope *envelope)
{
    if (envelope->kind == ENVELOPE_WELCOME)
        on_welcome(endpoint, envelope);
    else if (envelope->kind == ENVELOPE_SETTLED)
        on_settled(endpoint, envelope->value);
    else if (envelope->kind == ENVELOPE_GONE && endpoint->joined)
        rejoin(endpoint);
    if (envelope->kind == endpoint->awaited_kind && envelope->number == endpoint->awaited_number) {
        endpoint->answered = true;
        endpoint->answer = envelope->why;
    }
}

static enum err read_envelope(struct zparts *parts, struct envelope *out_envelope)
{
    TRY(envelope_decode(zparts_bytes(parts, PART_ENVELOPE), out_envelope));
    return parts->count == (envelope_has_frame(out_envelope->kind) ? 2 : 1) ? ERR_OK : ERR_PROTOCOL;
}

/* True if there was something: a control message, which is dealt with, or one for the loop. What
 * is not in order comes from no switch of ours and is dropped. */
static bool receive_one(struct endpoint *endpoint)
{
    struct arrived *arrived = mem_alloc(sizeof(*arrived));
    list_init(&arrived->link);
    zparts_init(&arrived->parts);
    bool got = endpoint->link && zlink_receive(endpoint->link, &arrived->parts) == ERR_OK;
    bool is_whole = got && read_envelope(&arrived->parts, &arrived->envelope) == ERR_OK;
    if (is_whole)
        endpoint->heard_us = clock_monotonic_us();
    if (is_whole && envelope_has_frame(arrived->envelope.kind)) {
        list_push_back(&endpoint->arrived, &arrived->link);
        return true;
    }
    if (is_whole)
        on_control(endpoint, &arrived->envelope);
    arrived_free(arrived);
    return got;
}

static void on_delivery(struct endpoint *endpoint, const struct envelope *envelope,
                        const struct bus_message *message)
{
    struct zmq_subscription *subscription = map_get(endpoint->subscriptions, envelope->value);
    if (subscription) {
        bus_deliver(&subscription->base, message);
        return;
    }
    say_number(endpoint, ENVELOPE_REJECT, envelope->number); /* and acknowledges all before */
    endpoint->ack_is_due = false;
}

/* The callbacks may unsubscribe, publish, or close the endpoint, whose memory stays until the turn
 * ends. It counts as handled from here on: if it is closed meanwhile, it was delivered. */
static void handle(struct endpoint *endpoint, struct arrived *arrived)
{
    const struct envelope *envelope = &arrived->envelope;
    const struct bus_message message = {envelope->subject, envelope->reply,
                                        zparts_bytes(&arrived->parts, PART_FRAME)};
    list_remove(&arrived->link);
    if (envelope->number) {
        endpoint->handled = envelope->number;
        endpoint->ack_is_due = true;
    }
    if (envelope->kind == ENVELOPE_BOUNCE) {
        on_settled(endpoint, envelope->value);
        bus_bounce(&endpoint->bus, &message, envelope->why);
    } else if (envelope->kind == ENVELOPE_DELIVER) {
        on_delivery(endpoint, envelope, &message);
    }
    arrived_free(arrived);
}

/* Who stood still so long has been taken for dead, or is about to be: nothing on the old socket
 * counts. A tenth earlier than the switch, which heard of us a little before we heard of it. */
static void check_silence(struct endpoint *endpoint)
{
    if (clock_monotonic_us() - endpoint->heard_us >= endpoint->dead_us - endpoint->dead_us / 10)
        rejoin(endpoint);
}

static void on_ready(void *owner)
{
    struct endpoint *endpoint = owner;
    check_silence(endpoint);
    for (int i = 0; i < ZLINK_BATCH && !endpoint->closed; i++) {
        if (list_is_empty(&endpoint->arrived) && !receive_one(endpoint))
            break;
        if (!list_is_empty(&endpoint->arrived))
            handle(endpoint, CONTAINER_OF(endpoint->arrived.next, struct arrived, link));
    }
    if (endpoint->closed)
        return;
    acknowledge(endpoint);
    if (endpoint->link && !list_is_empty(&endpoint->arrived))
        zlink_again(endpoint->link);
}

static void on_beat(void *ctx)
{
    struct endpoint *endpoint = ctx;
    check_silence(endpoint);
    if (endpoint->joined)
        say_number(endpoint, ENVELOPE_PING, 0);
    deadline_after(&endpoint->beat, endpoint->dead_us / BEATS_PER_DEATH);
}

/* --- exchanges: ask the switch, and wait for its answer --- */

/* Takes what is there, or sleeps until something is. False: too late, or no socket at all. */
static bool step(struct endpoint *endpoint, uint64_t deadline_us)
{
    if (receive_one(endpoint))
        return true;
    uint64_t now_us = clock_monotonic_us();
    if (now_us >= deadline_us || !endpoint->link)
        return false;
    zlink_wait(endpoint->link, (long)((deadline_us - now_us) / 1000 + 1));
    return true;
}

/* Asks again if the endpoint had to join anew meanwhile. */
static void ask_until(struct endpoint *endpoint, const struct envelope *request,
                      uint64_t deadline_us)
{
    uint64_t asked_in_life = 0;
    do {
        if (endpoint->joined && endpoint->lives != asked_in_life) {
            asked_in_life = endpoint->lives;
            say(endpoint, request);
        }
    } while (!endpoint->answered && step(endpoint, deadline_us));
}

static void await(struct endpoint *endpoint, enum envelope_kind kind, uint64_t number)
{
    endpoint->awaited_kind = kind;
    endpoint->awaited_number = number;
    endpoint->answered = false;
}

static enum err answer_of(struct endpoint *endpoint)
{
    endpoint->awaited_kind = 0;
    if (endpoint->link && !list_is_empty(&endpoint->arrived))
        zlink_again(endpoint->link);
    return endpoint->answered ? endpoint->answer : ERR_TIMEOUT;
}

static enum err exchange(struct endpoint *endpoint, const struct envelope *request,
                         enum envelope_kind answer_kind)
{
    check_silence(endpoint);
    await(endpoint, answer_kind, request->number);
    ask_until(endpoint, request, clock_monotonic_us() + endpoint->dead_us);
    return answer_of(endpoint);
}

enum err bus_zmq_sync(struct bus *bus)
{
    struct endpoint *endpoint = endpoint_of(bus);
    const struct envelope ping = {.kind = ENVELOPE_PING, .number = ++endpoint->last_token};
    return exchange(endpoint, &ping, ENVELOPE_PONG);
}

/* --- what bus.c calls --- */

static enum err publish(struct bus *bus, struct slice subject, struct slice reply,
                        struct slice frame)
{
    struct endpoint *endpoint = endpoint_of(bus);
    const struct envelope envelope = {.kind = ENVELOPE_PUBLISH, .subject = subject, .reply = reply};
    size_t cost = zlink_cost(&envelope, frame.len);
    if (!endpoint->joined || cost > endpoint->unsettled_max - endpoint->unsettled_bytes)
        return ERR_FULL;
    zmq_msg_t message;
    TRY(zmq_frame_copy(frame, &message));
    enum err err = zlink_send(endpoint->link, (struct slice){0}, &envelope, &message);
    zmq_msg_close(&message); /* empty if it was sent */
    if (err == ERR_OK)
        endpoint->unsettled_bytes += cost;
    return err;
}

static void keep_name(struct slice name, char *out_bytes, size_t *out_len)
{
    if (name.len)
        memcpy(out_bytes, name.data, name.len);
    *out_len = name.len;
}

static void unsubscribe(struct bus_subscription *base)
{
    struct zmq_subscription *subscription = CONTAINER_OF(base, struct zmq_subscription, base);
    struct endpoint *endpoint = endpoint_of(base->bus);
    (void)map_remove(endpoint->subscriptions, subscription->id); /* it is there */
    if (endpoint->joined)
        say_number(endpoint, ENVELOPE_UNSUBSCRIBE, subscription->id);
    mem_free(subscription);
}

static enum err subscribe(struct bus *bus, struct slice subject, struct slice group,
                          struct bus_subscription **out_subscription)
{
    struct endpoint *endpoint = endpoint_of(bus);
    if (map_count(endpoint->subscriptions) == SUBSCRIPTIONS_MAX)
        return ERR_FULL;
    struct zmq_subscription *subscription = mem_alloc(sizeof(*subscription));
    subscription->id = ++endpoint->last_id;
    keep_name(subject, subscription->subject, &subscription->subject_bytes);
    keep_name(group, subscription->group, &subscription->group_bytes);
    const struct envelope request = {
        .kind = ENVELOPE_SUBSCRIBE, .number = subscription->id, .subject = subject, .reply = group};
    enum err err = exchange(endpoint, &request, ENVELOPE_CONFIRM);
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
    if (endpoint->joined)
        say_number(endpoint, ENVELOPE_CLOSE, endpoint->handled);
    zlink_close(&endpoint->link, endpoint->joined ? LINGER_MS : 0);
    endpoint->closed = true;
    endpoint->joined = false;
    drop_arrived(endpoint, true);
    deadline_clear(&endpoint->beat);
    atomic_fetch_sub(&endpoint->bus_zmq->endpoints_open, 1);
    loop_free_later(bus->loop, &endpoint->free_later, release, endpoint);
}

static const struct bus_ops ops = {publish, subscribe, unsubscribe, close_endpoint};

static struct endpoint *make(struct bus_zmq *bus_zmq, struct loop *loop, uint32_t wait_ms)
{
    struct endpoint *endpoint = mem_alloc(sizeof(*endpoint));
    char generation[ID_TEXT_BYTES + 1], inbox[ID_TEXT_BYTES + 32];
    id_format(bus_zmq->generation, generation);
    unsigned number = atomic_fetch_add(&bus_zmq->endpoints_opened, 1) + 1;
    snprintf(inbox, sizeof(inbox), "inbox.%s.%u", generation, number);
    bus_init(&endpoint->bus, &ops, loop, slice_str(inbox), 0);
    endpoint->bus_zmq = bus_zmq;
    endpoint->subscriptions = map_new(SUBSCRIPTIONS_MAX);
    endpoint->dead_us = (uint64_t)wait_ms * 1000; /* until the switch has told its own */
    list_init(&endpoint->arrived);
    deadline_init(&endpoint->beat, loop, on_beat, endpoint);
    atomic_fetch_add(&bus_zmq->endpoints_open, 1);
    return endpoint;
}

enum err bus_zmq_open(struct bus_zmq *bus_zmq, struct loop *loop, uint32_t wait_ms,
                      struct bus **out_bus)
{
    struct endpoint *endpoint = make(bus_zmq, loop, wait_ms);
    await(endpoint, ENVELOPE_WELCOME, endpoint->last_token + 1);
    rejoin(endpoint);
    uint64_t deadline_us = clock_monotonic_us() + endpoint->dead_us;
    bool has_socket = endpoint->link != NULL;
    while (!endpoint->answered && step(endpoint, deadline_us))
        continue;
    enum err err = has_socket ? answer_of(endpoint) : ERR_SYSTEM;
    if (err == ERR_OK && !endpoint->joined)
        err = ERR_PROTOCOL; /* what it said about itself makes no sense */
    struct bus *bus = &endpoint->bus;
    if (err != ERR_OK)
        bus_close(&bus);
    else
        *out_bus = bus;
    return err;
}

enum err bus_zmq_new(const char *directory, struct bus_zmq **out_bus_zmq)
{
    char address[ZMQ_SWITCH_ADDRESS_BYTES];
    TRY(zmq_switch_address(directory, address));
    void *zmq_context = zmq_ctx_new();
    if (!zmq_context)
        return ERR_SYSTEM;
    struct bus_zmq *bus_zmq = mem_alloc(sizeof(*bus_zmq));
    bus_zmq->zmq_context = zmq_context;
    memcpy(bus_zmq->address, address, sizeof(address));
    bus_zmq->generation = id_new();
    *out_bus_zmq = bus_zmq;
    return ERR_OK;
}

void bus_zmq_free(struct bus_zmq *bus_zmq)
{
    if (!bus_zmq)
        return;
    ASSERT_MSG(atomic_load(&bus_zmq->endpoints_open) == 0, "%u endpoints are still open",
               atomic_load(&bus_zmq->endpoints_open));
    zmq_ctx_term(bus_zmq->zmq_context);
    mem_free(bus_zmq);
}
