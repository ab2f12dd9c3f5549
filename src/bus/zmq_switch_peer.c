/* zmq_switch_peer - peers and what waits for them. See zmq_switch_peer.h. */
#include "bus/zmq_switch_peer.h"

#include "base/hash.h"
#include "base/mem.h"

struct zpeer *zpeer_new(struct slice id, uint64_t serial)
{
    ASSERT(id.len > 0 && id.len <= ZPEER_ID_MAX_BYTES);
    struct zpeer *peer = mem_alloc(sizeof(*peer));
    list_init(&peer->link);
    list_init(&peer->owed_link);
    list_init(&peer->waiting);
    peer->serial = serial;
    peer->hash = hash_bytes(id);
    peer->subscriptions = map_new(ZPEER_SUBSCRIPTIONS_MAX);
    memcpy(peer->id, id.data, id.len);
    peer->id_bytes = id.len;
    return peer;
}

void zpeer_free(struct zpeer *peer)
{
    ASSERT(map_count(peer->subscriptions) == 0 && list_is_empty(&peer->waiting));
    ASSERT(peer->waiting_bytes == 0);
    list_remove(&peer->link);
    list_remove(&peer->owed_link);
    map_free(peer->subscriptions);
    mem_free(peer);
}

void zpeer_begin_anew(struct zpeer *peer)
{
    ASSERT(list_is_empty(&peer->waiting) && peer->waiting_bytes == 0);
    size_t cursor = 0;
    void *subscription;
    for (uint64_t number; map_next(peer->subscriptions, &cursor, &number, &subscription);)
        ((struct zsubscription *)subscription)->is_stale = true;
    peer->has_stale = map_count(peer->subscriptions) > 0;
    peer->unreachable = false;
    peer->last_number = 0;
    peer->unsettled_bytes = 0;
    peer->settled_bytes = 0;
    list_remove(&peer->owed_link);
}

struct slice zpeer_id(const struct zpeer *peer)
{
    return slice_of(peer->id, peer->id_bytes);
}

struct zwaiting *zpeer_push(struct zpeer *peer)
{
    struct zwaiting *waiting = mem_alloc(sizeof(*waiting));
    zmq_msg_init(&waiting->publish_bytes);
    zmq_msg_init(&waiting->frame);
    waiting->number = ++peer->last_number;
    list_push_back(&peer->waiting, &waiting->link);
    return waiting;
}

struct zwaiting *zpeer_first(struct zpeer *peer)
{
    if (list_is_empty(&peer->waiting))
        return NULL;
    return CONTAINER_OF(peer->waiting.next, struct zwaiting, link);
}

static void waiting_free(struct zwaiting *waiting)
{
    list_remove(&waiting->link);
    zmq_msg_close(&waiting->publish_bytes);
    zmq_msg_close(&waiting->frame);
    mem_free(waiting);
}

void zpeer_pop(struct zpeer *peer)
{
    struct zwaiting *waiting = zpeer_first(peer);
    peer->waiting_bytes -= waiting->cost;
    peer->unsettled_bytes -= waiting->settles;
    waiting_free(waiting);
}

void zpeer_drop_last(struct zpeer *peer)
{
    struct zwaiting *waiting = CONTAINER_OF(peer->waiting.prev, struct zwaiting, link);
    peer->last_number--;
    waiting_free(waiting); /* its accounts were not touched yet */
}
