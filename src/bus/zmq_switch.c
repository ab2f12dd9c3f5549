/* zmq_switch - passes frames between the endpoints of bus_zmq. See zmq_switch.h.
 *
 * Nobody is forgotten in the middle of a message: a peer that turns out to be gone is marked lost,
 * and buried when the message is done; one whose connection broke, when all has been read that came
 * over it (what it handled before it left must not bounce), or when it is back. */
#include "bus/zmq_switch_impl.h"

#include "base/hash.h"
#include "base/mem.h"

enum { PEERS_MAX = 1024, LOOKS_PER_DEATH = 5 };

/* --- joining and leaving --- */

static void forget_subscription(struct zmq_switch *self, struct zsubscription *subscription)
{
    (void)map_remove(subscription->peer->subscriptions, subscription->number); /* it is there */
    switch_routes_remove(self->routes, &subscription->listener);
    mem_free(subscription);
}

static void bury(struct zmq_switch *self, struct zpeer *peer)
{
    size_t cursor = 0;
    void *subscription;
    for (uint64_t number; map_next(peer->subscriptions, &cursor, &number, &subscription);)
        forget_subscription(self, subscription);
    (void)map_remove(self->by_hash, peer->hash); /* it is there, as the next one is */
    (void)map_remove(self->by_serial, peer->serial);
    for (struct zwaiting *waiting; (waiting = zpeer_first(peer));) {
        zswitch_bounce_waiting(self, waiting, ERR_CLOSED);
        zswitch_pop(self, peer);
    }
    zpeer_free(peer);
    atomic_fetch_sub(&self->peer_count, 1);
}

/* A bounce may find another one lost, which then is on the list too. */
static void bury_lost(struct zmq_switch *self)
{
    while (!list_is_empty(&self->lost))
        bury(self, CONTAINER_OF(self->lost.next, struct zpeer, link));
}

/* This loop stood still: who was silent meanwhile is not to blame (rule 4). */
static bool is_held_up(struct zmq_switch *self)
{
    uint64_t now_us = loop_now_us(self->loop);
    bool is_late = now_us - self->looked_us > 2 * self->dead_us / LOOKS_PER_DEATH;
    if (is_late)
        self->held_up_us = now_us;
    return is_late;
}

/* Who gave up its connection in that time may be about to join anew. */
static bool was_held_up(struct zmq_switch *self)
{
    return is_held_up(self) ||
           (self->held_up_us && loop_now_us(self->loop) - self->held_up_us < self->dead_us);
}

/* When all has been read that they have said. */
static void bury_unreachable(struct zmq_switch *self)
{
    LIST_FOREACH_SAFE (link, &self->unreachable)
        zswitch_lose(self, CONTAINER_OF(link, struct zpeer, link));
    bury_lost(self);
}

static struct zpeer *find_peer(const struct zmq_switch *self, struct slice id)
{
    struct zpeer *peer = map_get(self->by_hash, hash_bytes(id));
    return peer && slice_eq(zpeer_id(peer), id) ? peer : NULL;
}

/* NULL: too many, or a name that hashes as another's does. */
static struct zpeer *add_peer(struct zmq_switch *self, struct slice id)
{
    if (map_count(self->by_hash) == PEERS_MAX || map_get(self->by_hash, hash_bytes(id)))
        return NULL;
    struct zpeer *peer = zpeer_new(id, ++self->last_serial);
    enum err err = map_put(self->by_hash, peer->hash, peer);
    ASSERT(err == ERR_OK);
    err = map_put(self->by_serial, peer->serial, peer);
    ASSERT(err == ERR_OK); /* as many as by_hash */
    list_push_back(&self->peers, &peer->link);
    atomic_fetch_add(&self->peer_count, 1);
    return peer;
}

/* Its loop or ours stood still for so long that it gave up the old socket. What was on its way
 * there is lost, and says so (ERR_AGAIN: the receiver lives); its subscriptions hold until it has
 * had the time to name them again, or who publishes meanwhile would hear that nobody listens. */
static void begin_anew(struct zmq_switch *self, struct zpeer *peer)
{
    for (struct zwaiting *waiting; (waiting = zpeer_first(peer));) {
        zswitch_bounce_waiting(self, waiting, ERR_AGAIN);
        zswitch_pop(self, peer);
    }
    zpeer_begin_anew(peer);
    list_remove(&peer->link);
    list_push_back(&self->peers, &peer->link);
}

static void on_hello(struct zmq_switch *self, struct slice id, const struct envelope *hello)
{
    struct zpeer *peer = find_peer(self, id);
    if (peer)
        begin_anew(self, peer);
    else
        peer = add_peer(self, id);
    struct envelope welcome = {.kind = ENVELOPE_WELCOME,
                               .why = peer ? ERR_OK : ERR_FULL,
                               .number = hello->number,
                               .value = self->peer_bytes_max,
                               .extra = self->dead_ms};
    if (peer)
        peer->heard_us = loop_now_us(self->loop);
    if (peer)
        (void)zswitch_send(self, peer, &welcome, NULL); /* gone again: it is marked lost */
    else
        (void)zlink_send(self->link, id, &welcome, NULL); /* gone: nobody to be told */
}

