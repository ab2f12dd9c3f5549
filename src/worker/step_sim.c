/* step_sim - the life of requests. See step_sim.h. */
#include "worker/step_sim_impl.h"

#include "base/mem.h"
#include "base/splitmix.h"

#include <string.h>

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

/* --- what others may use (core_prefix.c) --- */

static uint32_t cells_for_others(const struct step_sim *sim, const struct sim_request *request)
{
    if (!sim->machine.has_pairs)
        return request->position;
    return request->prompt_count == 1 ? 0 : min_u32(request->position, request->prompt_count);
}

/* Of its ids, with one more than it may take from others. */
static uint32_t tokens_to_find(const struct step_sim *sim, const struct sim_request *request)
{
    if (!sim->machine.has_pairs)
        return request->prompt_count + (request->follows ? 0 : request->said_count);
    return request->prompt_count > 1 ? request->prompt_count - 1 : 1;
}

static uint32_t useful_save(const struct step_sim *sim, uint32_t at, uint32_t prompt_count)
{
    return sim->machine.has_pairs && at > 1 && at + 1 == prompt_count ? at - 1 : at;
}

/* Cells serve those with the same adapters, of the same tenant. */
static uint64_t scope_of(const struct sim_request *request)
{
    uint32_t set = request->adapters.count > 0 ? (uint32_t)request->adapters.uses[0].scale : 0;
    return (uint64_t)set * STEP_SIM_TENANTS_MAX + request->tenant;
}

/* --- slots and what they hold --- */

static void tell_tree(struct step_sim *sim, uint32_t slot, uint32_t count,
                      void (*tell)(struct prefix_tree *, uint64_t, uint32_t, const token_id *,
                                   uint32_t))
{
    if (sim->tree)
        tell(sim->tree, sim->held[slot].scope, slot, sim->held[slot].ids, count);
}

static void put(struct step_sim *sim, struct sim_request *request, uint32_t count)
{
    struct sim_slot *slot = &sim->held[request->slot];
    HOLDS(slot->owner == request && slot->count == request->position);
    HOLDS(slot->count + count <= sim->prefix.context_tokens);
    memcpy(slot->ids + slot->count, request->ids + slot->count, count * sizeof(*slot->ids));
    for (uint32_t i = 0; i < count; i++)
        slot->is_alone[slot->count + i] = count == 1;
    slot->count += count;
    request->position += count;
    sim->rows += count;
}

static void end(struct step_sim *sim, struct sim_request *request)
{
    HOLDS(request->state != SIM_ENDED);
    request->state = SIM_ENDED;
    sim->ended++;
    if (request->slot == PREFIX_NO_SLOT)
        return;
    struct sim_slot *slot = &sim->held[request->slot];
    uint32_t cells = cells_for_others(sim, request);
    step_sim_check_cells(sim, request);
    slot->owner = NULL;
    if (slot->count > cells)
        slot->count = sim->prefix.can_cut ? cells : 0;
    if (!sim->tree)
        slot->count = 0;
    tell_tree(sim, request->slot, slot->count, prefix_tree_slot_idle);
}

/* A blob is a scope, ids, and how they went in. */
static void save(struct step_sim *sim, const struct sim_slot *slot)
{
    size_t ids_bytes = slot->count * sizeof(*slot->ids);
    if (slot->count == 0)
        return;
    size_t bytes = sizeof(slot->scope) + ids_bytes + slot->count;
    char *blob = mem_alloc(bytes);
    memcpy(blob, &slot->scope, sizeof(slot->scope));
    memcpy(blob + sizeof(slot->scope), slot->ids, ids_bytes);
    memcpy(blob + sizeof(slot->scope) + ids_bytes, slot->is_alone, slot->count);
    void *taken = blob;
    /* full: then it is not saved */
    (void)prefix_tree_save(sim->tree, slot->scope, slot->ids, slot->count, &taken, bytes);
    mem_free(taken);
}

static void restore(struct step_sim *sim, struct sim_slot *slot, const struct prefix_answer *answer)
{
    size_t ids_bytes = answer->blob_count * sizeof(*slot->ids);
    const char *ids = answer->blob.data + sizeof(slot->scope);
    HOLDS(answer->blob.len == sizeof(slot->scope) + ids_bytes + answer->blob_count);
    memcpy(&slot->scope, answer->blob.data, sizeof(slot->scope));
    memcpy(slot->ids, ids, answer->tokens * sizeof(*slot->ids));
    memcpy(slot->is_alone, ids + ids_bytes, answer->tokens);
    prefix_tree_used(sim->tree);
}

