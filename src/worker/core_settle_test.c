/* Answers that settle: the next turn finds them, with the bits that its own rows would have, nobody
 * waits for them, and whatever goes wrong meanwhile leaves slots sound (core_sim_test: at random).
 */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/core_probe.h"
#include "worker/plan.h"
#include "worker/toy_engine.h"

enum { CONTEXT = 250, BATCH = 80, PROMPT = 40, ANSWER = 9, TURN_MAX = CONTEXT };

struct rig {
    struct toy_engine toy;
    struct probes probes;
    struct core_options options;
    token_id prompts[PROBES_MAX][TURN_MAX];
    uint32_t abort_in, asked; /* is_awaited() says yes once, the n-th time; 0: never */
};

static bool is_awaited(void *host)
{
    struct rig *rig = host;
    rig->asked++;
    return rig->abort_in > 0 && --rig->abort_in == 0;
}

static struct core_options options_default(void)
{
    struct core_options options = core_options_default();
    options.prefix_bytes_max = 1 << 20;
    options.prefix_save_tokens = 8;
    return options;
}

static struct rig *rig_of(uint32_t slots, struct core_options options)
{
    struct rig *rig = mem_alloc(sizeof(*rig));
    toy_engine_init(&rig->toy, slots, CONTEXT, BATCH);
    rig->toy.engine.info.single_rows_differ = true;
    options.is_awaited = is_awaited;
    options.host = rig;
    rig->options = options;
    probes_init(&rig->probes, &rig->toy.engine, &options);
    return rig;
}

static struct rig *rig_new(uint32_t slots)
{
    return rig_of(slots, options_default());
}

static void rig_free(struct rig *rig)
{
    probes_fini(&rig->probes);
    mem_free(rig);
}

static struct probe *make(struct rig *rig, size_t index, uint32_t count, uint32_t answer)
{
    struct probe *probe = probe_make(&rig->probes, index, rig->prompts[index], count);
    probe->job.max_tokens = answer;
    probe->job.ignore_eos = true;
    return probe;
}

/* A prompt that has nothing in common with the others; its answer will likely come again. */
static struct probe *make_first(struct rig *rig, size_t index, uint32_t answer)
{
    for (uint32_t i = 0; i < PROMPT; i++)
        rig->prompts[index][i] = (token_id)(1 + (index * 5 + i) % 17);
    struct probe *probe = make(rig, index, PROMPT, answer);
    probe->job.is_conversation = true;
    return probe;
}

static struct probe *start_first(struct rig *rig, size_t index, uint32_t answer)
{
    struct probe *probe = make_first(rig, index, answer);
    probe_start(&rig->probes, index);
    return probe;
}

/* What the client of `before` sends next: all of it, what was said, and two tokens more. */
static struct probe *make_next(struct rig *rig, size_t index, const struct probe *before)
{
    token_id *prompt = rig->prompts[index];
    uint32_t count = before->job.prompt_count + before->id_count;
    memcpy(prompt, before->prompt, before->job.prompt_count * sizeof(*prompt));
    memcpy(prompt + before->job.prompt_count, before->ids, before->id_count * sizeof(*prompt));
    prompt[count] = prompt[count + 1] = 3;
    struct probe *probe = make(rig, index, count + 2, 3);
    probe->job.scope = before->job.scope;
    probe->job.adapters = before->job.adapters;
    return probe;
}

static struct probe *run_next(struct rig *rig, size_t index, const struct probe *before)
{
    struct probe *probe = make_next(rig, index, before);
    probe_start(&rig->probes, index);
    probes_run(&rig->probes);
    CHECK(probe->is_ended && !probe->is_failed);
    return probe;
}

static void run_to_end_of(struct rig *rig, const struct probe *probe)
{
    for (uint32_t steps = 0; !probe->is_ended; steps++)
        CHECK(steps < 2 * CONTEXT && probes_step(&rig->probes));
}

