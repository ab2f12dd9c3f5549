/* core_draft - which guesses a step may have (core.h rule 10): where the engine can take cells
 * back, as many as it has logits for, and of each sequence no more than can be of use. */
#include "worker/core_impl.h"

/* In steps. A step that is refused is done again: one of 64 costs 2 %, one of 4096 nothing. */
enum { DRAFT_PAUSE_MIN = 64, DRAFT_PAUSE_MAX = 4096 };

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void core_set_draft_rows_exact_max(struct core *core, uint32_t rows)
{
    core->draft_rows_exact_max = rows > 1 ? rows : 1;
}

uint32_t core_draft_rows(const struct core *core)
{
    const struct engine_info *info = &core->engine->info;
    uint32_t rows = min_u32(core->options.draft_tokens_max, DRAFT_MAX);
    if (!info->can_cut || info->single_rows_differ || core->draft_pause > 0)
        return 0;
    if (core->options.draft_is_exact && core->draft_rows_exact_max == 1)
        return 0;
    return info->logits_max == 0 ? rows : min_u32(rows, info->logits_max - info->slots);
}

void core_draft_done(struct core *core, uint32_t count)
{
    if (core->draft_pause > 0)
        core->draft_pause--;
    if (count > 0)
        core->draft_pause_next = 0;
}

void core_draft_refused(struct core *core)
{
    core->draft_pause = core->draft_pause_next ? core->draft_pause_next : DRAFT_PAUSE_MIN;
    core->draft_pause_next = min_u32(2 * core->draft_pause, DRAFT_PAUSE_MAX);
}

/* The self-test went through those that who names no adapters gets: of others' matrices, which may
 * be of F16, it knows nothing. */
static bool is_tested(const struct core *core, const struct core_job *job)
{
    struct engine_adapter_set tested = engine_default_adapters(&core->engine->info);
    return engine_adapter_set_eq(&job->adapters, &tested);
}

/* Of what is left of context, answer and credit, behind the token that its own row gives. */
static uint32_t most_drafts(const struct core *core, const struct sequence *sequence)
{
    const struct core_job *job = sequence->job;
    if (core->options.draft_is_exact && !is_tested(core, job))
        return 0;
    uint32_t most = core->engine->info.context_tokens - sequence->token_count;
    most = min_u32(most, sequence->answer_max - sequence_answered(sequence) - 1);
    uint64_t credit = job->event_limit - sequence->deltas_sent - 1;
    most = credit < most ? (uint32_t)credit : most;
    return core->options.draft_is_exact ? min_u32(most, core->draft_rows_exact_max - 1) : most;
}

/* None beside prompts, or in a wide step, where plan.h has no use for them: a guess takes time. */
static bool is_wanted(const struct core *core)
{
    return core->counts[SEQ_PREFILL] == 0 && core->counts[SEQ_DECODE] < PLAN_DRAFT_WIDTH;
}

void core_draft_offer(const struct core *core, struct sequence *sequence, struct plan_seq *out_plan)
{
    if (!is_wanted(core))
        return;
    if (!sequence->draft)
        sequence->draft = draft_new(sequence->job->prompt_count + sequence->answer_max);
    if (!sequence->draft)
        return; /* no memory: tried again with the next token */
    uint32_t guessed = draft_follow(sequence->draft, sequence->tokens, sequence->token_count);
    out_plan->drafts = min_u32(guessed, most_drafts(core, sequence));
    out_plan->draft_odds = draft_odds(sequence->draft);
}
