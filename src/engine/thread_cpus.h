/* thread_cpus - the calling thread, and those that it starts, on some processors only. Memory that
 * they touch first is then near those, too. */
#pragma once

#include "base/err.h"

#include <sched.h>

struct thread_cpus { /* zero: nothing to undo */
    cpu_set_t before;
    bool is_set;
};

/* ERR_LIMIT: not all of `cpus` are among those that this thread may use (note). NULL: any. */
MUST_USE enum err thread_cpus_set(const cpu_set_t *cpus, struct thread_cpus *out_own,
                                  struct err_note *out_note);
void thread_cpus_undo(struct thread_cpus *own); /* the same thread's; again is harmless */