/* It says what a core without a cache says to the same prompt. */
static void check_as_fresh(const struct rig *rig, const struct probe *probe)
{
    struct core_options options = core_options_default();
    struct rig *fresh = rig_of(1, options);
    fresh->toy.engine.info.single_rows_differ = rig->toy.engine.info.single_rows_differ;
    toy_engine_add_adapters(&fresh->toy, rig->toy.engine.info.adapter_count);
    memcpy(fresh->prompts[0], probe->prompt, probe->job.prompt_count * sizeof(token_id));
    struct probe *same = make(fresh, 0, probe->job.prompt_count, probe->job.max_tokens);
    same->job.adapters = probe->job.adapters;
    probe_start(&fresh->probes, 0);
    probes_run(&fresh->probes);
    CHECK_EQ(probe->id_count, same->id_count);
    CHECK(memcmp(probe->ids, same->ids, same->id_count * sizeof(token_id)) == 0);
    rig_free(fresh);
}

/* --- who finds what --- */

TEST(the_next_turn_of_a_conversation_finds_the_answer)
{
    for (int is_conversation = 0; is_conversation < 2; is_conversation++) {
        struct rig *rig = rig_new(2);
        struct probe *first = make_first(rig, 0, ANSWER);
        first->job.is_conversation = is_conversation;
        probe_start(&rig->probes, 0);
        probes_run(&rig->probes);
        CHECK_EQ(rig->toy.held[0], PROMPT + (is_conversation ? ANSWER : 0));
        const struct probe *next = run_next(rig, 1, first);
        CHECK_EQ(next->cached_tokens, PROMPT + (is_conversation ? ANSWER : 0));
        CHECK_EQ(rig->probes.tokens_settled, is_conversation ? ANSWER : 0);
        check_as_fresh(rig, next);
        rig_free(rig);
    }
}

/* 1 token: a single row, and what is saved by it is one row of the next turn. 2 is the least. */
TEST(an_answer_of_one_token_is_left_to_the_next_turn)
{
    for (uint32_t answer = 1; answer <= 3; answer++) {
        struct rig *rig = rig_new(1);
        struct probe *first = start_first(rig, 0, answer);
        probes_run(&rig->probes);
        CHECK_EQ(run_next(rig, 1, first)->cached_tokens, PROMPT + (answer > 1 ? answer : 0));
        rig_free(rig);
    }
}

/* The last token of an answer that fills its context is sampled, and there is no cell for it. */
TEST(an_answer_that_fills_the_context_settles_but_for_its_last_token)
{
    struct rig *rig = rig_new(1);
    struct probe *first = start_first(rig, 0, 1000);
    probes_run(&rig->probes);
    CHECK_EQ(first->reason, DONE_LENGTH);
    CHECK_EQ(first->id_count, CONTEXT - PROMPT + 1);
    CHECK_EQ(rig->toy.held[0], CONTEXT);
    rig_free(rig);
}

TEST(ends_of_every_good_kind_settle_and_a_cancel_does_not)
{
    struct rig *rig = rig_new(4);
    static const struct slice stop = SLICE("a");
    struct probe *at_eos = make_first(rig, 4, 60), *at_stop = make_first(rig, 1, 60);
    at_eos->job.ignore_eos = false;
    at_stop->job.stops = &stop;
    at_stop->job.stop_count = 1;
    struct probe *at_length = make_first(rig, 2, 4), *cancelled = make_first(rig, 3, 200);
    for (size_t i = 1; i < 5; i++)
        probe_start(&rig->probes, i);
    while (cancelled->id_count < 70)
        CHECK(probes_step(&rig->probes));
    core_cancel(rig->probes.core, 4);
    probes_run(&rig->probes);
    CHECK(at_eos->reason == DONE_EOS && at_stop->reason == DONE_STOP);
    CHECK(at_length->reason == DONE_LENGTH && cancelled->reason == DONE_CANCELLED);
    uint32_t settled = at_eos->id_count + at_stop->id_count + at_length->id_count;
    CHECK(at_eos->id_count >= 2 && at_stop->id_count >= 2);
    CHECK_EQ(rig->toy.held[0] + rig->toy.held[1] + rig->toy.held[2] + rig->toy.held[3],
             4 * PROMPT + settled);
    rig_free(rig);
}

