/* core_report - gathers what a step has to say in memory that is kept from step to step, then
 * copies it into one arena of the right size, which goes to another thread. */
#include "worker/core_impl.h"

#include "base/mem.h"

struct outbound {
    struct core_result result; /* without its slices */
    token_id token;            /* when token_count is 1 */
    size_t text_at, text_len;  /* text of a delta, stop or message, in outbound_text */
};

static struct outbound *add(struct core *core, const struct sequence *sequence, enum core_kind kind)
{
    if (core->outbound_count == core->outbound_max) {
        core->outbound_max = core->outbound_max ? 2 * core->outbound_max : 64;
        core->outbound = mem_grow(core->outbound, core->outbound_max * sizeof(core->outbound[0]));
    }
    struct outbound *outbound = &core->outbound[core->outbound_count++];
    *outbound = (struct outbound){.result = {.kind = kind,
                                             .key = sequence->job->key,
                                             .prompt_tokens = sequence->job->prompt_count,
                                             .completion_tokens = sequence_answered(sequence),
                                             .prefill_us = sequence->prefill_us,
                                             .decode_us = sequence->decode_us},
                                  .text_at = core->outbound_text.len};
    return outbound;
}

static void add_text(struct core *core, struct outbound *outbound, struct slice text)
{
    text_add(&core->outbound_text, text);
    outbound->text_len = text.len;
}

void core_say_started(struct core *core, const struct sequence *sequence)
{
    add(core, sequence, CORE_STARTED);
}

void core_say_prefill(struct core *core, const struct sequence *sequence)
{
    struct outbound *outbound = add(core, sequence, CORE_PREFILL);
    outbound->result.done_tokens = sequence->position;
    outbound->result.total_tokens = sequence->job->prompt_count;
}

size_t core_say_delta(struct core *core, const struct sequence *sequence, const token_id *token,
                      size_t text_at)
{
    struct outbound *outbound = add(core, sequence, CORE_DELTA);
    outbound->text_at = text_at;
    outbound->text_len = core->outbound_text.len - text_at;
    if (token) {
        outbound->token = *token;
        outbound->result.token_count = 1;
        core->tokens_sampled++;
    }
    return 4 + 4 * (size_t)outbound->result.token_count + outbound->text_len; /* event.h */
}

void core_say_done(struct core *core, const struct sequence *sequence, enum done_reason reason,
                   struct slice stop)
{
    struct outbound *outbound = add(core, sequence, CORE_DONE);
    outbound->result.reason = reason;
    add_text(core, outbound, stop);
}

void core_say_failed(struct core *core, const struct sequence *sequence, enum fault fault,
                     struct slice message)
{
    struct outbound *outbound = add(core, sequence, CORE_FAILED);
    outbound->result.fault = fault;
    add_text(core, outbound, message);
}

static uint32_t slots_for_new_ones(const struct core *core)
{
    uint32_t waiting = core->counts[SEQ_WAITING] + core->counts[SEQ_RETURNING];
    return core->free_slot_count > waiting ? core->free_slot_count - waiting : 0;
}

static struct core_report counts_now(const struct core *core)
{
    return (struct core_report){.slots_free = core->broken ? 0 : slots_for_new_ones(core),
                                .running = core->counts[SEQ_PREFILL] + core->counts[SEQ_DECODE],
                                .parked = core->counts[SEQ_PARKED] + core->counts[SEQ_SAVED],
                                .tokens_sampled = core->tokens_sampled,
                                .broken = core->broken};
}

static bool says_nothing_new(const struct core *core, const struct core_report *now)
{
    return core->outbound_count == 0 && now->tokens_sampled == 0 &&
           now->slots_free == core->said.slots_free && now->running == core->said.running &&
           now->parked == core->said.parked && now->broken == core->said.broken;
}

static void *take(struct arena *arena, size_t count, size_t item_bytes)
{
    void *memory = arena_array(arena, count, item_bytes);
    ASSERT(memory); /* of our own size: without it there is no way on */
    return memory;
}

static void place_slices(struct core_result *result, struct slice text)
{
    switch (result->kind) {
    case CORE_DELTA:
        result->text = text;
        break;
    case CORE_DONE:
        result->stop = text;
        break;
    case CORE_FAILED:
        result->message = text;
        break;
    case CORE_STARTED:
    case CORE_PREFILL:
        break;
    }
}

static void copy_results(const struct core *core, struct core_report *report, const char *text)
{
    report->result_count = core->outbound_count;
    report->results = take(report->arena, core->outbound_count, sizeof(*report->results));
    token_id *tokens = take(report->arena, core->outbound_count, sizeof(*tokens));
    for (size_t i = 0; i < core->outbound_count; i++) {
        const struct outbound *outbound = &core->outbound[i];
        report->results[i] = outbound->result;
        place_slices(&report->results[i], slice_of(text + outbound->text_at, outbound->text_len));
        tokens[i] = outbound->token;
        if (outbound->result.token_count > 0)
            report->results[i].tokens = &tokens[i];
    }
}

struct core_report *core_take_report(struct core *core)
{
    struct core_report now = counts_now(core);
    if (says_nothing_new(core, &now))
        return NULL;
    core->said = now;
    now.arena = arena_new(SIZE_MAX);
    if (core->outbound_count > 0) {
        struct slice text;
        ASSERT(text_status(&core->outbound_text) == ERR_OK); /* only if memory is out */
        ASSERT(arena_dup(now.arena, text_slice(&core->outbound_text), &text) == ERR_OK);
        copy_results(core, &now, text.data);
    }
    core->outbound_count = 0;
    core->tokens_sampled = 0;
    text_clear(&core->outbound_text);
    struct core_report *report = take(now.arena, 1, sizeof(*report));
    *report = now;
    return report;
}

void core_report_free(struct core_report *report)
{
    if (report)
        arena_free(report->arena);
}

void core_report_fini(struct core *core)
{
    mem_free(core->outbound);
    text_fini(&core->outbound_text);
}
