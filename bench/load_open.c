/* load_open - the open loop: streams begin when it is time, however many are still running, and
 * all that is measured counts from that time. So a server that falls behind shows it, where a
 * closed loop would wait for it and ask less. */
#include "load.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/splitmix.h"

#include <math.h>

struct caller {
    struct load_stream stream;
    struct caller *next_free;
};

struct open {
    struct load_crowd crowd;
    struct caller *callers[LOAD_OPEN_MAX];
    struct caller *free; /* those that do not run, the last one first: its connection is warm */
    uint32_t count, running_max;
    struct histogram late; /* how late we were ourselves: what is not the server's */
};

static void on_over(struct load_crowd *crowd, struct exchange *exchange)
{
    struct open *open = CONTAINER_OF(crowd, struct open, crowd);
    struct caller *caller = CONTAINER_OF(exchange, struct caller, stream.exchange);
    caller->next_free = open->free;
    open->free = caller;
}

/* NULL: there are too many. */
static struct caller *take_caller(struct open *open)
{
    struct caller *caller = open->free;
    if (caller) {
        open->free = caller->next_free;
    } else if (open->count < LOAD_OPEN_MAX) {
        caller = open->callers[open->count++] = mem_alloc(sizeof *caller);
        load_crowd_add(&open->crowd, &caller->stream);
    }
    return caller;
}

static void start_one(struct open *open, uint64_t when_us)
{
    struct caller *caller = take_caller(open);
    if (!caller) {
        open->crowd.sum.failed++;
        load_doubt(open->crowd.load, "more than %d streams at once", LOAD_OPEN_MAX);
        return;
    }
    histogram_add(&open->late, clock_monotonic_us() - when_us);
    load_crowd_start(&caller->stream, when_us);
}

/* Exponential: what comes does not depend on what came. */
static uint64_t pause_us(struct load *load)
{
    return (uint64_t)(-log1p(-splitmix_unit(&load->random)) / load->options->rate * 1e6);
}

static bool has_failed(const struct open *open)
{
    return open->crowd.sum.failed >= LOAD_FAILED_MAX;
}

static void run(struct open *open)
{
    struct load *load = open->crowd.load;
    uint64_t next_us = clock_monotonic_us();
    uint64_t end_us = next_us + (uint64_t)(load->options->seconds * 1e6);
    while (next_us < end_us && !has_failed(open)) {
        while (next_us < end_us && !has_failed(open) && next_us <= clock_monotonic_us()) {
            start_one(open, next_us);
            next_us += pause_us(load);
        }
        exchange_loop_turn(&load->loop, next_us < end_us ? next_us : end_us);
        if (load->loop.running > open->running_max)
            open->running_max = load->loop.running;
    }
    while (load->loop.running > 0)
        exchange_loop_turn(&load->loop, UINT64_MAX);
}

void load_open_run(struct load *load, struct json_out *report)
{
    struct open *open = mem_alloc(sizeof *open);
    struct load_span span;
    open->crowd = (struct load_crowd){.load = load, .on_over = on_over};
    load_span_begin(load, &span);
    run(open);
    load_span_end(load, &span);
    load_report_sum(report, &open->crowd.sum);
    json_out_add_u64(report, "running_max", open->running_max);
    load_report_usage(load, report, &open->crowd.sum);
    load_report_times(report, "late_us", &open->late);
    load_report_span(report, &span, &open->crowd.sum);
    for (uint32_t i = 0; i < open->count; i++) {
        exchange_fini(&open->callers[i]->stream.exchange);
        mem_free(open->callers[i]);
    }
    mem_free(open);
}
