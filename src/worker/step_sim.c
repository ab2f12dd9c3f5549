/* step_sim - see step_sim.h. */
#include "worker/step_sim.h"

#include "base/mem.h"
#include "base/splitmix.h"

#include <string.h>

#define HOLDS(cond) ASSERT_MSG(cond, "seed %llu, step %llu", seed_of(sim), step_of(sim))

static unsigned long long seed_of(const struct step_sim *sim)
{
    return sim->seed;
}

static unsigned long long step_of(const struct step_sim *sim)
{
    return sim->steps;
}

uint32_t step_sim_below(struct step_sim *sim, uint32_t limit)
{
    return (uint32_t)(splitmix_next(&sim->random) % limit);
}

/* --- the machine --- */

double step_machine_us(const struct step_machine *machine, const struct step_shape *shape)
{
    static const double widths[STEP_SIM_WIDTHS] = {1, 2, 3, 4, 8, 16};
    if (shape->prompt_rows > 0)
        return 1000 * (machine->fixed_ms + shape->decode_rows * machine->decode_row_ms +
                       shape->prompt_rows * machine->prompt_row_ms) +
               machine->pair_us * (double)shape->pairs;
    int high = 1;
    while (high < STEP_SIM_WIDTHS - 1 && widths[high] < shape->decode_rows)
        high++;
    double part = (shape->decode_rows - widths[high - 1]) / (widths[high] - widths[high - 1]);
    double low_ms = machine->decode_ms[high - 1], high_ms = machine->decode_ms[high];
    double slope = part <= 1 || high_ms > low_ms ? high_ms - low_ms : 0;
    return 1000 * (low_ms + part * slope) + machine->pair_us * (double)shape->pairs;
}

static uint64_t measured_us(struct step_sim *sim, const struct step_shape *shape)
{
    double us = step_machine_us(&sim->machine, shape);
    us *= 1 + sim->machine.noise * (2 * splitmix_unit(&sim->random) - 1);
    if (step_sim_below(sim, 10000) < sim->machine.hang_chance)
        us *= 50;
    return (uint64_t)us + 1;
}

