/* Budgets of the engine side: what a step may cost, in counts. */
#include "testing/test.h"
#include "testing/alloc_count.h"
#include "worker/core_bench.h"

enum { STREAMS = 8, STEPS = 1000 };

static struct bench *bench_of_steps(uint32_t slots)
{
    struct engine_dummy_options options = engine_dummy_options_default();
    options.slots = slots;
    options.tokens = 2 * STEPS;
    options.delay_us = 0;
    return bench_new(options, core_options_default());
}

static void step(struct bench *bench) /* without the probes, which have memory of their own */
{
    CHECK(core_step(bench->probes.core, bench->probes.now_us, &bench->probes.report));
}

/* Streams that run in step cost allocations only when all of them need more room for their tokens:
 * a quarter more each time, so that is rare. The reports cost none. */
TEST(a_step_allocates_nothing_but_room_for_tokens)
{
    struct bench *bench = bench_of_steps(STREAMS);
    int steps_that_grew = 0;
    for (size_t i = 0; i < STREAMS; i++) {
        make(bench, i)->job.max_tokens = 2 * STEPS;
        probe_start(&bench->probes, i);
    }
    step(bench), step(bench); /* both reports, which change places, have what they need */
    alloc_count_take();
    for (int i = 0; i < STEPS; i++) {
        alloc_count_resume();
        step(bench);
        alloc_count_pause();
        long count = alloc_count_take();
        CHECK_EQ(bench->probes.report.result_count, STREAMS);
        CHECK(count == 0 || count == STREAMS);
        steps_that_grew += count > 0;
    }
    CHECK(steps_that_grew >= 1 && steps_that_grew <= 8); /* it was looked at, and it is rare */
    bench_free(bench);
}
