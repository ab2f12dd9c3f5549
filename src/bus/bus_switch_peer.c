/* bus_switch_peer - peers and what waits for them. See bus_switch_peer.h. */
#include "bus/bus_switch_peer.h"

#include "base/mem.h"

struct switch_peer *switch_peer_new(struct bus_switch *bus_switch, uint64_t serial)
{
    struct switch_peer *peer = mem_alloc(sizeof(*peer));
    peer->bus_switch = bus_switch;
    peer->serial = serial;
    list_init(&peer->node);
    list_init(&peer->waiting);
    peer->subscriptions = map_new(PEER_SUBSCRIPTIONS_MAX);
    return peer;
}

void switch_peer_free(struct switch_peer *peer)
{
    ASSERT(map_count(peer->subscriptions) == 0 && list_is_empty(&peer->waiting));
    ASSERT(peer->waiting_bytes == 0);
    list_remove(&peer->node);
    bus_link_close(&peer->link);
    map_free(peer->subscriptions);
    mem_free(peer);
}

void switch_peer_begin_anew(struct switch_peer *peer)
{
    ASSERT(list_is_empty(&peer->waiting) && peer->waiting_bytes == 0);
    size_t cursor = 0;
    void *subscription;
    for (uint64_t number; map_next(peer->subscriptions, &cursor, &number, &subscription);)
        ((struct subscription *)subscription)->is_stale = true;
    peer->has_stale = map_count(peer->subscriptions) > 0;
    peer->last_number = 0;
    peer->unsettled_bytes = 0;
    peer->settled_bytes = 0;
}

struct waiting *switch_peer_push(struct switch_peer *peer, const struct envelope *envelope,
                                 struct parcel *parcel)
{
    struct waiting *waiting = mem_alloc(sizeof(*waiting));
    struct envelope numbered = *envelope;
    struct slice body = slice_after(slice_of(parcel->bytes, parcel->len), ENVELOPE_HEAD_BYTES);
    numbered.number = waiting->number = ++peer->last_number;
    waiting->parcel = parcel_ref(parcel);
    waiting->piece.body = body;
    list_init(&waiting->piece.link);
    framing_put_head(&numbered, body.len - envelope->subject.len - envelope->reply.len,
                     waiting->piece.head);
    list_push_back(&peer->waiting, &waiting->node);
    bus_link_push(peer->link, &waiting->piece);
    return waiting;
}

struct waiting *switch_peer_first(struct switch_peer *peer)
{
    if (list_is_empty(&peer->waiting))
        return NULL;
    return CONTAINER_OF(peer->waiting.next, struct waiting, node);
}

static void waiting_release(struct piece *piece)
{
    struct waiting *waiting = CONTAINER_OF(piece, struct waiting, piece);
    parcel_unref(waiting->parcel);
    mem_free(waiting);
}

/* One that is half out stays until it has left. */
void switch_peer_pop(struct switch_peer *peer)
{
    struct waiting *waiting = switch_peer_first(peer);
    list_remove(&waiting->node);
    peer->waiting_bytes -= waiting->cost;
    peer->unsettled_bytes -= waiting->settles;
    if (list_is_linked(&waiting->piece.link))
        waiting->piece.release = waiting_release;
    else
        waiting_release(&waiting->piece);
}
