#include "testing/test.h"
#include "worker/plan_probe.h"

#include <stdio.h>

enum { SEQS_MAX = 64 };

static struct plan_batch plan(uint32_t batch_tokens, const struct plan_seq *decodes,
                              uint32_t decode_count, const struct plan_seq *prompts,
                              uint32_t prompt_count, struct plan_part *parts)
{
    struct plan_state state = {.batch_tokens = batch_tokens,
                               .prefill_tokens = 64,
                               .prefill_alone_tokens = 512,
                               .decodes = decodes,
                               .decode_count = decode_count,
                               .prompts = prompts,
                               .prompt_count = prompt_count};
    return plan_step(&state, parts);
}

TEST(nothing_to_do_is_an_empty_batch)
{
    struct plan_part parts[1];
    struct plan_batch batch = plan(512, NULL, 0, NULL, 0, parts);
    CHECK_EQ(batch.part_count, 0);
    CHECK_EQ(batch.row_count, 0);
}

TEST(decoding_sequences_come_first_each_with_one_row_that_wants_logits)
{
    struct plan_seq decodes[] = {{7, 1}, {9, 1}}, prompts[] = {{0, 10}};
    struct plan_part parts[3];
    struct plan_batch batch = plan(512, decodes, 2, prompts, 1, parts);
    CHECK_EQ(batch.part_count, 3);
    CHECK_EQ(batch.decode_count, 2);
    CHECK_EQ(batch.row_count, 12);
    for (uint32_t i = 0; i < 2; i++) {
        CHECK(!parts[i].is_prompt && parts[i].wants_logits);
        CHECK_EQ(parts[i].index, i);
        CHECK_EQ(parts[i].count, 1);
        CHECK_EQ(parts[i].position, decodes[i].position);
    }
    CHECK(parts[2].is_prompt && parts[2].wants_logits);
    CHECK_EQ(parts[2].count, 10);
}

TEST(a_long_prompt_gets_the_small_budget_in_company_and_the_large_one_alone)
{
    struct plan_seq decode = {5, 1}, prompt = {100, 1000};
    struct plan_part parts[2];
    CHECK_EQ(plan(600, &decode, 1, &prompt, 1, parts).row_count, 65);
    CHECK_EQ(parts[1].position, 100);
    CHECK(!parts[1].wants_logits);
    CHECK_EQ(plan(600, NULL, 0, &prompt, 1, parts).row_count, 512);
    CHECK_EQ(plan(400, NULL, 0, &prompt, 1, parts).row_count, 400);
}

TEST(logits_are_wanted_exactly_when_the_last_prompt_token_goes_in)
{
    struct plan_part part;
    for (uint32_t left = 511; left <= 513; left++) {
        struct plan_seq prompt = {0, left};
        CHECK_EQ(plan(600, NULL, 0, &prompt, 1, &part).row_count, left < 512 ? left : 512);
        CHECK_EQ(part.wants_logits, left <= 512);
    }
}

TEST(the_oldest_prompt_gets_half_and_the_shortest_the_other)
{
    struct plan_seq decode = {5, 1}, prompts[] = {{0, 1000}, {0, 900}, {40, 50}};
    struct plan_part parts[4];
    CHECK_EQ(plan(512, &decode, 1, prompts, 3, parts).part_count, 3);
    CHECK_EQ(parts[1].index, 0);
    CHECK_EQ(parts[1].count, 32);
    CHECK_EQ(parts[2].index, 2);
    CHECK_EQ(parts[2].count, 32);
    CHECK_EQ(parts[2].position, 40);
}

TEST(what_the_short_ones_do_not_use_goes_on_oldest_first)
{
    struct plan_seq prompts[] = {{0, 30}, {0, 1000}, {0, 2}};
    struct plan_part parts[3];
    CHECK_EQ(plan(512, NULL, 0, prompts, 3, parts).row_count, 512);
    CHECK_EQ(parts[0].count, 30);
    CHECK_EQ(parts[1].count, 480);
    CHECK_EQ(parts[2].count, 2);
}