void step_sim_calibrate(struct step_sim *sim)
{
    static const uint32_t prompt_rows[] = {16, 128, 512}, decodes[] = {0, 4, 1, 8};
    for (int i = 0; i < 3; i++) {
        for (uint32_t width = 1; width <= STEP_COST_WIDTHS; width++) {
            struct step_shape shape = {.decode_rows = width};
            step_cost_learn(&sim->cost, &shape, measured_us(sim, &shape));
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(prompt_rows) * ARRAY_COUNT(decodes); i++) {
        struct step_shape shape = {.decode_rows = decodes[i % ARRAY_COUNT(decodes)]};
        step_shape_add_prompt(&shape, 0, prompt_rows[i % ARRAY_COUNT(prompt_rows)]);
        step_cost_learn(&sim->cost, &shape, measured_us(sim, &shape));
    }
}

/* --- life --- */

void step_sim_init(struct step_sim *sim, uint64_t seed, const struct prefix_options *prefix,
                   bool has_tree)
{
    ASSERT(prefix->slots <= STEP_SIM_SLOTS_MAX);
    *sim = (struct step_sim){.seed = seed, .random = seed, .prefix = *prefix};
    step_cost_init(&sim->cost);
    if (has_tree)
        sim->tree = prefix_tree_new(prefix);
    for (uint32_t slot = 0; slot < prefix->slots; slot++)
        sim->held[slot] = mem_array(prefix->context_tokens, sizeof(token_id));
}

void step_sim_fini(struct step_sim *sim)
{
    prefix_tree_free(sim->tree);
    for (uint32_t slot = 0; slot < sim->prefix.slots; slot++)
        mem_free(sim->held[slot]);
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

/* --- slots and what they hold --- */

static void tell_tree(struct step_sim *sim, uint32_t slot,
                      void (*tell)(struct prefix_tree *, uint64_t, uint32_t, const token_id *,
                                   uint32_t))
{
    if (sim->tree)
        tell(sim->tree, PREFIX_NOBODYS, slot, sim->held[slot], sim->held_count[slot]);
}

static void put(struct step_sim *sim, struct sim_request *request, const token_id *ids,
                uint32_t count)
{
    uint32_t slot = request->slot;
    HOLDS(sim->owner[slot] == request && sim->held_count[slot] == request->position);
    HOLDS(sim->held_count[slot] + count <= sim->prefix.context_tokens);
    memcpy(sim->held[slot] + sim->held_count[slot], ids, count * sizeof(*ids));
    sim->held_count[slot] += count;
    request->position += count;
    request->idle_steps = 0;
    sim->rows += count;
}

static void take_slot(struct step_sim *sim, struct sim_request *request, uint32_t slot)
{
    HOLDS(slot < sim->prefix.slots && !sim->owner[slot]);
    sim->owner[slot] = request;
    request->slot = slot;
}

static void end(struct step_sim *sim, struct sim_request *request)
{
    HOLDS(request->state != SIM_ENDED);
    request->state = SIM_ENDED;
    sim->ended++;
    if (request->slot == PREFIX_NO_SLOT)
        return;
    sim->owner[request->slot] = NULL;
    if (!sim->tree)
        sim->held_count[request->slot] = 0;
    tell_tree(sim, request->slot, prefix_tree_slot_idle);
}

static void save(struct step_sim *sim, const token_id *ids, uint32_t count)
{
    size_t bytes = count * sizeof(*ids);
    void *blob = mem_alloc(bytes);
    memcpy(blob, ids, bytes);
    /* full: then it is not saved */
    (void)prefix_tree_save(sim->tree, PREFIX_NOBODYS, ids, count, &blob, bytes);
    mem_free(blob);
}

/* --- who gets a slot --- */

static uint32_t free_slots(const struct step_sim *sim)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < sim->prefix.slots; slot++)
        count += !sim->owner[slot];
    return count;
}

/* What the answer says about slots and blobs must be so. */
static void reuse(struct step_sim *sim, struct sim_request *request,
                  const struct prefix_answer *answer)
{
    uint32_t slot = answer->slot, tokens = answer->tokens;
    token_id *held = sim->held[slot];
    if (answer->slot_kept && sim->held_count[slot] > 0)
        save(sim, held, sim->held_count[slot]);
    if (answer->how == PREFIX_RESTORE) {
        memcpy(held, answer->blob.data, tokens * sizeof(*held));
        prefix_tree_used(sim->tree);
    } else if (answer->how == PREFIX_COPY) {
        HOLDS(sim->held_count[answer->from] >= tokens);
        memcpy(held, sim->held[answer->from], tokens * sizeof(*held));
    } else if (answer->how == PREFIX_CUT) {
        HOLDS(sim->held_count[slot] >= tokens);
        HOLDS(sim->prefix.can_cut || sim->held_count[slot] == tokens);
    }
    HOLDS(memcmp(held, request->ids, tokens * sizeof(*held)) == 0 || tokens == 0);
    sim->held_count[slot] = request->position = request->cached = tokens;
    request->save_count = answer->save_count;
    memcpy(request->save_at, answer->save_at, sizeof(answer->save_at));
}

/* Whoever is waited for is to be saved where the other one leaves, if it has not come there yet. */
static void ask_to_save(struct step_sim *sim, const struct prefix_answer *answer)
{
    struct sim_request *leader = sim->owner[answer->wait_slot];
    uint32_t at = answer->wait_tokens, i = leader->save_count;
    HOLDS(leader->state == SIM_FILLING);
    if (at <= leader->position || at >= leader->prompt_count)
        return;
    for (uint32_t j = 0; j < leader->save_count; j++) {
        if (leader->save_at[j] == at)
            return;
    }
    if (i == ARRAY_COUNT(leader->save_at))
        return; /* it saves often enough */
    for (; i > 0 && leader->save_at[i - 1] > at; i--)
        leader->save_at[i] = leader->save_at[i - 1];
    leader->save_at[i] = at;
    leader->save_count++;
}

