/* restart - when a role's process is started again. Pure: events and the time in, one action out.
 *
 *             +------------------------- RESTART_START ------------------------+
 *             v                                                                |
 *   STARTING --ready--> READY --ends--> (at once, or) DEAD --time--------------+
 *      |  |               |                                                    |
 *      |  +--draining-----+--> DRAINING --ends--> (at once) -------------------+
 *      +--ends, the third time in a row--> HELD_BACK --time, retry-------------+
 *
 * A role that overlaps (its successor starts while it drains) goes from draining straight to
 * STARTING: the process that drains is then no longer this object's business, and its end is not
 * told here.
 *
 * 1. At most one process at a time is between RESTART_START and its end (or its draining, if the
 *    role overlaps).
 * 2. The first crash is followed by a start at once. Two starts are at least 250 ms, 500 ms, 1 s
 *    apart (and not more) for the second, third, fourth process in a row that lived less than 30 s.
 *    Counted from start to start: who served for a second is always replaced at once.
 * 3. Crashes before the role was ready, or within 200 ms after and before it was given work, are
 *    counted on; any other one begins a new row of one. Three in a row hold a role back: for 30 s,
 *    doubling up to 5 minutes, or until a retry. A vital role ends the service instead, and of one
 *    that ever served only crashes before it was ready count. Who served has shown that it can: its
 *    end is somebody's doing (a request's, a signal's), and holding it back would hurt all others.
 *    (A request that kills whom it is given to meets four in a row, as soon as they are ready.)
 * 4. Who drained by itself and ended as it should is replaced at once, and that is no crash. */
#pragma once

#include "base/err.h"

enum restart_state {
    RESTART_STARTING,
    RESTART_READY,
    RESTART_DRAINING,
    RESTART_DEAD,
    RESTART_HELD_BACK,
    RESTART_STATE_COUNT
};
const char *restart_state_name(enum restart_state state); /* "starting" ... */

enum restart_event {
    RESTART_IS_READY,
    RESTART_WORKS, /* it has something to do; as often as you like */
    RESTART_DRAINS,
    RESTART_ENDED,   /* the process is gone; after draining it may be */
    RESTART_CRASHED, /* it is gone, and should not be; or could not be started at all */
    RESTART_TIME,    /* due_us may have come */
    RESTART_RETRY,   /* whoever is held back may try at once */
    RESTART_EVENT_COUNT
};

enum restart_action {
    RESTART_NOTHING,
    RESTART_START,        /* a process, now */
    RESTART_HOLD,         /* it was just held back: tell everybody */
    RESTART_GIVE_UP,      /* the service cannot go on */
    RESTART_START_ANOTHER /* a process, now, beside the one that drains */
};

enum {
    RESTART_SPACING_US = 250 * 1000,
    RESTART_SPACING_MAX_US = 1000 * 1000,
    RESTART_PROVEN_US = 30 * 1000 * 1000, /* who lived so long begins a new row */
    RESTART_ROW = 3,
    RESTART_SERVED_US = 200 * 1000, /* ready for so long: it served */
    RESTART_HOLD_US = 30 * 1000 * 1000,
    RESTART_HOLD_MAX_US = 300 * 1000 * 1000,
};

struct restart {
    bool overlaps, is_vital;
    enum restart_state state;
    bool was_ever_ready;
    bool is_ready, is_proven; /* this process was ready; and was given work then */
    bool has_served;          /* one of its processes did, ever */
    unsigned useless_row;     /* crashes since a process served */
    unsigned quick_row; /* processes that lived less than RESTART_PROVEN_US, since one did not */
    uint64_t started_us, ready_us /* if is_ready */, due_us /* in DEAD and HELD_BACK */, hold_us;
    uint64_t restarts; /* processes after the first */
};

/* Its first process starts now. */
void restart_init(struct restart *restart, bool overlaps, bool is_vital, uint64_t now_us);
/* Events that mean nothing in this state (late ones) change nothing. */
MUST_USE enum restart_action restart_step(struct restart *restart, enum restart_event event,
                                          uint64_t now_us);
/* When RESTART_TIME is due; UINT64_MAX: never. */
uint64_t restart_due_us(const struct restart *restart);
