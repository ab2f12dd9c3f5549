/* zmq_switch - passes frames between the endpoints of bus_zmq. See zmq_switch.h.
 *
 * Nobody is forgotten in the middle of a message: a peer that turns out to be gone is marked lost,
 * and buried when the message is done. */
#include "bus/zmq_switch.h"

#include "base/mem.h"
#include "bus/zmq_switch_listen.h"
#include "bus/zmq_switch_peer.h"

#include <stdatomic.h>

enum { PEERS_MAX = 1024, LOOKS_PER_DEATH = 5 };

struct zmq_switch {
    struct loop *loop;
    void *zmq_context;
    struct zlink *link;
    char address[ZMQ_SWITCH_ADDRESS_BYTES];
    bool listens;
    size_t peer_bytes_max;
    uint64_t dead_us;
    uint32_t dead_ms;
    struct map *by_hash, *by_serial; /* struct zpeer */
    struct list peers, lost;         /* struct zpeer.link */
    struct list owed;                /* struct zpeer.owed_link */
    uint64_t last_serial;
    struct zroutes *routes;
    struct deadline look;
    uint64_t looked_us;
    atomic_size_t peer_count, waiting_count, delivered_count, bounced_count;
};

/* One PUBLISH while it is passed on. */
struct publish {
    struct zpeer *sender; /* NULL: not joined (any more) */
    struct envelope envelope;
    struct zparts *parts; /* id, envelope, frame */
    size_t cost;
    enum err untold; /* a bounce that was not sent yet: the last one settles */
};

enum { PART_ID, PART_ENVELOPE, PART_FRAME };

/* --- sending to peers --- */

static void lose(struct zmq_switch *self, struct zpeer *peer)
{
    if (peer->lost)
        return;
    peer->lost = true;
    list_remove(&peer->link);
    list_push_back(&self->lost, &peer->link);
}

static enum err send_to(struct zmq_switch *self, struct zpeer *peer,
                        const struct envelope *envelope, zmq_msg_t *frame)
{
    if (peer->lost)
        return ERR_CLOSED;
    enum err err = zlink_send(self->link, zpeer_id(peer), envelope, frame);
    if (err != ERR_OK)
        lose(self, peer);
    return err;
}

static void cut_off(struct zmq_switch *self, struct zpeer *peer)
{
    const struct envelope gone = {.kind = ENVELOPE_GONE};
    (void)send_to(self, peer, &gone, NULL); /* it may be gone indeed */
    lose(self, peer);
}

static void pop(struct zmq_switch *self, struct zpeer *peer)
{
    zpeer_pop(peer);
    atomic_fetch_sub(&self->waiting_count, 1);
}

static void count_sent(struct zmq_switch *self, atomic_size_t *count)
{
    atomic_fetch_add(&self->waiting_count, 1);
    atomic_fetch_add(count, 1);
}

/* publish_bytes is the sender's own envelope: subject and reply are in it. */
static void bounce(struct zmq_switch *self, struct zpeer *sender, zmq_msg_t *publish_bytes,
                   zmq_msg_t *frame, enum err why, size_t settles)
{
    struct envelope envelope;
    enum err err = envelope_decode(
        slice_of(zmq_msg_data(publish_bytes), zmq_msg_size(publish_bytes)), &envelope);
    ASSERT(err == ERR_OK); /* it was decoded when it came */
    if (sender->lost)
        return;
    zmq_msg_t copy;
    zmq_msg_init(&copy);
    zmq_msg_copy(&copy, frame);
    struct zwaiting *waiting = zpeer_push(sender);
    waiting->is_bounce = true;
    envelope.kind = ENVELOPE_BOUNCE;
    envelope.why = why;
    envelope.number = waiting->number;
    envelope.value = settles;
    if (send_to(self, sender, &envelope, &copy) == ERR_OK) {
        waiting->settles = settles;
        count_sent(self, &self->bounced_count);
    } else {
        zpeer_drop_last(sender);
    }
    zmq_msg_close(&copy);
}

