/* How sequences start, go on beside each other and end by themselves. */
#include "testing/test.h"
#include "worker/core_bench.h"
#include "worker/toy_engine.h"

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
    struct core_report *report = &bench->probes.report;
    uint64_t wake_us;
    CHECK(core_step(bench->probes.core, 0, report)); /* the free slots */
    CHECK_EQ(report->result_count, 0);
    CHECK_EQ(report->slots_free, 2);
    CHECK(!core_step(bench->probes.core, 0, report));
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