TEST(a_waiting_prompt_keeps_a_row_when_the_decoding_ones_would_fill_the_batch)
{
    struct plan_seq decodes[4] = {{1, 1}, {2, 1}, {3, 1}, {4, 1}}, prompt = {0, 9};
    struct plan_part parts[5];
    CHECK_EQ(plan(4, decodes, 4, &prompt, 1, parts).decode_count, 3);
    CHECK_EQ(parts[3].count, 1);
    CHECK_EQ(plan(4, decodes, 4, NULL, 0, parts).decode_count, 4);
    CHECK_EQ(plan(5, decodes, 4, &prompt, 1, parts).decode_count, 4);
    /* One row cannot be kept for one and given to the other. */
    CHECK_EQ(plan(1, decodes, 1, &prompt, 1, parts).decode_count, 1);
}

TEST(a_budget_of_zero_still_moves_prompts)
{
    struct plan_seq decode = {1, 1}, prompt = {0, 9};
    struct plan_part parts[2];
    struct plan_state state = {.batch_tokens = 8,
                               .decodes = &decode,
                               .decode_count = 1,
                               .prompts = &prompt,
                               .prompt_count = 1};
    CHECK_EQ(plan_step(&state, parts).row_count, 2);
    state.decode_count = 0;
    CHECK_EQ(plan_step(&state, parts).row_count, 1);
}

/* --- with a cost: time decides --- */

static struct plan_state timed_state(const struct step_cost *cost, uint64_t itl_us)
{
    return (struct plan_state){.batch_tokens = 512,
                               .prefill_tokens = UINT32_MAX,
                               .prefill_alone_tokens = 512,
                               .cost = cost,
                               .itl_us = itl_us};
}

TEST(what_a_step_has_spent_before_is_not_there_for_prompts)
{
    struct step_cost cost = plan_probe_cost();
    struct plan_seq decode = {5, 1}, prompts[] = {{0, 1000}, {0, 30}};
    struct plan_part parts[3];
    struct plan_state state = timed_state(&cost, 100000);
    state.decodes = &decode;
    state.decode_count = 1;
    state.prompts = prompts;
    state.prompt_count = 2;
    uint32_t before = plan_step(&state, parts).row_count;
    state.spent_us = 40000; /* 20 rows of 2 ms */
    CHECK_NEAR(before - plan_step(&state, parts).row_count, 20, 2);
    state.spent_us = 10000000;
    CHECK_EQ(plan_step(&state, parts).row_count, 2); /* the oldest moves */
    CHECK_EQ(parts[1].index, 0);
}

TEST(in_company_prompts_get_the_time_that_the_target_leaves)
{
    struct step_cost cost = plan_probe_cost();
    struct plan_seq decodes[] = {{5, 1}, {9, 1}}, prompt = {100, 1000};
    struct plan_part parts[3];
    struct plan_state state = timed_state(&cost, 100000);
    state.decodes = decodes;
    state.decode_count = 2;
    state.prompts = &prompt;
    state.prompt_count = 1;
    CHECK_NEAR(plan_step(&state, parts).row_count, 45, 2); /* 10 + 2 * 45 ms */
    state.prefill_tokens = 20;                             /* both hold */
    CHECK_EQ(plan_step(&state, parts).row_count, 22);
    state.decode_count = 0;
    CHECK_EQ(plan_step(&state, parts).row_count, 512); /* alone there is nobody to wait */
}

TEST(of_the_time_the_shortest_gets_half_and_the_oldest_the_rest)
{
    struct step_cost cost = plan_probe_cost();
    struct plan_seq decode = {5, 1}, prompts[] = {{0, 1000}, {0, 900}};
    struct plan_part parts[3];
    struct plan_state state = timed_state(&cost, 212000); /* 100 rows for prompts */
    state.decodes = &decode;
    state.decode_count = 1;
    state.prompts = prompts;
    state.prompt_count = 2;
    CHECK_EQ(plan_step(&state, parts).part_count, 3);
    CHECK_NEAR(parts[1].count, 50, 3);
    CHECK_NEAR(parts[2].count, 50, 3);
}