/* What the answer says about slots and blobs must be so. */
static void reuse(struct step_sim *sim, struct sim_request *request,
                  const struct prefix_answer *answer)
{
    uint32_t tokens = answer->tokens;
    struct sim_slot *slot = &sim->held[answer->slot];
    const struct sim_slot *from = &sim->held[answer->from];
    if (answer->slot_kept)
        save(sim, slot);
    if (answer->how == PREFIX_RESTORE) {
        restore(sim, slot, answer);
    } else if (answer->how == PREFIX_COPY) {
        HOLDS(from->count >= tokens);
        slot->scope = from->scope;
        memcpy(slot->ids, from->ids, tokens * sizeof(*slot->ids));
        memcpy(slot->is_alone, from->is_alone, tokens);
    } else if (answer->how == PREFIX_CUT) {
        HOLDS(slot->count >= tokens && (sim->prefix.can_cut || slot->count == tokens));
    }
    HOLDS(tokens == 0 || memcmp(slot->ids, request->ids, tokens * sizeof(*slot->ids)) == 0);
    HOLDS(tokens == 0 || slot->scope == scope_of(request));
    slot->scope = scope_of(request);
    slot->count = request->position = tokens;
    request->cached = min_u32(tokens, request->prompt_count);
}

/* --- saves on the way --- */

static void save_here(struct step_sim *sim, struct sim_request *request)
{
    while (request->save_count > 0 && request->save_at[0] <= request->position) {
        if (request->save_at[0] == request->position)
            save(sim, &sim->held[request->slot]);
        request->save_count--;
        memmove(request->save_at, request->save_at + 1, request->save_count * sizeof(uint32_t));
    }
}

/* Whoever is waited for is to be saved where the other one leaves; if it is beyond, or is saved
 * hardly later anyway, when its prompt is in. */
static void ask_to_save(struct step_sim *sim, struct sim_request *leader, uint32_t wanted)
{
    uint32_t at = useful_save(sim, wanted, leader->prompt_count), i = leader->save_count;
    bool is_soon = leader->prompt_count < at + sim->prefix.save_tokens;
    if (leader->saves_prompt && sim->prefix.can_cut && is_soon)
        return;
    for (uint32_t j = 0; j < leader->save_count; j++) {
        if (leader->save_at[j] == at)
            return;
    }
    if (at <= leader->position || at >= leader->prompt_count || i == PREFIX_SAVES_MAX) {
        leader->saves_prompt = true;
        return;
    }
    for (; i > 0 && leader->save_at[i - 1] > at; i--)
        leader->save_at[i] = leader->save_at[i - 1];
    leader->save_at[i] = at;
    leader->save_count++;
}

static void note_saves(struct step_sim *sim, struct sim_request *request,
                       const struct prefix_answer *answer)
{
    for (uint32_t i = 0; i < answer->save_count; i++) {
        uint32_t at = useful_save(sim, answer->save_at[i], request->prompt_count);
        if (at > 0 && (answer->how != PREFIX_COPY || at > request->position))
            request->save_at[request->save_count++] = at;
    }
    if (request->is_shared && sim->prefix.can_cut)
        request->saves_prompt = true;
    else if (request->is_shared)
        ask_to_save(sim, request, request->prompt_count - 1);
}

/* Its prompt is in: others may have it. What was said of its answer follows. */
static void prompt_is_in(struct step_sim *sim, struct sim_request *request)
{
    uint32_t cells = cells_for_others(sim, request);
    request->is_filling = false;
    request->save_count = 0;
    tell_tree(sim, request->slot, min_u32(cells, request->prompt_count), prefix_tree_slot_busy);
    if (sim->tree && request->saves_prompt && cells == request->position)
        save(sim, &sim->held[request->slot]);
}

/* --- who gets a slot --- */

static uint32_t free_slots(const struct step_sim *sim)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < sim->prefix.slots; slot++)
        count += !sim->held[slot].owner;
    return count;
}

static bool may_wait(const struct step_sim *sim, const struct prefix_answer *answer)
{
    if (answer->wait_slot == PREFIX_NO_SLOT)
        return false;
    const struct sim_request *leader = sim->held[answer->wait_slot].owner;
    HOLDS(leader->state == SIM_FILLING && leader->is_filling);
    return sim->prefix.can_cut || leader->position < answer->wait_tokens;
}

