/* host_calls - the machine's clocks and random numbers, made to repeat: clock_monotonic_us(),
 * clock_wall_ms(), random_u64() and id_new() of a program that is linked with this. */
#pragma once

#include "base/id.h"

void host_calls_set_now(uint64_t at_us);
void host_calls_set_seed(uint64_t seed);
