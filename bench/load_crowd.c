/* load_crowd - streams that are measured: what an exchange tells goes into the sum. */
#include "load.h"

static void on_events(struct exchange *exchange, uint32_t count)
{
    struct load_crowd *crowd = exchange->ctx;
    load_sum_events(&crowd->sum, exchange, count);
    if (crowd->on_more)
        crowd->on_more(crowd, exchange);
}

static struct load_stream *stream_of(struct exchange *exchange)
{
    return CONTAINER_OF(exchange, struct load_stream, exchange);
}

static void on_data(void *ctx, struct slice data)
{
    struct exchange *exchange = ctx;
    struct load_crowd *crowd = exchange->ctx;
    if (crowd->load->options->has_clock)
        load_sum_data(crowd->load, &crowd->sum, data);
    if (crowd->load->options->has_usage)
        load_sum_usage(crowd->load, stream_of(exchange), data);
}

static void on_end(struct exchange *exchange)
{
    struct load_crowd *crowd = exchange->ctx;
    load_sum_end(crowd->load, &crowd->sum, stream_of(exchange));
    crowd->on_over(crowd, exchange);
}

static const struct exchange_events plain = {.on_events = on_events, .on_end = on_end};
static const struct exchange_events looking = {
    .on_events = on_events, .on_end = on_end, .on_data = on_data};

void load_crowd_add(struct load_crowd *crowd, struct load_stream *stream)
{
    const struct load_options *options = crowd->load->options;
    stream->exchange = (struct exchange){
        .events = options->has_clock || options->has_usage ? &looking : &plain, .ctx = crowd};
    exchange_init(&crowd->load->loop, &stream->exchange);
}

void load_crowd_start(struct load_stream *stream, uint64_t start_us)
{
    struct load *load = ((const struct load_crowd *)stream->exchange.ctx)->load;
    struct slice request =
        load->requests.count ? load_requests_next(&load->requests) : text_slice(&load->request);
    stream->told = (struct load_usage){0};
    exchange_start(&stream->exchange, request,
                   load->options->is_json ? ANSWER_OF_JSON : ANSWER_OF_EVENTS, start_us);
}
