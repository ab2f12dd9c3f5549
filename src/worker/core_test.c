#include "testing/test.h"
#include "base/mem.h"
#include "worker/core_probe.h"
#include "worker/sampler.h"
#include "worker/toy_engine.h"

static const token_id HELLO[] = {'h' + 1, 'e' + 1, 'l' + 1, 'l' + 1, 'o' + 1};

/* A core on a dummy engine that takes no time. */
struct bench {
    struct engine *engine;
    struct probes probes;
};

static struct engine_dummy_options dummy(uint32_t slots, const char *script, uint32_t tokens)
{
    struct engine_dummy_options options = engine_dummy_options_default();
    options.slots = slots;
    options.script = slice_str(script);
    options.tokens = tokens;
    options.delay_us = 0;
    return options;
}

static struct bench *bench_new(struct engine_dummy_options dummy_options,
                               struct core_options core_options)
{
    struct bench *bench = mem_alloc(sizeof(*bench));
    CHECK_OK(engine_dummy_open(&dummy_options, NULL, NULL, &bench->engine, NULL));
    probes_init(&bench->probes, bench->engine, &core_options);
    return bench;
}

static void bench_free(struct bench *bench)
{
    probes_fini(&bench->probes);
    engine_close(&bench->engine);
    mem_free(bench);
}

static struct probe *make(struct bench *bench, size_t index)
{
    return probe_make(&bench->probes, index, HELLO, ARRAY_COUNT(HELLO));
}

static void check_slots_are_empty(struct engine *engine)
{
    for (uint32_t slot = 0; slot < engine->info.slots; slot++)
        CHECK_EQ(engine_seq_tokens(engine, slot), 0);
}

static void check_done(const struct probe *probe, enum done_reason reason, const char *text)
{
    CHECK(probe->is_ended && !probe->is_failed);
    CHECK_STR(done_reason_name(probe->reason), done_reason_name(reason));
    CHECK_SLICES(text_slice(&probe->text), slice_str(text));
}

/* --- how one sequence goes --- */

TEST(a_sequence_starts_delivers_every_token_and_ends)
{
    struct bench *bench = bench_new(dummy(2, "one two three", 4), core_options_default());
    struct probe *probe = make(bench, 0);
    probe_start(&bench->probes, 0);
    probes_run(&bench->probes);
    check_done(probe, DONE_EOS, "one two three");
    CHECK(probe->is_started);
    CHECK_EQ(probe->delta_count, 4);
    CHECK_EQ(probe->id_count, 4);
    for (uint32_t i = 0; i < 4; i++)
        CHECK_EQ(probe->ids[i], 257 + i);
    CHECK_EQ(probe->prompt_tokens, 5);
    CHECK_EQ(probe->completion_tokens, 4);
    CHECK_EQ(bench->probes.tokens_sampled, 4);
    check_slots_are_empty(bench->engine);
    bench_free(bench);
}

TEST(the_first_token_comes_in_the_step_that_finishes_the_prompt)
{
    struct core_options options = core_options_default();
    options.prefill_alone_tokens = 2;
    struct bench *bench = bench_new(dummy(1, "ab", 2), options);
    struct probe *probe = make(bench, 0);
    probe->job.want_progress = true;
    probe_start(&bench->probes, 0);
    for (uint32_t step = 1; step <= 3; step++) {
        CHECK(!probe->is_started);
        CHECK(probes_step(&bench->probes));
        CHECK_EQ(probe->prefills, step);
        CHECK_EQ(probe->prefill_done, step < 3 ? 2 * step : 5);
    }
    CHECK(probe->is_started);
    CHECK_SLICE(text_slice(&probe->text), "a");
    probes_run(&bench->probes);
    CHECK_EQ(probe->prefills, 3);
    check_done(probe, DONE_EOS, "ab");
    bench_free(bench);
}

