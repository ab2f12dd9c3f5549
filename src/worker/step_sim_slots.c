/* step_sim_slots - who gets a slot, what is in it, and what others may have of that: as
 * core_prefix.c does it with an engine. */
#include "worker/step_sim_impl.h"

#include "base/mem.h"

#include <string.h>

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
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

void step_sim_put(struct step_sim *sim, struct sim_request *request, uint32_t count)
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

void step_sim_end(struct step_sim *sim, struct sim_request *request)
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

void step_sim_save_here(struct step_sim *sim, struct sim_request *request)
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
void step_sim_prompt_is_in(struct step_sim *sim, struct sim_request *request)
{
    uint32_t cells = cells_for_others(sim, request);
    request->is_filling = false;
    request->save_count = 0;
    tell_tree(sim, request->slot, min_u32(cells, request->prompt_count), prefix_tree_slot_busy);
    if (sim->tree && request->saves_prompt && cells == request->position)
        save(sim, &sim->held[request->slot]);
}

/* --- who gets a slot --- */

uint32_t step_sim_free_slots(const struct step_sim *sim)
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

uint32_t step_sim_left(const struct sim_request *request)
{
    return request->prompt_count + request->said_count - request->position;
}

/* Its rows and those of the older ones, at one a step at least; then a row in every `slots` steps:
 * nobody starves. */
static uint64_t allowed_steps(const struct step_sim *sim, const struct sim_request *request)
{
    uint64_t rows = step_sim_left(request);
    for (uint32_t i = 0; i < sim->prompt_count; i++)
        rows += step_sim_left(sim->prompts[i]);
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
    step_sim_save_here(sim, request);
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

void step_sim_admit_all(struct step_sim *sim)
{
    for (uint32_t i = 0; i < sim->request_count; i++) {
        struct sim_request *request = &sim->requests[i];
        if (request->state == SIM_COMING && request->arrive_us <= sim->now_us)
            request->state = SIM_QUEUED;
        if (request->state != SIM_QUEUED)
            continue;
        if (step_sim_free_slots(sim) == 0)
            return;
        admit(sim, request); /* or it waits for another's prompt */
    }
}
