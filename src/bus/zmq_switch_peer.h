/* zmq_switch_peer - an endpoint as the switch sees it: its subscriptions, what waits for it, what
 * it has sent that is not settled. Included by zmq_switch*.c only.
 *
 * Deliveries and bounces to a peer share one numbering and one queue; acknowledgements take from
 * its front. */
#pragma once

#include "base/map.h"
#include "bus/bus_zmq_link.h"
#include "bus/switch_routes.h"

enum { ZPEER_ID_MAX_BYTES = 255, ZPEER_SUBSCRIPTIONS_MAX = 65536 };

struct zpeer {
    struct list link;      /* in the switch's peers, its unreachable or its lost ones */
    struct list owed_link; /* while settled_bytes is to be told */
    uint64_t serial;       /* never used again */
    uint64_t hash;         /* of id */
    bool lost;             /* to be buried at the end of this batch */
    bool unreachable;      /* its connection is gone: it comes back, or is lost soon */
    uint64_t heard_us;
    bool has_stale;            /* subscriptions of before it began anew */
    struct map *subscriptions; /* number -> struct zsubscription */
    struct list waiting;       /* struct zwaiting.link */
    size_t waiting_bytes;      /* of deliveries; never above peer_bytes_max */
    uint64_t last_number;
    size_t unsettled_bytes; /* published by it */
    size_t settled_bytes;   /* and not told yet */
    size_t id_bytes;
    char id[ZPEER_ID_MAX_BYTES];
};

struct zsubscription {
    struct route_listener listener;
    struct zpeer *peer;
    uint64_t number;
    bool is_stale; /* its peer has begun anew, and has not named it again yet */
};

/* What was passed on and not acknowledged. */
struct zwaiting {
    struct list link;
    uint64_t number;
    bool is_bounce;
    size_t cost;             /* 0 of a bounce: its sender's window bounds it */
    size_t settles;          /* of a bounce: what its handling settles of the peer's own */
    uint64_t sender;         /* serial; deliveries only, as the rest */
    zmq_msg_t publish_bytes; /* the envelope as the sender wrote it */
    zmq_msg_t frame;
};

struct zpeer *zpeer_new(struct slice id, uint64_t serial);
void zpeer_free(struct zpeer *peer); /* no subscription, nothing waiting */
/* As if it had just joined, but for its subscriptions, which are stale now. Nothing waits. */
void zpeer_begin_anew(struct zpeer *peer);
struct slice zpeer_id(const struct zpeer *peer);

/* Numbers it and puts it last. Messages inside are initialised, empty. */
struct zwaiting *zpeer_push(struct zpeer *peer);
struct zwaiting *zpeer_first(struct zpeer *peer); /* NULL when nothing waits */
void zpeer_pop(struct zpeer *peer);               /* the first one, with its accounts */
void zpeer_drop_last(struct zpeer *peer);         /* it could not be sent: as if never pushed */