static uint32_t settled_with(struct core_options options, bool rows_differ, bool can_cut)
{
    struct rig *rig = rig_of(1, options);
    rig->toy.engine.info.single_rows_differ = rows_differ;
    rig->toy.engine.info.can_cut = can_cut;
    rig->toy.cut_refused = !can_cut;
    (void)start_first(rig, 0, ANSWER);
    probes_run(&rig->probes);
    (void)start_first(rig, 1, 1); /* its report has what was counted */
    probes_run(&rig->probes);
    uint32_t settled = (uint32_t)rig->probes.tokens_settled;
    rig_free(rig);
    return settled;
}

TEST(nothing_settles_where_it_is_of_no_use)
{
    struct core_options options = options_default(), without_cache = core_options_default();
    CHECK_EQ(settled_with(options, true, true), ANSWER);
    CHECK_EQ(settled_with(options, false, true), 0);
    CHECK_EQ(settled_with(options, true, false), 0);
    CHECK_EQ(settled_with(without_cache, true, true), 0);
}

TEST(what_settled_in_a_scope_serves_no_other)
{
    struct rig *rig = rig_new(2);
    struct probe *first = make_first(rig, 0, ANSWER);
    first->job.scope = 7;
    probe_start(&rig->probes, 0);
    probes_run(&rig->probes);
    struct probe *stranger = make_next(rig, 1, first);
    stranger->job.scope = 8;
    probe_start(&rig->probes, 1);
    probes_run(&rig->probes);
    CHECK_EQ(stranger->cached_tokens, 0);
    CHECK_EQ(run_next(rig, 2, first)->cached_tokens, PROMPT + ANSWER);
    rig_free(rig);
}

/* Beside a sequence of another set it waits; then it goes through its own, wherever the engine was
 * left. */
TEST(an_answer_settles_through_the_adapters_that_it_was_made_with)
{
    struct rig *rig = rig_new(2);
    toy_engine_add_adapters(&rig->toy, 2);
    struct probe *first = make_first(rig, 0, ANSWER), *other = make_first(rig, 1, 60);
    first->job.adapters = (struct engine_adapter_set){1, {{0, 1}}};
    other->job.adapters = (struct engine_adapter_set){1, {{1, 0.5f}}};
    other->job.is_conversation = false;
    probe_start(&rig->probes, 0);
    probe_start(&rig->probes, 1);
    run_to_end_of(rig, first);
    while (!other->is_ended) {
        CHECK_EQ(rig->toy.held[0], PROMPT);
        CHECK(probes_step(&rig->probes));
    }
    probes_run(&rig->probes);
    const struct probe *next = run_next(rig, 2, first);
    CHECK_EQ(next->cached_tokens, PROMPT + ANSWER);
    check_as_fresh(rig, next);
    rig_free(rig);
}

/* --- the bits --- */

/* In parts of whatever size, the slot holds what a prompt of the same tokens puts there. */
TEST(what_settled_is_bit_for_bit_what_a_prompt_puts_in)
{
    for (uint32_t answer = 2; answer < 12; answer++) {
        for (uint32_t rows = 0; rows < 8; rows++) {
            struct core_options options = options_default();
            options.prefill_alone_tokens = rows;
            struct rig *rig = rig_of(1, options);
            struct probe *first = start_first(rig, 0, answer);
            probes_run(&rig->probes);
            struct rig *fresh = rig_of(1, options);
            (void)make_next(rig, 1, first);
            memcpy(fresh->prompts[0], rig->prompts[1], sizeof(fresh->prompts[0]));
            (void)make(fresh, 0, PROMPT + answer, 1);
            probe_start(&fresh->probes, 0);
            probes_run(&fresh->probes);
            CHECK_EQ(rig->toy.held[0], PROMPT + answer);
            CHECK(memcmp(rig->toy.hash[0], fresh->toy.hash[0],
                         (PROMPT + answer + 1) * sizeof(uint64_t)) == 0);
            rig_free(rig);
            rig_free(fresh);
        }
    }
}

