/* step_sim_check - what each step is held to, worked out anew from what plan.h says. */
#include "worker/step_sim_impl.h"

#include "worker/draft.h"
#include "worker/plan_probe.h"

/* Rows that the oldest prompt gets whatever they cost (plan.h rules 3, 4, 8). */
static uint32_t least_rows(const struct step_sim *sim)
{
    return sim->machine.has_pairs ? PLAN_PAIR_ROWS : 1;
}

static uint32_t rows_of_prompts(const struct plan_batch *batch)
{
    uint32_t rows = 0;
    for (uint32_t i = batch->decode_count; i < batch->part_count; i++)
        rows += batch->parts[i].count;
    return rows;
}

static void check_counts(const struct step_sim *sim, const struct plan_state *state,
                         const struct plan_batch *batch)
{
    uint32_t rows = rows_of_prompts(batch), least = least_rows(sim);
    uint32_t budget = state->decode_count > 0 ? state->prefill_tokens : state->prefill_alone_tokens;
    HOLDS(batch->row_count >= 1 && batch->row_count <= state->batch_tokens);
    HOLDS(batch->shape.decode_rows + batch->shape.prompt_rows == batch->row_count);
    HOLDS(batch->shape.prompt_rows == rows);
    HOLDS(rows <= (budget > least ? budget : least));
    /* Room for all that decode and what a prompt needs is given to all that decode. */
    uint32_t kept = state->prompt_count > 0 ? least : 0;
    bool may_take_turns = state->cost && state->prompt_count == 0;
    if (state->decode_count + kept <= state->batch_tokens && !may_take_turns)
        HOLDS(batch->decode_count == state->decode_count);
}

/* The oldest moves; by two rows at least, where single rows differ. */
static void check_prompts(const struct step_sim *sim, const struct plan_state *state,
                          const struct plan_batch *batch)
{
    if (state->prompt_count > 0)
        HOLDS(batch->part_count > batch->decode_count &&
              batch->parts[batch->decode_count].index == 0);
    for (uint32_t i = batch->decode_count; i < batch->part_count; i++) {
        const struct plan_part *part = &batch->parts[i];
        const struct plan_seq *prompt = &state->prompts[part->index];
        uint32_t end = part->position + part->count;
        HOLDS(part->position == prompt->position && part->count <= prompt->left);
        if (prompt->singles_from > 0)
            HOLDS(end <= prompt->singles_from || part->count == 1);
        if (prompt->save_at > 0 && end > prompt->save_at)
            HOLDS(prompt->save_at - part->position == 1 ||
                  prompt->pairs_until - prompt->save_at == 1);
        if (!sim->machine.has_pairs)
            continue;
        if (part->position >= prompt->pairs_until)
            HOLDS(part->count == 1);
        else /* rule 8: nor is a single row left behind it */
            HOLDS(end <= prompt->pairs_until && end + 1 != prompt->pairs_until &&
                  (part->count > 1 || prompt->pairs_until == 1));
    }
}

/* As far as the cost knows; but for what the oldest prompt gets anyway. */
static void check_time(struct step_sim *sim, const struct plan_state *state,
                       const struct plan_batch *batch)
{
    uint32_t rows = rows_of_prompts(batch);
    bool is_oldest_alone = batch->part_count == batch->decode_count + 1;
    if (!state->cost || batch->decode_count == 0 || rows == 0 ||
        (is_oldest_alone && rows <= least_rows(sim)))
        return;
    struct step_shape decodes = {0};
    for (uint32_t i = 0; i < batch->decode_count; i++)
        step_shape_add_decode(&decodes, batch->parts[i].position);
    double part = step_cost_us(state->cost, &batch->shape) /
                  step_cost_target_us(state->cost, &decodes, state->prompt_count,
                                      state->batch_tokens, state->itl_us);
    HOLDS(part <= 1 + 1e-9);
    sim->worst_of_target = part > sim->worst_of_target ? part : sim->worst_of_target;
}

/* Rules 9 and 10: by the odds and the cost that plan was told. */
static void check_gain(const struct step_sim *sim, const struct plan_state *state,
                       const struct plan_batch *batch)
{
    const struct plan_gain gain = plan_probe_gain(state, batch);
    double without_us = step_cost_us(state->cost, &gain.plain);
    double with_us = step_cost_us(state->cost, &batch->shape);
    double target_us =
        step_cost_target_us(state->cost, &gain.plain, 0, state->batch_tokens, state->itl_us);
    HOLDS(gain.expected / with_us >= 1.0624 * state->decode_count / without_us);
    HOLDS(gain.least * 1.0626 >= with_us / without_us);
    HOLDS(with_us <= (1 + 1e-9) * target_us || with_us <= without_us);
}

