/* bus_mem_routes - the table of bus_mem that threads share: who listens to which subject.
 *
 * 1. A route is what one subject leads to at one moment. It never changes once it is made:
 * subscribing makes a new one. So the lock is held for a lookup and a reference, and delivery needs
 * none.
 * 2. A target names a subscription by peer and number, not by pointer: a number that is no longer
 *    known there bounces.
 * Any thread. */
#pragma once

#include "base/list.h"
#include "base/slice.h"
#include "bus/bus.h"

#include <stdatomic.h>

struct peer;
struct routes;

enum { ROUTES_SUBJECTS_MAX = 65536 };

struct target {
    struct peer *peer; /* a reference of the route's */
    uint64_t subscription_id;
};

/* One of its targets gets the message: all members of a queue group, or a subscription without one
 * alone. */
struct choice {
    size_t first_target, target_count;
    atomic_uint next; /* round robin */
};

struct route {
    atomic_uint refs;
    size_t choice_count;
    struct choice *choices;
    struct target *targets;
};

/* One subscription in the table; lives inside its owner. */
struct listener {
    struct list link; /* in its subject */
    struct subject *subject;
    struct target target; /* the owner holds the reference to the peer */
    char group[BUS_SUBJECT_MAX_BYTES];
    size_t group_bytes; /* 0: no group */
};

struct routes *routes_new(void);
void routes_free(struct routes *routes); /* every listener must be gone */

/* ERR_FULL: ROUTES_SUBJECTS_MAX different subjects. */
MUST_USE enum err routes_add(struct routes *routes, struct slice subject,
                             struct listener *listener);
void routes_remove(struct routes *routes, struct listener *listener);

/* NULL when nobody listens. Give it back with route_unref(). */
struct route *routes_find(struct routes *routes, struct slice subject);
void route_unref(struct route *route);
