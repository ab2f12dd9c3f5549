/* core - commands, and the way of sequences through lists and slots. */
#include "worker/core_impl.h"

#include "base/mem.h"

enum {
    SEQUENCES_MAX = 1 << 20, /* far above what any bus side admits */
    ANSWER_ROOM = 64,        /* tokens; most answers are longer */
};
static const char ENGINE_FAILED[] = "the engine failed";

/* --- jobs --- */

struct cancel_flag *cancel_flag_new(void)
{
    struct cancel_flag *flag = mem_alloc(sizeof(*flag));
    atomic_init(&flag->cancelled, false);
    atomic_init(&flag->refs, 1);
    return flag;
}

struct cancel_flag *cancel_flag_ref(struct cancel_flag *flag)
{
    atomic_fetch_add_explicit(&flag->refs, 1, memory_order_relaxed);
    return flag;
}

void cancel_flag_unref(struct cancel_flag *flag)
{
    if (flag && atomic_fetch_sub_explicit(&flag->refs, 1, memory_order_acq_rel) == 1)
        mem_free(flag);
}

void core_job_free(struct core_job **job)
{
    if (!*job)
        return;
    cancel_flag_unref((*job)->cancel);
    grammar_match_free((*job)->match);
    text_out_free((*job)->said.text_out);
    text_fini(&(*job)->said.unsaid);
    arena_free((*job)->arena);
    mem_free((*job)->prompt);
    mem_free(*job);
    *job = NULL;
}

struct core_options core_options_default(void)
{
    return (struct core_options){.prefill_tokens = 64,
                                 .park_ms = 2000,
                                 .saved_bytes_max = (size_t)1 << 30,
                                 .prefix_save_tokens = 64};
}

/* --- the core --- */

static void find_ends(struct core *core)
{
    for (uint32_t id = 0; id < core->engine->info.vocab_size; id++) {
        if (!engine_is_end(core->engine, (token_id)id))
            continue;
        core->ends = mem_grow(core->ends, (core->end_count + 1) * sizeof(*core->ends)); /* few */
        core->ends[core->end_count++] = (token_id)id;
    }
}

static void make_room(struct core *core)
{
    const struct engine_info *info = &core->engine->info;
    core->slots = mem_array(info->slots, sizeof(*core->slots));
    core->free_slots = mem_array(info->slots, sizeof(*core->free_slots));
    core->turns_seqs = mem_array(info->slots, sizeof(*core->turns_seqs));
    core->plan_decodes = mem_array(info->slots, sizeof(*core->plan_decodes));
    core->plan_prompts = mem_array(info->slots, sizeof(*core->plan_prompts));
    core->decodes = mem_array(info->slots, sizeof(struct sequence *));
    core->prompts = mem_array(info->slots, sizeof(struct sequence *));
    core->parts = mem_array(info->slots + PLAN_SETTLES_MAX, sizeof(*core->parts));
    core->batch = mem_array(info->slots, sizeof(struct sequence *));
    core->rows = mem_array(info->batch_tokens, sizeof(*core->rows));
    for (uint32_t slot = 0; slot < info->slots; slot++)
        list_init(&core->slots[slot].settling);
    while (core->free_slot_count < info->slots) { /* slot 0 ends on top */
        core->free_slots[core->free_slot_count] = info->slots - 1 - core->free_slot_count;
        core->free_slot_count++;
    }
}

struct core *core_new(struct engine *engine, const struct core_options *options)
{
    struct core *core = mem_alloc(sizeof(*core));
    core->engine = engine;
    core->options = *options;
    core->draft_rows_exact_max = 1;
    core->adapters = engine_default_adapters(&engine->info);
    engine_use_adapters(engine, &core->adapters); /* whatever its last user had */
    if (core->options.prefill_alone_tokens == 0)
        core->options.prefill_alone_tokens = engine->info.batch_tokens;
    core->sampler = sampler_new(engine->info.vocab_size);
    core->sequences = map_new(SEQUENCES_MAX);
    for (int state = 0; state < SEQ_STATE_COUNT; state++)
        list_init(&core->lists[state]);
    list_init(&core->settling);
    list_init(&core->settling_long);
    core_report_init(&core->next);
    find_ends(core);
    make_room(core);
    step_cost_init(&core->cost);
    core_prefix_init(core);
    atomic_init(&core->abort_wanted, false);
    engine->should_abort = core_should_abort;
    engine->on_progress = core_on_progress;
    engine->abort_ctx = core;
    return core;
}

