/* core_prefix - what the core does with a prefix tree: it asks it where a sequence goes, makes the
 * slot ready as it says, and tells it what slots hold (the order of calls: prefix_tree.h).
 *
 * A blob is saved between two steps, when the report of the first is out, or of a slot that is
 * taken. It delays the next step by about a hundredth of what its tokens took to compute, and
 * prompts get so much less of that step's time (plan_state.spent_us). */
#include "worker/core_impl.h"

#include "base/mem.h"

enum {
    PRICE_ROWS = 64,      /* of which a prompt token's price is a part */
    FIRST_ANSWER = 64,    /* tokens, before one has ended */
    ANSWERS_COUNTED = 16, /* the mean of about so many of the last */
};

/* Of what a sequence alone in a step takes, a gap adds so much to one with others. Not learned: who
 * runs with gaps would never see what it is without (bench/slot_order, 4 sequences: 0.56 with nano
 * and 15m Q8_0, 0.31 with 110m Q4_0; EPYC with AVX2, 2026-11). */
#define GAP_PART 0.4

static bool let_go(void *ctx, uint64_t scope, const token_id *ids, uint32_t count, void **blob,
                   size_t bytes)
{
    const struct core *core = ctx;
    return core->disk && prefix_disk_let_go(core->disk, scope, ids, count, blob, bytes);
}

void core_prefix_init(struct core *core)
{
    const struct engine_info *info = &core->engine->info;
    if (core->options.prefix_bytes_max == 0 || info->slots > PREFIX_SLOTS_MAX)
        return;
    struct prefix_options options = prefix_options_default(info->slots, info->context_tokens);
    options.can_cut = info->can_cut;
    options.save_tokens = core->options.prefix_save_tokens;
    options.blob_bytes_max = info->can_save ? core->options.prefix_bytes_max : 0;
    if (core->options.prefix_disk.bytes_max > 0)
        options.spill = let_go;
    options.spill_ctx = core;
    core->tree = prefix_tree_new(&options);
    core->price = options.price;
    core->price.answer_tokens = FIRST_ANSWER;
    core_disk_open(core);
}

/* --- what things cost --- */

static void measure(struct core *core, double *us_per_byte, uint64_t begin_us, size_t bytes)
{
    uint64_t spent_us = core_clock_us(core) - begin_us;
    core->kept_us += spent_us;
    if (bytes > 0)
        *us_per_byte += ((double)spent_us / (double)bytes - *us_per_byte) / 4;
}

static double gap_us(const struct core *core)
{
    struct step_shape alone = {0};
    step_shape_add_decode(&alone, 0);
    return GAP_PART * step_cost_us(&core->cost, &alone);
}

void core_prefix_learn_price(struct core *core)
{
    struct step_shape shape = {0};
    const struct engine_info *info = &core->engine->info;
    step_shape_add_prompt(&shape, 0, PRICE_ROWS);
    core->price.recompute_us = step_cost_us(&core->cost, &shape) / PRICE_ROWS;
    core->price.copy_us = (double)info->kv_bytes / info->slots * core->price.restore_us;
    core->price.gap_us = info->gaps_cost ? gap_us(core) : 0;
    prefix_tree_set_price(core->tree, &core->price);
}

/* --- what others may use of it --- */

/* Where single rows differ (plan.h rule 8), what a prompt needs is what prompts put in: not the
 * answer behind it, and not a prompt of one token. */
static uint32_t cells_for_others(const struct core *core, const struct sequence *sequence)
{
    uint32_t prompt_count = sequence->job->prompt_count;
    if (!core->engine->info.single_rows_differ)
        return sequence->position;
    if (prompt_count == 1)
        return 0;
    return sequence->position < prompt_count ? sequence->position : prompt_count;
}

/* Of its own tokens, most that it may take from others and leave one: two, where a single row would
 * differ. */
static uint32_t tokens_to_find(const struct core *core, const struct sequence *sequence)
{
    uint32_t prompt_count = sequence->job->prompt_count;
    if (!core->engine->info.single_rows_differ)
        return prompt_count + sequence->followed; /* what mirostat follows it has to see */
    return prompt_count > 1 ? prompt_count - 1 : 1;
}

/* A blob that leaves a prompt of so many tokens a single row serves nobody like it. */
static uint32_t useful_save(const struct core *core, uint32_t at, uint32_t prompt_count)
{
    return core->engine->info.single_rows_differ && at > 1 && at + 1 == prompt_count ? at - 1 : at;
}

