/* bus_switch_pass - what the switch does with a frame: charge it, pass it on, keep it until it is
 * acknowledged, or bring it back. See bus_switch.h rules 1 and 2. */
#include "bus/bus_switch_impl.h"

/* One PUBLISH while it is passed on. */
struct publish {
    struct switch_peer *sender;
    struct envelope envelope;
    struct parcel *parcel;
    size_t cost;
    enum err untold; /* a bounce that was not sent yet: the last one settles */
};

void switch_pop(struct bus_switch *self, struct switch_peer *peer)
{
    switch_peer_pop(peer);
    atomic_fetch_sub(&self->waiting_count, 1);
}

static void count_sent(struct bus_switch *self, atomic_size_t *count)
{
    atomic_fetch_add(&self->waiting_count, 1);
    atomic_fetch_add(count, 1);
}

/* The parcel begins with the sender's own envelope: subject and reply are in it. */
static void bounce(struct bus_switch *self, struct switch_peer *sender, struct parcel *parcel,
                   enum err why, size_t settles)
{
    struct envelope envelope;
    struct slice frame;
    enum err err = envelope_decode_front(slice_of(parcel->bytes, parcel->len), &envelope, &frame);
    ASSERT(err == ERR_OK); /* it was decoded when it came */
    envelope.kind = ENVELOPE_BOUNCE;
    envelope.why = why;
    envelope.value = settles;
    struct waiting *waiting = switch_peer_push(sender, &envelope, parcel);
    waiting->is_bounce = true;
    waiting->settles = settles;
    count_sent(self, &self->bounced_count);
}

void switch_bounce_waiting(struct bus_switch *self, struct waiting *waiting, enum err why)
{
    if (waiting->is_bounce)
        return;
    struct switch_peer *sender = map_get(self->by_serial, waiting->sender);
    if (sender && sender->joined)
        bounce(self, sender, waiting->parcel, why, 0);
}

/* --- publishing --- */

static enum err deliver(struct bus_switch *self, const struct publish *publish,
                        const struct subscription *subscription)
{
    struct switch_peer *peer = subscription->peer;
    if (publish->cost > self->peer_bytes_max - peer->waiting_bytes)
        return ERR_FULL;
    struct envelope envelope = publish->envelope;
    envelope.kind = ENVELOPE_DELIVER;
    envelope.value = subscription->number;
    struct waiting *waiting = switch_peer_push(peer, &envelope, publish->parcel);
    waiting->sender = publish->sender->serial;
    waiting->cost = publish->cost;
    peer->waiting_bytes += publish->cost;
    count_sent(self, &self->delivered_count);
    return ERR_OK;
}

/* Round robin, but a member that is full is passed over while another has room. */
static enum err deliver_to_one(struct bus_switch *self, const struct publish *publish,
                               struct route_group *group)
{
    enum err err = ERR_NOT_FOUND;
    for (size_t i = 0; err != ERR_OK && i < group->member_count; i++) {
        struct list *first = list_pop_front(&group->members);
        list_push_back(&group->members, first);
        struct route_listener *listener = CONTAINER_OF(first, struct route_listener, link);
        err = deliver(self, publish, CONTAINER_OF(listener, struct subscription, listener));
    }
    return err;
}

static void route(struct bus_switch *self, struct publish *publish)
{
    struct list *groups = switch_routes_find(self->routes, publish->envelope.subject);
    if (!groups) {
        publish->untold = ERR_NOT_FOUND;
        return;
    }
    LIST_FOREACH (link, groups) {
        enum err err = deliver_to_one(self, publish, CONTAINER_OF(link, struct route_group, link));
        if (err != ERR_OK && publish->untold != ERR_OK)
            bounce(self, publish->sender, publish->parcel, publish->untold, 0);
        if (err != ERR_OK)
            publish->untold = err;
    }
}

/* False: it does not keep to its window (rule 2). */
static bool charge(struct bus_switch *self, struct switch_peer *sender, size_t cost)
{
    sender->unsettled_bytes += cost;
    return sender->unsettled_bytes <= 2 * BUS_OUT_WINDOWS * self->peer_bytes_max;
}

/* It is told when something else goes its way, or when it is an eighth of its window: a message of
 * its own for each would wake the sender once more for every frame. */
static void settle(struct bus_switch *self, struct switch_peer *sender, size_t cost)
{
    sender->unsettled_bytes -= cost;
    sender->settled_bytes += cost;
    if (sender->settled_bytes >= self->peer_bytes_max)
        switch_tell_settled(sender);
}

void switch_tell_settled(struct switch_peer *peer)
{
    if (peer->settled_bytes == 0)
        return;
    const struct envelope settled = {.kind = ENVELOPE_SETTLED, .value = peer->settled_bytes};
    peer->settled_bytes = 0;
    bus_link_say(peer->link, &settled);
}

enum err switch_publish(struct bus_switch *self, struct switch_peer *sender,
                        const struct framed *framed)
{
    struct publish publish = {.sender = sender, .envelope = framed->envelope};
    publish.cost = bus_cost(&framed->envelope, framed->frame.len);
    if (!charge(self, sender, publish.cost))
        return ERR_LIMIT;
    publish.parcel = framed_keep(framed);
    if (!publish.parcel)
        return ERR_LIMIT;
    route(self, &publish);
    if (publish.untold != ERR_OK)
        bounce(self, sender, publish.parcel, publish.untold, publish.cost);
    else
        settle(self, sender, publish.cost);
    parcel_unref(publish.parcel);
    return ERR_OK;
}

/* --- acknowledging --- */

/* Nobody has handled what has not left. */
static bool has_left(const struct waiting *waiting)
{
    return !list_is_linked(&waiting->piece.link);
}

enum err switch_acknowledge(struct bus_switch *self, struct switch_peer *peer, uint64_t number)
{
    if (number > peer->last_number)
        return ERR_PROTOCOL;
    for (struct waiting *first; (first = switch_peer_first(peer)) && first->number <= number;) {
        if (!has_left(first))
            return ERR_PROTOCOL;
        switch_pop(self, peer);
    }
    return ERR_OK;
}

enum err switch_reject(struct bus_switch *self, struct switch_peer *peer, uint64_t number)
{
    if (number == 0)
        return ERR_PROTOCOL;
    TRY(switch_acknowledge(self, peer, number - 1));
    struct waiting *first = switch_peer_first(peer);
    if (!first || first->number != number || first->is_bounce || !has_left(first))
        return ERR_PROTOCOL;
    switch_bounce_waiting(self, first, ERR_NOT_FOUND);
    switch_pop(self, peer);
    return ERR_OK;
}
