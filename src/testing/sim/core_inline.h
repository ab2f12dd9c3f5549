/* core_inline - worker/core_thread.h without its thread: the core runs on the loop, a step takes
 * virtual time. Linked into the simulator in place of worker/core_thread.c. Its core has no should-
 * abort: a step is whole or did not happen. */
#pragma once

#include "worker/core_thread.h"

/* How the engine of one worker runs. Lives in its owner, longer than the core thread. */
struct core_pace {
    uint32_t load_us, step_us; /* at least 1 */
    bool is_stalled;           /* core_pace_stall() writes it */
    struct core_thread *thread;
};

/* For the next core_thread_start(). */
void core_inline_next(struct core_pace *pace);
/* The engine hangs: no step, no part of a load ends while it does. */
void core_pace_stall(struct core_pace *pace, bool is_stalled);
