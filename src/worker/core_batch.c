/* core_batch - one batch: what goes in, the decode, and what each sequence makes of its logits. */
#include "worker/core_impl.h"

#include "base/utf8.h"
#include "worker/replay.h"

static const char NO_ROOM[] = "the engine's cache is full";

/* --- making it --- */

/* Mirostat follows what was said from the logits of each of its tokens. */
static uint32_t singles_from(const struct sequence *sequence)
{
    const struct core_job *job = sequence->job;
    return job->said.count > 0 && job->sampling.mirostat > 0 ? job->prompt_count : 0;
}

/* Of those that run, the adapters whose turn it is (rule 11). */
static const struct engine_adapter_set *adapters_of_step(struct core *core)
{
    static const enum seq_state states[] = {SEQ_DECODE, SEQ_PREFILL};
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        LIST_FOREACH (link, &core->lists[states[i]]) {
            const struct sequence *sequence = CONTAINER_OF(link, struct sequence, link);
            core->turns_seqs[count++] = (struct turns_seq){
                &sequence->job->adapters, sequence->job->tenant, sequence->waits_since};
        }
    }
    return count > 0 ? turns_next(&core->turns, core->turns_seqs, count, core->steps)
                     : core_settle_adapters(core);
}

/* `adapters` NULL: there are none, and so it is everybody's turn. */
static bool has_turn(const struct sequence *sequence, const struct engine_adapter_set *adapters)
{
    return !adapters || engine_adapter_set_eq(&sequence->job->adapters, adapters);
}

static uint32_t list_for_plan(const struct core *core, enum seq_state state,
                              const struct engine_adapter_set *adapters, struct plan_seq *out_plan,
                              struct sequence **out_sequences)
{
    bool has_pairs = core->engine->info.single_rows_differ;
    bool has_drafts = core_draft_rows(core) > 0;
    uint32_t count = 0;
    LIST_FOREACH (link, &core->lists[state]) {
        struct sequence *sequence = CONTAINER_OF(link, struct sequence, link);
        if (!has_turn(sequence, adapters))
            continue;
        out_plan[count] =
            (struct plan_seq){.position = sequence->position,
                              .left = sequence_left(sequence),
                              .save_at = sequence->save_count ? sequence->save_at[0] : 0,
                              .pairs_until = has_pairs ? sequence->job->prompt_count : 0,
                              .singles_from = singles_from(sequence)};
        if (has_drafts && state == SEQ_DECODE)
            core_draft_offer(core, sequence, &out_plan[count]);
        out_sequences[count++] = sequence;
    }
    return count;
}

/* While others wait for their turn to decode, a prompt that has nobody to decode beside it has as
 * little of a step as if they were in it. */
static uint32_t prompt_rows_beside(const struct core *core, const struct plan_state *state)
{
    struct step_shape none = {0}, waiting = {0};
    uint32_t position = state->prompts[0].position, waiting_count = 0;
    LIST_FOREACH (link, &core->lists[SEQ_DECODE]) {
        const struct sequence *sequence = CONTAINER_OF(link, struct sequence, link);
        step_shape_add_decode(&waiting, sequence->position);
        waiting_count++;
    }
    if (waiting_count == 0)
        return state->prefill_alone_tokens;
    if (!state->cost)
        return state->prefill_tokens;
    double target_us = step_cost_target_us(state->cost, &waiting, state->prompt_count,
                                           state->batch_tokens, state->itl_us);
    return step_cost_fit(state->cost, &none, position, state->prefill_alone_tokens,
                         target_us - (double)state->spent_us);
}

static struct plan_batch plan(struct core *core, const struct engine_adapter_set *adapters)
{
    struct plan_state state = {.batch_tokens = core->engine->info.batch_tokens,
                               .prefill_tokens = core->options.prefill_tokens,
                               .prefill_alone_tokens = core->options.prefill_alone_tokens,
                               .draft_rows = core_draft_rows(core),
                               .decodes = core->plan_decodes,
                               .prompts = core->plan_prompts};
    if (core->options.learns_steps) {
        state.prefill_tokens = UINT32_MAX;
        state.cost = &core->cost;
        state.itl_us = core->options.target_itl_ms * (uint64_t)1000;
        state.spent_us = core->kept_us;
    }
    core->kept_us = 0;
    state.decode_count =
        list_for_plan(core, SEQ_DECODE, adapters, core->plan_decodes, core->decodes);
    state.prompt_count =
        list_for_plan(core, SEQ_PREFILL, adapters, core->plan_prompts, core->prompts);
    if (adapters && state.decode_count == 0 && state.prompt_count > 0)
        state.prefill_alone_tokens = prompt_rows_beside(core, &state);
    state.settles = core->plan_settles;
    state.settle_count = core_settle_offer(core, adapters);
    return plan_step(&state, core->parts);
}