/* --- blobs --- */

/* As far as is known before it is made. */
static bool may_fit(const struct core *core, uint32_t tokens)
{
    const struct engine_info *info = &core->engine->info;
    uint64_t token_bytes = info->kv_bytes / ((uint64_t)info->slots * info->context_tokens);
    return info->can_save && tokens * token_bytes <= core->options.prefix_bytes_max;
}

/* The slot holds exactly these. What cannot be saved is computed again one day. */
static void save_blob(struct core *core, uint64_t scope, uint32_t slot, const token_id *ids,
                      uint32_t count)
{
    void *blob;
    size_t bytes;
    if (count == 0 || !may_fit(core, count) || prefix_tree_has(core->tree, scope, ids, count))
        return;
    uint64_t begin_us = core_clock_us(core);
    if (engine_seq_save(core->engine, slot, &blob, &bytes) != ERR_OK)
        return;
    measure(core, &core->price.save_us, begin_us, bytes);
    void *saved = blob;
    if (prefix_tree_save(core->tree, scope, ids, count, &blob, bytes) != ERR_OK)
        mem_free(blob);
    else if (core->disk)
        prefix_disk_write(core->disk, scope, ids, count, saved, bytes);
}

static void save_due(struct core *core, struct sequence *sequence)
{
    while (sequence->save_count > 0 && sequence->save_at[0] <= sequence->position) {
        if (sequence->save_at[0] == sequence->position)
            save_blob(core, sequence->job->scope, (uint32_t)sequence->slot, sequence->tokens,
                      sequence->position);
        sequence->save_count--;
        memmove(sequence->save_at, sequence->save_at + 1, sequence->save_count * sizeof(uint32_t));
    }
}

void core_prefix_save_due(struct core *core)
{
    LIST_FOREACH (link, &core->lists[SEQ_PREFILL])
        save_due(core, CONTAINER_OF(link, struct sequence, link));
    if (core->disk)
        core_disk_poll(core); /* here: who waits for it gets a slot next */
}

/* --- what the tree is told --- */

static void tell_tree(struct core *core, struct sequence *sequence)
{
    uint32_t slot = (uint32_t)sequence->slot, prompt_count = sequence->job->prompt_count;
    uint64_t scope = sequence->job->scope;
    sequence->is_filling = sequence->position < prompt_count && sequence->state != SEQ_PARKED;
    if (sequence->is_filling)
        prefix_tree_slot_filling(core->tree, scope, slot, sequence->tokens, prompt_count);
    else
        prefix_tree_slot_busy(core->tree, scope, slot, sequence->tokens,
                              cells_for_others(core, sequence));
}

void core_prefix_filled(struct core *core, struct sequence *sequence)
{
    uint32_t slot = (uint32_t)sequence->slot, prompt_count = sequence->job->prompt_count;
    if (!sequence->is_filling || sequence->position < prompt_count)
        return;
    uint64_t scope = sequence->job->scope;
    sequence->is_filling = false;
    sequence->save_count = 0;
    uint32_t cells = cells_for_others(core, sequence);
    prefix_tree_slot_busy(core->tree, scope, slot, sequence->tokens,
                          cells < prompt_count ? cells : prompt_count);
    if (sequence->saves_prompt && cells == sequence->position)
        save_blob(core, scope, slot, sequence->tokens, sequence->position);
    sequence->saves_prompt = false;
}

void core_prefix_recovered(struct core *core, struct sequence *sequence)
{
    uint32_t told = prefix_tree_slot_tokens(core->tree, (uint32_t)sequence->slot);
    if (!sequence->is_filling && sequence->position < told)
        tell_tree(core, sequence);
}

/* Where the engine refuses, the slot is empty. */
static void cut(struct core *core, uint32_t slot, uint32_t tokens)
{
    if (core->broken || engine_seq_tokens(core->engine, slot) <= tokens)
        return;
    enum err err = engine_seq_cut(core->engine, slot, tokens);
    if (err != ERR_OK && err != ERR_REFUSED)
        core_break(core);
}

void core_prefix_recover_idle(struct core *core)
{
    for (uint32_t i = 0; i < core->engine->info.slots; i++) {
        struct core_slot *slot = &core->slots[i];
        if (list_is_linked(&slot->settling))
            cut(core, i, slot->held_count); /* what was just being put in */
        uint32_t held = slot->owner ? 0 : engine_seq_tokens(core->engine, i);
        if (slot->owner || held >= slot->held_count)
            continue;
        core_settle_stop(slot);
        slot->held_count = held;
        prefix_tree_slot_idle(core->tree, slot->held_scope, i, slot->held, held);
    }
}

