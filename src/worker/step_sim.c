/* step_sim - steps, one after the other. See step_sim.h. */
#include "worker/step_sim_impl.h"

#include "base/mem.h"
#include "base/splitmix.h"

uint32_t step_sim_below(struct step_sim *sim, uint32_t limit)
{
    return (uint32_t)(splitmix_next(&sim->random) % limit);
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void step_sim_init(struct step_sim *sim, uint64_t seed, const struct prefix_options *prefix,
                   bool has_tree)
{
    ASSERT(prefix->slots <= STEP_SIM_SLOTS_MAX);
    *sim = (struct step_sim){.seed = seed, .random = seed, .prefix = *prefix};
    step_cost_init(&sim->cost);
    if (has_tree)
        sim->tree = prefix_tree_new(prefix);
    for (uint32_t i = 0; i < prefix->slots; i++) {
        sim->held[i].ids = mem_array(prefix->context_tokens, sizeof(token_id));
        sim->held[i].is_alone = mem_array(prefix->context_tokens, sizeof(bool));
    }
}

void step_sim_fini(struct step_sim *sim)
{
    prefix_tree_free(sim->tree);
    for (uint32_t i = 0; i < sim->prefix.slots; i++) {
        mem_free(sim->held[i].ids);
        mem_free(sim->held[i].is_alone);
    }
    for (uint32_t i = 0; i < sim->request_count; i++)
        mem_free(sim->requests[i].ids);
}

struct sim_request *step_sim_add(struct step_sim *sim, uint64_t arrive_us, uint32_t prompt_count,
                                 uint32_t answer_count)
{
    ASSERT(prompt_count + answer_count <= sim->prefix.context_tokens && answer_count > 0);
    ASSERT(sim->request_count < STEP_SIM_REQUESTS_MAX);
    struct sim_request *request = &sim->requests[sim->request_count++];
    *request = (struct sim_request){.prompt_count = prompt_count,
                                    .answer_count = answer_count,
                                    .arrive_us = arrive_us,
                                    .slot = PREFIX_NO_SLOT};
    request->ids = mem_array(sim->prefix.context_tokens, sizeof(token_id));
    return request;
}

/* --- a step --- */

struct sim_step {
    struct engine_adapter_set adapters; /* whose turn it is, where there are any */
    bool is_other_set;
    struct plan_state state;
    struct plan_seq decodes[STEP_SIM_SLOTS_MAX], prompts[STEP_SIM_SLOTS_MAX];
    struct sim_request *of_decodes[STEP_SIM_SLOTS_MAX], *of_prompts[STEP_SIM_SLOTS_MAX];
    struct plan_part parts[2 * STEP_SIM_SLOTS_MAX];
    struct plan_batch batch;
};

static bool has_turn(const struct step_sim *sim, const struct sim_step *step,
                     const struct sim_request *request)
{
    return !sim->has_adapters || engine_adapter_set_eq(&request->adapters, &step->adapters);
}

static void begin_turn(struct step_sim *sim, struct sim_step *step)
{
    struct turns_seq running[2 * STEP_SIM_SLOTS_MAX];
    uint32_t count = 0;
    if (!sim->has_adapters)
        return;
    for (uint32_t i = 0; i < sim->decode_count + sim->prompt_count; i++) {
        const struct sim_request *request =
            i < sim->decode_count ? sim->decodes[i] : sim->prompts[i - sim->decode_count];
        running[count++] =
            (struct turns_seq){&request->adapters, request->tenant, request->waits_since};
    }
    step->adapters = *turns_next(&sim->turns, running, count, sim->steps);
    step->is_other_set = step_sim_check_turn(sim, &step->adapters);
}

static void end_turn(struct step_sim *sim, const struct sim_step *step, uint64_t spent_us)
{
    if (!sim->has_adapters)
        return;
    turns_took(&sim->turns, &step->adapters, spent_us);
    sim->turn.spent_us += spent_us;
    sim->turn.steps++;
    for (uint32_t i = 0; i < step->state.decode_count; i++)
        step->of_decodes[i]->waits_since = sim->steps;
    for (uint32_t i = 0; i < step->state.prompt_count; i++)
        step->of_prompts[i]->waits_since = sim->steps;
}

/* As core_batch.c has it: beside those that wait for their turn, as much as if they were in. */
static uint32_t prompt_rows_beside(const struct step_sim *sim, const struct plan_state *state)
{
    struct step_shape none = {0}, waiting = {0};
    for (uint32_t i = 0; i < sim->decode_count; i++)
        step_shape_add_decode(&waiting, sim->decodes[i]->position);
    if (sim->decode_count == 0)
        return state->prefill_alone_tokens;
    if (!state->cost)
        return state->prefill_tokens;
    double target_us = step_cost_target_us(state->cost, &waiting, state->prompt_count,
                                           state->batch_tokens, state->itl_us);
    return step_cost_fit(state->cost, &none, state->prompts[0].position,
                         state->prefill_alone_tokens, target_us);
}

/* As core_draft.c offers them: none where rows differ or cells cannot be taken back. */
static uint32_t drafts_of(const struct step_sim *sim, const struct sim_request *request)
{
    bool may_draft = !sim->machine.has_pairs && sim->prefix.can_cut;
    return may_draft ? min_u32(request->guesses, request->answer_count - request->answered - 1) : 0;
}

static void list_decodes(struct step_sim *sim, struct sim_step *step)
{
    for (uint32_t i = 0; i < sim->decode_count; i++) {
        struct sim_request *request = sim->decodes[i];
        if (!has_turn(sim, step, request))
            continue;
        uint32_t at = step->state.decode_count++;
        step->of_decodes[at] = request;
        step->decodes[at] = (struct plan_seq){.position = request->position,
                                              .left = 1,
                                              .drafts = drafts_of(sim, request),
                                              .draft_odds = request->told_odds};
    }
}

static void list_prompts(struct step_sim *sim, struct sim_step *step)
{
    for (uint32_t i = 0; i < sim->prompt_count; i++) {
        struct sim_request *request = sim->prompts[i];
        if (!has_turn(sim, step, request))
            continue;
        uint32_t at = step->state.prompt_count++, prompt_count = request->prompt_count;
        step->of_prompts[at] = request;
        step->prompts[at] =
            (struct plan_seq){.position = request->position,
                              .left = step_sim_left(request),
                              .save_at = request->save_count ? request->save_at[0] : 0,
                              .pairs_until = sim->machine.has_pairs ? prompt_count : 0,
                              .singles_from = request->follows ? prompt_count : 0};
    }
}

static void plan(struct step_sim *sim, struct sim_step *step)
{
    step->state = sim->limits;
    step->state.cost = sim->uses_cost ? &sim->cost : NULL;
    step->state.decodes = step->decodes;
    step->state.prompts = step->prompts;
    begin_turn(sim, step);
    list_decodes(sim, step);
    list_prompts(sim, step);
    if (sim->has_adapters && step->state.decode_count == 0)
        step->state.prefill_alone_tokens = prompt_rows_beside(sim, &step->state);
    step->batch = plan_step(&step->state, step->parts);
    step_sim_check_plan(sim, &step->state, &step->batch);
}

/* The token that its last row gives, put in with the next row. False: that was all. */
static bool sample(struct step_sim *sim, struct sim_request *request)
{
    if (request->answered == request->said_count)
        request->first_us = sim->now_us;
    else if (sim->now_us - request->last_us > request->worst_gap_us)
        request->worst_gap_us = sim->now_us - request->last_us;
    request->last_us = sim->now_us;
    request->ids[request->prompt_count + request->answered++] = (token_id)step_sim_below(sim, 9);
    if (request->answered < request->answer_count)
        return true;
    step_sim_end(sim, request);
    return false;
}

/* To the back, if it goes on: plan.h rule 2. */
static void go_on(struct step_sim *sim, struct sim_request *request)
{
    if (!sample(sim, request))
        return;
    request->state = SIM_DECODING;
    sim->decodes[sim->decode_count++] = request;
}

static void finish_prompt(struct step_sim *sim, struct sim_request *request,
                          const struct plan_part *part)
{
    HOLDS(part->position == request->position);
    HOLDS(part->wants_logits == (part->count == step_sim_left(request)));
    step_sim_put(sim, request, part->count);
    step_sim_save_here(sim, request);
    if (request->is_filling && request->position >= request->prompt_count)
        step_sim_prompt_is_in(sim, request);
    if (part->wants_logits)
        go_on(sim, request);
}

/* Rows of drafts say something up to the first that was not guessed right; what is behind it is cut
 * off at once. */
static void finish_decode(struct step_sim *sim, struct sim_request *request,
                          const struct plan_part *part)
{
    uint32_t right = 0;
    HOLDS(part->position == request->position);
    step_sim_put(sim, request, 1);
    while (right + 1 < part->count && splitmix_unit(&sim->random) < request->guess_odds) {
        HOLDS(sample(sim, request)); /* fewer are offered than are left to say */
        step_sim_put(sim, request, 1);
        right++;
    }
    sim->drafted += part->count - 1;
    sim->drafts_right += right;
    go_on(sim, request);
}

static void take_rows(struct step_sim *sim, const struct sim_step *step)
{
    uint32_t decodes = sim->decode_count, prompts = sim->prompt_count;
    for (uint32_t i = 0; i < step->batch.part_count; i++) {
        const struct plan_part *part = &step->parts[i];
        (part->is_prompt ? step->of_prompts : step->of_decodes)[part->index]->has_row = true;
    }
    sim->decode_count = sim->prompt_count = 0;
    for (uint32_t i = 0; i < decodes; i++)
        if (!sim->decodes[i]->has_row)
            sim->decodes[sim->decode_count++] = sim->decodes[i];
    for (uint32_t i = 0; i < step->batch.part_count; i++) {
        const struct plan_part *part = &step->parts[i];
        if (part->is_prompt)
            finish_prompt(sim, step->of_prompts[part->index], part);
        else
            finish_decode(sim, step->of_decodes[part->index], part);
    }
    for (uint32_t i = 0; i < prompts; i++)
        if (sim->prompts[i]->state == SIM_FILLING)
            sim->prompts[sim->prompt_count++] = sim->prompts[i];
}

/* Of those that could have had a row. */
static void count_waiting(struct step_sim *sim, const struct sim_step *step)
{
    for (uint32_t i = 0; i < step->state.decode_count; i++) {
        struct sim_request *request = step->of_decodes[i];
        request->idle_steps = request->has_row ? 0 : request->idle_steps + 1;
        request->has_row = false;
        HOLDS(request->idle_steps <= sim->prefix.slots + 1);
    }
    for (uint32_t i = 0; i < step->state.prompt_count; i++) {
        step->of_prompts[i]->has_row = false;
        HOLDS(++step->of_prompts[i]->steps <= step->of_prompts[i]->steps_allowed);
    }
}

static void run_step(struct step_sim *sim)
{
    struct sim_step step = {0};
    plan(sim, &step);
    uint32_t graphs = step_sim_graphs(sim, &step.batch);
    uint64_t us = step_sim_measured_us(sim, &step.batch.shape, graphs);
    us += step.is_other_set ? (uint64_t)(1000 * sim->machine.adapters_ms) : 0;
    sim->now_us += us;
    sim->steps++;
    end_turn(sim, &step, us);
    take_rows(sim, &step);
    count_waiting(sim, &step);
    if (!step.is_other_set)
        step_cost_learn(&sim->cost, &step.batch.shape, us);
}

/* --- --- */

static uint32_t without(struct sim_request **list, uint32_t count, const struct sim_request *gone)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (list[i] != gone)
            list[kept++] = list[i];
    }
    return kept;
}