TEST(max_tokens_ends_it_at_exactly_so_many)
{
    static const struct {
        uint32_t max_tokens;
        enum done_reason reason;
        const char *text;
    } cases[] = {{1, DONE_LENGTH, "a"},
                 {3, DONE_LENGTH, "abc"},
                 {4, DONE_LENGTH, "abcd"},
                 {5, DONE_EOS, "abcd"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bench *bench = bench_new(dummy(1, "abcd", 4), core_options_default());
        struct probe *probe = make(bench, 0);
        probe->job.max_tokens = cases[i].max_tokens;
        probe_start(&bench->probes, 0);
        probes_run(&bench->probes);
        check_done(probe, cases[i].reason, cases[i].text);
        bench_free(bench);
    }
}

TEST(a_full_context_ends_it_with_length)
{
    for (uint32_t context = 6; context <= 8; context++) {
        struct engine_dummy_options options = dummy(1, "abcdefgh", 8);
        options.context_tokens = context;
        struct bench *bench = bench_new(options, core_options_default());
        struct probe *probe = make(bench, 0);
        probe_start(&bench->probes, 0);
        probes_run(&bench->probes);
        /* The last one is sampled and needs no place any more. */
        CHECK_EQ(probe->completion_tokens, context - 5 + 1);
        CHECK_EQ(probe->reason, DONE_LENGTH);
        bench_free(bench);
    }
}

TEST(ignore_eos_never_samples_an_end_token)
{
    struct bench *bench = bench_new(dummy(1, "ab", 2), core_options_default());
    struct probe *probe = make(bench, 0);
    probe->job.ignore_eos = true;
    probe->job.max_tokens = 30;
    probe_start(&bench->probes, 0);
    probes_run(&bench->probes);
    CHECK_EQ(probe->completion_tokens, 30);
    CHECK_EQ(probe->reason, DONE_LENGTH);
    for (uint32_t i = 0; i < probe->id_count; i++)
        CHECK(!engine_is_end(bench->engine, probe->ids[i]));
    bench_free(bench);
}

TEST(an_answer_that_ends_at_once_has_started_and_has_no_delta)
{
    struct bench *bench = bench_new(dummy(1, "", 0), core_options_default());
    struct probe *probe = make(bench, 0);
    probe_start(&bench->probes, 0);
    probes_run(&bench->probes);
    check_done(probe, DONE_EOS, "");
    CHECK(probe->is_started);
    CHECK_EQ(probe->delta_count, 0);
    CHECK_EQ(probe->completion_tokens, 0);
    bench_free(bench);
}

TEST(a_stop_string_across_tokens_ends_it_and_is_named)
{
    struct slice stops[] = {SLICE("zzz"), SLICE("STOP")};
    struct bench *bench = bench_new(dummy(1, "abSTOPcd", 8), core_options_default());
    struct probe *probe = make(bench, 0);
    probe->job.stops = stops, probe->job.stop_count = 2;
    probe_start(&bench->probes, 0);
    probes_run(&bench->probes);
    check_done(probe, DONE_STOP, "ab");
    CHECK_STR(probe->stop, "STOP");
    CHECK_EQ(probe->completion_tokens, 6);
    CHECK_EQ(probe->delta_count, 6); /* every id travels, also while the text is held back */
    check_slots_are_empty(bench->engine);
    bench_free(bench);
}

TEST(text_held_back_is_let_go_at_the_end)
{
    struct slice stop = SLICE("STOP");
    static const uint32_t max_tokens[] = {5, 100}; /* ended by length, by the end token */
    for (size_t i = 0; i < ARRAY_COUNT(max_tokens); i++) {
        struct bench *bench = bench_new(dummy(1, "abSTO", 5), core_options_default());
        struct probe *probe = make(bench, 0);
        probe->job.stops = &stop, probe->job.stop_count = 1;
        probe->job.max_tokens = max_tokens[i];
        probe_start(&bench->probes, 0);
        probes_run(&bench->probes);
        check_done(probe, i == 0 ? DONE_LENGTH : DONE_EOS, "abSTO");
        CHECK_EQ(probe->id_count, 5);
        CHECK_EQ(probe->delta_count, i == 0 ? 5 : 6); /* the end token's has text and no id */
        bench_free(bench);
    }
}

TEST(characters_cut_by_tokens_arrive_whole)
{
    const char *script = "\xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80 \xC3\xA9t\xC3\xA9";
    for (uint32_t tokens = 1; tokens <= strlen(script); tokens++) {
        struct bench *bench = bench_new(dummy(1, script, tokens), core_options_default());
        struct probe *probe = make(bench, 0);
        probe_start(&bench->probes, 0);
        probes_run(&bench->probes); /* the probe looks at each delta */
        check_done(probe, DONE_EOS, script);
        bench_free(bench);
    }
}

/* --- company --- */

TEST(more_sequences_than_slots_are_served_in_their_order)
{
    struct bench *bench = bench_new(dummy(2, "abcd", 4), core_options_default());
    for (size_t i = 0; i < 5; i++) {
        make(bench, i);
        probe_start(&bench->probes, i);
    }
    CHECK(probes_step(&bench->probes));
    CHECK_EQ(bench->probes.running, 2);
    CHECK_EQ(bench->probes.slots_free, 0);
    CHECK(bench->probes.probe[1].is_started && !bench->probes.probe[2].is_started);
    probes_run(&bench->probes);
    for (size_t i = 0; i < 5; i++)
        check_done(&bench->probes.probe[i], DONE_EOS, "abcd");
    CHECK_EQ(bench->probes.slots_free, 2);
    CHECK_EQ(bench->probes.running, 0);
    check_slots_are_empty(bench->engine);
    bench_free(bench);
}

TEST(a_long_prompt_does_not_hold_up_those_who_decode)
{
    token_id prompt[300];
    for (size_t i = 0; i < ARRAY_COUNT(prompt); i++)
        prompt[i] = 1 + (token_id)(i % 200);
    struct bench *bench = bench_new(dummy(2, "abcdefghij", 10), core_options_default());
    struct probe *quick = make(bench, 0);
    struct probe *slow = probe_make(&bench->probes, 1, prompt, ARRAY_COUNT(prompt));
    probe_start(&bench->probes, 0);
    CHECK(probes_step(&bench->probes));
    probe_start(&bench->probes, 1);
    for (uint32_t step = 2; step <= 5; step++) { /* 64 tokens each: 256 of 300 */
        CHECK(probes_step(&bench->probes));
        CHECK_EQ(quick->id_count, step);
        CHECK(!slow->is_started);
    }
    CHECK(probes_step(&bench->probes));
    CHECK(slow->is_started);
    probes_run(&bench->probes);
    check_done(slow, DONE_EOS, "abcdefghij");
    bench_free(bench);
}

TEST(a_batch_smaller_than_the_slots_serves_all_in_turn)
{
    struct toy_engine toy;
    toy_engine_init(&toy, 8, 200, 3);
    struct core_options options = core_options_default();
    struct probes *probes = mem_alloc(sizeof(*probes));
    token_id prompt[] = {3, 4};
    probes_init(probes, &toy.engine, &options);
    for (size_t i = 0; i < 8; i++) {
        struct probe *probe = probe_make(probes, i, prompt, 2);
        probe->job.sampling.temperature = 1;
        probe->job.sampling.seed = i;
        probe->job.ignore_eos = true;
        probe->job.max_tokens = 30;
        probe_start(probes, i);
    }
    for (int step = 0; step < 40; step++)
        CHECK(probes_step(probes));
    uint32_t least = UINT32_MAX, most = 0;
    for (size_t i = 0; i < 8; i++) {
        uint32_t count = probes->probe[i].id_count;
        least = count < least ? count : least;
        most = count > most ? count : most;
    }
    CHECK(most - least <= 8); /* the first ones began 8 steps before the last */
    probes_run(probes);
    CHECK(toy.widest <= 3);
    check_slots_are_empty(&toy.engine);
    probes_fini(probes);
    mem_free(probes);
}

TEST(a_report_comes_only_when_there_is_something_to_say)
{
    struct bench *bench = bench_new(dummy(2, "a", 1), core_options_default());
    struct core_report *report;
    uint64_t wake_us;
    core_step(bench->probes.core, 0, &report); /* the free slots */
    CHECK(report && report->result_count == 0);
    CHECK_EQ(report->slots_free, 2);
    core_report_free(report);
    core_step(bench->probes.core, 0, &report);
    CHECK(!report);
    CHECK(!core_has_work(bench->probes.core, 0, &wake_us));
    CHECK(wake_us == UINT64_MAX);
    core_cancel(bench->probes.core, 99);
    core_credit(bench->probes.core, 99, 1, 1);
    CHECK(!core_has_work(bench->probes.core, 0, &wake_us));
    bench_free(bench);
}

static uint64_t ticking_clock(void *host)
{
    return *(uint64_t *)host += 100;
}

TEST(the_time_of_decodes_goes_to_prefill_and_decode)
{
    uint64_t now_us = 0;
    struct core_options options = core_options_default();
    options.clock_us = ticking_clock;
    options.host = &now_us;
    options.prefill_alone_tokens = 2;
    struct bench *bench = bench_new(dummy(1, "abcd", 4), options);
    struct probe *probe = make(bench, 0);
    probe_start(&bench->probes, 0);
    probes_run(&bench->probes);
    CHECK_EQ(probe->prefill_us, 300); /* 2 + 2 + 1 tokens; the last gives the first answer */
    CHECK_EQ(probe->decode_us, 400);  /* b, c, d and the end */
    bench_free(bench);
}

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
        CHECK(failed >= 2);
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
    core_report_free(NULL);
    struct core_job *none = NULL;
    core_job_free(&none);
    cancel_flag_unref(NULL);
}
