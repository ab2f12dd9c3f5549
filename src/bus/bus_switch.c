/* bus_switch - passes frames between the endpoints of bus_unix. See bus_switch.h.
 *
 * Nobody is forgotten in the middle of a message: a peer that has to go is marked lost, and buried
 * when what was read of it is done. */
#include "bus/bus_switch_impl.h"

#include "base/mem.h"
#include "bus/bus_door.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
    PEERS_MAX = 1024,
    STRANGERS_MAX = 64, /* connections that have not joined, or found no room */
    ACCEPTS_PER_TURN = 64,
};

/* --- joining and leaving --- */

static void forget_subscription(struct bus_switch *self, struct subscription *subscription)
{
    (void)map_remove(subscription->peer->subscriptions, subscription->number); /* it is there */
    switch_routes_remove(self->routes, &subscription->listener);
    mem_free(subscription);
}

static void drop_waiting(struct bus_switch *self, struct switch_peer *peer, enum err why)
{
    for (struct waiting *waiting; (waiting = switch_peer_first(peer));) {
        switch_bounce_waiting(self, waiting, why);
        switch_pop(self, peer);
    }
}

static void count_joined(struct bus_switch *self, size_t count)
{
    self->joined_count = count;
    atomic_store(&self->peer_count, count);
}

static void bury(struct bus_switch *self, struct switch_peer *peer)
{
    size_t cursor = 0;
    void *subscription;
    bus_link_close(&peer->link);
    for (uint64_t number; map_next(peer->subscriptions, &cursor, &number, &subscription);)
        forget_subscription(self, subscription);
    (void)map_remove(self->by_serial, peer->serial); /* it is there */
    drop_waiting(self, peer, ERR_CLOSED);
    if (peer->joined)
        count_joined(self, self->joined_count - 1);
    switch_peer_free(peer);
}

/* It was held up, and does not know what of it still counts. What was on its way is lost, and says
 * so (ERR_AGAIN: the receiver lives); its subscriptions hold until it has had the time to name them
 * again, or who publishes meanwhile would hear that nobody listens. */
static void begin_anew(struct bus_switch *self, struct switch_peer *peer)
{
    bus_link_drop_queued(peer->link);
    drop_waiting(self, peer, ERR_AGAIN);
    switch_peer_begin_anew(peer);
}

static bool let_in(struct bus_switch *self, struct switch_peer *peer)
{
    if (self->joined_count == PEERS_MAX)
        return false;
    count_joined(self, self->joined_count + 1);
    peer->joined = true;
    list_remove(&peer->node);
    list_push_back(&self->peers, &peer->node);
    return true;
}

static void on_hello(struct bus_switch *self, struct switch_peer *peer, uint64_t token)
{
    struct envelope welcome = {.kind = ENVELOPE_WELCOME,
                               .number = token,
                               .value = self->peer_bytes_max,
                               .extra = self->dead_ms};
    if (peer->joined)
        begin_anew(self, peer);
    else if (!let_in(self, peer))
        welcome.why = ERR_FULL;
    bus_link_say(peer->link, &welcome);
}

/* --- subscriptions --- */

static enum err add_subscription(struct bus_switch *self, struct switch_peer *peer,
                                 const struct envelope *envelope)
{
    struct subscription *known = map_get(peer->subscriptions, envelope->number);
    if (known && !known->is_stale)
        return ERR_PROTOCOL;
    if (known) { /* a number is never given twice: it is the same one */
        known->is_stale = false;
        return ERR_OK;
    }
    struct subscription *subscription = mem_alloc(sizeof(*subscription));
    subscription->peer = peer;
    subscription->number = envelope->number;
    enum err err = map_put(peer->subscriptions, subscription->number, subscription);
    if (err == ERR_OK) {
        err = switch_routes_add(self->routes, envelope->subject, envelope->reply,
                                &subscription->listener);
        if (err != ERR_OK)
            (void)map_remove(peer->subscriptions, subscription->number); /* the one just put */
    }
    if (err != ERR_OK)
        mem_free(subscription);
    return err;
}

static enum err on_subscribe(struct bus_switch *self, struct switch_peer *peer,
                             const struct envelope *envelope)
{
    struct envelope confirm = {.kind = ENVELOPE_CONFIRM, .number = envelope->number};
    confirm.why = add_subscription(self, peer, envelope);
    if (confirm.why == ERR_PROTOCOL)
        return ERR_PROTOCOL;
    bus_link_say(peer->link, &confirm);
    return ERR_OK;
}

static void on_unsubscribe(struct bus_switch *self, struct switch_peer *peer, uint64_t number)
{
    struct subscription *subscription = map_get(peer->subscriptions, number);
    if (subscription) /* else it was refused, or asked for in an earlier life */
        forget_subscription(self, subscription);
}

