/* core_report - gathers what a step has to say in a report, which then changes places with the
 * caller's: nothing is copied, and the memory of both is used again. */
#include "worker/core_impl.h"

#include "base/mem.h"

void core_report_init(struct core_report *report)
{
    *report = (struct core_report){0};
    text_init(&report->text, SIZE_MAX / 2); /* of one step: what its tokens are long */
}

void core_report_fini(struct core_report *report)
{
    mem_free(report->results);
    text_fini(&report->text);
}

/* Its text has no address yet, for what gathers it may move: place_texts(). */
static struct core_result *add(struct core *core, const struct sequence *sequence,
                               enum core_kind kind)
{
    struct core_report *next = &core->next;
    if (next->result_count == next->results_max) {
        next->results_max = next->results_max ? 2 * next->results_max : 16;
        next->results = mem_grow(next->results, next->results_max * sizeof(next->results[0]));
    }
    struct core_result *result = &next->results[next->result_count++];
    *result = (struct core_result){.kind = kind,
                                   .key = sequence->job->key,
                                   .prompt_tokens = sequence->job->prompt_count,
                                   .completion_tokens = sequence_answered(sequence),
                                   .cached_tokens = sequence->cached,
                                   .prefill_us = sequence->prefill_us,
                                   .decode_us = sequence->decode_us};
    return result;
}

static void add_text(struct core *core, struct core_result *result, struct slice text)
{
    text_add(&core->next.text, text);
    result->text.len = text.len;
}

void core_say_started(struct core *core, const struct sequence *sequence)
{
    add(core, sequence, CORE_STARTED);
}

void core_say_prefill(struct core *core, const struct sequence *sequence)
{
    struct core_result *result = add(core, sequence, CORE_PREFILL);
    result->done_tokens = sequence->position;
    result->total_tokens = sequence->job->prompt_count;
}

size_t core_say_delta(struct core *core, const struct sequence *sequence, const token_id *token,
                      size_t text_at)
{
    struct core_result *result = add(core, sequence, CORE_DELTA);
    result->text.len = core->next.text.len - text_at;
    if (token) {
        result->token = *token;
        result->token_count = 1;
        core->tokens_sampled++;
    }
    return event_credit_bytes(
        &(struct event){.type = EVENT_DELTA,
                        .delta = {.token_count = (uint16_t)result->token_count,
                                  .text = slice_after(text_slice(&core->next.text), text_at)}});
}

void core_say_done(struct core *core, const struct sequence *sequence, enum done_reason reason,
                   struct slice stop)
{
    struct core_result *result = add(core, sequence, CORE_DONE);
    result->reason = reason;
    add_text(core, result, stop);
}

void core_say_failed(struct core *core, const struct sequence *sequence, enum fault fault,
                     struct slice message)
{
    struct core_result *result = add(core, sequence, CORE_FAILED);
    result->fault = fault;
    add_text(core, result, message);
}

static uint32_t slots_for_new_ones(const struct core *core)
{
    uint32_t waiting = core->counts[SEQ_WAITING] + core->counts[SEQ_RETURNING];
    return core->free_slot_count > waiting ? core->free_slot_count - waiting : 0;
}

/* False: they are what they were. */
static bool count(struct core *core, struct core_report *report)
{
    struct core_report was = *report;
    report->slots_free = core->broken ? 0 : slots_for_new_ones(core);
    report->running = core->counts[SEQ_PREFILL] + core->counts[SEQ_DECODE];
    report->parked = core->counts[SEQ_PARKED] + core->counts[SEQ_SAVED];
    report->waiting = core->counts[SEQ_WAITING] + core->counts[SEQ_RETURNING];
    report->prefix_bytes = core->tree ? prefix_tree_counts(core->tree).blob_bytes : 0;
    if (core->disk)
        report->disk = prefix_disk_counts(core->disk);
    report->broken = core->broken;
    report->tokens_sampled = core->tokens_sampled;
    report->tokens_settled = core->tokens_settled;
    report->tokens_drafted = core->tokens_drafted;
    report->drafts_right = core->drafts_right;
    report->adapter_changes = core->adapter_changes;
    return report->tokens_sampled > 0 || report->slots_free != was.slots_free ||
           report->running != was.running || report->parked != was.parked ||
           report->waiting != was.waiting || report->prefix_bytes != was.prefix_bytes ||
           report->disk.bytes != was.disk.bytes || report->disk.dropped != was.disk.dropped ||
           report->broken != was.broken;
}

static void place_texts(struct core_report *report)
{
    struct slice rest = text_slice(&report->text);
    ASSERT(text_status(&report->text) == ERR_OK); /* only if memory is out */
    for (size_t i = 0; i < report->result_count; i++) {
        struct slice *text = &report->results[i].text;
        *text = slice_first(rest, text->len);
        rest = slice_after(rest, text->len);
    }
    ASSERT(rest.len == 0);
}

bool core_take_report(struct core *core, struct core_report *report)
{
    bool is_news = count(core, &core->next);
    if (!is_news && core->next.result_count == 0)
        return false;
    struct core_report used = *report;
    *report = core->next;
    place_texts(report);
    core->next.results = used.results;
    core->next.results_max = used.results_max;
    core->next.result_count = 0;
    core->next.text = used.text;
    text_clear(&core->next.text);
    core->tokens_sampled = core->tokens_settled = 0;
    core->tokens_drafted = core->drafts_right = core->adapter_changes = 0;
    return true;
}
