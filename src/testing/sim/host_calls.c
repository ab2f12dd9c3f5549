/* host_calls - what would make two runs differ: clocks and random numbers of the machine. The
 * linker gives these to everybody in the program (--wrap, in meson.build). */
#include "testing/sim/host_calls.h"

#include "testing/test.h"

static uint64_t now_us, random_state;

void host_calls_set_now(uint64_t at_us)
{
    now_us = at_us;
}

void host_calls_set_seed(uint64_t seed)
{
    random_state = seed;
}

uint64_t __wrap_clock_monotonic_us(void);
int64_t __wrap_clock_wall_ms(void);
uint64_t __wrap_random_u64(void);
struct id __wrap_id_new(void);

uint64_t __wrap_clock_monotonic_us(void)
{
    return now_us;
}

int64_t __wrap_clock_wall_ms(void)
{
    return 1700000000000 + (int64_t)(now_us / 1000);
}

uint64_t __wrap_random_u64(void)
{
    return test_random(&random_state);
}

struct id __wrap_id_new(void)
{
    struct id id;
    id.high = test_random(&random_state);
    id.low = test_random(&random_state) | 1;
    return id;
}
