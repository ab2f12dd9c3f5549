/* Credit: sequences that park, are saved and return. */
#include "testing/test.h"
#include "worker/core_bench.h"
#include "worker/sampler.h"
#include "worker/toy_engine.h"

/* --- credit --- */

TEST(a_sequence_without_event_credit_parks_and_others_go_on)
{
    struct bench *bench = bench_new(dummy(2, "abcdef", 6), core_options_default());
    struct probe *slow = make(bench, 0), *quick = make(bench, 1);
    slow->job.event_limit = 2;
    probe_start(&bench->probes, 0);
    probe_start(&bench->probes, 1);
    probes_run(&bench->probes);
    check_done(quick, DONE_EOS, "abcdef");
    CHECK(!slow->is_ended);
    CHECK_EQ(slow->delta_count, 2);
    CHECK_EQ(bench->probes.parked, 1);
    CHECK_EQ(bench->probes.slots_free, 1);
    probe_credit(&bench->probes, 0, 1, UINT64_MAX); /* an old grant changes nothing */
    CHECK(!probes_step(&bench->probes));
    probe_credit(&bench->probes, 0, 5, UINT64_MAX);
    probes_run(&bench->probes);
    CHECK_EQ(slow->delta_count, 5);
    probe_credit(&bench->probes, 0, 6, UINT64_MAX);
    probes_run(&bench->probes);
    CHECK(!slow->is_ended); /* all six are out, but the end was not seen yet */
    probe_credit(&bench->probes, 0, 7, UINT64_MAX);
    probes_run(&bench->probes);
    check_done(slow, DONE_EOS, "abcdef");
    bench_free(bench);
}

TEST(bytes_of_credit_count_as_the_payload_does)
{
    struct bench *bench = bench_new(dummy(1, "abcdef", 6), core_options_default());
    struct probe *probe = make(bench, 0);
    probe->job.byte_limit = 18; /* a delta is 4 + 4 + 1 bytes */
    probe_start(&bench->probes, 0);
    probes_run(&bench->probes);
    CHECK_EQ(probe->byte_count, 18);
    probe_credit(&bench->probes, 0, 0, 19);
    probes_run(&bench->probes);
    CHECK_EQ(probe->byte_count, 27);
    probe_credit(&bench->probes, 0, 0, 27);
    CHECK(!probes_step(&bench->probes));
    probe_credit(&bench->probes, 0, 0, 1000);
    probes_run(&bench->probes);
    check_done(probe, DONE_EOS, "abcdef");
    bench_free(bench);
}

TEST(an_end_needs_no_credit_beyond_its_last_delta)
{
    struct bench *bench = bench_new(dummy(1, "abc", 3), core_options_default());
    struct probe *probe = make(bench, 0);
    probe->job.event_limit = 3;
    probe->job.max_tokens = 3;
    probe_start(&bench->probes, 0);
    probes_run(&bench->probes);
    check_done(probe, DONE_LENGTH, "abc");
    bench_free(bench);
}

TEST(a_sequence_that_comes_without_credit_waits_without_a_slot)
{
    struct bench *bench = bench_new(dummy(1, "abc", 3), core_options_default());
    struct probe *poor = make(bench, 0), *rich = make(bench, 1);
    poor->job.event_limit = 0;
    probe_start(&bench->probes, 0);
    probe_start(&bench->probes, 1);
    probes_run(&bench->probes);
    check_done(rich, DONE_EOS, "abc");
    CHECK(!poor->is_started);
    CHECK_EQ(bench->probes.parked, 1);
    CHECK_EQ(bench->probes.slots_free, 1);
    probe_credit(&bench->probes, 0, 100, 0);
    probes_run(&bench->probes);
    check_done(poor, DONE_EOS, "abc");
    bench_free(bench);
}

/* --- saving --- */

/* Two sequences on one slot: the first parks after two deltas and is saved. */
static struct bench *bench_with_a_saved_one(void)
{
    struct bench *bench = bench_new(dummy(1, "abcdef", 6), core_options_default());
    make(bench, 0)->job.event_limit = 2;
    probe_start(&bench->probes, 0);
    probes_run(&bench->probes);
    bench->probes.now_us += 2000000;
    probes_run(&bench->probes);
    return bench;
}

