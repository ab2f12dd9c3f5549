/* Rule 10 of plan.h: who gets rows for what is guessed. */
#include "testing/test.h"
#include "worker/draft.h"
#include "worker/plan_probe.h"

enum { SEQS_MAX = 24 };

struct table { /* ms of so many rows, 1 .. STEP_COST_WIDTHS */
    double ms[STEP_COST_WIDTHS];
};

static struct step_cost learned(const struct table *table)
{
    struct step_cost cost;
    step_cost_init(&cost);
    for (int i = 0; i < 8; i++) {
        for (uint32_t width = 1; width <= STEP_COST_WIDTHS; width++) {
            struct step_shape shape = {.decode_rows = width};
            step_cost_learn(&cost, &shape, (uint64_t)(1000 * table->ms[width - 1]));
        }
    }
    return cost;
}

static struct table line(double first_ms, double row_ms)
{
    struct table table;
    for (uint32_t i = 0; i < STEP_COST_WIDTHS; i++)
        table.ms[i] = first_ms + i * row_ms;
    return table;
}

static struct plan_state state_of(const struct plan_seq *decodes, uint32_t count)
{
    return (struct plan_state){.batch_tokens = 512,
                               .prefill_tokens = 64,
                               .prefill_alone_tokens = 512,
                               .draft_rows = DRAFT_MAX,
                               .decodes = decodes,
                               .decode_count = count};
}

static struct plan_seq guessing(uint32_t drafts, double odds)
{
    return (struct plan_seq){.position = 9, .left = 1, .drafts = drafts, .draft_odds = odds};
}

/* Of one sequence, with what steps cost. */
static uint32_t drafts_of_one(struct plan_seq decode, const struct table *table, uint64_t itl_us)
{
    struct plan_part part;
    struct step_cost cost = learned(table);
    struct plan_state state = state_of(&decode, 1);
    state.cost = &cost;
    state.itl_us = itl_us;
    return plan_step(&state, &part).draft_count;
}

TEST(without_a_cost_guesses_get_what_room_there_is_the_likeliest_first)
{
    struct plan_seq decodes[] = {guessing(4, 0.5), guessing(0, 0.9), guessing(4, 0.9)};
    struct plan_part parts[3];
    struct plan_state state = state_of(decodes, 3);
    struct plan_batch batch = plan_step(&state, parts);
    CHECK_EQ(batch.decode_count, 3);
    CHECK_EQ(batch.part_count, 3);
    CHECK_EQ(batch.draft_count, 8);
    CHECK_EQ(batch.row_count, 11);
    CHECK_EQ(batch.shape.decode_rows, 11);
    CHECK_EQ(parts[0].count, 5);
    CHECK_EQ(parts[1].count, 1);
    CHECK_EQ(parts[2].count, 5);
    state.draft_rows = 5; /* 0.9, 0.81, 0.73, 0.66, and 0.5 */
    CHECK_EQ(plan_step(&state, parts).draft_count, 5);
    CHECK_EQ(parts[0].count, 2);
    CHECK_EQ(parts[2].count, 5);
    state.batch_tokens = 4;
    CHECK_EQ(plan_step(&state, parts).row_count, 4);
    CHECK_EQ(parts[2].count, 2);
}

TEST(beside_a_prompt_or_in_a_wide_step_nothing_is_drafted)
{
    struct plan_seq decodes[SEQS_MAX], prompt = {0, 10};
    struct plan_part parts[SEQS_MAX + 1];
    for (uint32_t i = 0; i < SEQS_MAX; i++)
        decodes[i] = guessing(DRAFT_MAX, 0.9);
    for (uint32_t count = 1; count <= SEQS_MAX; count++) {
        struct plan_state state = state_of(decodes, count);
        struct plan_batch batch = plan_step(&state, parts);
        CHECK_EQ(batch.row_count, count > PLAN_DRAFT_WIDTH ? count : PLAN_DRAFT_WIDTH);
        state.prompts = &prompt;
        state.prompt_count = 1;
        CHECK_EQ(plan_step(&state, parts).draft_count, 0);
    }
}

TEST(drafts_are_taken_where_rows_are_cheap_and_not_where_they_are_dear)
{
    struct table cheap = line(10, 0.1), dear = line(10, 10), half = line(10, 4);
    CHECK_EQ(drafts_of_one(guessing(8, 0.9), &cheap, 0), 8);
    CHECK_EQ(drafts_of_one(guessing(8, 0.9), &dear, 0), 0);
    CHECK_EQ(drafts_of_one(guessing(8, 0.3), &cheap, 0), 3); /* 0.3^4 of 1.4 tokens, 0.1 of 10 ms */
    uint32_t some = drafts_of_one(guessing(8, 0.9), &half, 0);
    CHECK(some > 1 && some < 8);
    CHECK_EQ(drafts_of_one(guessing(8, 0.4), &half, 0), 0);
}

/* Q8_0 on some processors: 2 to 4 rows take four times as long as one, and 8 not much more. */
TEST(a_cliff_is_jumped_over_by_who_is_sure_and_not_met_by_who_is_not)
{
    struct table cliff = line(40, 0.5);
    cliff.ms[0] = 10;
    CHECK_EQ(drafts_of_one(guessing(15, 0.97), &cliff, 100000), 15);
    CHECK_EQ(drafts_of_one(guessing(3, 0.97), &cliff, 100000), 0);
    CHECK_EQ(drafts_of_one(guessing(15, 0.7), &cliff, 100000), 0);
}