static void sequence_free(struct sequence *sequence)
{
    list_remove(&sequence->link);
    text_out_free(sequence->text_out);
    draft_free(sequence->draft);
    mem_free(sequence->tokens);
    mem_free(sequence->blob);
    core_job_free(&sequence->job);
    mem_free(sequence);
}

void core_free(struct core *core)
{
    if (!core)
        return;
    for (int state = 0; state < SEQ_STATE_COUNT; state++) {
        LIST_FOREACH_SAFE (link, &core->lists[state])
            sequence_free(CONTAINER_OF(link, struct sequence, link));
    }
    core->engine->should_abort = NULL;
    core->engine->on_progress = NULL;
    core->engine->abort_ctx = NULL;
    for (uint32_t slot = 0; slot < core->engine->info.slots; slot++)
        mem_free(core->slots[slot].held);
    prefix_disk_close(core->disk); /* it reads blobs of the tree */
    prefix_tree_free(core->tree);
    map_free(core->sequences);
    sampler_free(core->sampler);
    grammar_masker_free(core->masker);
    core_report_fini(&core->next);
    mem_free(core->ends);
    mem_free(core->slots);
    mem_free(core->free_slots);
    mem_free(core->turns_seqs);
    mem_free(core->plan_decodes);
    mem_free(core->plan_prompts);
    mem_free(core->decodes);
    mem_free(core->prompts);
    mem_free(core->parts);
    mem_free(core->batch);
    mem_free(core->rows);
    mem_free(core);
}

/* --- states --- */

void core_move(struct core *core, struct sequence *sequence, enum seq_state state)
{
    if (list_is_linked(&sequence->link))
        core->counts[sequence->state]--;
    list_remove(&sequence->link);
    list_push_back(&core->lists[state], &sequence->link);
    core->counts[state]++;
    sequence->state = state;
}

void core_move_to_run(struct core *core, struct sequence *sequence)
{
    bool is_decode = sequence_answered(sequence) > 0 && sequence_left(sequence) == 1;
    sequence->waits_since = core->steps;
    core_move(core, sequence, is_decode ? SEQ_DECODE : SEQ_PREFILL);
}

void core_park(struct core *core, struct sequence *sequence, uint64_t now_us)
{
    core_move(core, sequence, SEQ_PARKED);
    sequence->parked_at_us = now_us;
    sequence->blob_bytes = 0;
}

void core_break(struct core *core)
{
    core->broken = true;
}

/* --- slots --- */

void core_empty_slot(struct core *core, uint32_t slot)
{
    /* A slot that cannot even be emptied belongs to an engine that cannot go on. */
    if (!core->broken && engine_seq_cut(core->engine, slot, 0) != ERR_OK)
        core_break(core);
}

static void leave_slot(struct core *core, struct sequence *sequence, bool is_end)
{
    if (sequence->slot == NO_SLOT)
        return;
    uint32_t slot = (uint32_t)sequence->slot;
    if (core->tree && !core->broken) {
        core_prefix_leave(core, sequence, is_end);
    } else {
        core_empty_slot(core, slot);
        core->free_slots[core->free_slot_count] = slot;
    }
    core->free_slot_count++;
    core->slots[slot].owner = NULL;
    sequence->slot = NO_SLOT;
}

void core_free_blob(struct core *core, struct sequence *sequence)
{
    if (!sequence->blob)
        return;
    core->saved_bytes -= sequence->blob_bytes;
    mem_free(sequence->blob);
    sequence->blob = NULL;
}

