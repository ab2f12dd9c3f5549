/* plan - the budget is dealt out to the prompts' parts, then the empty ones are dropped. */
#include "worker/plan.h"

#include <math.h>

struct budget {
    uint32_t rows;
    const struct step_cost *cost; /* NULL: only the rows end */
    struct step_shape shape;      /* what is in already */
    double target_us;
};

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* What the oldest prompt needs to get on in a step (rules 4 and 8). */
static uint32_t least_rows(const struct plan_state *state)
{
    if (state->prompt_count == 0)
        return 0;
    return state->prompts[0].pairs_until > 0 ? PLAN_PAIR_ROWS : 1;
}

/* How many decoding sequences get their row (rules 2 and 4). */
static uint32_t decode_rows(const struct plan_state *state)
{
    /* A batch of one row cannot be shared: prompts then wait until the decoding ones have ended. */
    uint32_t kept = state->batch_tokens > 1 ? least_rows(state) : 0;
    uint32_t rows = min_u32(state->decode_count, state->batch_tokens - kept);
    if (state->cost && state->prompt_count == 0 && state->settle_count == 0 && rows > 0)
        rows = step_cost_decode_width(state->cost, rows);
    return rows;
}

static struct budget prompt_budget(const struct plan_state *state, const struct plan_batch *batch)
{
    uint32_t wanted = state->decode_count > 0 ? state->prefill_tokens : state->prefill_alone_tokens;
    uint32_t least = least_rows(state);
    uint32_t rows =
        min_u32(wanted > least ? wanted : least, state->batch_tokens - batch->row_count);
    struct budget budget = {.rows = rows, .shape = batch->shape};
    if (state->cost && batch->decode_count > 0) {
        budget.cost = state->cost;
        budget.target_us = step_cost_target_us(state->cost, &batch->shape, state->prompt_count,
                                               state->batch_tokens, state->itl_us) -
                           (double)state->spent_us;
    }
    return budget;
}

/* The prompt behind the oldest that is nearest to its end; the older of equals. */
static uint32_t shortest_of_the_others(const struct plan_state *state)
{
    uint32_t best = 1;
    for (uint32_t i = 2; i < state->prompt_count; i++) {
        if (state->prompts[i].left < state->prompts[best].left)
            best = i;
    }
    return best;
}

/* Most rows of its part (rules 6, 7 and 8). */
static uint32_t most_rows(const struct plan_seq *prompt)
{
    bool has_pairs = prompt->pairs_until > 0;
    uint32_t rows = prompt->left;
    if (prompt->singles_from > 0 && prompt->position >= prompt->singles_from)
        return 1;
    if (prompt->singles_from > 0)
        rows = min_u32(rows, prompt->singles_from - prompt->position);
    if (has_pairs && prompt->position >= prompt->pairs_until)
        return 1;
    if (has_pairs)
        rows = min_u32(rows, prompt->pairs_until - prompt->position);
    if (prompt->save_at == 0 || prompt->save_at - prompt->position >= rows)
        return rows;
    uint32_t saved = prompt->save_at - prompt->position;
    return has_pairs && (saved == 1 || rows - saved == 1) ? rows : saved;
}

/* Of so many rows of a part, as many as leave none alone, in it or behind it (rule 8). */
static uint32_t whole_rows(const struct plan_seq *prompt, uint32_t rows)
{
    uint32_t most = most_rows(prompt);
    if (prompt->pairs_until == 0 || rows == 0 || rows == most)
        return rows;
    if (most - rows == 1)
        rows--;
    return rows == 1 ? 0 : rows;
}

static uint32_t room_of(const struct plan_seq *prompt, const struct plan_part *part)
{
    return most_rows(prompt) - part->count;
}

/* Gives the prompt up to `most` more rows out of the budget, as long as the step is no longer than
 * until_us. */
static void give(const struct plan_seq *prompt, struct plan_part *part, uint32_t most,
                 double until_us, struct budget *budget)
{
    uint32_t position = part->position + part->count;
    uint32_t count = min_u32(room_of(prompt, part), min_u32(most, budget->rows));
    if (budget->cost)
        count = step_cost_fit(budget->cost, &budget->shape, position, count, until_us);
    count = whole_rows(prompt, part->count + count) - part->count;
    part->count += count;
    budget->rows -= count;
    step_shape_add_prompt(&budget->shape, position, count);
}

/* Where half of the time that is left for prompts is over. */
static double half_us(const struct budget *budget)
{
    double taken_us = budget->cost ? step_cost_us(budget->cost, &budget->shape) : 0;
    return taken_us + (budget->target_us - taken_us) / 2;
}