static void check_drafts(const struct step_sim *sim, const struct plan_state *state,
                         const struct plan_batch *batch)
{
    uint32_t drafts = 0;
    for (uint32_t i = 0; i < batch->decode_count; i++) {
        const struct plan_part *part = &batch->parts[i];
        HOLDS(!part->is_prompt && part->index == i && part->wants_logits);
        HOLDS(part->position == state->decodes[i].position);
        HOLDS(part->count >= 1 && part->count <= 1 + state->decodes[i].drafts);
        drafts += part->count - 1;
    }
    HOLDS(drafts == batch->draft_count);
    if (drafts == 0)
        return;
    HOLDS(state->prompt_count == 0 && batch->decode_count == state->decode_count);
    HOLDS(drafts <= state->draft_rows && batch->row_count <= PLAN_DRAFT_WIDTH);
    if (state->cost)
        check_gain(sim, state, batch);
}

void step_sim_check_plan(struct step_sim *sim, const struct plan_state *state,
                         const struct plan_batch *batch)
{
    check_counts(sim, state, batch);
    check_drafts(sim, state, batch);
    check_prompts(sim, state, batch);
    check_time(sim, state, batch);
}

/* Rule 8: each token went in as it would in a request that is alone. */
void step_sim_check_cells(const struct step_sim *sim, const struct sim_request *request)
{
    for (uint32_t i = 0; i < request->position; i++) {
        bool is_alone = i >= request->prompt_count || request->prompt_count == 1;
        HOLDS(!sim->machine.has_pairs || sim->held[request->slot].is_alone[i] == is_alone);
    }
}

/* --- turns (turns.h) --- */

void step_sim_count_sets(struct step_sim *sim)
{
    for (uint32_t i = 0; i < sim->request_count; i++) {
        const struct sim_request *request = &sim->requests[i];
        uint32_t earlier = 0;
        bool has_set = false;
        for (; earlier < i && !has_set; earlier++)
            has_set = sim->requests[earlier].tenant == request->tenant &&
                      engine_adapter_set_eq(&sim->requests[earlier].adapters, &request->adapters);
        sim->tenant_count += sim->sets_of_tenant[request->tenant] == 0;
        sim->sets_of_tenant[request->tenant] += !has_set;
    }
}

static struct sim_request *running(const struct step_sim *sim, uint32_t index)
{
    return index < sim->decode_count ? sim->decodes[index]
                                     : sim->prompts[index - sim->decode_count];
}

/* Rules 1 and 5: it has had its time, and the second step that some turns have. */
static bool turn_is_over(const struct sim_turn *turn)
{
    bool has_second = turn->number > 0 && turn->number % TURNS_LEARNED == 0;
    return turn->spent_us >= TURNS_US && (turn->steps > 1 || !has_second);
}

/* Rule 2: between two turns of its tenant each other tenant has one, and of its tenant's it has to
 * let those of the other sets go first. */
static void count_turn(struct step_sim *sim, const struct engine_adapter_set *adapters, bool is_new)
{
    for (uint32_t i = 0; i < sim->decode_count + sim->prompt_count; i++) {
        struct sim_request *request = running(sim, i);
        bool has_turn = engine_adapter_set_eq(&request->adapters, adapters);
        request->turns_waited = has_turn ? 0 : request->turns_waited + is_new;
        HOLDS(request->turns_waited < sim->tenant_count * sim->sets_of_tenant[request->tenant]);
    }
}

bool step_sim_check_turn(struct step_sim *sim, const struct engine_adapter_set *adapters)
{
    bool is_new = !engine_adapter_set_eq(adapters, &sim->turn.adapters);
    uint32_t own = 0, count = sim->decode_count + sim->prompt_count;
    for (uint32_t i = 0; i < count; i++)
        own += engine_adapter_set_eq(&running(sim, i)->adapters, &sim->turn.adapters);
    HOLDS(is_new == (own == 0 || (own < count && turn_is_over(&sim->turn))));
    if (is_new)
        sim->turn = (struct sim_turn){.adapters = *adapters, .number = sim->turn.number + 1};
    count_turn(sim, adapters, is_new);
    return is_new;
}