/* Cuts off what is of no use for others, and drafts that nobody looked at any more. Returns what is
 * left. */
static uint32_t leave_for_others(struct core *core, const struct sequence *sequence)
{
    uint32_t slot = (uint32_t)sequence->slot, cells = cells_for_others(core, sequence);
    cut(core, slot, cells);
    return engine_seq_tokens(core->engine, slot) < cells ? 0 : cells;
}

void core_prefix_leave(struct core *core, struct sequence *sequence, bool is_end)
{
    struct core_slot *slot = &core->slots[sequence->slot];
    slot->held_count = leave_for_others(core, sequence);
    slot->held_scope = sequence->job->scope;
    slot->held = is_end ? sequence->tokens : NULL;
    uint32_t until = core_settle_until(core, sequence, slot->held_count);
    if (is_end) {
        sequence->tokens = NULL;
        core->price.answer_tokens +=
            (sequence_answered(sequence) - core->price.answer_tokens) / ANSWERS_COUNTED;
    }
    slot->held = mem_grow(slot->held, (until + 1) * sizeof(*slot->held));
    if (!is_end)
        memcpy(slot->held, sequence->tokens, slot->held_count * sizeof(*slot->held));
    prefix_tree_slot_idle(core->tree, slot->held_scope, (uint32_t)sequence->slot, slot->held,
                          slot->held_count);
    core_settle_begin(core, slot, until, &sequence->job->adapters);
    sequence->is_filling = sequence->saves_prompt = false;
    sequence->save_count = 0;
}

/* --- who waits for whom --- */

static bool waits(const struct core *core, const struct sequence *sequence,
                  const struct prefix_answer *answer)
{
    if (sequence->is_noted || answer->wait_slot == PREFIX_NO_SLOT)
        return false;
    const struct sequence *leader = core->slots[answer->wait_slot].owner;
    ASSERT(leader && leader->is_filling);
    bool is_in_time = core->engine->info.can_cut || leader->position < answer->wait_tokens;
    return leader->state == SEQ_PREFILL && is_in_time && may_fit(core, answer->wait_tokens);
}

/* All of its prompt is saved when it is in, which is hardly later: to cut it there as well would
 * cost it a step, and a blob more. */
static bool saves_soon_behind(const struct core *core, const struct sequence *leader, uint32_t at)
{
    return leader->saves_prompt && core->engine->info.can_cut &&
           leader->job->prompt_count < at + core->options.prefix_save_tokens;
}

/* Is what is saved at `at` as good as at `wanted`? The waiter finds so much less then that it would
 * not wait for the rest. */
static bool is_near(const struct core *core, uint32_t at, uint32_t wanted)
{
    return at == wanted || (at < wanted && wanted - at < core->options.prefix_save_tokens);
}

/* A blob of what somebody waits for; if the leader is beyond it, or saves often enough, of all of
 * its prompt. */
static void ask_to_save(struct core *core, struct sequence *leader, uint32_t wanted)
{
    uint32_t i = leader->save_count;
    uint32_t at = useful_save(core, wanted, leader->job->prompt_count);
    if (saves_soon_behind(core, leader, at))
        return;
    for (uint32_t j = 0; j < leader->save_count; j++) {
        if (is_near(core, leader->save_at[j], at))
            return;
    }
    if (at <= leader->position || at >= leader->job->prompt_count || i == PREFIX_SAVES_MAX) {
        leader->saves_prompt = true;
        return;
    }
    for (; i > 0 && leader->save_at[i - 1] > at; i--)
        leader->save_at[i] = leader->save_at[i - 1];
    leader->save_at[i] = at;
    leader->save_count++;
}

/* --- making a slot ready --- */

static void restore_prefix(struct core *core, uint64_t scope, const struct prefix_answer *answer)
{
    struct slice blob = answer->blob;
    uint64_t begin_us = core_clock_us(core);
    if (engine_seq_restore(core->engine, answer->slot, blob.data, blob.len) == ERR_OK) {
        measure(core, &core->price.restore_us, begin_us, blob.len);
        prefix_tree_used(core->tree);
        return;
    }
    token_id *ids = mem_array(answer->blob_count, sizeof(*ids));
    prefix_tree_ids(core->tree, ids);
    prefix_tree_lost(core->tree, scope, ids, answer->blob_count);
    mem_free(ids);
    core_empty_slot(core, answer->slot);
}