static void bounce_waiting(struct zmq_switch *self, struct zwaiting *waiting, enum err why)
{
    struct zpeer *sender = map_get(self->by_serial, waiting->sender);
    if (sender && !waiting->is_bounce)
        bounce(self, sender, &waiting->publish_bytes, &waiting->frame, why, 0);
}

/* --- joining and leaving --- */

static void forget_subscription(struct zmq_switch *self, struct zsubscription *subscription)
{
    (void)map_remove(subscription->peer->subscriptions, subscription->number); /* it is there */
    zroutes_remove(self->routes, &subscription->listener);
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
        bounce_waiting(self, waiting, ERR_CLOSED);
        pop(self, peer);
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

static struct zpeer *find_peer(const struct zmq_switch *self, struct slice id)
{
    struct zpeer *peer = map_get(self->by_hash, zroutes_hash(id));
    return peer && slice_eq(zpeer_id(peer), id) ? peer : NULL;
}

/* NULL: too many, or a name that hashes as another's does. */
static struct zpeer *add_peer(struct zmq_switch *self, struct slice id)
{
    if (map_count(self->by_hash) == PEERS_MAX || map_get(self->by_hash, zroutes_hash(id)))
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

/* From one who is joined already it is a new life: what waited for the old one bounces. */
static void on_hello(struct zmq_switch *self, struct slice id, const struct envelope *hello)
{
    struct zpeer *old = find_peer(self, id);
    if (old) {
        lose(self, old);
        bury_lost(self);
    }
    struct zpeer *peer = add_peer(self, id);
    struct envelope welcome = {.kind = ENVELOPE_WELCOME,
                               .why = peer ? ERR_OK : ERR_FULL,
                               .number = hello->number,
                               .value = self->peer_bytes_max,
                               .extra = self->dead_ms};
    if (peer)
        peer->heard_us = loop_now_us(self->loop);
    if (peer)
        (void)send_to(self, peer, &welcome, NULL); /* gone again: it is marked lost */
    else
        (void)zlink_send(self->link, id, &welcome, NULL); /* gone: nobody to be told */
}

/* --- subscriptions --- */

static enum err add_subscription(struct zmq_switch *self, struct zpeer *peer,
                                 const struct envelope *envelope)
{
    if (map_get(peer->subscriptions, envelope->number))
        return ERR_PROTOCOL;
    struct zsubscription *subscription = mem_alloc(sizeof(*subscription));
    subscription->peer = peer;
    subscription->number = envelope->number;
    enum err err = map_put(peer->subscriptions, subscription->number, subscription);
    if (err == ERR_OK) {
        err =
            zroutes_add(self->routes, envelope->subject, envelope->reply, &subscription->listener);
        if (err != ERR_OK)
            (void)map_remove(peer->subscriptions, subscription->number); /* the one just put */
    }
    if (err != ERR_OK)
        mem_free(subscription);
    return err;
}

static void on_subscribe(struct zmq_switch *self, struct zpeer *peer,
                         const struct envelope *envelope)
{
    struct envelope confirm = {.kind = ENVELOPE_CONFIRM, .number = envelope->number};
    confirm.why = add_subscription(self, peer, envelope);
    (void)send_to(self, peer, &confirm, NULL); /* gone: it is marked lost */
}

static void on_unsubscribe(struct zmq_switch *self, struct zpeer *peer, uint64_t number)
{
    struct zsubscription *subscription = map_get(peer->subscriptions, number);
    if (subscription) /* else it was refused, or asked for in an earlier life */
        forget_subscription(self, subscription);
}

/* --- publishing --- */

static enum err deliver(struct zmq_switch *self, const struct publish *publish,
                        const struct zsubscription *subscription)
{
    struct zpeer *peer = subscription->peer;
    if (peer->lost)
        return ERR_CLOSED;
    if (publish->cost > self->peer_bytes_max - peer->waiting_bytes)
        return ERR_FULL;
    struct zwaiting *waiting = zpeer_push(peer);
    struct envelope envelope = publish->envelope;
    envelope.kind = ENVELOPE_DELIVER;
    envelope.number = waiting->number;
    envelope.value = subscription->number;
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    zmq_msg_copy(&frame, &publish->parts->part[PART_FRAME]);
    enum err err = send_to(self, peer, &envelope, &frame);
    zmq_msg_close(&frame);
    if (err != ERR_OK) {
        zpeer_drop_last(peer);
        return ERR_CLOSED;
    }
    zmq_msg_copy(&waiting->publish_bytes, &publish->parts->part[PART_ENVELOPE]);
    zmq_msg_copy(&waiting->frame, &publish->parts->part[PART_FRAME]);
    waiting->sender = publish->sender ? publish->sender->serial : 0; /* 0 is nobody */
    waiting->cost = publish->cost;
    peer->waiting_bytes += publish->cost;
    count_sent(self, &self->delivered_count);
    return ERR_OK;
}

/* Round robin, but a member that is full or gone is passed over while another has room. */
static enum err deliver_to_one(struct zmq_switch *self, const struct publish *publish,
                               struct zgroup *group)
{
    enum err err = ERR_NOT_FOUND;
    for (size_t i = 0; err != ERR_OK && i < group->member_count; i++) {
        struct list *first = list_pop_front(&group->members);
        list_push_back(&group->members, first);
        struct zlistener *listener = CONTAINER_OF(first, struct zlistener, link);
        err = deliver(self, publish, CONTAINER_OF(listener, struct zsubscription, listener));
    }
    return err;
}

static void tell(struct zmq_switch *self, struct publish *publish, enum err why, size_t settles)
{
    if (!publish->sender)
        return; /* only a closed sender hears nothing */
    bounce(self, publish->sender, &publish->parts->part[PART_ENVELOPE],
           &publish->parts->part[PART_FRAME], why, settles);
}

static void route(struct zmq_switch *self, struct publish *publish)
{
    struct list *groups = zroutes_find(self->routes, publish->envelope.subject);
    if (!groups) {
        publish->untold = ERR_NOT_FOUND;
        return;
    }
    LIST_FOREACH (link, groups) {
        enum err err = deliver_to_one(self, publish, CONTAINER_OF(link, struct zgroup, link));
        if (err != ERR_OK && publish->untold != ERR_OK)
            tell(self, publish, publish->untold, 0);
        if (err != ERR_OK)
            publish->untold = err;
    }
}

/* True if it keeps to its window (rule 2). */
static bool charge(struct zmq_switch *self, struct zpeer *sender, size_t cost)
{
    sender->unsettled_bytes += cost;
    return sender->unsettled_bytes <= 2 * ZLINK_OUT_WINDOWS * self->peer_bytes_max;
}

static void settle(struct zmq_switch *self, struct zpeer *sender, size_t cost)
{
    sender->unsettled_bytes -= cost;
    sender->settled_bytes += cost;
    if (!list_is_linked(&sender->owed_link))
        list_push_back(&self->owed, &sender->owed_link);
}

/* Also from one who has left: a process that ends may be found gone before all that it sent was
 * read. */
static void on_publish(struct zmq_switch *self, struct zpeer *sender,
                       const struct envelope *envelope, struct zparts *parts)
{
    struct publish publish = {.sender = sender, .envelope = *envelope, .parts = parts};
    publish.cost = zlink_cost(envelope, zmq_msg_size(&parts->part[PART_FRAME]));
    if (sender && !charge(self, sender, publish.cost)) {
        cut_off(self, sender);
        return;
    }
    route(self, &publish);
    if (publish.untold != ERR_OK)
        tell(self, &publish, publish.untold, publish.cost);
    else if (sender)
        settle(self, sender, publish.cost);
}

/* Once for all that a sender published in this batch. */
static void tell_settled(struct zmq_switch *self)
{
    for (struct list *link; (link = list_pop_front(&self->owed));) {
        struct zpeer *peer = CONTAINER_OF(link, struct zpeer, owed_link);
        struct envelope settled = {.kind = ENVELOPE_SETTLED, .value = peer->settled_bytes};
        peer->settled_bytes = 0;
        (void)send_to(self, peer, &settled, NULL); /* gone: it is marked lost */
    }
}

/* --- acknowledging --- */

static enum err acknowledge(struct zmq_switch *self, struct zpeer *peer, uint64_t number)
{
    if (number > peer->last_number)
        return ERR_PROTOCOL;
    for (struct zwaiting *first; (first = zpeer_first(peer)) && first->number <= number;)
        pop(self, peer);
    return ERR_OK;
}

static enum err reject(struct zmq_switch *self, struct zpeer *peer, uint64_t number)
{
    if (number == 0)
        return ERR_PROTOCOL;
    TRY(acknowledge(self, peer, number - 1));
    struct zwaiting *first = zpeer_first(peer);
    if (!first || first->number != number || first->is_bounce)
        return ERR_PROTOCOL;
    bounce_waiting(self, first, ERR_NOT_FOUND);
    pop(self, peer);
    return ERR_OK;
}

/* --- what peers say --- */

static enum err on_envelope(struct zmq_switch *self, struct zpeer *peer,
                            const struct envelope *envelope, struct zparts *parts)
{
    struct envelope pong = {.kind = ENVELOPE_PONG, .number = envelope->number};
    switch (envelope->kind) {
    case ENVELOPE_PUBLISH:
        on_publish(self, peer, envelope, parts);
        return ERR_OK;
    case ENVELOPE_ACK:
        return acknowledge(self, peer, envelope->number);
    case ENVELOPE_REJECT:
        return reject(self, peer, envelope->number);
    case ENVELOPE_SUBSCRIBE:
        on_subscribe(self, peer, envelope);
        return ERR_OK;
    case ENVELOPE_UNSUBSCRIBE:
        on_unsubscribe(self, peer, envelope->number);
        return ERR_OK;
    case ENVELOPE_PING:
        (void)send_to(self, peer, &pong, NULL); /* gone: it is marked lost */
        return ERR_OK;
    case ENVELOPE_CLOSE:
        TRY(acknowledge(self, peer, envelope->number));
        lose(self, peer);
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
        on_publish(self, NULL, envelope, parts);
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
        cut_off(self, peer);
    bury_lost(self);
}

static void on_ready(void *owner)
{
    struct zmq_switch *self = owner;
    for (int i = 0; i < ZLINK_BATCH; i++) {
        struct zparts parts;
        zparts_init(&parts);
        bool got = zlink_receive(self->link, &parts) == ERR_OK;
        if (got)
            on_message(self, &parts);
        zparts_fini(&parts);
        if (!got)
            break;
    }
    tell_settled(self);
    bury_lost(self);
}

/* --- life and death of peers --- */

/* A send finds out whether the process is there at all; only silence, whether it runs. */
static void look_at(struct zmq_switch *self, struct zpeer *peer, uint64_t now_us)
{
    const struct envelope ping = {.kind = ENVELOPE_PING};
    uint64_t silent_us = now_us - peer->heard_us;
    if (silent_us >= self->dead_us)
        cut_off(self, peer);
    else if (silent_us >= self->dead_us / LOOKS_PER_DEATH)
        (void)send_to(self, peer, &ping, NULL); /* gone: it is marked lost */
}

/* Rule 4: after a time in which nobody could be heard, silence says nothing. */
static void on_look(void *ctx)
{
    struct zmq_switch *self = ctx;
    uint64_t now_us = loop_now_us(self->loop);
    bool was_held_up = now_us - self->looked_us > 2 * self->dead_us / LOOKS_PER_DEATH;
    LIST_FOREACH_SAFE (link, &self->peers) {
        struct zpeer *peer = CONTAINER_OF(link, struct zpeer, link);
        if (was_held_up)
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
    self->routes = zroutes_new();
    list_init(&self->peers);
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
        lose(self, CONTAINER_OF(link, struct zpeer, link));
    bury_lost(self); /* bounces reach nobody: all are lost */
    if (self->listens)
        zmq_switch_unlisten(self->address);
    zlink_close(&self->link, 0);
    if (self->zmq_context)
        zmq_ctx_term(self->zmq_context);
    zroutes_free(self->routes);
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
