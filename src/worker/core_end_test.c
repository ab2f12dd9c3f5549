/* Ends that come from outside: cancel, and engines that fail. */
#include "testing/test.h"
#include "worker/core_bench.h"
#include "worker/toy_engine.h"

/* --- cancel --- */

TEST(cancel_ends_a_sequence_in_every_state)
{
    struct core_options options = core_options_default();
    options.prefill_alone_tokens = options.prefill_tokens = 2;
    struct bench *bench = bench_new(dummy(3, "abcdef", 6), options);
    struct probes *probes = &bench->probes;
    enum { SAVED, PARKED, DECODE, PREFILL, WAITING, COUNT };
    make(bench, SAVED)->job.event_limit = 1;
    probe_start(probes, SAVED);
    probes_run(probes);
    probes->now_us += 2000000;
    probes_run(probes);
    make(bench, PARKED)->job.event_limit = 1;
    probe_start(probes, PARKED);
    probes_run(probes);
    CHECK_EQ(probes->parked, 2);
    make(bench, DECODE);
    probe_start(probes, DECODE);
    while (!probes->probe[DECODE].is_started)
        CHECK(probes_step(probes));
    make(bench, PREFILL);
    probe_start(probes, PREFILL);
    make(bench, WAITING);
    probe_start(probes, WAITING);
    CHECK(probes_step(probes));
    for (size_t i = 0; i < COUNT; i++)
        core_cancel(probes->core, i + 1);
    CHECK(probes_step(probes));
    for (size_t i = 0; i < COUNT; i++)
        CHECK(probes->probe[i].is_ended && probes->probe[i].reason == DONE_CANCELLED);
    CHECK_EQ(probes->slots_free, 3);
    CHECK_EQ(probes->parked, 0);
    check_slots_are_empty(bench->engine);
    core_cancel(probes->core, 1); /* once more: nothing */
    CHECK(!probes_step(probes));
    bench_free(bench);
}

TEST(a_cancel_flag_is_enough_without_the_command)
{
    struct bench *bench = bench_new(dummy(2, "abcdef", 6), core_options_default());
    struct probe *one = make(bench, 0), *other = make(bench, 1);
    probe_start(&bench->probes, 0);
    probe_start(&bench->probes, 1);
    CHECK(probes_step(&bench->probes));
    atomic_store(&one->cancel->cancelled, true);
    CHECK(probes_step(&bench->probes));
    CHECK(one->is_ended && one->reason == DONE_CANCELLED);
    CHECK_EQ(one->id_count, 1);
    CHECK_EQ(other->id_count, 2);
    core_cancel(bench->probes.core, 1);
    probes_run(&bench->probes);
    check_done(other, DONE_EOS, "abcdef");
    bench_free(bench);
}

/* Sets the flags of the first `count` probes when it is asked for the nth time. */
struct canceller {
    struct probes *probes;
    uint32_t asked, nth, count;
};

static bool cancel_when_asked(void *host)
{
    struct canceller *canceller = host;
    if (++canceller->asked == canceller->nth) {
        for (uint32_t i = 0; i < canceller->count; i++)
            atomic_store(&canceller->probes->probe[i].cancel->cancelled, true);
    }
    return false;
}

TEST(a_decode_is_aborted_when_all_its_sequences_are_cancelled)
{
    for (uint32_t count = 1; count <= 3; count++) {
        struct canceller canceller = {.nth = 1, .count = count};
        struct core_options options = core_options_default();
        options.poll = cancel_when_asked;
        options.host = &canceller;
        struct engine_dummy_options engine = dummy(3, "abcdef", 6);
        engine.stall_at = count == 3 ? 4 : 0; /* only an abort ends that */
        struct bench *bench = bench_new(engine, options);
        canceller.probes = &bench->probes;
        for (size_t i = 0; i < 3; i++) {
            make(bench, i);
            probe_start(&bench->probes, i);
        }
        canceller.nth = UINT32_MAX;
        while (bench->probes.probe[0].id_count < 3)
            CHECK(probes_step(&bench->probes));
        canceller.asked = 0, canceller.nth = 1;
        CHECK(probes_step(&bench->probes));
        for (size_t i = 0; i < 3; i++) {
            const struct probe *probe = &bench->probes.probe[i];
            CHECK_EQ(probe->is_ended, i < count);
            CHECK_EQ(probe->id_count, i < count ? 3 : 4); /* none for the cancelled */
        }
        probes_run(&bench->probes);
        for (size_t i = count; i < 3; i++)
            check_done(&bench->probes.probe[i], DONE_EOS, "abcdef");
        CHECK_EQ(bench->probes.slots_free, 3);
        check_slots_are_empty(bench->engine);
        bench_free(bench);
    }
}

TEST(a_prefill_is_aborted_too)
{
    struct canceller canceller = {.nth = 3, .count = 1};
    struct core_options options = core_options_default();
    options.poll = cancel_when_asked;
    options.host = &canceller;
    struct engine_dummy_options engine = dummy(1, "ab", 2);
    engine.prefill_us_per_token = 1000;
    struct bench *bench = bench_new(engine, options);
    canceller.probes = &bench->probes;
    struct probe *probe = make(bench, 0);
    probe_start(&bench->probes, 0);
    probes_run(&bench->probes);
    CHECK(probe->is_ended && probe->reason == DONE_CANCELLED && !probe->is_started);
    CHECK(canceller.asked < 5);
    check_slots_are_empty(bench->engine);
    bench_free(bench);
}

/* --- an engine that fails --- */