/* Of the row behind which it has so many tokens: there it samples, or mirostat follows. */
static bool wants_logits(const struct sequence *sequence, uint32_t tokens)
{
    return tokens >= sequence->job->prompt_count + sequence->followed;
}

/* Of the text so far, or of what is guessed behind it. */
static token_id token_at(const struct sequence *sequence, uint32_t position)
{
    return position < sequence->token_count
               ? sequence->tokens[position]
               : draft_guess(sequence->draft)[position - sequence->token_count];
}

static void fill_rows(struct core *core, const struct plan_batch *batch)
{
    uint32_t row = 0;
    for (uint32_t i = 0; i < batch->part_count; i++) {
        const struct plan_part *part = &batch->parts[i];
        const struct sequence *sequence = core->batch[i];
        for (uint32_t j = 0; j < part->count; j++)
            core->rows[row++] =
                (struct engine_row){.token = token_at(sequence, part->position + j),
                                    .position = part->position + j,
                                    .slot = (uint32_t)sequence->slot,
                                    .wants_logits = wants_logits(sequence, part->position + j + 1)};
    }
    core_settle_rows(core, batch, row);
}

static void make_batch(struct core *core, const struct plan_batch *batch)
{
    for (uint32_t i = 0; i < batch->part_count; i++) {
        const struct plan_part *part = &batch->parts[i];
        core->batch[i] = part->is_prompt ? core->prompts[part->index] : core->decodes[part->index];
    }
    core->batch_count = batch->part_count;
    fill_rows(core, batch);
}

/* --- the decode --- */

/* Rule 7. On the engine thread or one of its compute threads, while nothing else moves. */
bool core_should_abort(void *ctx)
{
    struct core *core = ctx;
    bool is_wanted = core->options.poll && core->options.poll(core->options.host);
    uint32_t cancelled = 0;
    if (core->batch_count == 0 && core->options.is_awaited)
        is_wanted = is_wanted || core->options.is_awaited(core->options.host);
    while (!is_wanted && cancelled < core->batch_count && core_is_cancelled(core->batch[cancelled]))
        cancelled++;
    is_wanted = is_wanted || (cancelled > 0 && cancelled == core->batch_count);
    if (is_wanted)
        atomic_store(&core->abort_wanted, true);
    return is_wanted;
}

void core_on_progress(void *ctx)
{
    struct core *core = ctx;
    if (core->options.on_progress)
        core->options.on_progress(core->options.host);
}

uint64_t core_clock_us(const struct core *core)
{
    return core->options.clock_us ? core->options.clock_us(core->options.host) : 0;
}

static void learn(struct core *core, const struct step_shape *shape, uint64_t spent_us)
{
    step_cost_learn(&core->cost, shape, spent_us);
    if (core->tree && shape->prompt_rows > 0)
        core_prefix_learn_price(core);
}

void core_use_adapters(struct core *core, const struct engine_adapter_set *set)
{
    if (engine_adapter_set_eq(&core->adapters, set))
        return;
    engine_use_adapters(core->engine, set);
    core->adapters = *set;
}

/* True: others than before, which makes the step longer by what is not the batch's. */
static bool begin_turn(struct core *core, const struct engine_adapter_set *adapters)
{
    if (!adapters || engine_adapter_set_eq(&core->adapters, adapters))
        return false;
    core_use_adapters(core, adapters);
    core->adapter_changes++;
    return true;
}

static void end_turn(struct core *core, const struct engine_adapter_set *adapters,
                     uint64_t spent_us)
{
    static const enum seq_state states[] = {SEQ_DECODE, SEQ_PREFILL};
    core->steps++;
    if (!adapters)
        return;
    turns_took(&core->turns, adapters, spent_us);
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        LIST_FOREACH (link, &core->lists[states[i]]) {
            struct sequence *sequence = CONTAINER_OF(link, struct sequence, link);
            if (has_turn(sequence, adapters)) /* also who had no row in it */
                sequence->waits_since = core->steps;
        }
    }
}

