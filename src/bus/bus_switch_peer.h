/* bus_switch_peer - an endpoint as the switch sees it: its connection, its subscriptions, what
 * waits for it, what it has sent that is not settled. Included by bus_switch*.c only.
 *
 * Deliveries and bounces to a peer share one numbering and one queue; acknowledgements take from
 * its front. */
#pragma once

#include "base/map.h"
#include "bus/bus_link.h"
#include "bus/switch_routes.h"

enum {
    PEER_SUBSCRIPTIONS_MAX = 65536,
    PEER_ANSWERS_MAX = PEER_SUBSCRIPTIONS_MAX + 1024, /* that it has not read */
};

struct bus_switch;

struct switch_peer {
    struct bus_switch *bus_switch;
    struct bus_link *link;
    struct list node;          /* in the switch's peers, or its strangers */
    uint64_t serial;           /* never used again */
    bool joined;               /* it said HELLO, and there was room */
    bool lost;                 /* to be buried when its message in hand is done */
    uint64_t heard_us;         /* of a stranger: since when it is here */
    bool has_stale;            /* subscriptions of before it began anew */
    struct map *subscriptions; /* number -> struct subscription */
    struct list waiting;       /* struct waiting.node */
    size_t waiting_bytes;      /* of deliveries; never above peer_bytes_max */
    uint64_t last_number;
    size_t unsettled_bytes; /* published by it */
    size_t settled_bytes;   /* and not told yet */
};

struct subscription {
    struct route_listener listener;
    struct switch_peer *peer;
    uint64_t number;
    bool is_stale; /* its peer has begun anew, and has not named it again yet */
};

/* What was passed on and not acknowledged. */
struct waiting {
    struct list node;
    struct piece piece; /* on its way out; its body lies in parcel */
    uint64_t number;
    bool is_bounce;
    size_t cost;           /* 0 of a bounce: the window bounds what never left, the cap of a
                              receiver that dies or begins anew what comes back then */
    size_t settles;        /* of a bounce: what its handling settles of the peer's own */
    uint64_t sender;       /* serial; of a delivery */
    struct parcel *parcel; /* what the sender wrote: its envelope, and the frame */
};

/* Not joined; without a link yet. */
struct switch_peer *switch_peer_new(struct bus_switch *bus_switch, uint64_t serial);
void switch_peer_free(
    struct switch_peer *peer); /* no subscription, nothing waiting; closes the link */
/* As if it had just joined, but for its subscriptions, which are stale now. Nothing waits. */
void switch_peer_begin_anew(struct switch_peer *peer);

/* Numbers it, puts it last, and lets it leave: `envelope` says the rest. Takes a reference. */
struct waiting *switch_peer_push(struct switch_peer *peer, const struct envelope *envelope,
                                 struct parcel *parcel);
struct waiting *switch_peer_first(struct switch_peer *peer); /* NULL when nothing waits */
void switch_peer_pop(struct switch_peer *peer);              /* the first one, with its accounts */