static bool may_wait(const struct step_sim *sim, const struct prefix_answer *answer)
{
    if (answer->wait_slot == PREFIX_NO_SLOT)
        return false;
    const struct sim_request *leader = sim->owner[answer->wait_slot];
    return sim->prefix.can_cut || leader->position < answer->wait_tokens;
}

/* Rows of its prompt and of the older ones, at one a step at least; then a row in every `slots`
 * steps: nobody starves. */
static uint64_t allowed_steps(const struct step_sim *sim, const struct sim_request *request)
{
    uint64_t rows = request->prompt_count;
    for (uint32_t i = 0; i < sim->prompt_count; i++)
        rows += sim->prompts[i]->prompt_count - sim->prompts[i]->position;
    return rows;
}

static bool admit(struct step_sim *sim, struct sim_request *request)
{
    struct prefix_prompt prompt = {.ids = request->ids,
                                   .count = request->prompt_count,
                                   .system_tokens = request->system_tokens};
    struct prefix_answer answer = {.slot = 0, .wait_slot = PREFIX_NO_SLOT};
    if (sim->tree)
        answer = prefix_tree_find(sim->tree, &prompt);
    if (may_wait(sim, &answer)) {
        ask_to_save(sim, &answer);
        return false;
    }
    while (!sim->tree && sim->owner[answer.slot])
        answer.slot++;
    reuse(sim, request, &answer);
    take_slot(sim, request, answer.slot);
    if (sim->tree) {
        prefix_tree_note(sim->tree, &prompt);
        prefix_tree_slot_filling(sim->tree, PREFIX_NOBODYS, answer.slot, request->ids,
                                 request->prompt_count);
    }
    request->state = SIM_FILLING;
    request->steps_allowed = allowed_steps(sim, request);
    sim->prompts[sim->prompt_count++] = request;
    return true;
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
        (void)admit(sim, request); /* or it waits for another's prompt */
    }
}

/* --- a step --- */

static void save_here(struct step_sim *sim, struct sim_request *request)
{
    while (request->save_count > 0 && request->save_at[0] <= request->position) {
        if (request->save_at[0] == request->position && request->position > 0)
            save(sim, request->ids, request->position);
        request->save_count--;
        memmove(request->save_at, request->save_at + 1, request->save_count * sizeof(uint32_t));
    }
}

static struct plan_batch plan(struct step_sim *sim, struct plan_part *parts)
{
    struct plan_seq decodes[STEP_SIM_SLOTS_MAX], prompts[STEP_SIM_SLOTS_MAX];
    struct plan_state state = sim->limits;
    for (uint32_t i = 0; i < sim->decode_count; i++)
        decodes[i] = (struct plan_seq){.position = sim->decodes[i]->position, .left = 1};
    for (uint32_t i = 0; i < sim->prompt_count; i++) {
        struct sim_request *request = sim->prompts[i];
        save_here(sim, request);
        prompts[i] = (struct plan_seq){.position = request->position,
                                       .left = request->prompt_count - request->position,
                                       .save_at = request->save_count ? request->save_at[0] : 0};
    }
    state.cost = sim->uses_cost ? &sim->cost : NULL;
    state.decodes = decodes;
    state.decode_count = sim->decode_count;
    state.prompts = prompts;
    state.prompt_count = sim->prompt_count;
    return plan_step(&state, parts);
}