/* A blob that the engine does not take back costs a new prefill, not the sequence. */
void core_restore(struct core *core, struct sequence *sequence)
{
    if (!sequence->blob)
        return;
    uint32_t slot = (uint32_t)sequence->slot;
    uint64_t begin_us = core_clock_us(core);
    if (engine_seq_restore(core->engine, slot, sequence->blob, sequence->blob_bytes) != ERR_OK) {
        core_empty_slot(core, slot);
        sequence->position = 0;
    }
    core->kept_us += core_clock_us(core) - begin_us;
    core_free_blob(core, sequence);
}

static void give_slot(struct core *core, struct sequence *sequence)
{
    if (core_is_cancelled(sequence)) {
        core_end_done(core, sequence, DONE_CANCELLED, (struct slice){0});
        return;
    }
    if (core->tree) {
        if (!core_prefix_admit(core, sequence))
            return; /* it waits for another's prompt, and those behind it need not */
    } else {
        uint32_t slot = core->free_slots[--core->free_slot_count];
        core->slots[slot].owner = sequence;
        sequence->slot = slot;
        core_restore(core, sequence);
    }
    core_move_to_run(core, sequence);
}

/* What a slot held is saved when it is taken, and that may take longer than a step (72 MB: 85 ms).
 * Beyond a round of those that run, the next slot is given in the next step. */
static bool keeps_others_waiting(const struct core *core)
{
    uint32_t running = core->counts[SEQ_DECODE];
    return core->options.learns_steps && running > 0 &&
           (double)core->kept_us > step_cost_round_us(&core->cost, running);
}

static void give_slots(struct core *core)
{
    static const enum seq_state states[] = {SEQ_RETURNING, SEQ_WAITING};
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        LIST_FOREACH_SAFE (link, &core->lists[states[i]]) {
            if (core->free_slot_count == 0 || core->broken || keeps_others_waiting(core))
                return;
            give_slot(core, CONTAINER_OF(link, struct sequence, link));
        }
    }
}

static bool may_save(const struct core *core, const struct sequence *sequence)
{
    if (sequence->position == 0)
        return true; /* nothing to save */
    return core->engine->info.can_save && core->saved_bytes < core->options.saved_bytes_max &&
           sequence->blob_bytes <= core->options.saved_bytes_max - core->saved_bytes;
}

static uint64_t save_due_us(const struct core *core, const struct sequence *sequence)
{
    return sequence->parked_at_us + (uint64_t)core->options.park_ms * 1000;
}

/* False: the sequence keeps its slot. */
static bool save(struct core *core, struct sequence *sequence)
{
    void *blob;
    size_t bytes;
    if (sequence->position == 0)
        return true;
    uint64_t begin_us = core_clock_us(core);
    enum err err = engine_seq_save(core->engine, (uint32_t)sequence->slot, &blob, &bytes);
    core->kept_us += core_clock_us(core) - begin_us;
    if (err != ERR_OK) {
        sequence->blob_bytes = SIZE_MAX; /* not tried again while it is parked */
        return false;
    }
    sequence->blob_bytes = bytes;
    if (!may_save(core, sequence)) {
        mem_free(blob);
        return false;
    }
    sequence->blob = blob;
    core->saved_bytes += bytes;
    return true;
}

static void save_parked(struct core *core, uint64_t now_us)
{
    LIST_FOREACH_SAFE (link, &core->lists[SEQ_PARKED]) {
        struct sequence *sequence = CONTAINER_OF(link, struct sequence, link);
        if (save_due_us(core, sequence) > now_us)
            break; /* the list is in the order of parking */
        if (!may_save(core, sequence) || !save(core, sequence))
            continue;
        leave_slot(core, sequence, false);
        core_move(core, sequence, SEQ_SAVED);
    }
}

uint32_t core_whole_cells(const struct core *core, const struct sequence *sequence, uint32_t held)
{
    uint32_t keep = held < sequence->position ? held : sequence->position;
    bool leaves_one = keep > 0 && keep + 1 == sequence->job->prompt_count;
    return leaves_one && core->engine->info.single_rows_differ ? keep - 1 : keep;
}