TEST(the_oldest_prompt_moves_by_a_row_even_when_decodes_take_all_the_time)
{
    struct step_cost cost = plan_probe_cost();
    struct plan_seq decodes[200], prompt = {0, 50};
    struct plan_part parts[201];
    for (uint32_t i = 0; i < ARRAY_COUNT(decodes); i++)
        decodes[i] = (struct plan_seq){100000, 1};
    struct plan_state state = timed_state(&cost, 1);
    /* What the cells cost was not seen: say that it is more than the target by far. */
    cost.line[3] = 1e6;
    state.decodes = decodes;
    state.decode_count = ARRAY_COUNT(decodes);
    state.prompts = &prompt;
    state.prompt_count = 1;
    struct plan_batch batch = plan_step(&state, parts);
    CHECK_EQ(batch.decode_count, ARRAY_COUNT(decodes));
    CHECK_EQ(batch.row_count, batch.decode_count + 1);
}

TEST(decodes_take_turns_where_narrow_steps_are_faster)
{
    struct step_cost cost;
    struct plan_seq decodes[] = {{1, 1}, {2, 1}, {3, 1}}, prompt = {0, 5};
    struct plan_part parts[4];
    step_cost_init(&cost);
    for (int i = 0; i < 3; i++) {
        for (uint32_t width = 1; width <= 3; width++) {
            struct step_shape shape = {.decode_rows = width};
            step_cost_learn(&cost, &shape, width == 1 ? 6000 : 25000);
        }
    }
    struct plan_state state = timed_state(&cost, 0);
    state.decodes = decodes;
    state.decode_count = 3;
    CHECK_EQ(plan_step(&state, parts).row_count, 1);
    CHECK_EQ(parts[0].index, 0);
    /* With prompt rows it is another kind of step: all go along. */
    state.prompts = &prompt;
    state.prompt_count = 1;
    CHECK_EQ(plan_step(&state, parts).decode_count, 3);
}

TEST(the_shape_says_what_went_in)
{
    struct plan_seq decodes[] = {{7, 1}, {9, 1}}, prompts[] = {{0, 3}, {10, 2}};
    struct plan_part parts[4];
    struct plan_batch batch = plan(512, decodes, 2, prompts, 2, parts);
    CHECK_EQ(batch.shape.decode_rows, 2);
    CHECK_EQ(batch.shape.prompt_rows, 5);
    CHECK_EQ(batch.shape.pairs, 8 + 10 + (1 + 2 + 3) + (11 + 12));
}

TEST(a_part_ends_where_it_is_to_be_saved_and_the_others_get_the_rest)
{
    struct plan_seq prompts[] = {{100, 1000, .save_at = 130}, {0, 900}};
    struct plan_part parts[2];
    struct plan_batch batch = plan(512, NULL, 0, prompts, 2, parts);
    CHECK_EQ(batch.row_count, 512);
    CHECK_EQ(parts[0].count, 30);
    CHECK(!parts[0].wants_logits);
    CHECK_EQ(parts[1].count, 482);
    struct plan_seq at_its_end = {0, 30, .save_at = 30};
    CHECK_EQ(plan(512, NULL, 0, &at_its_end, 1, parts).row_count, 30);
    CHECK(parts[0].wants_logits);
}

/* --- many random workloads, each run to its end through plan_step() alone --- */

struct job {
    uint32_t position, prompt_left, answer_left;
    uint32_t idle_steps; /* since it last had a row */
    uint64_t allowance;  /* prompt tokens that may go in before its own are done (rule 4) */
};

struct workload {
    uint64_t seed;
    struct plan_state limits;
    struct job decodes[SEQS_MAX], prompts[SEQS_MAX]; /* in the order plan_step() wants */
    uint32_t decode_count, prompt_count;
    uint32_t slots, arrivals_left;
    uint64_t random;
};

/* A failure shows the seed as the first of the two values. */
#define HOLDS(cond) CHECK_EQ((cond) ? 0 : load->seed, 0)

static uint32_t pick(struct workload *load, uint32_t below)
{
    return (uint32_t)(test_random(&load->random) % below);
}

