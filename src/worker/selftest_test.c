#include "testing/test.h"
#include "worker/selftest.h"
#include "worker/toy_engine.h"

/* A toy whose rows depend on what else is in the batch, in the way that the test wants. */
static struct toy_engine toy;
static struct engine_ops ops;
static const struct engine_ops *toy_ops;
static uint32_t slots_max_same; /* more slots than so many in a step: other bits */
static uint32_t rows_max_same;  /* of one slot */
static uint32_t answers_from;   /* where prompts end */
static bool only_cells_differ;
static uint32_t decodes;
static enum err fails_with;

static bool is_different(const struct engine_row *rows, size_t count)
{
    uint32_t in_slot[TOY_SLOTS_MAX] = {0}, slots = 0, most = 0;
    for (size_t i = 0; i < count; i++) {
        slots += in_slot[rows[i].slot]++ == 0;
        bool is_answer = rows[i].position >= answers_from;
        most = is_answer && in_slot[rows[i].slot] > most ? in_slot[rows[i].slot] : most;
    }
    return slots > slots_max_same || most > rows_max_same;
}

static enum err decode(struct engine *engine, const struct engine_row *rows, size_t count)
{
    decodes++;
    if (fails_with != ERR_OK)
        return fails_with;
    TRY(toy_ops->decode(engine, rows, count));
    for (size_t i = 0; i < count && is_different(rows, count); i++) {
        uint32_t at = only_cells_differ ? 0 : toy.held[rows[i].slot];
        toy.hash[rows[i].slot][at] ^= 2;
        if (!only_cells_differ && toy.row_hash[i])
            toy.row_hash[i] ^= 2;
    }
    return ERR_OK;
}

static void set_up(uint32_t slots, uint32_t context_tokens, uint32_t batch_tokens)
{
    toy_engine_init(&toy, slots, context_tokens, batch_tokens);
    toy_ops = toy.engine.ops;
    ops = *toy_ops;
    ops.decode = decode;
    toy.engine.ops = &ops;
    toy.engine.info.logits_max = slots + SELFTEST_DRAFT_ROWS_MAX - 1;
    slots_max_same = rows_max_same = UINT32_MAX;
    answers_from = SELFTEST_PROMPT_TOKENS;
    only_cells_differ = false;
    fails_with = ERR_OK;
    decodes = 0;
}

static void empty_all(void)
{
    for (uint32_t slot = 0; slot < toy.engine.info.slots; slot++)
        CHECK_OK(engine_seq_cut(&toy.engine, slot, 0));
}

static enum selftest_next run(struct selftest *test)
{
    enum selftest_next next;
    for (uint32_t steps = 0;
         (next = selftest_step(test)) == SELFTEST_STEP || next == SELFTEST_EMPTY; steps++) {
        CHECK(steps < 10000);
        if (next == SELFTEST_EMPTY)
            empty_all();
    }
    return next;
}

static struct selftest_result result_of(bool is_fast)
{
    struct selftest test;
    empty_all();
    selftest_init(&test, &toy.engine, is_fast);
    CHECK_EQ(run(&test), SELFTEST_OVER);
    struct selftest_result result = selftest_result(&test);
    CHECK_EQ(strlen(result.fingerprint), NODE_FINGERPRINT_BYTES);
    selftest_fini(&test);
    return result;
}

TEST(an_engine_whose_rows_are_always_the_same_is_exact)
{
    set_up(8, 256, 512);
    struct selftest_result result = result_of(false);
    CHECK_EQ(result.determinism, NODE_EXACT);
    CHECK_EQ(result.width_max, 8);
    CHECK_EQ(result.draft_rows_exact_max, SELFTEST_DRAFT_ROWS_MAX);
}

/* Rows that are alone differ here: the test fails itself if it puts one in that plan.h would not.
 */
TEST(rows_that_differ_when_alone_are_put_in_as_in_a_request_alone)
{
    set_up(8, 256, 512);
    toy.engine.info.single_rows_differ = true;
    struct selftest_result result = result_of(false);
    CHECK_EQ(result.determinism, NODE_EXACT);
    CHECK_EQ(result.draft_rows_exact_max, 1);
}

TEST(any_shape_of_engine_can_be_tested)
{
    for (uint32_t slots = 1; slots <= TOY_SLOTS_MAX; slots++) {
        for (uint32_t batch = 8; batch <= TOY_BATCH_MAX; batch *= 4) {
            for (uint32_t context = 16; context <= TOY_CONTEXT_MAX; context += 40) {
                set_up(slots, context, batch);
                toy.engine.info.single_rows_differ = slots % 2;
                struct selftest_result result = result_of(false);
                CHECK_EQ(result.determinism, NODE_EXACT);
                CHECK(result.width_max <= slots);
                CHECK(toy.widest <= batch);
            }
        }
    }
}