/* --- when --- */

TEST(a_short_answer_settles_in_the_next_step_beside_those_that_run)
{
    struct rig *rig = rig_new(2);
    struct probe *runs = make_first(rig, 1, 100);
    probe_start(&rig->probes, 1);
    struct probe *first = start_first(rig, 0, ANSWER);
    run_to_end_of(rig, first);
    uint32_t slot = rig->toy.held[0] == PROMPT ? 0 : 1, said = runs->id_count;
    CHECK_EQ(rig->toy.held[slot], PROMPT);
    CHECK(probes_step(&rig->probes));
    CHECK_EQ(rig->toy.held[slot], PROMPT + ANSWER);
    CHECK_EQ(runs->id_count, said + 1);
    probes_run(&rig->probes);
    check_as_fresh(rig, runs);
    rig_free(rig);
}

/* And then in steps of PLAN_SETTLE_ROWS, though the batch has room for more. */
TEST(a_long_answer_settles_when_nothing_else_runs)
{
    enum { LONG = PLAN_SETTLE_ROWS + 5 };
    struct rig *rig = rig_new(2);
    struct probe *runs = make_first(rig, 1, LONG + 20), *first = make_first(rig, 0, LONG);
    runs->job.is_conversation = false;
    probe_start(&rig->probes, 1);
    probe_start(&rig->probes, 0);
    run_to_end_of(rig, first);
    uint32_t slot = rig->toy.held[0] == PROMPT ? 0 : 1;
    while (!runs->is_ended) {
        CHECK_EQ(rig->toy.held[slot], PROMPT);
        CHECK(probes_step(&rig->probes));
    }
    CHECK(probes_step(&rig->probes));
    CHECK_EQ(rig->toy.held[slot], PROMPT + PLAN_SETTLE_ROWS);
    probes_run(&rig->probes);
    CHECK_EQ(rig->toy.held[slot], PROMPT + LONG);
    CHECK_EQ(rig->toy.widest, BATCH); /* of the two prompts */
    rig_free(rig);
}

/* What is left of it goes in beside others once it is short. */
TEST(the_rest_of_a_long_answer_is_a_short_one)
{
    enum { LONG = PLAN_SETTLE_ROWS + 5 };
    struct rig *rig = rig_new(2);
    (void)start_first(rig, 0, LONG);
    run_to_end_of(rig, &rig->probes.probe[0]);
    CHECK(probes_step(&rig->probes));
    CHECK_EQ(rig->toy.held[0], PROMPT + PLAN_SETTLE_ROWS);
    struct probe *runs = start_first(rig, 1, 10);
    run_to_end_of(rig, runs);
    CHECK_EQ(rig->toy.held[0], PROMPT + LONG);
    rig_free(rig);
}

TEST(a_slot_in_which_an_answer_settles_is_free_for_whoever_comes)
{
    struct core_options options = options_default();
    options.prefill_alone_tokens = 4;
    struct rig *rig = rig_of(1, options);
    struct probe *first = start_first(rig, 0, ANSWER);
    run_to_end_of(rig, first);
    CHECK_EQ(rig->probes.slots_free, 1);
    CHECK(probes_step(&rig->probes)); /* 4 of it */
    CHECK_EQ(rig->toy.held[0], PROMPT + 4);
    struct probe *other = start_first(rig, 1, 1);
    CHECK(probes_step(&rig->probes));
    CHECK_EQ(rig->toy.held[0], 4); /* of the other's prompt, at once */
    probes_run(&rig->probes);
    CHECK(other->is_ended);
    const struct probe *next = run_next(rig, 2, first); /* from what was saved of it */
    CHECK_EQ(next->cached_tokens, PROMPT + 4);
    check_as_fresh(rig, next);
    rig_free(rig);
}