static enum err decode(struct core *core, const struct plan_batch *batch,
                       const struct engine_adapter_set *adapters)
{
    bool is_other_set = begin_turn(core, adapters);
    atomic_store(&core->abort_wanted, false);
    uint64_t begin_us = core_clock_us(core);
    enum err err = engine_decode(core->engine, core->rows, batch->row_count);
    uint64_t spent_us = core_clock_us(core) - begin_us;
    for (uint32_t i = 0; i < batch->part_count; i++) {
        struct sequence *sequence = core->batch[i];
        *(batch->parts[i].is_prompt ? &sequence->prefill_us : &sequence->decode_us) += spent_us;
    }
    end_turn(core, batch->part_count > 0 ? adapters : NULL, spent_us);
    if (err == ERR_OK && core->options.learns_steps && !is_other_set)
        learn(core, &batch->shape, spent_us);
    /* An abort that nobody asked for would come again, step after step. */
    if (err == ERR_CANCELLED && !atomic_load(&core->abort_wanted))
        err = ERR_SYSTEM;
    return err;
}

/* --- what comes of it --- */

/* Writes the text that the token lets go of behind the report's. `token` NULL: the end token. */
static struct answer_end make_text(struct core *core, struct sequence *sequence,
                                   const token_id *token)
{
    char scratch[1];
    struct slice piece;
    if (token)
        piece = engine_piece(core->engine, *token, scratch, sizeof(scratch));
    return answer_follow(sequence->text_out, token ? &piece : NULL, core_is_said(sequence),
                         sequence_answered(sequence) == sequence->answer_max, &core->next.text);
}

/* Of the answer that it goes on behind, what the asker does not have. */
static void add_unsaid(struct core *core, struct sequence *sequence)
{
    text_add(&core->next.text, text_slice(&sequence->job->said.unsaid));
    text_fini(&sequence->job->said.unsaid);
}

/* Takes out what the asker has, in whole characters: only where the engine did not say the same
 * again can they be others. */
static void skip_said(struct core *core, struct sequence *sequence, size_t text_at)
{
    struct text *text = &core->next.text;
    size_t len = text->len - text_at;
    if (len == 0)
        return;
    char *begin = text->data + text_at;
    size_t skipped = sequence->skip_bytes < len ? sequence->skip_bytes : len;
    sequence->skip_bytes -= (uint32_t)skipped;
    while (skipped > 0 && skipped < len && !utf8_is_valid(slice_of(begin, skipped)))
        skipped++;
    memmove(begin, begin + skipped, len - skipped);
    text_shrink(text, text->len - skipped);
}

/* Alone, for no token follows: the last delta, so no credit is counted. */
static void say_unsaid(struct core *core, struct sequence *sequence)
{
    size_t text_at = core->next.text.len;
    core_say_started(core, sequence);
    if (sequence->job->said.unsaid.len == 0)
        return;
    add_unsaid(core, sequence);
    (void)core_say_delta(core, sequence, NULL, text_at);
}

void core_say_all(struct core *core, struct sequence *sequence)
{
    say_unsaid(core, sequence);
    core_end_done(core, sequence, sequence->job->said.reason, sequence->job->said.stop);
}

/* The delta, and the end if it is one. True when the sequence goes on. */
static bool deliver(struct core *core, struct sequence *sequence, const token_id *token)
{
    struct slice stop = {0};
    size_t text_at = core->next.text.len;
    if (sequence->job->said.unsaid.len > 0)
        add_unsaid(core, sequence);
    struct answer_end end = make_text(core, sequence, token);
    if (sequence->skip_bytes > 0)
        skip_said(core, sequence, text_at);
    if (token || core->next.text.len > text_at) {
        sequence->bytes_sent += core_say_delta(core, sequence, token, text_at);
        sequence->deltas_sent++;
    }
    if (!end.is_over)
        return true;
    if (end.reason == DONE_STOP)
        stop = sequence->job->stops[end.stop];
    core_end_done(core, sequence, end.reason, stop);
    return false;
}

/* Picks a token from the row and says it. True when the sequence goes on. */
static bool sample(struct core *core, struct sequence *sequence, size_t row)
{
    token_id token;
    enum fault fault;
    struct slice why;
    if (core_pick(core, sequence, row, NULL, &token, &fault, &why) != ERR_OK) {
        if (sequence->job->said.unsaid.len > 0)
            say_unsaid(core, sequence);
        core_end_failed(core, sequence, fault, why);
        return false;
    }
    if (sequence_answered(sequence) == sequence->job->said.count)
        core_say_started(core, sequence);
    if (engine_is_end(core->engine, token))
        return deliver(core, sequence, NULL);
    core_keep_token(sequence, token);
    return deliver(core, sequence, &token);
}

