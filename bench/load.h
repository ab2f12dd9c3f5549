/* load - what the modes of the load generator share: the loop, the requests, the sums, the report.
 * One thread. */
#pragma once

#include "base/json.h"
#include "exchange.h"
#include "histogram.h"
#include "load_options.h"
#include "load_request.h"
#include "process_tree.h"

enum { LOAD_FAILED_MAX = 100 }; /* streams; then no more are started: the server is broken */
enum { LOAD_OPEN_MAX = 16000 }; /* streams of the open loop at once; who comes then has failed */

/* What streams say of themselves. */
struct load_usage {
    uint64_t prompt_tokens, cached_tokens, completion_tokens;
    uint64_t streams; /* that said it, */
    uint64_t events;  /* and all of theirs */
};

/* One that is measured. */
struct load_stream {
    struct exchange exchange;
    struct load_usage told; /* so far; counts when its answer is whole and right */
};

/* Of a crowd of streams that are measured together. All times in microseconds. */
struct load_sum {
    uint64_t streams;         /* right ones */
    uint64_t failed, refused; /* refused: those of the failed that were answered 429 or 503 */
    uint64_t events;
    struct histogram ttft;    /* start to first event */
    struct histogram gap;     /* between two events of a stream; those that come with one read: 0 */
    struct histogram request; /* start to the end of the answer */
    struct histogram latency; /* --clock: made to received, each event */
    struct load_usage usage;  /* --usage: of the right ones */
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
    struct text request;           /* the POST that is measured */
    struct load_requests requests; /* of --bodies; those are measured, then */
    uint32_t events_each;          /* that each stream must have; 0: the first one will tell */
    uint64_t doubts;
    uint64_t random;
};

/* Each runs until its streams are over, and appends its members to the report. */
void load_streams_run(struct load *load, struct json_out *report);
void load_open_run(struct load *load, struct json_out *report);
void load_abort_run(struct load *load, struct json_out *report);
void load_slow_run(struct load *load, struct json_out *report);
void load_idle_run(struct load *load, struct json_out *report);
void load_arrive_run(struct load *load, struct json_out *report);

/* --- load_streams.c: the closed loop, for other modes, too --- */
void load_streams_measure(struct load *load, uint32_t concurrency, uint32_t requests,
                          struct load_sum *out_sum, struct load_span *out_span);

/* --- load_crowd.c: a crowd whose streams are measured --- */

struct load_crowd {
    struct load *load;
    struct load_sum sum;
    /* When one is over; may start it again. */
    void (*on_over)(struct load_crowd *crowd, struct exchange *exchange);
    /* Events came; may leave it. NULL: nobody wants to know. */
    void (*on_more)(struct load_crowd *crowd, struct exchange *exchange);
};

/* A stream of the crowd: zeroed before, exchange_fini() of its exchange after. */
void load_crowd_add(struct load_crowd *crowd, struct load_stream *stream);
void load_crowd_start(struct load_stream *stream, uint64_t start_us);

/* --- load_memory.c --- */

/* What the server holds before and after connections were opened, and at the end, in PSS. 0: not
 * known. */
struct load_memory {
    uint64_t before_kib, after_kib, end_kib;
};
/* They wait for --settle and look; the last one only looks. */
void load_memory_before(struct load *load, struct load_memory *memory);
void load_memory_after(struct load *load, struct load_memory *memory);
void load_memory_end(struct load *load, struct load_memory *memory);
void load_report_memory(struct json_out *report, const struct load_memory *memory,
                        uint32_t connections);
/* Turns for so long. */
void load_pause(struct load *load, double seconds);
/* So many connections, and a few descriptors beside: ERR_LIMIT + note says what the machine allows.
 */
MUST_USE enum err load_raise_fd_limit(uint32_t connections, struct err_note *out_note);

/* --- load_sum.c --- */

/* Something is wrong: said on stderr (the first ten), and in the exit status. */
void load_doubt(struct load *load, const char *format, ...) PRINTF_LIKE(2, 3);
/* on_events, on_data and on_end of a measured stream. The last one: what it told counts only now,
 * for a stream may be left behind its usage. */
void load_sum_events(struct load_sum *sum, const struct exchange *exchange, uint32_t count);
void load_sum_data(struct load *load, struct load_sum *sum, struct slice data);
void load_sum_end(struct load *load, struct load_sum *sum, const struct load_stream *stream);
/* With --usage instead of load_sum_data(): what an event says of the tokens of its stream, if it
 * does. */
void load_sum_usage(struct load *load, struct load_stream *stream, struct slice data);
void load_span_begin(struct load *load, struct load_span *span);
void load_span_end(struct load *load, struct load_span *span);

/* Members of the report. */
void load_report_sum(struct json_out *report, const struct load_sum *sum);
/* With --usage; a doubt if a right stream did not tell. */
void load_report_usage(struct load *load, struct json_out *report, const struct load_sum *sum);
void load_report_span(struct json_out *report, const struct load_span *span,
                      const struct load_sum *sum);
void load_report_times(struct json_out *report, const char *key, const struct histogram *histogram);