TEST(a_slot_that_somebody_waits_for_is_given_before_anything_settles)
{
    struct rig *rig = rig_new(1);
    struct probe *first = start_first(rig, 0, ANSWER), *waits = start_first(rig, 1, ANSWER);
    run_to_end_of(rig, first);
    CHECK(probes_step(&rig->probes));
    CHECK_EQ(waits->id_count, 1);
    probes_run(&rig->probes);
    CHECK_EQ(run_next(rig, 2, first)->cached_tokens, PROMPT);
    rig_free(rig);
}

/* --- what goes wrong --- */

/* Aborted at each of its rows: not one of that step is believed, and then all go in. */
TEST(a_step_of_answers_alone_gives_way_to_who_comes_and_is_done_again)
{
    for (uint32_t at = 1; at <= ANSWER; at++) {
        struct rig *rig = rig_new(1);
        struct probe *first = start_first(rig, 0, ANSWER);
        run_to_end_of(rig, first);
        CHECK_EQ(rig->asked, 0); /* in a step that somebody is in, nobody comes first */
        rig->abort_in = at;
        CHECK(probes_step(&rig->probes));
        CHECK_EQ(rig->asked, at);
        CHECK_EQ(rig->toy.held[0], PROMPT);
        probes_run(&rig->probes);
        CHECK_EQ(rig->toy.held[0], PROMPT + ANSWER);
        const struct probe *next = run_next(rig, 1, first);
        CHECK_EQ(next->cached_tokens, PROMPT + ANSWER);
        check_as_fresh(rig, next);
        rig_free(rig);
    }
}

TEST(cells_that_an_abort_lost_are_not_put_in_again)
{
    struct rig *rig = rig_new(1);
    struct probe *first = start_first(rig, 0, ANSWER);
    run_to_end_of(rig, first);
    rig->toy.lost_tokens = 6; /* two more than went in */
    rig->abort_in = 5;
    CHECK(probes_step(&rig->probes));
    CHECK_EQ(rig->toy.held[0], PROMPT - 2);
    CHECK(!probes_step(&rig->probes));
    const struct probe *next = run_next(rig, 1, first);
    CHECK_EQ(next->cached_tokens, PROMPT - 2);
    check_as_fresh(rig, next);
    rig_free(rig);
}

TEST(where_the_engine_has_no_room_nobody_is_ended_for_an_answer_that_settles)
{
    struct rig *rig = rig_new(2);
    struct probe *runs = start_first(rig, 1, 60), *first = start_first(rig, 0, ANSWER);
    run_to_end_of(rig, first);
    uint32_t slot = rig->toy.held[0] == PROMPT ? 0 : 1;
    rig->toy.rows_max = 4;
    uint32_t decodes = rig->toy.decodes, said = runs->id_count;
    run_to_end_of(rig, runs);
    CHECK(!runs->is_failed && runs->reason == DONE_LENGTH);
    CHECK_EQ(rig->toy.decodes, decodes + (runs->id_count - said) + 1); /* tried once */
    CHECK_EQ(rig->toy.held[slot], PROMPT);
    probes_run(&rig->probes); /* that of `runs` is tried, too */
    check_as_fresh(rig, runs);
    const struct probe *next = make_next(rig, 2, first);
    rig->toy.rows_max = 0;
    probe_start(&rig->probes, 2);
    probes_run(&rig->probes);
    CHECK_EQ(next->cached_tokens, PROMPT);
    check_as_fresh(rig, next);
    rig_free(rig);
}

TEST(an_engine_that_fails_for_good_in_it_fails_who_comes_next)
{
    struct rig *rig = rig_new(1);
    struct probe *first = start_first(rig, 0, ANSWER);
    run_to_end_of(rig, first);
    CHECK(!first->is_failed);
    rig->toy.next_decode = ERR_SYSTEM;
    CHECK(probes_step(&rig->probes));
    CHECK(rig->probes.broken && !probes_step(&rig->probes));
    struct probe *next = start_first(rig, 1, 1);
    probes_run(&rig->probes);
    CHECK(next->is_failed && next->fault == FAULT_INTERNAL_ERROR);
    rig_free(rig);
}
