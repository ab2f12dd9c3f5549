/* core_settle - where single rows differ (engine.h), what decoding put in serves no prompt: the
 * next turn of a chat would put the answer in again, while its client waits. So the answer settles:
 * the slot is cut back to the end of the prompt when it is left (core_prefix.c), and the answer's
 * tokens go in behind it as rows of a prompt, as filler (plan.h rule 11; docs/design/030).
 *
 * A slot in which an answer settles has no owner and is free: `held` has all of the tokens, of
 * which the first held_count are in, and the tree knows of those. Whoever gets the slot finds as
 * much. */
#include "worker/core_impl.h"

enum { SETTLE_LEAST = 2 }; /* one row alone would be what it was */

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t left(const struct core_slot *slot)
{
    return slot->settle_count - slot->held_count;
}

uint32_t core_settle_until(const struct core *core, const struct sequence *sequence, uint32_t held)
{
    const struct engine_info *info = &core->engine->info;
    const struct core_job *job = sequence->job;
    uint32_t until = min_u32(sequence->token_count, info->context_tokens);
    bool is_wanted = job->is_conversation && sequence->is_done && held == job->prompt_count;
    bool is_of_use = info->single_rows_differ && info->can_cut;
    return is_wanted && is_of_use && until >= held + SETTLE_LEAST ? until : held;
}

/* Those that are short enough to go in beside others, and the long ones. */
static void add_to_list(struct core *core, struct core_slot *slot)
{
    bool is_short = left(slot) <= PLAN_SETTLE_ROWS;
    list_push_back(is_short ? &core->settling : &core->settling_long, &slot->settling);
}

void core_settle_begin(struct core *core, struct core_slot *slot, uint32_t until,
                       const struct engine_adapter_set *adapters)
{
    slot->settle_count = until;
    slot->settle_adapters = *adapters;
    if (until > slot->held_count)
        add_to_list(core, slot);
}

void core_settle_stop(struct core_slot *slot)
{
    list_remove(&slot->settling);
}

/* Nobody is there for whom a step could do anything. */
static bool is_alone(const struct core *core)
{
    return core->counts[SEQ_PREFILL] + core->counts[SEQ_DECODE] + core->counts[SEQ_WAITING] +
               core->counts[SEQ_RETURNING] ==
           0;
}

bool core_settle_has_work(const struct core *core)
{
    return !list_is_empty(&core->settling) ||
           (is_alone(core) && !list_is_empty(&core->settling_long));
}

const struct engine_adapter_set *core_settle_adapters(const struct core *core)
{
    if (!core_settle_has_work(core))
        return NULL;
    const struct list *list =
        list_is_empty(&core->settling) ? &core->settling_long : &core->settling;
    return &CONTAINER_OF(list->next, struct core_slot, settling)->settle_adapters;
}

static uint32_t offer_list(struct core *core, const struct list *list,
                           const struct engine_adapter_set *adapters, uint32_t count)
{
    LIST_FOREACH (link, list) {
        struct core_slot *slot = CONTAINER_OF(link, struct core_slot, settling);
        if (count == PLAN_SETTLES_MAX)
            break;
        if (adapters && !engine_adapter_set_eq(&slot->settle_adapters, adapters))
            continue;
        core->plan_settles[count] = (struct plan_seq){
            .position = slot->held_count, .left = left(slot), .pairs_until = slot->settle_count};
        core->settles[count++] = slot;
    }
    return count;
}

uint32_t core_settle_offer(struct core *core, const struct engine_adapter_set *adapters)
{
    uint32_t count = offer_list(core, &core->settling, adapters, 0);
    return is_alone(core) ? offer_list(core, &core->settling_long, adapters, count) : count;
}

void core_settle_rows(struct core *core, const struct plan_batch *batch, uint32_t first_row)
{
    const struct plan_part *parts = batch->parts + batch->part_count;
    uint32_t row = first_row;
    for (uint32_t i = 0; i < batch->settle_count; i++) {
        const struct core_slot *slot = core->settles[parts[i].index];
        for (uint32_t j = 0; j < parts[i].count; j++)
            core->rows[row++] = (struct engine_row){.token = slot->held[parts[i].position + j],
                                                    .position = parts[i].position + j,
                                                    .slot = (uint32_t)(slot - core->slots)};
    }
    ASSERT(row == batch->row_count);
}

static void move_to_short(struct core *core, struct core_slot *slot)
{
    list_remove(&slot->settling);
    add_to_list(core, slot);
}

void core_settle_done(struct core *core, const struct plan_batch *batch)
{
    const struct plan_part *parts = batch->parts + batch->part_count;
    for (uint32_t i = 0; i < batch->settle_count; i++) {
        struct core_slot *slot = core->settles[parts[i].index];
        bool was_short = left(slot) <= PLAN_SETTLE_ROWS;
        slot->held_count += parts[i].count;
        core->tokens_settled += parts[i].count;
        prefix_tree_slot_idle(core->tree, slot->held_scope, (uint32_t)(slot - core->slots),
                              slot->held, slot->held_count);
        if (left(slot) == 0)
            core_settle_stop(slot);
        else if (!was_short && left(slot) <= PLAN_SETTLE_ROWS)
            move_to_short(core, slot);
    }
}

void core_settle_refused(struct core *core, const struct plan_batch *batch)
{
    const struct plan_part *parts = batch->parts + batch->part_count;
    for (uint32_t i = 0; i < batch->settle_count; i++)
        core_settle_stop(core->settles[parts[i].index]);
}
