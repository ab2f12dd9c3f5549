/* Answers that settle in a plan: what is left of a step, and nobody's loss (plan.h rule 11). */
#include "testing/test.h"
#include "worker/plan_probe.h"

enum { PARTS_MAX = 2 * PLAN_SETTLES_MAX };

static struct plan_seq settle(uint32_t position, uint32_t left)
{
    return (struct plan_seq){.position = position, .left = left, .pairs_until = position + left};
}

static uint32_t settled_rows(const struct plan_batch *batch)
{
    uint32_t rows = 0;
    for (uint32_t i = 0; i < batch->settle_count; i++)
        rows += batch->parts[batch->part_count + i].count;
    return rows;
}

TEST(a_step_has_room_for_64_rows_of_answers_first_come_first)
{
    struct plan_seq settles[] = {settle(7, 40), settle(90, 20), settle(3, 30)}, decode = {5, 1};
    struct plan_part parts[PARTS_MAX];
    struct plan_state state = {.batch_tokens = 512,
                               .prefill_tokens = 100,
                               .prefill_alone_tokens = 512,
                               .decodes = &decode,
                               .decode_count = 1,
                               .settles = settles,
                               .settle_count = 3};
    for (; state.decode_count < 2; state.decode_count--) { /* beside one, and alone */
        struct plan_batch batch = plan_step(&state, parts);
        CHECK_EQ(batch.part_count, state.decode_count);
        CHECK_EQ(batch.settle_count, 3);
        CHECK_EQ(settled_rows(&batch), PLAN_SETTLE_ROWS);
        CHECK_EQ(batch.row_count, state.decode_count + PLAN_SETTLE_ROWS);
        CHECK_EQ(batch.shape.prompt_rows, PLAN_SETTLE_ROWS);
        const struct plan_part *part = &parts[batch.part_count];
        CHECK(part[0].count == 40 && part[1].count == 20 && part[2].count == 4);
        for (uint32_t i = 0; i < 3; i++) {
            CHECK(part[i].index == i && part[i].position == settles[i].position);
            CHECK(!part[i].wants_logits);
        }
    }
}

TEST(a_part_of_an_answer_leaves_no_row_alone)
{
    struct plan_seq decode = {5, 1};
    struct plan_part parts[PARTS_MAX];
    for (uint32_t left = 2; left < 20; left++) {
        for (uint32_t room = 0; room < 20; room++) {
            struct plan_seq one = settle(7, left);
            struct plan_state state = {.batch_tokens = 64,
                                       .prefill_tokens = room,
                                       .decodes = &decode,
                                       .decode_count = 1,
                                       .settles = &one,
                                       .settle_count = 1};
            struct plan_batch batch = plan_step(&state, parts);
            uint32_t rows = settled_rows(&batch);
            CHECK(rows <= room && rows != 1 && left - rows != 1);
            CHECK(rows > 0 || room < 2 || (room == 2 && left == 3));
        }
    }
}

TEST(answers_get_what_prompts_leave)
{
    struct plan_seq decode = {5, 1}, prompt = {0, 50}, one = settle(7, 30);
    struct plan_part parts[PARTS_MAX];
    struct plan_state state = {.batch_tokens = 512,
                               .prefill_tokens = 64,
                               .decodes = &decode,
                               .decode_count = 1,
                               .prompts = &prompt,
                               .prompt_count = 1,
                               .settles = &one,
                               .settle_count = 1};
    struct plan_batch batch = plan_step(&state, parts);
    CHECK_EQ(batch.part_count, 2);
    CHECK_EQ(parts[1].count, 50);
    CHECK_EQ(settled_rows(&batch), 14);
    prompt.left = 65;
    batch = plan_step(&state, parts);
    CHECK_EQ(parts[1].count, 64);
    CHECK_EQ(batch.settle_count, 0);
    prompt.save_at = 20; /* it ends there, with room behind it */
    batch = plan_step(&state, parts);
    CHECK_EQ(parts[1].count, 20);
    CHECK_EQ(settled_rows(&batch), 30);
}

