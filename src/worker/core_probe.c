/* core_probe - see core_probe.h. */
#include "worker/core_probe.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>

static const uint32_t STEPS_MAX = 1000000; /* more without coming to rest is an endless loop */

void probes_init(struct probes *probes, struct engine *engine, const struct core_options *options)
{
    *probes = (struct probes){.now_us = 1000000};
    core_report_init(&probes->report);
    if (engine)
        probes->core = core_new(engine, options);
}

void probes_fini(struct probes *probes)
{
    core_free(probes->core);
    core_report_fini(&probes->report);
    for (size_t i = 0; i < PROBES_MAX; i++) {
        cancel_flag_unref(probes->probe[i].cancel);
        text_fini(&probes->probe[i].text);
    }
}

void probe_fill_prompt(token_id *out_prompt, uint32_t count, uint32_t shared, size_t index)
{
    for (uint32_t i = 0; i < count; i++)
        out_prompt[i] = (token_id)(i < shared ? 1 + i % 4 : 1 + (index + i) % 17);
}

struct probe *probe_make(struct probes *probes, size_t index, const token_id *prompt,
                         uint32_t prompt_count)
{
    ASSERT(index < PROBES_MAX);
    struct probe *probe = &probes->probe[index];
    probe->job = (struct core_job){.key = index + 1,
                                   .prompt_count = prompt_count,
                                   .sampling = sampling_default(),
                                   .max_tokens = 1000,
                                   .event_limit = UINT64_MAX,
                                   .byte_limit = UINT64_MAX};
    probe->prompt = prompt;
    probe->job.sampling.temperature = 0;
    probe->job.sampling.has_seed = true;
    text_init(&probe->text, 1 << 20);
    return probe;
}

static token_id *copy_tokens(const token_id *tokens, uint32_t count)
{
    token_id *copy = mem_array(count, sizeof(*copy));
    memcpy(copy, tokens, count * sizeof(*copy));
    return copy;
}

static const struct slice *copy_stops(struct arena *arena, const struct slice *stops, size_t count)
{
    struct slice *copy = arena_array(arena, count, sizeof(*copy));
    ASSERT(copy);
    for (size_t i = 0; i < count; i++)
        ASSERT(arena_dup(arena, stops[i], &copy[i]) == ERR_OK);
    return copy;
}

struct core_job *probe_job(struct probe *probe)
{
    struct core_job *job = mem_alloc(sizeof(*job));
    *job = probe->job;
    job->arena = arena_new(1 << 20);
    job->prompt = copy_tokens(probe->prompt, job->prompt_count + job->said.count);
    job->stops = copy_stops(job->arena, job->stops, job->stop_count);
    job->cancel = cancel_flag_new();
    probe->cancel = cancel_flag_ref(job->cancel);
    probe->event_limit = job->event_limit;
    probe->byte_limit = job->byte_limit;
    return job;
}

void probe_start(struct probes *probes, size_t index)
{
    struct core_job *job = probe_job(&probes->probe[index]);
    core_start(probes->core, &job);
    ASSERT(!job);
}

void probe_credit(struct probes *probes, size_t index, uint64_t event_limit, uint64_t byte_limit)
{
    struct probe *probe = &probes->probe[index];
    probe->event_limit = event_limit > probe->event_limit ? event_limit : probe->event_limit;
    probe->byte_limit = byte_limit > probe->byte_limit ? byte_limit : probe->byte_limit;
    core_credit(probes->core, index + 1, event_limit, byte_limit);
}

static void take_delta(struct probe *probe, const struct core_result *result)
{
    ASSERT(probe->is_started);
    ASSERT(probe->delta_count < probe->event_limit && probe->byte_count < probe->byte_limit);
    ASSERT(result->token_count > 0 || result->text.len > 0);
    ASSERT(utf8_is_valid(result->text));
    text_add(&probe->text, result->text);
    ASSERT(result->token_count <= 1 && probe->id_count + 1 <= PROBE_TOKENS_MAX);
    if (result->token_count == 1)
        probe->ids[probe->id_count++] = result->token;
    probe->delta_count++;
    probe->byte_count += 4 + 4 * result->token_count + (uint32_t)result->text.len;
}

static void take_end(struct probe *probe, const struct core_result *result)
{
    probe->is_ended = true;
    probe->is_failed = result->kind == CORE_FAILED;
    probe->reason = result->reason;
    probe->fault = result->fault;
    snprintf(result->kind == CORE_DONE ? probe->stop : probe->message, sizeof(probe->stop),
             SLICE_FMT, SLICE_ARG(result->text));
    probe->prompt_tokens = result->prompt_tokens;
    probe->completion_tokens = result->completion_tokens;
    probe->cached_tokens = result->cached_tokens;
    probe->prefill_us = result->prefill_us;
    probe->decode_us = result->decode_us;
    ASSERT(result->prompt_tokens == probe->job.prompt_count);
    ASSERT(result->completion_tokens == probe->id_count);
    ASSERT(result->cached_tokens < result->prompt_tokens + (probe->job.said.count > 0));
}

static void take_result(struct probes *probes, const struct core_result *result)
{
    ASSERT(result->key >= 1 && result->key <= PROBES_MAX);
    struct probe *probe = &probes->probe[result->key - 1];
    ASSERT(!probe->is_ended);
    switch (result->kind) {
    case CORE_PREFILL:
        ASSERT(probe->job.want_progress && !probe->is_started);
        ASSERT(result->total_tokens == probe->job.prompt_count);
        probe->prefills++;
        probe->prefill_done = result->done_tokens;
        break;
    case CORE_STARTED:
        ASSERT(!probe->is_started && result->prompt_tokens == probe->job.prompt_count);
        probe->is_started = true;
        break;
    case CORE_DELTA:
        take_delta(probe, result);
        break;
    case CORE_DONE:
    case CORE_FAILED:
        take_end(probe, result);
        break;
    }
}

void probes_take(struct probes *probes, const struct core_report *report)
{
    probes->reports++;
    probes->slots_free = report->slots_free;
    probes->running = report->running;
    probes->parked = report->parked;
    probes->prefix_bytes = report->prefix_bytes;
    probes->broken = report->broken;
    probes->tokens_sampled += report->tokens_sampled;
    probes->tokens_settled += report->tokens_settled;
    probes->tokens_drafted += report->tokens_drafted;
    probes->drafts_right += report->drafts_right;
    ASSERT(report->drafts_right <= report->tokens_drafted);
    for (size_t i = 0; i < report->result_count; i++)
        take_result(probes, &report->results[i]);
}

bool probes_step(struct probes *probes)
{
    uint64_t wake_us;
    if (!core_has_work(probes->core, probes->now_us, &wake_us)) {
        ASSERT(wake_us > probes->now_us);
        return false;
    }
    if (core_step(probes->core, probes->now_us, &probes->report))
        probes_take(probes, &probes->report);
    return true;
}

void probes_run(struct probes *probes)
{
    for (uint32_t steps = 0; probes_step(probes); steps++)
        ASSERT(steps < STEPS_MAX);
}