static void share_among_prompts(const struct plan_state *state, struct budget *budget,
                                struct plan_part *parts)
{
    uint32_t half = budget->rows / 2;
    for (uint32_t i = 0; i < state->prompt_count; i++) {
        const struct plan_seq *prompt = &state->prompts[i];
        ASSERT(prompt->left >= 1 && (prompt->save_at == 0 || prompt->save_at > prompt->position));
        parts[i] = (struct plan_part){.index = i, .is_prompt = true, .position = prompt->position};
    }
    if (state->prompt_count > 0 && budget->rows > 0) { /* rule 4: it moves in every step */
        uint32_t least = min_u32(least_rows(state), most_rows(&state->prompts[0]));
        ASSERT(budget->rows >= least);
        parts[0].count = whole_rows(&state->prompts[0], least);
        budget->rows -= parts[0].count;
        step_shape_add_prompt(&budget->shape, parts[0].position, parts[0].count);
    }
    if (state->prompt_count > 1) {
        uint32_t quick = shortest_of_the_others(state);
        give(&state->prompts[quick], &parts[quick], half, half_us(budget), budget);
    }
    for (uint32_t i = 0; i < state->prompt_count && budget->rows > 0; i++) {
        give(&state->prompts[i], &parts[i], UINT32_MAX, budget->target_us, budget);
        if (room_of(&state->prompts[i], &parts[i]) > 0)
            break; /* the rows or the time are used up */
    }
}

/* Drops the parts that got nothing. */
static void add_prompts(const struct plan_state *state, struct plan_batch *batch,
                        struct budget *budget)
{
    struct plan_part *parts = batch->parts + batch->part_count;
    share_among_prompts(state, budget, parts);
    for (uint32_t i = 0; i < state->prompt_count; i++) {
        struct plan_part part = parts[i];
        if (part.count == 0)
            continue;
        part.wants_logits = part.count == state->prompts[i].left;
        batch->parts[batch->part_count++] = part;
        batch->row_count += part.count;
    }
}

/* --- answers that settle (rule 11) --- */

#define SETTLE_PART 0.25
enum { SETTLE_UNSEEN_US = 20000 }; /* as gaps that nobody sees: step_cost.h */

/* What prompts left, as far as answers may have it. */
static struct budget settle_budget(const struct plan_state *state, const struct plan_batch *batch,
                                   struct budget left)
{
    bool has_prompts = batch->part_count > batch->decode_count;
    uint32_t room = state->batch_tokens - batch->row_count;
    if (batch->part_count == 0 && left.rows < PLAN_PAIR_ROWS)
        left.rows = min_u32(room, PLAN_PAIR_ROWS); /* alone they move in every step */
    left.rows = min_u32(left.rows, PLAN_SETTLE_ROWS);
    if (has_prompts && state->cost) {
        double prompts_us = step_cost_us(state->cost, &left.shape);
        double until_us = prompts_us + fmax(prompts_us * SETTLE_PART, SETTLE_UNSEEN_US);
        left.target_us = left.cost ? fmin(left.target_us, until_us) : until_us;
        left.cost = state->cost;
    }
    return left;
}

static void add_settles(const struct plan_state *state, const struct budget *left,
                        struct plan_batch *batch)
{
    struct plan_part *parts = batch->parts + batch->part_count;
    struct budget budget = settle_budget(state, batch, *left);
    for (uint32_t i = 0; i < state->settle_count && budget.rows > 0; i++) {
        const struct plan_seq *settle = &state->settles[i];
        struct plan_part part = {.index = i, .is_prompt = true, .position = settle->position};
        ASSERT(settle->left >= 2 && settle->pairs_until == settle->position + settle->left);
        give(settle, &part, UINT32_MAX, budget.target_us, &budget);
        if (part.count > 0)
            parts[batch->settle_count++] = part;
        batch->row_count += part.count;
    }
    batch->shape = budget.shape;
}

/* --- drafts (rules 9 and 10) --- */

#define DRAFT_GAIN 1.0625

struct offer {       /* of one decoding sequence */
    double chance;   /* that the next draft it would get is right, and all before it */
    double expected; /* tokens in this step, with those that it has */
};

struct tries {
    struct offer offers[PLAN_DRAFT_WIDTH];
    uint32_t given[PLAN_DRAFT_WIDTH]; /* drafts so far */
    uint32_t order[PLAN_DRAFT_WIDTH]; /* who got the first, the second, .. */
    uint32_t count;
    double expected; /* by all */
};

