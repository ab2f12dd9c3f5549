/* manager_state - "here I am": the manager on "state.manager", every MANAGER_STATE_INTERVAL_MS,
 * when a queue changed (at most every 50 ms), and at once when it starts or hears of a node that it
 * does not know. A worker that has not talked to this `control` yet registers there (load.h). JSON.
 * Pure.
 */
#pragma once

#include "base/arena.h"
#include "base/text.h"

enum { MANAGER_STATE_INTERVAL_MS = 500, MANAGER_STATE_QUEUES_MAX = 256 };

struct manager_queue {
    struct slice model;
    uint32_t queued;
};
struct manager_state {
    struct slice manager; /* unique: name + generation */
    struct slice control; /* its inbox: load, waiting and cancel go there */
    const struct manager_queue *queues;
    size_t queue_count; /* models that nobody waits for may be left out */
};
/* Queues beyond MANAGER_STATE_QUEUES_MAX are left out. Text overflow shows in text_status(). */
void manager_state_encode(const struct manager_state *state, struct text *out);
/* Everything is copied into the arena. ERR_PROTOCOL, ERR_LIMIT (names beyond 256 bytes, a control
 * beyond 160, more queues than MANAGER_STATE_QUEUES_MAX, no room). */
MUST_USE enum err manager_state_decode(struct slice payload, struct arena *arena,
                                       struct manager_state *out_state);