static uint32_t tokens_to_put(const struct sim_request *request)
{
    return request->prompt_count + request->said_count - request->position;
}

/* Its rows and those of the older ones, at one a step at least; then a row in every `slots` steps:
 * nobody starves. */
static uint64_t allowed_steps(const struct step_sim *sim, const struct sim_request *request)
{
    uint64_t rows = tokens_to_put(request);
    for (uint32_t i = 0; i < sim->prompt_count; i++)
        rows += tokens_to_put(sim->prompts[i]);
    return rows;
}

static void take_slot(struct step_sim *sim, struct sim_request *request,
                      const struct prefix_answer *answer)
{
    HOLDS(answer->slot < sim->prefix.slots && !sim->held[answer->slot].owner);
    reuse(sim, request, answer);
    sim->held[answer->slot].owner = request;
    request->slot = answer->slot;
    request->answered = request->said_count;
    request->state = SIM_FILLING;
    request->waits_since = sim->steps;
    request->steps_allowed = allowed_steps(sim, request);
    sim->prompts[sim->prompt_count++] = request;
}

static void tell_of_prompt(struct step_sim *sim, struct sim_request *request,
                           const struct prefix_prompt *prompt)
{
    prefix_tree_note(sim->tree, prompt);
    request->is_filling = request->position < request->prompt_count;
    if (request->is_filling)
        prefix_tree_slot_filling(sim->tree, prompt->scope, request->slot, request->ids,
                                 request->prompt_count);
    else
        tell_tree(sim, request->slot, cells_for_others(sim, request), prefix_tree_slot_busy);
    save_here(sim, request);
}

static void admit(struct step_sim *sim, struct sim_request *request)
{
    struct prefix_prompt prompt = {.scope = scope_of(request),
                                   .ids = request->ids,
                                   .count = tokens_to_find(sim, request),
                                   .system_tokens = request->system_tokens,
                                   .is_shared = request->is_shared};
    struct prefix_answer answer = {.slot = 0, .wait_slot = PREFIX_NO_SLOT};
    if (sim->tree)
        answer = prefix_tree_find(sim->tree, &prompt);
    if (may_wait(sim, &answer)) {
        ask_to_save(sim, sim->held[answer.wait_slot].owner, answer.wait_tokens);
        return;
    }
    while (!sim->tree && sim->held[answer.slot].owner)
        answer.slot++;
    take_slot(sim, request, &answer);
    if (!sim->tree)
        return;
    prompt.count = request->prompt_count;
    note_saves(sim, request, &answer);
    tell_of_prompt(sim, request, &prompt);
}

static void admit_all(struct step_sim *sim)
{
    for (uint32_t i = 0; i < sim->request_count; i++) {
        struct sim_request *request = &sim->requests[i];
        if (request->state == SIM_COMING && request->arrive_us <= sim->now_us)
            request->state = SIM_QUEUED;
        if (request->state != SIM_QUEUED)
            continue;
        if (free_slots(sim) == 0)
            return;
        admit(sim, request); /* or it waits for another's prompt */
    }
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
                              .left = tokens_to_put(request),
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
    end(sim, request);
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
    HOLDS(part->wants_logits == (part->count == tokens_to_put(request)));
    put(sim, request, part->count);
    save_here(sim, request);
    if (request->is_filling && request->position >= request->prompt_count)
        prompt_is_in(sim, request);
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
    put(sim, request, 1);
    while (right + 1 < part->count && splitmix_unit(&sim->random) < request->guess_odds) {
        HOLDS(sample(sim, request)); /* fewer are offered than are left to say */
        put(sim, request, 1);
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
    end(sim, request);
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
        admit_all(sim);
        if (sim->decode_count + sim->prompt_count > 0) {
            run_step(sim);
        } else { /* somebody who could run does: so nobody is there */
            HOLDS(next_arrival_us(sim) != UINT64_MAX && next_arrival_us(sim) > sim->now_us);
            sim->now_us = next_arrival_us(sim);
        }
        if (step_sim_below(sim, 10000) < sim->cancel_chance)
            cancel_one(sim);
    }
    HOLDS(sim->ended == sim->request_count && free_slots(sim) == sim->prefix.slots);
    if (sim->tree)
        prefix_tree_check(sim->tree);
}