TEST(a_width_at_which_rows_differ_is_found)
{
    set_up(8, 256, 512);
    slots_max_same = 3;
    struct selftest_result result = result_of(false);
    CHECK_EQ(result.determinism, NODE_COMPATIBLE);
    CHECK_EQ(result.width_max, 3);
    CHECK_EQ(result.draft_rows_exact_max, 1);
}

/* As most roundings do: the logits are as they were, what lies in the cache is not. */
TEST(cells_that_differ_are_found_where_logits_do_not_tell)
{
    set_up(4, 256, 512);
    slots_max_same = 1;
    only_cells_differ = true;
    CHECK_EQ(result_of(false).determinism, NODE_COMPATIBLE);
    toy.engine.info.can_save = false;
    CHECK_EQ(result_of(false).determinism, NODE_EXACT);
}

TEST(rows_of_one_stream_are_exact_up_to_the_first_width_that_differs)
{
    for (uint32_t most = 1; most <= SELFTEST_DRAFT_ROWS_MAX; most++) {
        set_up(4, 256, 512);
        rows_max_same = most;
        struct selftest_result result = result_of(false);
        CHECK_EQ(result.determinism, NODE_EXACT);
        CHECK_EQ(result.draft_rows_exact_max, most);
    }
}

TEST(profile_fast_promises_nothing_beside_others_and_tries_drafts_alone)
{
    set_up(8, 256, 512);
    slots_max_same = 1;
    struct selftest_result result = result_of(true);
    CHECK_EQ(result.determinism, NODE_COMPATIBLE);
    CHECK_EQ(result.width_max, 0);
    CHECK_EQ(result.draft_rows_exact_max, SELFTEST_DRAFT_ROWS_MAX);
    for (uint32_t most = 1; most < SELFTEST_DRAFT_ROWS_MAX; most++) {
        set_up(8, 256, 512);
        answers_from = 256 - SELFTEST_ANSWER_TOKENS; /* of this context */
        rows_max_same = most;
        result = result_of(true);
        CHECK_EQ(result.determinism, NODE_COMPATIBLE);
        CHECK_EQ(result.draft_rows_exact_max, most);
    }
}

TEST(no_more_rows_are_tried_than_the_engine_takes_or_has_logits_for)
{
    set_up(8, 256, 512);
    toy.engine.info.logits_max = 8 + 3; /* the toy holds us to it */
    CHECK_EQ(result_of(true).draft_rows_exact_max, 4);
    set_up(8, 256, 512);
    toy.engine.info.logits_max = 8; /* nothing is to be drafted, and nothing but one way is run */
    CHECK_EQ(result_of(true).draft_rows_exact_max, 1);
    CHECK_EQ(decodes, 1 + SELFTEST_ANSWER_TOKENS);
    set_up(8, 256, 8);
    CHECK_EQ(result_of(true).draft_rows_exact_max, 8);
}

TEST(fingerprints_tell_numbers_apart_and_not_shapes)
{
    set_up(8, 256, 512);
    struct selftest_result wide = result_of(false);
    set_up(2, 200, 128);
    CHECK_STR(result_of(false).fingerprint, wide.fingerprint);
    slots_max_same = 0; /* other numbers, and always the same ones */
    CHECK(strcmp(result_of(false).fingerprint, wide.fingerprint) != 0);
}

TEST(a_way_that_was_interrupted_begins_again)
{
    set_up(8, 256, 512);
    struct selftest test;
    struct selftest_result whole = result_of(false);
    uint32_t all = decodes;
    for (uint32_t at = 0; at < all; at += 7) {
        empty_all();
        selftest_init(&test, &toy.engine, false);
        for (uint32_t step = 0; step < at; step++) {
            if (selftest_step(&test) == SELFTEST_EMPTY)
                empty_all();
        }
        fails_with = ERR_CANCELLED;
        enum selftest_next next = selftest_step(&test);
        CHECK(next == SELFTEST_ABORTED || next == SELFTEST_STEP); /* without a decode() */
        fails_with = ERR_OK;
        empty_all();
        selftest_again(&test);
        CHECK_EQ(run(&test), SELFTEST_OVER);
        CHECK_STR(selftest_result(&test).fingerprint, whole.fingerprint);
        CHECK_EQ(selftest_result(&test).determinism, NODE_EXACT);
        selftest_fini(&test);
    }
}

TEST(an_engine_that_fails_or_gives_no_numbers_has_no_result)
{
    struct selftest test;
    for (int numbers = 0; numbers < 2; numbers++) {
        set_up(2, 256, 512);
        toy.has_no_number = numbers == 0;
        fails_with = numbers == 0 ? ERR_OK : ERR_SYSTEM;
        selftest_init(&test, &toy.engine, false);
        CHECK_EQ(run(&test), SELFTEST_BROKEN);
        CHECK_EQ(selftest_result(&test).determinism, NODE_DETERMINISM_UNKNOWN);
        selftest_fini(&test);
    }
}