static void workload_init(struct workload *load, uint64_t seed)
{
    *load = (struct workload){.seed = seed, .random = seed};
    load->slots = 1 + pick(load, SEQS_MAX);
    load->arrivals_left = 1 + pick(load, 40);
    load->limits.batch_tokens = 2 + pick(load, pick(load, 2) ? 8 : 600);
    load->limits.prefill_tokens = pick(load, pick(load, 2) ? 4 : 100);
    load->limits.prefill_alone_tokens = pick(load, 600);
}

static void arrive(struct workload *load)
{
    struct job job = {.prompt_left = 1 + pick(load, pick(load, 8) ? 60 : 3000),
                      .answer_left = 1 + pick(load, 30)};
    job.allowance = job.prompt_left;
    for (uint32_t i = 0; i < load->prompt_count; i++)
        job.allowance += load->prompts[i].prompt_left;
    load->prompts[load->prompt_count++] = job;
    load->arrivals_left--;
}

static struct plan_batch step(struct workload *load, struct plan_part *parts)
{
    struct plan_seq decodes[SEQS_MAX], prompts[SEQS_MAX];
    for (uint32_t i = 0; i < load->decode_count; i++)
        decodes[i] = (struct plan_seq){load->decodes[i].position, 1};
    for (uint32_t i = 0; i < load->prompt_count; i++)
        prompts[i] = (struct plan_seq){load->prompts[i].position, load->prompts[i].prompt_left};
    struct plan_state state = load->limits;
    state.decodes = decodes;
    state.decode_count = load->decode_count;
    state.prompts = prompts;
    state.prompt_count = load->prompt_count;
    return plan_step(&state, parts);
}

static uint32_t at_least_one(uint32_t value)
{
    return value ? value : 1;
}

static void check_limits(const struct workload *load, const struct plan_batch *batch)
{
    uint32_t budget = at_least_one(load->decode_count ? load->limits.prefill_tokens
                                                      : load->limits.prefill_alone_tokens);
    HOLDS(batch->row_count >= 1);
    HOLDS(batch->row_count <= load->limits.batch_tokens);
    HOLDS(batch->row_count - batch->decode_count <= budget);
    bool all_fit = load->decode_count + (load->prompt_count > 0) <= load->limits.batch_tokens;
    HOLDS(!all_fit || batch->decode_count == load->decode_count);
}

static void check_parts(const struct workload *load, const struct plan_batch *batch)
{
    uint32_t rows = 0;
    for (uint32_t i = 0; i < batch->part_count; i++) {
        const struct plan_part *part = &batch->parts[i];
        HOLDS(part->is_prompt == (i >= batch->decode_count));
        HOLDS(i == 0 || i == batch->decode_count || part->index > batch->parts[i - 1].index);
        HOLDS(part->index < (part->is_prompt ? load->prompt_count : load->decode_count));
        const struct job *job =
            part->is_prompt ? &load->prompts[part->index] : &load->decodes[part->index];
        uint32_t left = part->is_prompt ? job->prompt_left : 1;
        HOLDS(part->position == job->position);
        HOLDS(part->count >= 1 && part->count <= left);
        HOLDS(part->wants_logits == (part->count == left));
        rows += part->count;
    }
    HOLDS(rows == batch->row_count);
    /* The oldest prompt moves in every step, by at least what rule 4 says. */
    uint32_t spent = batch->row_count - batch->decode_count;
    if (load->prompt_count > 0) {
        const struct plan_part *oldest = &batch->parts[batch->decode_count];
        HOLDS(oldest->index == 0);
        HOLDS(oldest->wants_logits || oldest->count >= spent - spent / 2);
    }
}

/* The served decoding ones go behind the others; ended ones leave. */
static void apply_decodes(struct workload *load, uint32_t served)
{
    struct job next[SEQS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < load->decode_count; i++) {
        struct job job = load->decodes[(i + served) % load->decode_count];
        bool has_row = i + served >= load->decode_count;
        job.idle_steps = has_row ? 0 : job.idle_steps + 1;
        HOLDS(job.idle_steps <= SEQS_MAX); /* batch_tokens >= 2: one more each step */
        job.position += has_row;
        job.answer_left -= has_row;
        if (job.answer_left > 0)
            next[count++] = job;
    }
    memcpy(load->decodes, next, count * sizeof(next[0]));
    load->decode_count = count;
}

