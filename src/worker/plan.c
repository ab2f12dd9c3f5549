/* plan - the budget is dealt out to the prompts' parts, then the empty ones are dropped. */
#include "worker/plan.h"

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* How many decoding sequences get their row (rules 2 and 4). */
static uint32_t decode_rows(const struct plan_state *state)
{
    /* A batch of one row cannot be shared: prompts then wait until the decoding ones have ended. */
    bool keeps_a_row = state->prompt_count > 0 && state->batch_tokens > 1;
    return min_u32(state->decode_count, state->batch_tokens - keeps_a_row);
}

static uint32_t prompt_budget(const struct plan_state *state, uint32_t rows_taken)
{
    uint32_t wanted = state->decode_count > 0 ? state->prefill_tokens : state->prefill_alone_tokens;
    return min_u32(wanted ? wanted : 1, state->batch_tokens - rows_taken);
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

/* Gives the prompt up to `most` more rows out of the budget. */
static void give(const struct plan_seq *prompt, struct plan_part *part, uint32_t most,
                 uint32_t *budget)
{
    uint32_t count = min_u32(prompt->left - part->count, min_u32(most, *budget));
    part->count += count;
    *budget -= count;
}

static void share_among_prompts(const struct plan_state *state, uint32_t budget,
                                struct plan_part *parts)
{
    for (uint32_t i = 0; i < state->prompt_count; i++)
        parts[i] = (struct plan_part){
            .index = i, .is_prompt = true, .position = state->prompts[i].position};
    if (state->prompt_count > 1) {
        uint32_t quick = shortest_of_the_others(state);
        give(&state->prompts[quick], &parts[quick], budget / 4, &budget);
    }
    for (uint32_t i = 0; i < state->prompt_count && budget > 0; i++)
        give(&state->prompts[i], &parts[i], UINT32_MAX, &budget);
}

/* Drops the parts that got nothing. */
static void add_prompts(const struct plan_state *state, struct plan_batch *batch)
{
    struct plan_part *parts = batch->parts + batch->part_count;
    share_among_prompts(state, prompt_budget(state, batch->row_count), parts);
    for (uint32_t i = 0; i < state->prompt_count; i++) {
        struct plan_part part = parts[i];
        if (part.count == 0)
            continue;
        part.wants_logits = part.count == state->prompts[i].left;
        batch->parts[batch->part_count++] = part;
        batch->row_count += part.count;
    }
}

struct plan_batch plan_step(const struct plan_state *state, struct plan_part *out_parts)
{
    ASSERT(state->batch_tokens >= 1);
    struct plan_batch batch = {.parts = out_parts, .decode_count = decode_rows(state)};
    for (uint32_t i = 0; i < batch.decode_count; i++) {
        ASSERT(state->decodes[i].left == 1);
        out_parts[i] = (struct plan_part){
            .index = i, .wants_logits = true, .position = state->decodes[i].position, .count = 1};
    }
    batch.part_count = batch.row_count = batch.decode_count;
    add_prompts(state, &batch);
    return batch;
}
