/* clock - what time it is. Pure code takes `now` as a parameter; only loops and mains read clocks.
 * Monotonic time is for durations and deadlines; wall time is for logs and the store. */
#pragma once

#include "base/err.h"

uint64_t clock_monotonic_us(void);
int64_t clock_wall_ms(void); /* since 1970-01-01 UTC */