static void apply_prompts(struct workload *load, const struct plan_batch *batch)
{
    struct job left[SEQS_MAX];
    uint32_t count = 0, part = batch->decode_count;
    for (uint32_t i = 0; i < load->prompt_count; i++) {
        struct job job = load->prompts[i];
        uint32_t rows = 0;
        if (part < batch->part_count && batch->parts[part].index == i)
            rows = batch->parts[part++].count;
        job.position += rows;
        job.prompt_left -= rows;
        /* Of what others get, only the quarter may have come later than this one. */
        uint32_t spent = batch->row_count - batch->decode_count;
        uint32_t charged = spent - spent / 2;
        HOLDS(job.prompt_left == 0 || job.allowance >= charged);
        job.allowance -= job.allowance < charged ? job.allowance : charged;
        if (job.prompt_left > 0)
            left[count++] = job;
        else
            load->decodes[load->decode_count++] = job;
    }
    HOLDS(part == batch->part_count);
    memcpy(load->prompts, left, count * sizeof(left[0]));
    load->prompt_count = count;
}

static void run_workload(uint64_t seed)
{
    struct workload load;
    struct plan_part parts[2 * SEQS_MAX];
    workload_init(&load, seed);
    while (load.arrivals_left > 0 || load.prompt_count + load.decode_count > 0) {
        bool is_room = load.prompt_count + load.decode_count < load.slots;
        bool is_idle = load.prompt_count + load.decode_count == 0;
        if (load.arrivals_left > 0 && is_room && (is_idle || pick(&load, 3) == 0))
            arrive(&load);
        struct plan_batch batch = step(&load, parts);
        check_limits(&load, &batch);
        check_parts(&load, &batch);
        apply_decodes(&load, batch.decode_count);
        apply_prompts(&load, &batch); /* behind the others: they decode from the next step on */
    }
}

TEST(every_random_workload_keeps_the_limits_and_starves_nobody)
{
    for (uint64_t seed = 1, seeds = test_seeds(5000); seed <= seeds; seed++)
        run_workload(seed);
}

/* --- rule 8 --- */

/* Puts a prompt in, one of many in the batch or alone, and says how it was cut: "2 5 1s": s for
 * what was sampled. */
static void cut_up(struct plan_seq prompt, uint32_t batch_tokens, uint32_t prefill_tokens,
                   const char *expected)
{
    struct plan_seq decodes[8] = {{5, 1}, {5, 1}, {5, 1}, {5, 1}, {5, 1}, {5, 1}, {5, 1}, {5, 1}};
    struct plan_part parts[9];
    char found[200] = "";
    size_t len = 0;
    while (prompt.left > 0) {
        struct plan_state state = {.batch_tokens = batch_tokens,
                                   .prefill_tokens = prefill_tokens,
                                   .decodes = decodes,
                                   .decode_count = ARRAY_COUNT(decodes),
                                   .prompts = &prompt,
                                   .prompt_count = 1};
        struct plan_batch batch = plan_step(&state, parts);
        CHECK(batch.row_count <= batch_tokens);
        const struct plan_part *part = &parts[batch.decode_count];
        CHECK(batch.part_count == batch.decode_count + 1 && part->is_prompt);
        bool is_sampled = part->position >= prompt.pairs_until;
        len += (size_t)snprintf(found + len, sizeof(found) - len, "%s%u%s", len ? " " : "",
                                part->count, is_sampled ? "s" : "");
        CHECK_EQ(part->wants_logits, part->count == prompt.left);
        prompt.position += part->count;
        prompt.left -= part->count;
        if (prompt.save_at <= prompt.position)
            prompt.save_at = 0;
    }
    CHECK_STR(found, expected);
}