static void check_plan(struct step_sim *sim, const struct plan_batch *batch)
{
    HOLDS(batch->row_count >= 1 && batch->row_count <= sim->limits.batch_tokens);
    HOLDS(batch->shape.decode_rows + batch->shape.prompt_rows == batch->row_count);
    if (sim->prompt_count > 0)
        HOLDS(batch->parts[batch->decode_count].index == 0); /* the oldest moves */
    if (!sim->uses_cost || batch->decode_count == 0 || batch->shape.prompt_rows <= 1)
        return;
    struct step_shape decodes = {0};
    for (uint32_t i = 0; i < batch->decode_count; i++)
        step_shape_add_decode(&decodes, batch->parts[i].position);
    double part = step_cost_us(&sim->cost, &batch->shape) /
                  step_cost_target_us(&sim->cost, &decodes, sim->prompt_count,
                                      sim->limits.batch_tokens, sim->limits.itl_us);
    HOLDS(part <= 1 + 1e-9);
    sim->worst_of_target = part > sim->worst_of_target ? part : sim->worst_of_target;
}

/* The token that its last row gives. Put in with the next row. */
static void sample(struct step_sim *sim, struct sim_request *request)
{
    if (request->answered == 0)
        request->first_us = sim->now_us;
    else if (sim->now_us - request->last_us > request->worst_gap_us)
        request->worst_gap_us = sim->now_us - request->last_us;
    request->last_us = sim->now_us;
    request->ids[request->prompt_count + request->answered++] = (token_id)step_sim_below(sim, 9);
    if (request->answered == request->answer_count) {
        end(sim, request);
        return;
    }
    request->state = SIM_DECODING;
    sim->decodes[sim->decode_count++] = request;
}

static void finish_decode(struct step_sim *sim, struct sim_request *request)
{
    put(sim, request, request->ids + request->position, 1);
    sample(sim, request); /* to the back */
}

static void finish_prompt(struct step_sim *sim, struct sim_request *request,
                          const struct plan_part *part)
{
    HOLDS(part->position == request->position);
    put(sim, request, request->ids + request->position, part->count);
    save_here(sim, request);
    HOLDS(part->wants_logits == (request->position == request->prompt_count));
    if (!part->wants_logits)
        return;
    tell_tree(sim, request->slot, prefix_tree_slot_busy);
    sample(sim, request);
}

static void wait_for_turn(struct step_sim *sim, struct sim_request *request)
{
    request->idle_steps++;
    HOLDS(request->idle_steps <= sim->prefix.slots + 1);
}

static void finish(struct step_sim *sim, const struct plan_batch *batch)
{
    struct sim_request *decodes[STEP_SIM_SLOTS_MAX], *prompts[STEP_SIM_SLOTS_MAX];
    uint32_t decode_count = sim->decode_count, prompt_count = sim->prompt_count;
    memcpy(decodes, sim->decodes, sizeof(decodes));
    memcpy(prompts, sim->prompts, sizeof(prompts));
    sim->decode_count = sim->prompt_count = 0;
    for (uint32_t i = batch->decode_count; i < decode_count; i++) {
        wait_for_turn(sim, decodes[i]);
        sim->decodes[sim->decode_count++] = decodes[i];
    }
    for (uint32_t i = 0; i < batch->decode_count; i++) {
        HOLDS(batch->parts[i].position == decodes[i]->position);
        finish_decode(sim, decodes[i]);
    }
    uint32_t part = batch->decode_count;
    for (uint32_t i = 0; i < prompt_count; i++) {
        HOLDS(++prompts[i]->steps <= prompts[i]->steps_allowed);
        if (part < batch->part_count && batch->parts[part].index == i)
            finish_prompt(sim, prompts[i], &batch->parts[part++]);
        if (prompts[i]->state == SIM_FILLING)
            sim->prompts[sim->prompt_count++] = prompts[i];
    }
    HOLDS(part == batch->part_count);
}

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

static void step(struct step_sim *sim)
{
    struct plan_part parts[2 * STEP_SIM_SLOTS_MAX];
    struct plan_batch batch = plan(sim, parts);
    check_plan(sim, &batch);
    uint64_t us = measured_us(sim, &batch.shape);
    sim->now_us += us;
    sim->steps++;
    finish(sim, &batch);
    step_cost_learn(&sim->cost, &batch.shape, us);
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
    while (sim->ended < sim->request_count) {
        admit_all(sim);
        if (sim->decode_count + sim->prompt_count > 0) {
            step(sim);
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
