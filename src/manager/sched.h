/* sched - the decisions about one model: what its requests can hope for, and which worker gets the
 * next one. Pure: no bus, no clock, no memory but its own structs, which live inside their owners.
 *
 * 1. A worker counts its room itself (wire/load.h): room is absolute, as of the assignments it had
 *    seen; what it was given since is taken off here.
 * 2. The next request goes to the worker with most room relative to its slots; among equals to the
 *    one that was picked longest ago.
 *    An answer that was begun elsewhere (continuation.h) goes to no worker that is known to have
 *    other numerics: it would go on with another answer; and to one that does not know its own only
 *    if none that has the same has room. One that has adapters and does not know its own yet would
 *    refuse it (worker_stream): it gets none.
 * 3. A model is served as soon as one worker is ready. While nobody is, it waits as long as
 *    somebody may come: one that loads, or one that was there. Workers that fail or drain by
 *    themselves, and those that served a moment ago, have SCHED_HOPE_MS to be replaced; else hosts
 *    that hold all its workers back (failed, and no worker behind them) are believed at once. One
 *    host of several says nothing of the other workers. */
#pragma once

#include "base/list.h"
#include "wire/load.h"
#include "wire/node_state.h"

enum { SCHED_HOPE_MS = 1000, SCHED_SLOTS_MAX = 65536 };

enum sched_outlook {
    OUTLOOK_ABSENT,   /* no node at all */
    OUTLOOK_LOADING,  /* somebody will be ready, or may be replaced yet */
    OUTLOOK_SERVED,   /* a worker is ready */
    OUTLOOK_DRAINING, /* all are leaving, and nobody comes */
    OUTLOOK_FAILED,   /* nobody is left who could serve it */
    OUTLOOK_COUNT
};

struct sched_node {   /* zero it, then list_init() its link */
    struct list link; /* in its model's nodes */
    enum node_phase phase;
    bool is_worker;  /* it has told its load: requests can be given to it */
    bool is_doubted; /* somebody thinks that it is gone: it is not picked until it tells its load */
    bool has_adapters;
    float load_fraction;
    uint32_t slots, room;                      /* as it said last */
    uint32_t given;                            /* assignments it has not seen yet */
    char numerics[NODE_FINGERPRINT_BYTES + 1]; /* its fingerprint; "": it does not know it */
};

struct sched_model {
    struct list nodes; /* struct sched_node.link; who was picked last is at the end */
    enum sched_outlook outlook;
    uint32_t slots, room;       /* of all ready workers */
    float load_fraction;        /* of the node that is furthest */
    bool is_coming;             /* one loads, whether others serve or not */
    uint64_t hopeless_since_us; /* 0: there is hope */
    bool was_served;            /* just before that */
};

void sched_model_init(struct sched_model *model);
/* Absolute, and bounded by SCHED_SLOTS_MAX: what a worker says is not believed beyond it. */
void sched_take_load(struct sched_node *node, const struct wire_load *load);
/* How many more requests the node takes now. */
uint32_t sched_room(const struct sched_node *node);
/* After any change of its nodes, and when sched_wake_us() has come. */
void sched_review(struct sched_model *model, uint64_t now_us);
/* When the outlook changes by itself; UINT64_MAX: never. */
uint64_t sched_wake_us(const struct sched_model *model);
void sched_take_numerics(struct sched_node *node, struct slice fingerprint);
/* Some worker has room for an answer that was begun with such numerics ("": a new one). */
bool sched_has_room(const struct sched_model *model, const char *numerics);
/* Who gets the next one: counted as given. NULL: nobody has room. */
struct sched_node *sched_pick(struct sched_model *model, const char *numerics);
