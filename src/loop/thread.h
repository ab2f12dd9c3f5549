/* thread - named threads, started and joined. */
#pragma once

#include "base/err.h"

struct thread;
/* `name` at most 15 bytes (it shows in top and gdb). Signals are blocked in it. It runs on the
 * processors of the process's main thread, whichever its starter stays on. ERR_SYSTEM. */
MUST_USE enum err thread_start(const char *name, void (*run)(void *ctx), void *ctx,
                               struct thread **out_thread);
void thread_join(struct thread **thread); /* sets it NULL; NULL inside is fine */
unsigned
thread_cores(void); /* cores this process may run on, at least 1 (affinity, cgroup quota) */