/* --- subscriptions --- */

static enum err add_subscription(struct zmq_switch *self, struct zpeer *peer,
                                 const struct envelope *envelope)
{
    struct zsubscription *known = map_get(peer->subscriptions, envelope->number);
    if (known && !known->is_stale)
        return ERR_PROTOCOL;
    if (known) { /* a number is never given twice: it is the same one */
        known->is_stale = false;
        return ERR_OK;
    }
    struct zsubscription *subscription = mem_alloc(sizeof(*subscription));
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

static enum err on_subscribe(struct zmq_switch *self, struct zpeer *peer,
                             const struct envelope *envelope)
{
    struct envelope confirm = {.kind = ENVELOPE_CONFIRM, .number = envelope->number};
    confirm.why = add_subscription(self, peer, envelope);
    if (confirm.why == ERR_PROTOCOL)
        return ERR_PROTOCOL;
    (void)zswitch_send(self, peer, &confirm, NULL); /* gone: it is marked lost */
    return ERR_OK;
}

static void on_unsubscribe(struct zmq_switch *self, struct zpeer *peer, uint64_t number)
{
    struct zsubscription *subscription = map_get(peer->subscriptions, number);
    if (subscription) /* else it was refused, or asked for in an earlier life */
        forget_subscription(self, subscription);
}

/* Those that a peer did not name again after it began anew: it has no use for them any more. */
static void forget_stale(struct zmq_switch *self, struct zpeer *peer)
{
    if (!peer->has_stale)
        return;
    peer->has_stale = false;
    size_t cursor = 0;
    void *subscription;
    for (uint64_t number; map_next(peer->subscriptions, &cursor, &number, &subscription);)
        if (((struct zsubscription *)subscription)->is_stale)
            forget_subscription(self, subscription);
}

/* --- what peers say --- */

static enum err on_envelope(struct zmq_switch *self, struct zpeer *peer,
                            const struct envelope *envelope, struct zparts *parts)
{
    struct envelope pong = {.kind = ENVELOPE_PONG, .number = envelope->number};
    switch (envelope->kind) {
    case ENVELOPE_PUBLISH:
        zswitch_publish(self, peer, envelope, parts);
        return ERR_OK;
    case ENVELOPE_ACK:
        return zswitch_acknowledge(self, peer, envelope->number);
    case ENVELOPE_REJECT:
        return zswitch_reject(self, peer, envelope->number);
    case ENVELOPE_SUBSCRIBE:
        return on_subscribe(self, peer, envelope);
    case ENVELOPE_UNSUBSCRIBE:
        on_unsubscribe(self, peer, envelope->number);
        return ERR_OK;
    case ENVELOPE_PING: /* the first one comes after all subscriptions */
        forget_stale(self, peer);
        (void)zswitch_send(self, peer, &pong, NULL); /* gone: it is marked lost */
        return ERR_OK;
    case ENVELOPE_CLOSE:
        TRY(zswitch_acknowledge(self, peer, envelope->number));
        zswitch_lose(self, peer);
        return ERR_OK;
    default:
        return ERR_PROTOCOL; /* what only a switch says */
    }
}

static enum err read_envelope(struct zparts *parts, struct envelope *out_envelope)
{
    if (parts->count < 2)
        return ERR_PROTOCOL;
    TRY(envelope_decode(zparts_bytes(parts, PART_ENVELOPE), out_envelope));
    return parts->count == (envelope_has_frame(out_envelope->kind) ? 3 : 2) ? ERR_OK : ERR_PROTOCOL;
}

static void on_stranger(struct zmq_switch *self, struct slice id, const struct envelope *envelope,
                        struct zparts *parts)
{
    const struct envelope gone = {.kind = ENVELOPE_GONE};
    if (envelope->kind == ENVELOPE_PUBLISH)
        zswitch_publish(self, NULL, envelope, parts);
    (void)zlink_send(self->link, id, &gone, NULL); /* not even connected: fine */
}

static void on_message(struct zmq_switch *self, struct zparts *parts)
{
    struct slice id = zparts_bytes(parts, PART_ID);
    struct zpeer *peer = find_peer(self, id);
    struct envelope envelope = {0};
    enum err err = read_envelope(parts, &envelope);
    if (peer)
        peer->heard_us = loop_now_us(self->loop);
    if (err == ERR_OK && envelope.kind == ENVELOPE_HELLO)
        on_hello(self, id, &envelope);
    else if (!peer)
        on_stranger(self, id, &envelope, parts);
    else if (err != ERR_OK || on_envelope(self, peer, &envelope, parts) != ERR_OK)
        zswitch_cut_off(self, peer);
    bury_lost(self);
}

static void on_ready(void *owner)
{
    struct zmq_switch *self = owner;
    bool got = true;
    for (int i = 0; got && i < ZLINK_BATCH; i++) {
        struct zparts parts;
        zparts_init(&parts);
        got = zlink_receive(self->link, &parts) == ERR_OK;
        if (got)
            on_message(self, &parts);
        zparts_fini(&parts);
    }
    if (!got && !was_held_up(self))
        bury_unreachable(self);
    zswitch_tell_settled(self);
    bury_lost(self);
}

/* --- life and death of peers --- */

/* A send finds out whether the process is there at all; only silence, whether it runs. */
static void look_at(struct zmq_switch *self, struct zpeer *peer, uint64_t now_us)
{
    const struct envelope ping = {.kind = ENVELOPE_PING};
    uint64_t silent_us = now_us - peer->heard_us;
    if (silent_us >= self->dead_us)
        zswitch_cut_off(self, peer);
    else if (silent_us >= self->dead_us / LOOKS_PER_DEATH)
        (void)zswitch_send(self, peer, &ping, NULL); /* gone: it is marked lost */
}

/* Rule 4: after a time in which nobody could be heard, silence says nothing. */
static void on_look(void *ctx)
{
    struct zmq_switch *self = ctx;
    uint64_t now_us = loop_now_us(self->loop);
    bool held_up = is_held_up(self);
    if (!was_held_up(self))
        bury_unreachable(self);
    LIST_FOREACH_SAFE (link, &self->peers) {
        struct zpeer *peer = CONTAINER_OF(link, struct zpeer, link);
        if (held_up)
            peer->heard_us = now_us;
        else
            look_at(self, peer, now_us);
    }
    bury_lost(self);
    self->looked_us = now_us;
    deadline_after(&self->look, self->dead_us / LOOKS_PER_DEATH);
}

/* --- life --- */

static struct zmq_switch *make(struct loop *loop, const struct zmq_switch_config *config)
{
    struct zmq_switch *self = mem_alloc(sizeof(*self));
    self->loop = loop;
    self->peer_bytes_max = config->peer_bytes_max;
    self->dead_ms = config->dead_ms;
    self->dead_us = (uint64_t)config->dead_ms * 1000;
    self->by_hash = map_new(PEERS_MAX);
    self->by_serial = map_new(PEERS_MAX);
    self->routes = switch_routes_new();
    list_init(&self->peers);
    list_init(&self->unreachable);
    list_init(&self->lost);
    list_init(&self->owed);
    deadline_init(&self->look, loop, on_look, self);
    self->zmq_context = zmq_ctx_new();
    return self;
}

static enum err open_door(struct zmq_switch *self, const char *directory, struct err_note *out_note)
{
    if (zmq_switch_address(directory, self->address) != ERR_OK)
        return err_note_fail(out_note, ERR_LIMIT, "bus folder %s: path too long for a socket",
                             directory);
    if (!self->zmq_context || zlink_open(self->zmq_context, ZMQ_ROUTER, self->loop, on_ready, self,
                                         &self->link) != ERR_OK)
        return err_note_fail(out_note, ERR_SYSTEM, "bus: no ZeroMQ socket: %s",
                             zmq_strerror(zmq_errno()));
    TRY(zmq_switch_listen(zlink_socket(self->link), self->address, directory, out_note));
    self->listens = true;
    if (zlink_watch(self->link) != ERR_OK)
        return err_note_fail(out_note, ERR_SYSTEM, "bus: the loop cannot watch its socket");
    return ERR_OK;
}

enum err zmq_switch_new(struct loop *loop, const struct zmq_switch_config *config,
                        struct err_note *out_note, struct zmq_switch **out_switch)
{
    ASSERT(config->peer_bytes_max > ZLINK_OVERHEAD_MAX && config->dead_ms >= LOOKS_PER_DEATH);
    struct zmq_switch *self = make(loop, config);
    enum err err = open_door(self, config->directory, out_note);
    if (err != ERR_OK) {
        zmq_switch_free(&self);
        return err;
    }
    self->looked_us = loop_now_us(loop);
    deadline_after(&self->look, self->dead_us / LOOKS_PER_DEATH);
    *out_switch = self;
    return ERR_OK;
}

void zmq_switch_free(struct zmq_switch **zmq_switch)
{
    struct zmq_switch *self = *zmq_switch;
    *zmq_switch = NULL;
    if (!self)
        return;
    deadline_clear(&self->look);
    LIST_FOREACH_SAFE (link, &self->peers)
        zswitch_lose(self, CONTAINER_OF(link, struct zpeer, link));
    bury_unreachable(self); /* bounces reach nobody: all are lost */
    if (self->listens)
        zmq_switch_unlisten(self->address);
    zlink_close(&self->link, 0);
    if (self->zmq_context)
        zmq_ctx_term(self->zmq_context);
    switch_routes_free(self->routes);
    map_free(self->by_hash);
    map_free(self->by_serial);
    mem_free(self);
}

struct zmq_switch_counts zmq_switch_count(const struct zmq_switch *zmq_switch)
{
    return (struct zmq_switch_counts){
        .peers = atomic_load(&zmq_switch->peer_count),
        .waiting = atomic_load(&zmq_switch->waiting_count),
        .delivered = atomic_load(&zmq_switch->delivered_count),
        .bounced = atomic_load(&zmq_switch->bounced_count),
    };
}