static void cancel_one(struct step_sim *sim)
{
    struct sim_request *request = &sim->requests[step_sim_below(sim, sim->request_count)];
    if (request->state == SIM_COMING || request->state == SIM_ENDED)
        return;
    sim->decode_count = without(sim->decodes, sim->decode_count, request);
    sim->prompt_count = without(sim->prompts, sim->prompt_count, request);
    step_sim_end(sim, request);
}

static uint64_t next_arrival_us(const struct step_sim *sim)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < sim->request_count; i++) {
        const struct sim_request *request = &sim->requests[i];
        if (request->state == SIM_COMING && request->arrive_us < next)
            next = request->arrive_us;
    }
    return next;
}

void step_sim_run(struct step_sim *sim)
{
    step_sim_count_sets(sim);
    while (sim->ended < sim->request_count) {
        step_sim_admit_all(sim);
        if (sim->decode_count + sim->prompt_count > 0) {
            run_step(sim);
        } else { /* somebody who could run does: so nobody is there */
            HOLDS(next_arrival_us(sim) != UINT64_MAX && next_arrival_us(sim) > sim->now_us);
            sim->now_us = next_arrival_us(sim);
        }
        if (step_sim_below(sim, 10000) < sim->cancel_chance)
            cancel_one(sim);
    }
    HOLDS(sim->ended == sim->request_count && step_sim_free_slots(sim) == sim->prefix.slots);
    if (sim->tree)
        prefix_tree_check(sim->tree);
}
