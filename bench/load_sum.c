/* load_sum - counting what streams did and what they cost, and reporting it. */
#include "load.h"

#include "base/clock.h"

#include <stdio.h>
#include <time.h>

enum { COMPLAINTS_MAX = 10 };

void load_doubt(struct load *load, const char *format, ...)
{
    va_list args;
    if (load->doubts++ >= COMPLAINTS_MAX)
        return;
    va_start(args, format);
    (void)vfprintf(stderr, format, args); /* nobody is told when stderr is gone */
    va_end(args);
    (void)fputc('\n', stderr);
}

void load_sum_events(struct load_sum *sum, const struct exchange *exchange, uint32_t count)
{
    uint64_t now_us = exchange->loop->now_us;
    if (exchange->last_us == 0)
        histogram_add(&sum->ttft, now_us - exchange->start_us);
    else
        histogram_add(&sum->gap, now_us - exchange->last_us);
    for (uint32_t i = 1; i < count; i++)
        histogram_add(&sum->gap, 0);
    sum->events += count;
}

/* The text of the delta, which is the microsecond that it was made at, in decimal. An event without
 * a text has none. */
void load_sum_data(struct load *load, struct load_sum *sum, struct slice data)
{
    static const struct slice key = SLICE("\"content\":\"");
    struct slice text, rest;
    uint64_t made_us, now_us = load->loop.now_us;
    size_t at = slice_find(data, key);
    if (at == SLICE_NPOS || !slice_cut(slice_after(data, at + key.len), '"', &text, &rest) ||
        text.len == 0)
        return;
    if (slice_parse_u64(slice_trim(text), now_us, &made_us) == ERR_OK && made_us > 0)
        histogram_add(&sum->latency, now_us - made_us);
    else
        load_doubt(load, "an event whose text is no microsecond before now: " SLICE_FMT,
                   SLICE_ARG(slice_first(text, 40)));
}

/* The number behind a key of an event. False: it is not there. */
static bool find_count(struct slice data, struct slice key, uint64_t *out)
{
    size_t at = slice_find(data, key), digits = 0;
    if (at == SLICE_NPOS)
        return false;
    struct slice rest = slice_after(data, at + key.len);
    while (digits < rest.len && rest.data[digits] >= '0' && rest.data[digits] <= '9')
        digits++;
    return slice_parse_u64(slice_first(rest, digits), UINT32_MAX, out) == ERR_OK;
}

/* As OpenAI has it: "usage":{"prompt_tokens":9,...}; in each event before the last it is null. */
void load_sum_usage(struct load *load, struct load_stream *stream, struct slice data)
{
    struct load_usage *told = &stream->told;
    uint64_t prompt = 0, completion, cached = 0;
    if (!find_count(data, SLICE("\"completion_tokens\":"), &completion))
        return;
    if (!find_count(data, SLICE("\"prompt_tokens\":"), &prompt))
        load_doubt(load, "a usage without prompt_tokens");
    (void)find_count(data, SLICE("\"cached_tokens\":"), &cached); /* 0: it does not tell */
    if (completion != load->options->max_tokens)
        load_doubt(load, "a stream of %llu tokens: %u are right", (unsigned long long)completion,
                   load->options->max_tokens);
    if (told->streams++ > 0)
        load_doubt(load, "a stream with two usages");
    told->prompt_tokens = prompt;
    told->cached_tokens = cached;
    told->completion_tokens = completion;
}

static void add_usage(struct load_usage *usage, const struct load_usage *told, uint32_t events)
{
    usage->prompt_tokens += told->prompt_tokens;
    usage->cached_tokens += told->cached_tokens;
    usage->completion_tokens += told->completion_tokens;
    usage->streams += told->streams > 0;
    usage->events += told->streams > 0 ? events : 0;
}

/* Those that tell their tokens are judged by them: some of them may share an event. */
static bool has_right_count(struct load *load, const struct answer *answer)
{
    if (load->options->is_json || load->options->has_usage)
        return true;
    if (load->events_each == 0)
        load->events_each = answer->events;
    return answer->events == load->events_each;
}

void load_sum_end(struct load *load, struct load_sum *sum, const struct load_stream *stream)
{
    const struct exchange *exchange = &stream->exchange;
    const struct answer *answer = &exchange->answer;
    if (answer->state != ANSWER_WHOLE) {
        load_doubt(load, "%s", answer->problem);
        sum->failed++;
        sum->refused += answer->status == 429 || answer->status == 503;
    } else if (!has_right_count(load, answer)) {
        load_doubt(load, "a stream of %u events: %u are right", answer->events, load->events_each);
        sum->failed++;
    } else {
        histogram_add(&sum->request, exchange->loop->now_us - exchange->start_us);
        add_usage(&sum->usage, &stream->told, answer->events);
        sum->streams++;
    }
}

/* --- spans --- */