/* Those that a peer did not name again after it began anew: it has no use for them any more. */
static void forget_stale(struct bus_switch *self, struct switch_peer *peer)
{
    if (!peer->has_stale)
        return;
    peer->has_stale = false;
    size_t cursor = 0;
    void *subscription;
    for (uint64_t number; map_next(peer->subscriptions, &cursor, &number, &subscription);)
        if (((struct subscription *)subscription)->is_stale)
            forget_subscription(self, subscription);
}

/* --- what peers say --- */

/* A beat (number 0) wants no answer. The first one comes after all subscriptions. */
static void on_ping(struct bus_switch *self, struct switch_peer *peer, uint64_t number)
{
    const struct envelope pong = {.kind = ENVELOPE_PONG, .number = number};
    forget_stale(self, peer);
    if (number)
        bus_link_say(peer->link, &pong);
}

static enum err on_framed(struct bus_switch *self, struct switch_peer *peer,
                          const struct framed *framed)
{
    const struct envelope *envelope = &framed->envelope;
    switch (envelope->kind) {
    case ENVELOPE_PUBLISH:
        return switch_publish(self, peer, framed);
    case ENVELOPE_ACK:
        return switch_acknowledge(self, peer, envelope->number);
    case ENVELOPE_REJECT:
        return switch_reject(self, peer, envelope->number);
    case ENVELOPE_SUBSCRIBE:
        return on_subscribe(self, peer, envelope);
    case ENVELOPE_UNSUBSCRIBE:
        on_unsubscribe(self, peer, envelope->number);
        return ERR_OK;
    case ENVELOPE_PING:
        on_ping(self, peer, envelope->number);
        return ERR_OK;
    case ENVELOPE_CLOSE:
        TRY(switch_acknowledge(self, peer, envelope->number));
        return ERR_CLOSED;
    default:
        return ERR_PROTOCOL; /* what only a switch says */
    }
}

static bool on_message(void *ctx, const struct framed *framed)
{
    struct switch_peer *peer = ctx;
    struct bus_switch *self = peer->bus_switch;
    enum err err = ERR_OK;
    if (framed->envelope.kind == ENVELOPE_HELLO)
        on_hello(self, peer, framed->envelope.number);
    else
        err = peer->joined ? on_framed(self, peer, framed) : ERR_PROTOCOL;
    peer->lost = err != ERR_OK || bus_link_said(peer->link) > PEER_ANSWERS_MAX;
    return !peer->lost;
}

static void on_ready(void *owner)
{
    struct switch_peer *peer = owner;
    struct bus_switch *self = peer->bus_switch;
    enum err err = bus_link_read(peer->link, on_message, peer);
    if (peer->joined)
        peer->heard_us = loop_now_us(self->loop);
    if (peer->lost || (err != ERR_OK && err != ERR_AGAIN))
        bury(self, peer);
}

static void before_send(void *owner)
{
    switch_tell_settled(owner);
}

/* --- the door --- */

static const struct link_events events = {.on_ready = on_ready, .before_send = before_send};

/* Takes the descriptor. False: there are too many, or the loop cannot watch one more. */
static bool add_stranger(struct bus_switch *self, int fd)
{
    size_t message_max = self->peer_bytes_max + ENVELOPE_MAX_BYTES;
    struct switch_peer *peer = NULL;
    if (message_max > FRAMING_MESSAGE_MAX_BYTES)
        message_max = FRAMING_MESSAGE_MAX_BYTES;
    if (map_count(self->by_serial) < self->joined_count + STRANGERS_MAX)
        peer = switch_peer_new(self, ++self->last_serial);
    if (!peer || bus_link_open(self->loop, fd, message_max, &events, peer, &peer->link) != ERR_OK) {
        (void)close(fd); /* it may come again */
        if (peer)
            switch_peer_free(peer);
        return false;
    }
    enum err err = map_put(self->by_serial, peer->serial, peer);
    ASSERT(err == ERR_OK); /* it has room for all */
    peer->heard_us = loop_now_us(self->loop);
    list_push_back(&self->strangers, &peer->node);
    return true;
}

static void on_door(uv_poll_t *door, int status, int events_seen)
{
    struct bus_switch *self = door->data;
    (void)status;      /* a listening socket has no errors of its own */
    (void)events_seen; /* READABLE is all we asked for */
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd;
        enum err err = bus_door_accept(self->door_fd, self->uid, &fd);
        if (err == ERR_SYSTEM) { /* it stays readable: without descriptors we would spin */
            self->door_waits = true;
            uv_poll_stop(self->door);
        }
        if (err != ERR_OK)
            return;
        (void)add_stranger(self, fd); /* else it finds its connection closed, and tries again */
    }
}

