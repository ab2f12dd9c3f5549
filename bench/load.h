/* load - what the modes of the load generator share: the loop, the requests, the sums, the report.
 * One thread. */
#pragma once

#include "base/json.h"
#include "exchange.h"
#include "histogram.h"
#include "load_options.h"
#include "process_tree.h"

/* Of a crowd of streams that are measured together. All times in microseconds. */
struct load_sum {
    uint64_t streams;         /* right ones */
    uint64_t failed, refused; /* refused: those of the failed that were answered 429 or 503 */
    uint64_t events;
    struct histogram ttft;    /* start to first event */
    struct histogram gap;     /* between two events of a stream; those that come with one read: 0 */
    struct histogram request; /* start to the end of the answer */
    struct histogram latency; /* --clock: made to received, each event */
};

/* What a stretch of time cost the server. */
struct load_span {
    uint64_t start_us, end_us;
    uint64_t bytes, reads, connections;
    struct process_tree tree; /* at its beginning, then at its end */
    bool has_cpu;             /* with --pid, and none of its processes ended meanwhile */
    uint64_t cpu_ns;          /* used by the server */
    uint64_t own_cpu_ns;      /* by this process */
};

struct load {
    const struct load_options *options;
    struct exchange_loop loop;
    struct text request;  /* the POST that is measured */
    uint32_t events_each; /* that each stream must have; 0: the first one will tell */
    uint64_t doubts;
    uint64_t random;
};

/* Each runs until its streams are over, and appends its members to the report. */
void load_streams_run(struct load *load, struct json_out *report);

/* Something is wrong: said on stderr (the first ten), and in the exit status. */
void load_doubt(struct load *load, const char *format, ...) PRINTF_LIKE(2, 3);

static inline enum answer_kind load_answer_kind(const struct load *load)
{
    return load->options->is_json ? ANSWER_OF_JSON : ANSWER_OF_EVENTS;
}

/* --- load_sum.c --- */

/* on_events, on_data and on_end of a measured stream. */
void load_sum_events(struct load_sum *sum, const struct exchange *exchange, uint32_t count);
void load_sum_data(struct load *load, struct load_sum *sum, struct slice data);
void load_sum_end(struct load *load, struct load_sum *sum, const struct exchange *exchange);
void load_span_begin(struct load *load, struct load_span *span);
void load_span_end(struct load *load, struct load_span *span);

/* Members of the report. */
void load_report_sum(struct json_out *report, const struct load_sum *sum);
void load_report_span(struct json_out *report, const struct load_span *span,
                      const struct load_sum *sum);
void load_report_times(struct json_out *report, const char *key, const struct histogram *histogram);