TEST(a_step_with_drafts_keeps_to_the_target)
{
    struct table table = line(30, 2);
    CHECK_EQ(drafts_of_one(guessing(15, 0.99), &table, 1000), 15); /* two rounds are granted */
    table = line(30, 10);
    CHECK_EQ(drafts_of_one(guessing(15, 0.99), &table, 1000), 3);
    CHECK_EQ(drafts_of_one(guessing(15, 0.99), &table, 80000), 5);
}

TEST(who_has_no_guess_does_not_pay_for_who_has)
{
    struct plan_seq decodes[] = {guessing(8, 0.95), guessing(0, 0.5)};
    struct plan_part parts[2];
    struct table table = line(10, 0.4), cheap = line(10, 0.1);
    struct step_cost cost = learned(&table);
    struct plan_state state = state_of(decodes, 2);
    state.cost = &cost;
    CHECK_EQ(plan_step(&state, parts).draft_count, 1); /* a sixteenth of 10.4 ms */
    cost = learned(&cheap);
    CHECK_EQ(plan_step(&state, parts).draft_count, 6);
    decodes[1] = guessing(8, 0.95); /* now both gain */
    cost = learned(&table);
    CHECK_EQ(plan_step(&state, parts).draft_count, PLAN_DRAFT_WIDTH - 2);
}

TEST(where_streams_take_turns_nothing_is_drafted)
{
    struct plan_seq decodes[] = {guessing(8, 0.95), guessing(8, 0.95)};
    struct plan_part parts[2];
    struct table cliff = line(40, 0.5);
    cliff.ms[0] = 10;
    struct step_cost cost = learned(&cliff);
    struct plan_state state = state_of(decodes, 2);
    state.cost = &cost;
    struct plan_batch batch = plan_step(&state, parts);
    CHECK_EQ(batch.decode_count, 1);
    CHECK_EQ(batch.draft_count, 0);
}

/* --- every plan keeps rule 10 --- */

static uint32_t below(uint64_t *random, uint32_t limit)
{
    return (uint32_t)(test_random(random) % limit);
}

/* A failure shows the seed as the first of the two values. */
#define HOLDS(cond) CHECK_EQ((cond) ? 0 : seed, 0)

static void check_gain(uint64_t seed, const struct plan_state *state,
                       const struct plan_batch *batch)
{
    const struct plan_gain gain = plan_probe_gain(state, batch);
    double without_us = step_cost_us(state->cost, &gain.plain);
    double longer = step_cost_us(state->cost, &batch->shape) / without_us;
    HOLDS(gain.expected / longer >= 1.0624 * state->decode_count);
    HOLDS(gain.least * 1.0626 >= longer);
    HOLDS(longer * without_us <= 1.0001 * step_cost_target_us(state->cost, &gain.plain, 0,
                                                              state->batch_tokens, state->itl_us));
}

static void check_counts(uint64_t seed, const struct plan_state *state,
                         const struct plan_batch *batch)
{
    uint32_t rows = 0;
    for (uint32_t i = 0; i < batch->part_count; i++) {
        const struct plan_part *part = &batch->parts[i];
        HOLDS(part->count >= 1 && part->count <= 1 + state->decodes[part->index].drafts);
        HOLDS(part->wants_logits && !part->is_prompt);
        rows += part->count;
    }
    HOLDS(rows == batch->row_count);
    HOLDS(rows == batch->shape.decode_rows);
    HOLDS(rows == batch->decode_count + batch->draft_count);
    HOLDS(batch->draft_count <= state->draft_rows);
    HOLDS(batch->draft_count == 0 || rows <= PLAN_DRAFT_WIDTH);
}

TEST(every_random_plan_keeps_rule_10)
{
    uint64_t with_drafts = 0, seeds = test_seeds(3000);
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        uint64_t random = seed;
        struct plan_seq decodes[SEQS_MAX];
        struct plan_part parts[SEQS_MAX];
        uint32_t count = 1 + below(&random, below(&random, 2) ? 4 : SEQS_MAX);
        for (uint32_t i = 0; i < count; i++)
            decodes[i] = guessing(below(&random, DRAFT_MAX + 1), below(&random, 101) / 100.0);
        struct table table = line(1 + below(&random, 50), below(&random, 60) / 10.0);
        table.ms[below(&random, STEP_COST_WIDTHS)] *= 1 + below(&random, 4);
        struct step_cost cost = learned(&table);
        struct plan_state state = state_of(decodes, count);
        state.cost = below(&random, 4) ? &cost : NULL;
        state.itl_us = below(&random, 2) * below(&random, 200000);
        state.draft_rows = below(&random, DRAFT_MAX + 1);
        state.batch_tokens = count + below(&random, 30);
        struct plan_batch batch = plan_step(&state, parts);
        check_counts(seed, &state, &batch);
        if (state.cost && batch.draft_count > 0)
            check_gain(seed, &state, &batch);
        with_drafts += batch.draft_count > 0;
    }
    CHECK(with_drafts > seeds / 6 && with_drafts < seeds * 5 / 6);
}