/* Cuts the slot back to the last token known to be good, or takes note that it holds less. */
static void recover(struct core *core, struct sequence *sequence)
{
    uint32_t slot = (uint32_t)sequence->slot;
    uint32_t held = engine_seq_tokens(core->engine, slot);
    uint32_t keep = core_whole_cells(core, sequence, held);
    if (held > keep) {
        enum err err = engine_seq_cut(core->engine, slot, keep);
        if (err != ERR_OK && err != ERR_REFUSED)
            core_break(core);
        held = err == ERR_OK ? keep : 0; /* refused: the slot is empty now */
    }
    sequence->position = held;
}

void core_cut_back(struct core *core, struct sequence *sequence)
{
    recover(core, sequence);
    if (core->tree)
        core_prefix_recovered(core, sequence);
}

void core_recover(struct core *core)
{
    static const enum seq_state states[] = {SEQ_DECODE, SEQ_PREFILL, SEQ_PARKED};
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        LIST_FOREACH_SAFE (link, &core->lists[states[i]]) {
            struct sequence *sequence = CONTAINER_OF(link, struct sequence, link);
            core_cut_back(core, sequence);
            if (sequence->state == SEQ_DECODE && sequence_left(sequence) > 1)
                core_move_to_run(core, sequence);
        }
    }
    if (core->tree)
        core_prefix_recover_idle(core);
}

/* --- ends --- */

static void end(struct core *core, struct sequence *sequence)
{
    leave_slot(core, sequence, true);
    core_free_blob(core, sequence);
    core->counts[sequence->state]--;
    map_remove(core->sequences, sequence->job->key);
    sequence_free(sequence);
}

void core_end_done(struct core *core, struct sequence *sequence, enum done_reason reason,
                   struct slice stop)
{
    core_say_done(core, sequence, reason, stop);
    sequence->is_done = reason != DONE_CANCELLED;
    end(core, sequence);
}

void core_end_failed(struct core *core, struct sequence *sequence, enum fault fault,
                     struct slice message)
{
    core_say_failed(core, sequence, fault, message);
    end(core, sequence);
}

/* Those that would be in the next batch (rule 7): to look at all would make a step longer with each
 * one that waits or is parked, by three cache misses. */
static void end_cancelled(struct core *core)
{
    static const enum seq_state states[] = {SEQ_PREFILL, SEQ_DECODE};
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        LIST_FOREACH_SAFE (link, &core->lists[states[i]]) {
            struct sequence *sequence = CONTAINER_OF(link, struct sequence, link);
            if (core_is_cancelled(sequence))
                core_end_done(core, sequence, DONE_CANCELLED, (struct slice){0});
        }
    }
}

static void fail_all(struct core *core)
{
    for (int state = 0; state < SEQ_STATE_COUNT; state++) {
        LIST_FOREACH_SAFE (link, &core->lists[state]) {
            struct sequence *sequence = CONTAINER_OF(link, struct sequence, link);
            core_end_failed(core, sequence, FAULT_INTERNAL_ERROR, slice_str(ENGINE_FAILED));
        }
    }
}

/* --- commands --- */

/* Prompt and answer together may hold one token more than the context: the last one is sampled and
 * not put in any more. */
static uint32_t answer_max(const struct core *core, const struct core_job *job)
{
    uint32_t room = core->engine->info.context_tokens - job->prompt_count + 1;
    return job->max_tokens < room ? job->max_tokens : room;
}