TEST(a_sequence_parked_for_park_ms_gives_its_slot_away)
{
    struct bench *bench = bench_new(dummy(1, "abcdef", 6), core_options_default());
    struct probe *parked = make(bench, 0), *next = make(bench, 1);
    uint64_t wake_us, parked_at_us = bench->probes.now_us;
    parked->job.event_limit = 2;
    probe_start(&bench->probes, 0);
    probe_start(&bench->probes, 1);
    probes_run(&bench->probes);
    CHECK(!core_has_work(bench->probes.core, bench->probes.now_us, &wake_us));
    CHECK_EQ(wake_us, parked_at_us + 2000000);
    bench->probes.now_us = wake_us - 1;
    CHECK(!probes_step(&bench->probes));
    CHECK(!next->is_started);
    bench->probes.now_us = wake_us;
    probes_run(&bench->probes);
    check_done(next, DONE_EOS, "abcdef");
    CHECK_EQ(bench->probes.parked, 1);
    CHECK_EQ(bench->probes.slots_free, 1);
    check_slots_are_empty(bench->engine);
    probe_credit(&bench->probes, 0, UINT64_MAX, 0);
    probes_run(&bench->probes);
    check_done(parked, DONE_EOS, "abcdef");
    bench_free(bench);
}

TEST(saved_sequences_get_the_next_slot_before_new_ones)
{
    struct bench *bench = bench_with_a_saved_one();
    for (size_t i = 1; i < 4; i++) {
        make(bench, i);
        probe_start(&bench->probes, i);
    }
    CHECK(probes_step(&bench->probes)); /* 1 has the slot */
    probe_credit(&bench->probes, 0, 100, 0);
    while (!bench->probes.probe[0].is_ended)
        CHECK(probes_step(&bench->probes));
    check_done(&bench->probes.probe[0], DONE_EOS, "abcdef");
    CHECK(bench->probes.probe[1].is_ended && !bench->probes.probe[2].is_started);
    probes_run(&bench->probes);
    CHECK(bench->probes.probe[3].is_ended);
    bench_free(bench);
}

/* Parks a toy's sequence and lets park_ms pass; true when its slot was given away. */
static bool toy_is_saved(struct toy_engine *toy, struct core_options options)
{
    struct probes *probes = mem_alloc(sizeof(*probes));
    token_id prompt[] = {3, 4, 1};
    probes_init(probes, &toy->engine, &options);
    struct probe *probe = probe_make(probes, 0, prompt, 3);
    probe->job.sampling.temperature = 1;
    probe->job.ignore_eos = true;
    probe->job.max_tokens = 20;
    probe->job.event_limit = 5;
    probe_start(probes, 0);
    probes_run(probes);
    probes->now_us += 2000000;
    probes_run(probes);
    bool is_saved = probes->slots_free == 1;
    uint64_t wake_us;
    CHECK(!core_has_work(probes->core, probes->now_us + 1000000000, &wake_us));
    probe_credit(probes, 0, 100, 0);
    probes_run(probes);
    CHECK_EQ(probe->id_count, 20);
    /* What it says depends on every token before: the slot held the right ones. */
    float logits[TOY_VOCAB];
    token_id all[23] = {3, 4, 1}, last;
    memcpy(all + 3, probe->ids, 20 * sizeof(all[0]));
    toy_engine_logits(all, 22, logits);
    struct sampler *sampler = sampler_new(TOY_VOCAB);
    token_id ends[] = {TOY_END, TOY_END_OF_TEXT};
    struct sampler_input input = {.sampling = &probe->job.sampling,
                                  .logits = logits,
                                  .forbidden = ends,
                                  .forbidden_count = 2,
                                  .index = 19};
    CHECK_OK(sampler_pick(sampler, &input, &last));
    CHECK_EQ(last, probe->ids[19]);
    sampler_free(sampler);
    check_slots_are_empty(&toy->engine);
    probes_fini(probes);
    mem_free(probes);
    return is_saved;
}

TEST(a_sequence_that_cannot_be_saved_keeps_its_slot)
{
    struct toy_engine toy;
    struct core_options options = core_options_default();
    toy_engine_init(&toy, 1, 100, 16);
    CHECK(toy_is_saved(&toy, options));
    CHECK_EQ(toy.saves, 1);
    CHECK_EQ(toy.restores, 1);

    toy_engine_init(&toy, 1, 100, 16);
    toy.engine.info.can_save = false;
    CHECK(!toy_is_saved(&toy, options));

    toy_engine_init(&toy, 1, 100, 16);
    toy.next_save = ERR_NO_MEMORY;
    CHECK(!toy_is_saved(&toy, options));
    CHECK_EQ(toy.saves, 0);

    size_t blob_bytes = 8 * sizeof(uint64_t); /* of 3 + 5 - 1 tokens */
    for (size_t room = blob_bytes - 1; room <= blob_bytes + 1; room++) {
        toy_engine_init(&toy, 1, 100, 16);
        options.saved_bytes_max = room;
        CHECK_EQ(toy_is_saved(&toy, options), room >= blob_bytes);
    }
    toy_engine_init(&toy, 1, 100, 16);
    options.saved_bytes_max = 0;
    CHECK(!toy_is_saved(&toy, options));
    CHECK_EQ(toy.saves, 0);
}

