/* zmq_switch_pass - what the switch does with a frame: charge it, pass it on, keep it until it is
 * acknowledged, or bring it back. See zmq_switch.h rules 1 and 2. */
#include "bus/zmq_switch_impl.h"

/* One PUBLISH while it is passed on. */
struct publish {
    struct zpeer *sender; /* NULL: not joined (any more) */
    struct envelope envelope;
    struct zparts *parts; /* id, envelope, frame */
    size_t cost;
    enum err untold; /* a bounce that was not sent yet: the last one settles */
};

/* --- sending to peers --- */

void zswitch_lose(struct zmq_switch *self, struct zpeer *peer)
{
    peer->lost = true;
    list_remove(&peer->link);
    list_push_back(&self->lost, &peer->link);
}

/* Its connection is gone. What came over it may not be read yet, and it may be at the door anew. */
static void set_unreachable(struct zmq_switch *self, struct zpeer *peer)
{
    peer->unreachable = true;
    list_remove(&peer->link);
    list_push_back(&self->unreachable, &peer->link);
    zlink_again(self->link);
}

enum err zswitch_send(struct zmq_switch *self, struct zpeer *peer, const struct envelope *envelope,
                      zmq_msg_t *frame)
{
    if (peer->lost || peer->unreachable)
        return ERR_CLOSED;
    enum err err = zlink_send(self->link, zpeer_id(peer), envelope, frame);
    if (err != ERR_OK)
        set_unreachable(self, peer);
    return err;
}

void zswitch_cut_off(struct zmq_switch *self, struct zpeer *peer)
{
    const struct envelope gone = {.kind = ENVELOPE_GONE};
    (void)zswitch_send(self, peer, &gone, NULL); /* it may be gone indeed */
    zswitch_lose(self, peer);
}

void zswitch_pop(struct zmq_switch *self, struct zpeer *peer)
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
    if (zswitch_send(self, sender, &envelope, &copy) == ERR_OK) {
        waiting->settles = settles;
        count_sent(self, &self->bounced_count);
    } else {
        zpeer_drop_last(sender);
    }
    zmq_msg_close(&copy);
}

void zswitch_bounce_waiting(struct zmq_switch *self, struct zwaiting *waiting, enum err why)
{
    struct zpeer *sender = map_get(self->by_serial, waiting->sender);
    if (sender && !waiting->is_bounce)
        bounce(self, sender, &waiting->publish_bytes, &waiting->frame, why, 0);
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
    (void)zswitch_send(self, peer, &envelope, &frame); /* else it waits until its fate is known */
    zmq_msg_close(&frame);
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
                               struct route_group *group)
{
    enum err err = ERR_NOT_FOUND;
    for (size_t i = 0; err != ERR_OK && i < group->member_count; i++) {
        struct list *first = list_pop_front(&group->members);
        list_push_back(&group->members, first);
        struct route_listener *listener = CONTAINER_OF(first, struct route_listener, link);
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
    struct list *groups = switch_routes_find(self->routes, publish->envelope.subject);
    if (!groups) {
        publish->untold = ERR_NOT_FOUND;
        return;
    }
    LIST_FOREACH (link, groups) {
        enum err err = deliver_to_one(self, publish, CONTAINER_OF(link, struct route_group, link));
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
void zswitch_publish(struct zmq_switch *self, struct zpeer *sender, const struct envelope *envelope,
                     struct zparts *parts)
{
    struct publish publish = {.sender = sender, .envelope = *envelope, .parts = parts};
    publish.cost = zlink_cost(envelope, zmq_msg_size(&parts->part[PART_FRAME]));
    if (sender && !charge(self, sender, publish.cost)) {
        zswitch_cut_off(self, sender);
        return;
    }
    route(self, &publish);
    if (publish.untold != ERR_OK)
        tell(self, &publish, publish.untold, publish.cost);
    else if (sender)
        settle(self, sender, publish.cost);
}

/* Once for all that a sender published in this batch. */
void zswitch_tell_settled(struct zmq_switch *self)
{
    for (struct list *link; (link = list_pop_front(&self->owed));) {
        struct zpeer *peer = CONTAINER_OF(link, struct zpeer, owed_link);
        struct envelope settled = {.kind = ENVELOPE_SETTLED, .value = peer->settled_bytes};
        peer->settled_bytes = 0;
        (void)zswitch_send(self, peer, &settled, NULL); /* gone: it is marked lost */
    }
}

/* --- acknowledging --- */

enum err zswitch_acknowledge(struct zmq_switch *self, struct zpeer *peer, uint64_t number)
{
    if (number > peer->last_number)
        return ERR_PROTOCOL;
    for (struct zwaiting *first; (first = zpeer_first(peer)) && first->number <= number;)
        zswitch_pop(self, peer);
    return ERR_OK;
}

enum err zswitch_reject(struct zmq_switch *self, struct zpeer *peer, uint64_t number)
{
    if (number == 0)
        return ERR_PROTOCOL;
    TRY(zswitch_acknowledge(self, peer, number - 1));
    struct zwaiting *first = zpeer_first(peer);
    if (!first || first->number != number || first->is_bounce)
        return ERR_PROTOCOL;
    zswitch_bounce_waiting(self, first, ERR_NOT_FOUND);
    zswitch_pop(self, peer);
    return ERR_OK;
}