/* Mirostat catches up with what was said before the sequence came here. False: it has failed. */
static bool follow_said(struct core *core, const struct plan_part *part, struct sequence *sequence,
                        size_t first_row)
{
    for (uint32_t j = 0; j < part->count; j++) {
        uint32_t tokens = part->position + j + 1;
        token_id token;
        enum fault fault;
        struct slice why;
        if (!wants_logits(sequence, tokens) || tokens == sequence->token_count)
            continue;
        if (core_pick(core, sequence, first_row + j, &sequence->tokens[tokens], &token, &fault,
                      &why) != ERR_OK) {
            core_end_failed(core, sequence, fault, why);
            return false;
        }
    }
    return true;
}

static bool end_if_cancelled(struct core *core, struct sequence *sequence)
{
    if (!core_is_cancelled(sequence))
        return false;
    core_end_done(core, sequence, DONE_CANCELLED, (struct slice){0});
    return true;
}

static void go_on(struct core *core, struct sequence *sequence, uint64_t now_us)
{
    if (sequence_has_credit(sequence))
        core_move_to_run(core, sequence); /* to the back: plan.h rule 2 */
    else
        core_park(core, sequence, now_us);
}

/* Each row that follows what was said is sampled from. What lies behind the last of them is cut off
 * here, or where the slot is left. */
static void finish_decode(struct core *core, const struct plan_part *part,
                          struct sequence *sequence, size_t first_row, uint64_t now_us)
{
    uint32_t drafts = part->count - 1;
    core->tokens_drafted += drafts;
    for (uint32_t right = 0;; right++) {
        sequence->position++;
        if (end_if_cancelled(core, sequence) || !sample(core, sequence, first_row + right))
            return;
        if (right == drafts)
            break;
        bool is_right = sequence->tokens[sequence->position] == draft_guess(sequence->draft)[right];
        core->drafts_right += is_right;
        if (!is_right || !sequence_has_credit(sequence)) {
            core_cut_back(core, sequence);
            break;
        }
    }
    go_on(core, sequence, now_us);
}

static void finish_prompt(struct core *core, const struct plan_part *part,
                          struct sequence *sequence, size_t last_row, uint64_t now_us)
{
    sequence->position += part->count;
    if (core->tree)
        core_prefix_filled(core, sequence);
    if (end_if_cancelled(core, sequence))
        return;
    /* Not the repair of lost cells, and not an answer that is put in again. */
    bool is_first_time = sequence_answered(sequence) == sequence->job->said.count &&
                         sequence->position <= sequence->job->prompt_count;
    if (is_first_time && sequence->job->want_progress)
        core_say_prefill(core, sequence);
    if (!follow_said(core, part, sequence, last_row + 1 - part->count))
        return;
    if (sequence_left(sequence) == 0 && sample(core, sequence, last_row))
        go_on(core, sequence, now_us);
}

static void finish_part(struct core *core, const struct plan_part *part, struct sequence *sequence,
                        size_t first_row, uint64_t now_us)
{
    if (part->is_prompt)
        finish_prompt(core, part, sequence, first_row + part->count - 1, now_us);
    else
        finish_decode(core, part, sequence, first_row, now_us);
}

static void finish_batch(struct core *core, const struct plan_batch *batch, uint64_t now_us)
{
    uint32_t row = 0;
    for (uint32_t i = 0; i < batch->part_count; i++) {
        finish_part(core, &batch->parts[i], core->batch[i], row, now_us);
        row += batch->parts[i].count;
    }
}

static void end_cancelled_of_batch(struct core *core)
{
    for (uint32_t i = 0; i < core->batch_count; i++) {
        if (core_is_cancelled(core->batch[i]))
            core_end_done(core, core->batch[i], DONE_CANCELLED, (struct slice){0});
    }
}

void core_run_batch(struct core *core, uint64_t now_us)
{
    const struct engine_adapter_set *adapters =
        core->engine->info.adapter_count > 0 ? adapters_of_step(core) : NULL;
    struct plan_batch batch = plan(core, adapters);
    if (batch.row_count == 0)
        return;
    make_batch(core, &batch);
    switch (decode(core, &batch, adapters)) {
    case ERR_OK:
        core_draft_done(core, batch.draft_count);
        core_settle_done(core, &batch);
        finish_batch(core, &batch, now_us);
        break;
    case ERR_CANCELLED:
        core_recover(core);
        end_cancelled_of_batch(core);
        break;
    case ERR_FULL: /* filler makes way, or the youngest, so that the others can go on */
        core_recover(core);
        if (batch.draft_count > 0)
            core_draft_refused(core);
        core_settle_refused(core, &batch);
        if (batch.draft_count + batch.settle_count > 0)
            break;
        core_end_failed(core, core->batch[batch.part_count - 1], FAULT_INSUFFICIENT_MEMORY,
                        slice_str(NO_ROOM));
        break;
    default:
        core_break(core);
    }
    core->batch_count = 0;
}