TEST(saving_is_tried_again_when_a_sequence_parks_again)
{
    struct toy_engine toy;
    struct core_options options = core_options_default();
    struct probes *probes = mem_alloc(sizeof(*probes));
    token_id prompt[] = {3, 4, 1};
    toy_engine_init(&toy, 1, 100, 16);
    toy.next_save = ERR_NO_MEMORY;
    probes_init(probes, &toy.engine, &options);
    struct probe *probe = probe_make(probes, 0, prompt, 3);
    probe->job.ignore_eos = true;
    probe->job.event_limit = 5;
    probe_start(probes, 0);
    for (uint32_t round = 0; round < 2; round++) {
        probes_run(probes);
        probes->now_us += 2000000;
        probes_run(probes);
        CHECK_EQ(probes->slots_free, round);
        probe_credit(probes, 0, 10, 0);
    }
    probes_fini(probes);
    mem_free(probes);
}

TEST(a_blob_that_is_not_taken_back_costs_a_prefill_and_no_text)
{
    struct toy_engine toy;
    toy_engine_init(&toy, 1, 100, 16);
    toy.next_restore = ERR_PROTOCOL;
    CHECK(toy_is_saved(&toy, core_options_default()));
    CHECK_EQ(toy.restores, 0);
}

TEST(room_for_blobs_comes_back_when_a_saved_one_returns_or_ends)
{
    struct toy_engine toy;
    struct core_options options = core_options_default();
    options.saved_bytes_max = 100; /* one blob of 8 hashes, not two */
    toy_engine_init(&toy, 2, 100, 16);
    struct probes *probes = mem_alloc(sizeof(*probes));
    token_id prompt[] = {3, 4, 1};
    probes_init(probes, &toy.engine, &options);
    for (size_t i = 0; i < 2; i++) {
        struct probe *probe = probe_make(probes, i, prompt, 3);
        probe->job.ignore_eos = true;
        probe->job.event_limit = 5;
        probe_start(probes, i);
    }
    probes_run(probes);
    probes->now_us += 2000000;
    probes_run(probes);
    CHECK_EQ(probes->slots_free, 1);
    CHECK_EQ(toy.saves, 2); /* the second was tried once, and not again in vain */
    core_cancel(probes->core, 1);
    probes_run(probes);
    CHECK_EQ(probes->slots_free, 2);
    CHECK_EQ(toy.saves, 3);
    probes_fini(probes);
    mem_free(probes);
}

/* core.h rule 7: a flag is looked at in who runs; to look at all of the parked in each step would
 * make it slower with each of them. */
TEST(a_parked_sequence_ends_by_command_and_a_running_one_by_its_flag)
{
    struct bench *bench = bench_new(dummy(2, "abcdefgh", 8), core_options_default());
    struct probe *parked = make(bench, 0), *running = make(bench, 1);
    parked->job.event_limit = 2;
    probe_start(&bench->probes, 0);
    probe_start(&bench->probes, 1);
    for (int step = 0; step < 4; step++)
        CHECK(probes_step(&bench->probes));
    CHECK_EQ(bench->probes.parked, 1);
    atomic_store(&parked->cancel->cancelled, true);
    atomic_store(&running->cancel->cancelled, true);
    probes_run(&bench->probes);
    check_done(running, DONE_CANCELLED, "abcd");
    CHECK(!parked->is_ended);
    core_cancel(bench->probes.core, 1);
    probes_run(&bench->probes);
    check_done(parked, DONE_CANCELLED, "ab");
    check_slots_are_empty(bench->engine);
    bench_free(bench);
}

TEST(a_core_is_freed_with_sequences_in_every_state)
{
    struct bench *bench = bench_with_a_saved_one();
    make(bench, 1)->job.event_limit = 1;
    probe_start(&bench->probes, 1);
    probes_run(&bench->probes);
    for (size_t i = 2; i < 5; i++) {
        make(bench, i);
        probe_start(&bench->probes, i);
    }
    CHECK(!bench->probes.probe[0].is_ended);
    bench_free(bench);
    core_free(NULL);
    core_report_fini(&(struct core_report){0});
    struct core_job *none = NULL;
    core_job_free(&none);
    cancel_flag_unref(NULL);
}
