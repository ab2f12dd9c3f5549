/* memory - how much memory a process has, its share of what it shares counted in (PSS). */
#pragma once

#include "base/slice.h"

/* Reading /proc/PID/smaps_rollup makes the kernel walk the process's pages: milliseconds for a
 * large one, so ask from the pool. 0: it is gone, or not ours. */
uint64_t memory_pss_bytes(int pid);
/* The number of the line "Pss: 123 kB", in bytes; 0: there is none. Pure. */
uint64_t memory_parse_pss(struct slice rollup);
