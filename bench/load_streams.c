/* load_streams - the closed loop: so many streams at once, until so many are done. */
#include "load.h"

#include "base/clock.h"
#include "base/mem.h"

struct streams {
    struct load *load;
    struct load_sum sum;
    struct exchange *exchanges;
    uint32_t started;
};

static void start_next(struct exchange *exchange)
{
    struct streams *streams = exchange->ctx;
    struct load *load = streams->load;
    if (streams->started == load->options->requests)
        return;
    streams->started++;
    exchange_start(exchange, text_slice(&load->request), load_answer_kind(load),
                   clock_monotonic_us());
}

static void on_events(struct exchange *exchange, uint32_t count)
{
    struct streams *streams = exchange->ctx;
    load_sum_events(&streams->sum, exchange, count);
}

static void on_data(void *ctx, struct slice data)
{
    const struct exchange *exchange = ctx;
    struct streams *streams = exchange->ctx;
    load_sum_data(streams->load, &streams->sum, data);
}

static void on_end(struct exchange *exchange)
{
    struct streams *streams = exchange->ctx;
    load_sum_end(streams->load, &streams->sum, exchange);
    start_next(exchange);
}

static const struct exchange_events plain = {.on_events = on_events, .on_end = on_end};
static const struct exchange_events clocked = {
    .on_events = on_events, .on_end = on_end, .on_data = on_data};

void load_streams_run(struct load *load, struct json_out *report)
{
    uint32_t count = load->options->concurrency;
    struct streams *streams = mem_alloc(sizeof *streams);
    struct load_span span;
    streams->load = load;
    streams->exchanges = mem_array(count, sizeof *streams->exchanges);
    for (uint32_t i = 0; i < count; i++) {
        streams->exchanges[i] = (struct exchange){
            .events = load->options->has_clock ? &clocked : &plain, .ctx = streams};
        exchange_init(&load->loop, &streams->exchanges[i]);
    }
    load_span_begin(load, &span);
    for (uint32_t i = 0; i < count; i++)
        start_next(&streams->exchanges[i]);
    while (load->loop.running > 0)
        exchange_loop_turn(&load->loop, UINT64_MAX);
    load_span_end(load, &span);
    load_report_sum(report, &streams->sum);
    load_report_span(report, &span, &streams->sum);
    for (uint32_t i = 0; i < count; i++)
        exchange_fini(&streams->exchanges[i]);
    mem_free(streams->exchanges);
    mem_free(streams);
}
