/* load_streams - the closed loop: so many streams at once, until so many are done. */
#include "load.h"

#include "base/clock.h"
#include "base/mem.h"

struct streams {
    struct load_crowd crowd;
    struct exchange *exchanges;
    uint32_t started, requests;
};

static void start_next(struct streams *streams, struct exchange *exchange)
{
    if (streams->started == streams->requests || streams->crowd.sum.failed >= LOAD_FAILED_MAX)
        return;
    streams->started++;
    load_crowd_start(exchange, clock_monotonic_us());
}

static void on_over(struct load_crowd *crowd, struct exchange *exchange)
{
    start_next(CONTAINER_OF(crowd, struct streams, crowd), exchange);
}

void load_streams_measure(struct load *load, uint32_t concurrency, uint32_t requests,
                          struct load_sum *out_sum, struct load_span *out_span)
{
    struct streams *streams = mem_alloc(sizeof *streams);
    streams->crowd = (struct load_crowd){.load = load, .on_over = on_over};
    streams->requests = requests;
    streams->exchanges = mem_array(concurrency, sizeof *streams->exchanges);
    for (uint32_t i = 0; i < concurrency; i++)
        load_crowd_add(&streams->crowd, &streams->exchanges[i]);
    load_span_begin(load, out_span);
    for (uint32_t i = 0; i < concurrency; i++)
        start_next(streams, &streams->exchanges[i]);
    while (streams->crowd.sum.streams + streams->crowd.sum.failed < streams->started)
        exchange_loop_turn(&load->loop, UINT64_MAX);
    load_span_end(load, out_span);
    for (uint32_t i = 0; i < concurrency; i++)
        exchange_fini(&streams->exchanges[i]);
    *out_sum = streams->crowd.sum;
    mem_free(streams->exchanges);
    mem_free(streams);
}

void load_streams_run(struct load *load, struct json_out *report)
{
    struct load_sum sum;
    struct load_span span;
    load_streams_measure(load, load->options->concurrency, load->options->requests, &sum, &span);
    load_report_sum(report, &sum);
    load_report_span(report, &span, &sum);
}
