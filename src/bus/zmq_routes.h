/* zmq_routes - the table of the switch: who listens to which subject. Pure; one thread.
 *
 * A subject has groups, a group has members; a subscription without a group is a group of its own.
 * A message goes to one member of every group. */
#pragma once

#include "base/list.h"
#include "base/slice.h"
#include "bus/bus.h"

enum { ZROUTES_SUBJECTS_MAX = 65536 };

struct zroutes;

struct zgroup {
    struct list link;    /* in its subject */
    struct list members; /* struct zlistener.link; the first one is the next to be served */
    size_t member_count;
    struct zsubject *subject;
    size_t bytes; /* 0: a group of one */
    char name[];
};

struct zlistener { /* lives inside its owner */
    struct list link;
    struct zgroup *group;
};

struct zroutes *zroutes_new(void);
void zroutes_free(struct zroutes *routes); /* every listener must be gone; NULL is fine */

/* ERR_FULL: ZROUTES_SUBJECTS_MAX different subjects. */
MUST_USE enum err zroutes_add(struct zroutes *routes, struct slice subject, struct slice group,
                              struct zlistener *listener);
void zroutes_remove(struct zroutes *routes, struct zlistener *listener);
/* struct zgroup.link of those who get a message on it; NULL when nobody listens. */
struct list *zroutes_find(struct zroutes *routes, struct slice subject);