static struct sequence *sequence_new(const struct core *core, struct core_job *job)
{
    struct sequence *sequence = mem_alloc(sizeof(*sequence));
    ASSERT(job->cancel && job->max_tokens >= 1 && job->said.count <= job->max_tokens);
    ASSERT(job->prompt_count >= 1 && job->prompt_count < core->engine->info.context_tokens);
    ASSERT(job->adapters.count == 0 || core->engine->info.adapter_count > 0);
    list_init(&sequence->link);
    sequence->job = job;
    sequence->sampler_state = sampler_state_first(&job->sampling);
    sequence->slot = NO_SLOT;
    sequence->answer_max = answer_max(core, job);
    sequence->tokens = job->prompt;
    job->prompt = NULL;
    sequence->token_count = sequence->tokens_max = job->prompt_count + job->said.count;
    sequence->followed = job->sampling.mirostat > 0 ? 0 : job->said.count;
    sequence->skip_bytes = job->said.skip_bytes;
    sequence->text_out = job->said.text_out;
    job->said.text_out = NULL;
    if (!sequence->text_out)
        sequence->text_out = text_out_new(job->stops, job->stop_count);
    return sequence;
}

void core_start(struct core *core, struct core_job **job)
{
    struct sequence *sequence = sequence_new(core, *job);
    *job = NULL;
    ASSERT(map_put(core->sequences, sequence->job->key, sequence) == ERR_OK);
    core_move(core, sequence, sequence_has_credit(sequence) ? SEQ_WAITING : SEQ_SAVED);
    if (sequence->job->said.is_over)
        core_say_all(core, sequence);
}

/* A quarter more each time: it is held as long as the sequence, 4 bytes for each token. */
void core_keep_token(struct sequence *sequence, token_id token)
{
    if (sequence->token_count == sequence->tokens_max) {
        uint32_t most = sequence->job->prompt_count + sequence->answer_max;
        uint32_t wanted = sequence->tokens_max + sequence->tokens_max / 4 + ANSWER_ROOM;
        sequence->tokens_max = wanted < most ? wanted : most;
        sequence->tokens =
            mem_grow(sequence->tokens, sequence->tokens_max * sizeof(sequence->tokens[0]));
    }
    sequence->tokens[sequence->token_count++] = token;
}

void core_cancel(struct core *core, uint64_t key)
{
    struct sequence *sequence = map_get(core->sequences, key);
    if (sequence)
        core_end_done(core, sequence, DONE_CANCELLED, (struct slice){0});
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void core_credit(struct core *core, uint64_t key, uint64_t event_limit, uint64_t byte_limit)
{
    struct sequence *sequence = map_get(core->sequences, key);
    if (!sequence)
        return;
    sequence->job->event_limit = max_u64(sequence->job->event_limit, event_limit);
    sequence->job->byte_limit = max_u64(sequence->job->byte_limit, byte_limit);
    if (!sequence_has_credit(sequence))
        return;
    if (sequence->state == SEQ_PARKED)
        core_move_to_run(core, sequence);
    else if (sequence->state == SEQ_SAVED)
        core_move(core, sequence, SEQ_RETURNING);
}

/* --- steps --- */

static uint64_t next_save_us(const struct core *core)
{
    LIST_FOREACH (link, &core->lists[SEQ_PARKED]) {
        const struct sequence *sequence = CONTAINER_OF(link, struct sequence, link);
        if (may_save(core, sequence))
            return save_due_us(core, sequence);
    }
    return UINT64_MAX;
}

bool core_has_work(const struct core *core, uint64_t now_us, uint64_t *out_wake_us)
{
    if (core->next.result_count > 0 || core->counts[SEQ_PREFILL] + core->counts[SEQ_DECODE] > 0)
        return true;
    if (core->free_slot_count > 0 && core->counts[SEQ_WAITING] + core->counts[SEQ_RETURNING] > 0)
        return true;
    if (core->broken && map_count(core->sequences) > 0)
        return true;
    if (!core->broken && core_settle_has_work(core))
        return true;
    uint64_t wake_us = next_save_us(core);
    if (wake_us <= now_us)
        return true;
    *out_wake_us = wake_us;
    return false;
}

bool core_step(struct core *core, uint64_t now_us, struct core_report *report)
{
    end_cancelled(core);
    if (!core->broken && core->tree)
        core_prefix_save_due(core);
    if (!core->broken)
        save_parked(core, now_us);
    if (!core->broken)
        give_slots(core);
    if (!core->broken)
        core_run_batch(core, now_us);
    if (core->broken)
        fail_all(core);
    return core_take_report(core, report);
}