static void watch_door(struct bus_switch *self)
{
    self->door_waits = false;
    ASSERT(uv_poll_start(self->door, UV_READABLE, on_door) == 0);
}

/* --- life and death of peers --- */

/* Rule 4: this loop stood still, and could hear nobody. */
static bool was_held_up(const struct bus_switch *self, uint64_t now_us)
{
    return now_us - self->looked_us > 2 * bus_beat_us(self->dead_us);
}

static void look_at(struct bus_switch *self, struct list *peers, uint64_t now_us)
{
    bool held_up = was_held_up(self, now_us);
    LIST_FOREACH_SAFE (node, peers) {
        struct switch_peer *peer = CONTAINER_OF(node, struct switch_peer, node);
        if (held_up)
            peer->heard_us = now_us;
        else if (now_us - peer->heard_us >= self->dead_us)
            bury(self, peer);
    }
}

static void on_look(void *ctx)
{
    struct bus_switch *self = ctx;
    uint64_t now_us = loop_now_us(self->loop);
    look_at(self, &self->peers, now_us);
    look_at(self, &self->strangers, now_us);
    if (self->door_waits)
        watch_door(self);
    self->looked_us = now_us;
    deadline_round(&self->look, bus_beat_us(self->dead_us));
}

/* --- life --- */

static struct bus_switch *make(struct loop *loop, const struct bus_switch_config *config)
{
    struct bus_switch *self = mem_alloc(sizeof(*self));
    self->loop = loop;
    self->door_fd = -1;
    self->uid = geteuid();
    self->peer_bytes_max = config->peer_bytes_max;
    self->dead_ms = config->dead_ms;
    self->dead_us = (uint64_t)config->dead_ms * 1000;
    self->by_serial = map_new(PEERS_MAX + STRANGERS_MAX);
    self->routes = switch_routes_new();
    list_init(&self->peers);
    list_init(&self->strangers);
    deadline_init(&self->look, loop, on_look, self);
    return self;
}

static enum err open_door(struct bus_switch *self, const char *directory, struct err_note *out_note)
{
    if (bus_door_address(directory, &self->address) != ERR_OK)
        return err_note_fail(out_note, ERR_LIMIT, "bus folder %s: path too long for a socket",
                             directory);
    TRY(bus_door_open(&self->address, directory, &self->door_fd, out_note));
    uv_poll_t *door = mem_alloc(sizeof(*door));
    int status = uv_poll_init(loop_uv(self->loop), door, self->door_fd);
    if (status != 0) {
        mem_free(door);
        return err_note_fail(out_note, ERR_SYSTEM, "bus: the loop cannot watch its socket: %s",
                             uv_strerror(status));
    }
    door->data = self;
    self->door = door;
    watch_door(self);
    return ERR_OK;
}

enum err bus_switch_new(struct loop *loop, const struct bus_switch_config *config,
                        struct err_note *out_note, struct bus_switch **out_switch)
{
    ASSERT(config->peer_bytes_max > BUS_OVERHEAD_MAX && config->dead_ms > 0);
    struct bus_switch *self = make(loop, config);
    enum err err = open_door(self, config->directory, out_note);
    if (err != ERR_OK) {
        bus_switch_free(&self);
        return err;
    }
    self->looked_us = loop_now_us(loop);
    deadline_round(&self->look, bus_beat_us(self->dead_us));
    *out_switch = self;
    return ERR_OK;
}

static void on_door_closed(uv_handle_t *door)
{
    mem_free(door);
}

static void bury_all(struct bus_switch *self, struct list *peers)
{
    LIST_FOREACH_SAFE (node, peers)
        bury(self, CONTAINER_OF(node, struct switch_peer, node));
}

void bus_switch_free(struct bus_switch **bus_switch)
{
    struct bus_switch *self = *bus_switch;
    *bus_switch = NULL;
    if (!self)
        return;
    deadline_clear(&self->look);
    bury_all(self, &self->strangers);
    bury_all(self, &self->peers);
    if (self->door)
        uv_close((uv_handle_t *)self->door, on_door_closed); /* before the descriptor goes */
    if (self->door_fd >= 0)
        bus_door_close(&self->address, self->door_fd);
    switch_routes_free(self->routes);
    map_free(self->by_serial);
    mem_free(self);
}

struct bus_switch_counts bus_switch_count(const struct bus_switch *bus_switch)
{
    return (struct bus_switch_counts){
        .peers = atomic_load(&bus_switch->peer_count),
        .waiting = atomic_load(&bus_switch->waiting_count),
        .delivered = atomic_load(&bus_switch->delivered_count),
        .bounced = atomic_load(&bus_switch->bounced_count),
    };
}