TEST(alone_answers_move_whatever_the_budget)
{
    struct plan_seq one = settle(7, 5);
    struct plan_part parts[PARTS_MAX];
    for (uint32_t alone = 0; alone < 9; alone++) {
        struct plan_state state = {.batch_tokens = PLAN_PAIR_ROWS + 1,
                                   .prefill_alone_tokens = alone,
                                   .settles = &one,
                                   .settle_count = 1};
        struct plan_batch batch = plan_step(&state, parts);
        CHECK(settled_rows(&batch) >= 2 && batch.row_count <= state.batch_tokens);
    }
}

/* --- with a cost --- */

TEST(beside_those_that_decode_a_step_keeps_to_the_target_of_prompts)
{
    struct step_cost cost = plan_probe_cost();
    struct plan_seq decode = {5, 1}, one = settle(7, 60);
    struct plan_part parts[PARTS_MAX];
    struct plan_state state = {.batch_tokens = 512,
                               .prefill_tokens = UINT32_MAX,
                               .prefill_alone_tokens = 512,
                               .cost = &cost,
                               .itl_us = 60000,
                               .decodes = &decode,
                               .decode_count = 1,
                               .settles = &one,
                               .settle_count = 1};
    struct plan_batch batch = plan_step(&state, parts);
    CHECK(settled_rows(&batch) >= 20 && settled_rows(&batch) <= 25); /* 12 ms and 24 times 2 */
    CHECK(step_cost_us(&cost, &batch.shape) <= 60000);
    state.spent_us = 30000;
    batch = plan_step(&state, parts);
    CHECK(step_cost_us(&cost, &batch.shape) <= 30000);
    state.spent_us = 60000;
    CHECK_EQ(plan_step(&state, parts).settle_count, 0);
    state.decode_count = 0; /* alone they are rows, not time */
    batch = plan_step(&state, parts);
    CHECK_EQ(settled_rows(&batch), 60);
}

/* What a first token may be later: 20 ms, or a quarter of what it takes anyway. */
TEST(beside_a_prompt_a_step_becomes_little_longer)
{
    struct step_cost cost = plan_probe_cost();
    struct plan_seq prompt = {0, 10}, one = settle(7, 60);
    struct plan_part parts[PARTS_MAX];
    struct plan_state state = {.batch_tokens = 512,
                               .prefill_tokens = UINT32_MAX,
                               .prefill_alone_tokens = 512,
                               .cost = &cost,
                               .prompts = &prompt,
                               .prompt_count = 1,
                               .settles = &one,
                               .settle_count = 1};
    struct plan_batch batch = plan_step(&state, parts);
    CHECK(settled_rows(&batch) >= 8 && settled_rows(&batch) <= 11); /* 20 ms */
    prompt.left = 100;
    batch = plan_step(&state, parts);
    CHECK(settled_rows(&batch) >= 23 && settled_rows(&batch) <= 28); /* a quarter of 210 ms */
}

/* Where narrow steps are faster for all, a step with an answer in it is still one for all: it is
 * longer for everybody. */
TEST(beside_an_answer_all_that_decode_have_their_row)
{
    struct step_cost cost;
    step_cost_init(&cost);
    for (uint32_t i = 0; i < 400; i++) { /* a cliff: two rows take four times as long as one */
        struct step_shape shape = {.decode_rows = i % 4 + 1};
        step_cost_learn(&cost, &shape, shape.decode_rows == 1 ? 5000 : 20000 + shape.decode_rows);
    }
    struct plan_seq decodes[] = {{5, 1}, {6, 1}}, one = settle(7, 10);
    struct plan_part parts[PARTS_MAX];
    struct plan_state state = {.batch_tokens = 512,
                               .prefill_tokens = UINT32_MAX,
                               .cost = &cost,
                               .decodes = decodes,
                               .decode_count = 2,
                               .settles = &one};
    CHECK_EQ(plan_step(&state, parts).decode_count, 1);
    state.settle_count = 1;
    CHECK_EQ(plan_step(&state, parts).decode_count, 2);
}