static uint64_t own_cpu_ns(void)
{
    struct timespec used;
    ASSERT(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0);
    return (uint64_t)used.tv_sec * 1000000000U + (uint64_t)used.tv_nsec;
}

void load_span_begin(struct load *load, struct load_span *span)
{
    *span = (struct load_span){.bytes = load->loop.bytes,
                               .reads = load->loop.reads,
                               .connections = load->loop.connections};
    int pid = (int)load->options->pid;
    if (pid && !process_tree_read(pid, &span->tree))
        load_doubt(load, "process %d cannot be looked at", pid);
    span->own_cpu_ns = own_cpu_ns();
    span->start_us = clock_monotonic_us();
}

void load_span_end(struct load *load, struct load_span *span)
{
    struct process_tree before = span->tree;
    int pid = (int)load->options->pid;
    span->end_us = clock_monotonic_us();
    span->own_cpu_ns = own_cpu_ns() - span->own_cpu_ns;
    span->bytes = load->loop.bytes - span->bytes;
    span->reads = load->loop.reads - span->reads;
    span->connections = load->loop.connections - span->connections;
    if (!pid || before.count == 0)
        return;
    (void)process_tree_read(pid, &span->tree); /* an empty tree has not all */
    if (!process_tree_has_all(&span->tree, &before))
        load_doubt(load, "a process of the server ended: its CPU time is not known");
    else if (span->tree.is_cut)
        load_doubt(load, "the server has more than %d processes", PROCESS_TREE_MAX);
    else
        span->has_cpu = true;
    span->cpu_ns = span->tree.cpu_ns - before.cpu_ns;
}

/* --- the report --- */

void load_report_times(struct json_out *report, const char *key, const struct histogram *histogram)
{
    json_out_key(report, key);
    if (histogram->total == 0) {
        json_out_null(report);
        return;
    }
    json_out_begin_object(report);
    json_out_add_u64(report, "p50", histogram_percentile(histogram, 50));
    json_out_add_u64(report, "p90", histogram_percentile(histogram, 90));
    json_out_add_u64(report, "p99", histogram_percentile(histogram, 99));
    json_out_add_u64(report, "max", histogram->max);
    json_out_add_u64(report, "count", histogram->total);
    json_out_end_object(report);
}

void load_report_sum(struct json_out *report, const struct load_sum *sum)
{
    json_out_add_u64(report, "streams", sum->streams);
    json_out_add_u64(report, "failed", sum->failed);
    json_out_add_u64(report, "refused", sum->refused);
    json_out_add_u64(report, "events", sum->events);
    load_report_times(report, "ttft_us", &sum->ttft);
    load_report_times(report, "gap_us", &sum->gap);
    load_report_times(report, "request_us", &sum->request);
    load_report_times(report, "latency_us", &sum->latency);
}

void load_report_usage(struct load *load, struct json_out *report, const struct load_sum *sum)
{
    const struct load_usage *usage = &sum->usage;
    if (!load->options->has_usage)
        return;
    if (usage->streams != sum->streams)
        load_doubt(load, "%llu streams tell their tokens, of %llu",
                   (unsigned long long)usage->streams, (unsigned long long)sum->streams);
    json_out_add_u64(report, "prompt_tokens", usage->prompt_tokens);
    json_out_add_u64(report, "cached_tokens", usage->cached_tokens);
    json_out_add_u64(report, "completion_tokens", usage->completion_tokens);
    json_out_add_u64(report, "completion_events", usage->events);
}

/* Null where there was nothing to divide by. */
static void add_ratio(struct json_out *report, const char *key, double value, uint64_t by)
{
    json_out_key(report, key);
    if (by > 0)
        json_out_double(report, value / (double)by);
    else
        json_out_null(report);
}

void load_report_span(struct json_out *report, const struct load_span *span,
                      const struct load_sum *sum)
{
    double wall_s = (double)(span->end_us - span->start_us) / 1e6;
    double cpu_us = (double)span->cpu_ns / 1e3;
    json_out_add_u64(report, "bytes", span->bytes);
    json_out_add_u64(report, "reads", span->reads);
    json_out_add_u64(report, "connections", span->connections);
    json_out_add_double(report, "wall_s", wall_s);
    json_out_add_double(report, "events_per_s", (double)sum->events / wall_s);
    add_ratio(report, "own_cpu_us_per_event", (double)span->own_cpu_ns / 1e3, sum->events);
    if (!span->has_cpu)
        return;
    json_out_add_u64(report, "processes", (uint64_t)span->tree.count);
    json_out_add_double(report, "cpu_us", cpu_us);
    json_out_add_double(report, "cpu_share", cpu_us / 1e6 / wall_s);
    add_ratio(report, "cpu_us_per_event", cpu_us, sum->events);
    add_ratio(report, "cpu_us_per_request", cpu_us, sum->streams);
}
