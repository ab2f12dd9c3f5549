/* switch_routes - the table of the switch: who listens to which subject. Pure; one thread.
 *
 * A subject has groups, a group has members; a subscription without a group is a group of its own.
 * A message goes to one member of every group. */
#pragma once

#include "base/list.h"
#include "base/slice.h"
#include "bus/bus.h"

enum { SWITCH_SUBJECTS_MAX = 65536 };

struct switch_routes;

struct route_group {
    struct list link;    /* in its subject */
    struct list members; /* struct route_listener.link; the first one is the next to be served */
    size_t member_count;
    struct route_subject *subject;
    size_t bytes; /* 0: a group of one */
    char name[];
};

struct route_listener { /* lives inside its owner */
    struct list link;
    struct route_group *group;
};

struct switch_routes *switch_routes_new(void);
void switch_routes_free(
    struct switch_routes *routes); /* every listener must be gone; NULL is fine */

/* ERR_FULL: SWITCH_SUBJECTS_MAX different subjects. */
MUST_USE enum err switch_routes_add(struct switch_routes *routes, struct slice subject,
                                    struct slice group, struct route_listener *listener);
void switch_routes_remove(struct switch_routes *routes, struct route_listener *listener);
/* struct route_group.link of those who get a message on it; NULL when nobody listens. */
struct list *switch_routes_find(struct switch_routes *routes, struct slice subject);