TEST(a_broken_engine_fails_every_sequence_and_all_that_come_later)
{
    struct engine_dummy_options engine = dummy(2, "abcdef", 6);
    engine.fail_at = 3;
    struct bench *bench = bench_new(engine, core_options_default());
    struct probes *probes = &bench->probes;
    make(bench, 0)->job.event_limit = 1; /* will be saved */
    probe_start(probes, 0);
    probes_run(probes);
    probes->now_us += 2000000;
    make(bench, 1)->job.event_limit = 1; /* parked */
    probe_start(probes, 1);
    probes_run(probes);
    for (size_t i = 2; i < 5; i++) { /* one runs, two wait */
        make(bench, i);
        probe_start(probes, i);
    }
    probes_run(probes);
    CHECK(probes->broken);
    make(bench, 5);
    probe_start(probes, 5);
    probes_run(probes);
    for (size_t i = 0; i < 6; i++) {
        CHECK(probes->probe[i].is_failed);
        CHECK_EQ(probes->probe[i].fault, FAULT_INTERNAL_ERROR);
        CHECK_STR(probes->probe[i].message, "the engine failed");
    }
    CHECK_EQ(probes->probe[2].id_count, 2);
    CHECK_EQ(probes->slots_free, 0);
    bench_free(bench);
}

/* Three sequences on a toy, each with an own seed; `fail` is called before every step. */
static void run_toy(struct toy_engine *toy, void (*fail)(struct toy_engine *toy, uint32_t step),
                    struct probes *probes)
{
    struct core_options options = core_options_default();
    static const token_id prompt[] = {3, 4, 1, 2, 7, 9};
    options.prefill_tokens = options.prefill_alone_tokens = 4;
    probes_init(probes, &toy->engine, &options);
    for (size_t i = 0; i < 3; i++) {
        struct probe *probe = probe_make(probes, i, prompt, 6);
        probe->job.sampling.temperature = 1;
        probe->job.sampling.seed = i;
        probe->job.ignore_eos = true;
        probe->job.max_tokens = 25;
        probe_start(probes, i);
    }
    for (uint32_t step = 0;; step++) {
        if (fail)
            fail(toy, step);
        if (!probes_step(probes))
            break;
    }
}

static void no_room_in_step_9(struct toy_engine *toy, uint32_t step)
{
    toy->next_decode = step == 9 ? ERR_FULL : ERR_OK;
}

static void cannot_be_emptied_from_9_on(struct toy_engine *toy, uint32_t step)
{
    toy->empty_fails = step >= 9 ? ERR_SYSTEM : ERR_OK;
}

static void aborts_unasked_in_step_9(struct toy_engine *toy, uint32_t step)
{
    toy->next_decode = step == 9 ? ERR_CANCELLED : ERR_OK;
}

static void no_numbers_in_step_9(struct toy_engine *toy, uint32_t step)
{
    toy->has_no_number = step == 9;
}

TEST(a_full_cache_costs_one_sequence_and_not_the_others)
{
    struct toy_engine toy;
    struct probes *calm = mem_alloc(sizeof(*calm)), *hit = mem_alloc(sizeof(*hit));
    toy_engine_init(&toy, 3, 100, 16);
    run_toy(&toy, NULL, calm);
    probes_fini(calm);
    toy_engine_init(&toy, 3, 100, 16);
    run_toy(&toy, no_room_in_step_9, hit);
    for (size_t i = 0; i < 3; i++) {
        const struct probe *probe = &hit->probe[i];
        CHECK(probe->is_ended);
        CHECK_EQ(probe->is_failed, i == 2); /* the youngest */
        CHECK_EQ(probe->fault, probe->is_failed ? FAULT_INSUFFICIENT_MEMORY : 0);
        CHECK(memcmp(probe->ids, calm->probe[i].ids, probe->id_count * sizeof(token_id)) == 0);
        CHECK(probe->is_failed || probe->id_count == 25);
    }
    CHECK(!hit->broken);
    check_slots_are_empty(&toy.engine);
    probes_fini(hit);
    mem_free(calm);
    mem_free(hit);
}

TEST(an_engine_that_makes_no_sense_is_broken)
{
    static void (*const failures[])(struct toy_engine *, uint32_t) = {aborts_unasked_in_step_9,
                                                                      cannot_be_emptied_from_9_on};
    for (size_t i = 0; i < ARRAY_COUNT(failures); i++) {
        struct toy_engine toy;
        struct probes *probes = mem_alloc(sizeof(*probes));
        toy_engine_init(&toy, 3, 100, 16);
        run_toy(&toy, failures[i], probes);
        CHECK(probes->broken);
        uint32_t failed = 0;
        for (size_t j = 0; j < 3; j++) {
            CHECK(probes->probe[j].is_ended);
            failed += probes->probe[j].is_failed;
        }
        CHECK_EQ(failed, i == 0 ? 3 : 1); /* two were done when a slot could not be emptied */
        probes_fini(probes);
        mem_free(probes);
    }
}

TEST(logits_without_a_number_fail_the_sequence_and_not_the_engine)
{
    struct toy_engine toy;
    struct probes *probes = mem_alloc(sizeof(*probes));
    toy_engine_init(&toy, 3, 100, 16);
    run_toy(&toy, no_numbers_in_step_9, probes);
    CHECK(!probes->broken);
    for (size_t i = 0; i < 3; i++) {
        CHECK(probes->probe[i].is_failed);
        CHECK_EQ(probes->probe[i].fault, FAULT_INTERNAL_ERROR);
    }
    CHECK_EQ(probes->slots_free, 3);
    check_slots_are_empty(&toy.engine);
    probes_fini(probes);
    mem_free(probes);
}