static uint32_t draft_room(const struct plan_state *state, const struct plan_batch *batch)
{
    uint32_t width = min_u32(PLAN_DRAFT_WIDTH, state->batch_tokens);
    bool is_for_all = batch->decode_count == state->decode_count && state->prompt_count == 0 &&
                      state->settle_count == 0;
    if (!is_for_all || batch->decode_count == 0 || batch->decode_count >= width)
        return 0;
    return min_u32(state->draft_rows, width - batch->decode_count);
}

static struct tries begin_tries(const struct plan_state *state)
{
    struct tries tries = {.expected = state->decode_count};
    for (uint32_t i = 0; i < state->decode_count; i++)
        tries.offers[i] = (struct offer){.chance = state->decodes[i].draft_odds, .expected = 1};
    return tries;
}

/* To whom the next one is most likely to be of use, the front of equals. False: nobody has one. */
static bool give_draft(const struct plan_state *state, struct tries *tries)
{
    uint32_t best = state->decode_count;
    for (uint32_t i = 0; i < state->decode_count; i++) {
        bool is_better =
            best == state->decode_count || tries->offers[i].chance > tries->offers[best].chance;
        if (tries->given[i] < state->decodes[i].drafts && is_better)
            best = i;
    }
    if (best == state->decode_count)
        return false;
    struct offer *offer = &tries->offers[best];
    offer->expected += offer->chance;
    tries->expected += offer->chance;
    offer->chance *= state->decodes[best].draft_odds;
    tries->given[best]++;
    tries->order[tries->count++] = best;
    return true;
}

/* A step that is so many times as long: does anybody lose by it? */
static bool slows_nobody(const struct plan_state *state, const struct tries *tries, double longer)
{
    for (uint32_t i = 0; i < state->decode_count; i++) {
        if (tries->offers[i].expected * DRAFT_GAIN < longer)
            return false;
    }
    return true;
}

/* How many of those that can be given pay most. */
static uint32_t best_tries(const struct plan_state *state, const struct plan_batch *batch,
                           uint32_t room, struct tries *tries)
{
    struct step_shape shape = batch->shape;
    uint32_t best = 0;
    if (!state->cost) {
        while (tries->count < room && give_draft(state, tries))
            best++;
        return best;
    }
    double target_us =
        step_cost_target_us(state->cost, &batch->shape, 0, state->batch_tokens, state->itl_us);
    double without_us = step_cost_us(state->cost, &batch->shape);
    double best_rate = DRAFT_GAIN * tries->expected / without_us;
    while (tries->count < room && give_draft(state, tries)) {
        shape.decode_rows++;
        double step_us = step_cost_us(state->cost, &shape);
        double rate = tries->expected / step_us;
        if (rate < best_rate || step_us > fmax(target_us, without_us) ||
            !slows_nobody(state, tries, step_us / without_us))
            continue;
        best = tries->count;
        best_rate = rate;
    }
    return best;
}

static void add_drafts(const struct plan_state *state, struct plan_batch *batch)
{
    uint32_t room = draft_room(state, batch);
    if (room == 0)
        return;
    struct tries tries = begin_tries(state);
    batch->draft_count = best_tries(state, batch, room, &tries);
    for (uint32_t i = 0; i < batch->draft_count; i++) {
        struct plan_part *part = &batch->parts[tries.order[i]];
        step_shape_add_decode(&batch->shape, part->position + part->count);
        part->count++;
    }
    batch->row_count += batch->draft_count;
}

struct plan_batch plan_step(const struct plan_state *state, struct plan_part *out_parts)
{
    bool has_pairs = least_rows(state) > 1 || state->settle_count > 0;
    ASSERT(state->batch_tokens > (has_pairs ? PLAN_PAIR_ROWS : 0));
    ASSERT(state->settle_count <= PLAN_SETTLES_MAX);
    struct plan_batch batch = {.parts = out_parts, .decode_count = decode_rows(state)};
    for (uint32_t i = 0; i < batch.decode_count; i++) {
        ASSERT(state->decodes[i].left == 1);
        out_parts[i] = (struct plan_part){
            .index = i, .wants_logits = true, .position = state->decodes[i].position, .count = 1};
        step_shape_add_decode(&batch.shape, state->decodes[i].position);
    }
    batch.part_count = batch.row_count = batch.decode_count;
    add_drafts(state, &batch);
    struct budget budget = prompt_budget(state, &batch);
    add_prompts(state, &batch, &budget);
    add_settles(state, &budget, &batch);
    return batch;
}