static void reuse(struct core *core, struct sequence *sequence, const struct prefix_answer *answer)
{
    if (answer->how != PREFIX_CUT)
        core_empty_slot(core, answer->slot);
    if (answer->how == PREFIX_RESTORE && !core->broken)
        restore_prefix(core, sequence->job->scope, answer);
    else if (answer->how == PREFIX_COPY && !core->broken)
        engine_seq_copy(core->engine, answer->from, answer->slot);
    cut(core, answer->slot, answer->tokens);
    sequence->position = engine_seq_tokens(core->engine, answer->slot);
    core_free_blob(core, sequence);
}

static void take_slot(struct core *core, struct sequence *sequence,
                      const struct prefix_answer *answer)
{
    struct core_slot *slot = &core->slots[answer->slot];
    ASSERT(!slot->owner);
    core_settle_stop(slot);
    if (answer->slot_kept && !core->broken)
        save_blob(core, slot->held_scope, answer->slot, slot->held, slot->held_count);
    slot->owner = sequence;
    sequence->slot = answer->slot;
    core->free_slot_count--;
    if (sequence->blob && sequence->position > answer->tokens) { /* its own is more */
        core_empty_slot(core, answer->slot);
        core_restore(core, sequence);
    } else {
        reuse(core, sequence, answer);
    }
    mem_free(slot->held);
    slot->held = NULL;
    slot->held_count = 0;
}

/* Choices of one request come in one frame, and yet the engine thread may have taken a step with
 * the first of them before it hears of the second: a prompt that fits one step would be put in once
 * more, for nobody asked in time to have it saved. */
static void save_for_others(struct core *core, struct sequence *sequence)
{
    if (core->engine->info.can_cut)
        sequence->saves_prompt = true;
    else /* one token less than all of it: who comes needs one to put in */
        ask_to_save(core, sequence, sequence->job->prompt_count - 1);
}

static void note(struct core *core, struct sequence *sequence, const struct prefix_answer *answer)
{
    struct prefix_prompt prompt = {.scope = sequence->job->scope,
                                   .ids = sequence->tokens,
                                   .count = sequence->job->prompt_count};
    prefix_tree_note(core->tree, &prompt);
    sequence->is_noted = true;
    sequence->cached = sequence->position < prompt.count ? sequence->position : prompt.count;
    sequence->save_count = answer->save_count;
    for (uint32_t i = 0; i < answer->save_count; i++)
        sequence->save_at[i] = useful_save(core, answer->save_at[i], prompt.count);
    /* What was just copied cannot be saved yet (engine.h rule 7), and is somebody else's anyway. */
    if (answer->how == PREFIX_COPY && answer->save_count > 0 &&
        answer->save_at[0] <= sequence->position) {
        sequence->save_count--;
        memmove(sequence->save_at, sequence->save_at + 1, sequence->save_count * sizeof(uint32_t));
    }
    if (sequence->job->prompt_is_shared)
        save_for_others(core, sequence);
}

bool core_prefix_admit(struct core *core, struct sequence *sequence)
{
    struct prefix_prompt prompt = {.scope = sequence->job->scope,
                                   .ids = sequence->tokens,
                                   .count = tokens_to_find(core, sequence),
                                   .system_tokens = sequence->job->system_tokens,
                                   .is_shared = sequence->job->prompt_is_shared};
    struct prefix_answer answer;
    for (;; prompt.without_disk = true) { /* twice at most */
        answer = prefix_tree_find(core->tree, &prompt);
        ASSERT(answer.slot != PREFIX_NO_SLOT);
        if (waits(core, sequence, &answer)) {
            ask_to_save(core, core->slots[answer.wait_slot].owner, answer.wait_tokens);
            return false;
        }
        if (answer.how != PREFIX_FETCH)
            break;
        bool is_wanted = !sequence->blob || sequence->position < answer.tokens;
        if (is_wanted && core->disk && core_disk_comes(core, prompt.scope, &answer))
            return false;
    }
    take_slot(core, sequence, &answer);
    if (!sequence->is_noted)
        note(core, sequence, &answer);
    tell_tree(core, sequence);
    if (!core->broken)
        save_due(core, sequence);
    return true;
}