TEST(no_part_of_a_prompt_is_a_single_row)
{
    struct plan_seq prompt = {.position = 0, .left = 7, .pairs_until = 7};
    cut_up(prompt, 64, 1, "3 2 2");
    cut_up(prompt, 64, 4, "4 3");
    cut_up(prompt, 64, 6, "5 2");
    cut_up(prompt, 64, 100, "7");
    cut_up(prompt, 4, 100, "3 2 2");
    prompt.left = prompt.pairs_until = 1; /* there is no other */
    cut_up(prompt, 64, 1, "1");
    prompt = (struct plan_seq){.position = 50, .left = 3, .pairs_until = 53};
    cut_up(prompt, 64, 1, "3");
}

TEST(what_was_sampled_goes_in_row_by_row_again)
{
    struct plan_seq prompt = {.position = 0, .left = 8, .pairs_until = 5};
    cut_up(prompt, 64, 100, "5 1s 1s 1s");
    cut_up(prompt, 64, 3, "3 2 1s 1s 1s");
    prompt.position = 5;
    prompt.left = 3;
    cut_up(prompt, 64, 100, "1s 1s 1s");
}

TEST(a_save_that_would_leave_a_single_row_is_passed_over)
{
    struct plan_seq prompt = {.position = 10, .left = 9, .save_at = 15, .pairs_until = 19};
    cut_up(prompt, 64, 100, "5 4");
    cut_up(prompt, 64, 4, "3 2 4");
    prompt.save_at = 11;
    cut_up(prompt, 64, 100, "9");
    prompt.save_at = 18;
    cut_up(prompt, 64, 100, "9");
}

#define AT_SEED(cond) CHECK_EQ((cond) ? 0 : seed, 0)

TEST(random_prompts_in_company_keep_rule_8_and_all_get_in)
{
    for (uint64_t seed = 1, seeds = test_seeds(20000); seed <= seeds; seed++) {
        enum { PROMPTS = 6 };
        uint64_t random = seed;
        struct plan_seq prompts[PROMPTS], decode = {9, 1};
        struct plan_part parts[PROMPTS + 1];
        uint32_t count = 1 + (uint32_t)(test_random(&random) % PROMPTS), steps = 0;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t left = 2 + (uint32_t)(test_random(&random) % 40);
            uint32_t sampled = test_random(&random) % 3 ? 0 : (uint32_t)(test_random(&random) % 9);
            uint32_t save_at = (uint32_t)(test_random(&random) % (left + 1));
            prompts[i] =
                (struct plan_seq){.left = left + sampled, .save_at = save_at, .pairs_until = left};
        }
        struct plan_state state = {.batch_tokens = 4 + (uint32_t)(test_random(&random) % 30),
                                   .prefill_tokens = (uint32_t)(test_random(&random) % 20),
                                   .prefill_alone_tokens = (uint32_t)(test_random(&random) % 40),
                                   .decodes = &decode,
                                   .decode_count = (uint32_t)(test_random(&random) % 2),
                                   .prompts = prompts};
        while (count > 0) {
            state.prompt_count = count;
            struct plan_batch batch = plan_step(&state, parts);
            AT_SEED(batch.row_count <= state.batch_tokens && steps++ < PROMPTS * 50);
            AT_SEED(batch.part_count > batch.decode_count &&
                    parts[batch.decode_count].index == 0); /* the oldest moves */
            for (uint32_t i = batch.decode_count; i < batch.part_count; i++) {
                struct plan_seq *prompt = &prompts[parts[i].index];
                bool is_sampled = prompt->position >= prompt->pairs_until;
                AT_SEED(is_sampled ? parts[i].count == 1 : parts[i].count >= 2);
                AT_SEED(is_sampled || prompt->position + parts[i].count <= prompt->pairs_until);
                prompt->position += parts[i].count;
                prompt->left -= parts[i].count;
                prompt->save_at = prompt->save_at > prompt->position ? prompt->save_at : 0;
            }
            uint32_t kept = 0;
            for (uint32_t i = 0; i < count; i++)
                if (prompts[i].left > 0)
                    prompts[kept++] = prompts[i];
            count = kept;
        }
    }
}
