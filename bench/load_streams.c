/* load_streams - the closed loop: so many streams at once, until so many are done. Some of them may
 * be left before their end (--leave-ratio), each behind an event that is drawn; their place is
 * taken by the next one as if they had ended. */
#include "load.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/splitmix.h"

struct member {
    struct load_stream stream;
    uint32_t leave_at; /* events; 0: it stays */
    bool is_idle;      /* it has left, and may be started again */
};

struct streams {
    struct load_crowd crowd;
    struct member *members;
    uint32_t started, requests;
    uint32_t left, idle;
};

static struct member *member_of(struct exchange *exchange)
{
    return CONTAINER_OF(exchange, struct member, stream.exchange);
}

static uint32_t draw_leave_at(struct load *load)
{
    double ratio = load->options->leave_ratio;
    if (ratio == 0 || splitmix_unit(&load->random) >= ratio)
        return 0;
    return 1 + (uint32_t)(splitmix_unit(&load->random) * load->options->max_tokens);
}

static void start_next(struct streams *streams, struct member *member)
{
    if (streams->started == streams->requests || streams->crowd.sum.failed >= LOAD_FAILED_MAX)
        return;
    streams->started++;
    member->leave_at = draw_leave_at(streams->crowd.load);
    load_crowd_start(&member->stream, clock_monotonic_us());
}

static void on_over(struct load_crowd *crowd, struct exchange *exchange)
{
    start_next(CONTAINER_OF(crowd, struct streams, crowd), member_of(exchange));
}

/* Who leaves starts again behind this turn of the loop: not while its read is being handled. What
 * this read has brought to its end is over, and was not left. */
static void on_more(struct load_crowd *crowd, struct exchange *exchange)
{
    struct streams *streams = CONTAINER_OF(crowd, struct streams, crowd);
    struct member *member = member_of(exchange);
    if (member->leave_at == 0 || exchange->answer.events < member->leave_at ||
        exchange->answer.state != ANSWER_BODY)
        return;
    exchange_leave(exchange);
    member->is_idle = true;
    streams->left++;
    streams->idle++;
}

static void start_idle(struct streams *streams, uint32_t concurrency)
{
    for (uint32_t i = 0; i < concurrency && streams->idle > 0; i++)
        if (streams->members[i].is_idle) {
            streams->members[i].is_idle = false;
            streams->idle--;
            start_next(streams, &streams->members[i]);
        }
}

static bool is_over(const struct streams *streams)
{
    const struct load_sum *sum = &streams->crowd.sum;
    if (streams->crowd.load->options->has_no_tail && streams->started == streams->requests)
        return true;
    return sum->streams + sum->failed + streams->left == streams->started && streams->idle == 0;
}

static uint32_t measure(struct load *load, uint32_t concurrency, uint32_t requests,
                        struct load_sum *out_sum, struct load_span *out_span)
{
    struct streams *streams = mem_alloc(sizeof *streams);
    streams->crowd = (struct load_crowd){
        .load = load, .on_over = on_over, .on_more = load->options->leave_ratio ? on_more : NULL};
    streams->requests = requests;
    streams->members = mem_array(concurrency, sizeof *streams->members);
    for (uint32_t i = 0; i < concurrency; i++)
        load_crowd_add(&streams->crowd, &streams->members[i].stream);
    load_span_begin(load, out_span);
    for (uint32_t i = 0; i < concurrency; i++)
        start_next(streams, &streams->members[i]);
    while (!is_over(streams)) {
        exchange_loop_turn(&load->loop, UINT64_MAX);
        start_idle(streams, concurrency);
    }
    load_span_end(load, out_span);
    for (uint32_t i = 0; i < concurrency; i++)
        exchange_fini(&streams->members[i].stream.exchange);
    *out_sum = streams->crowd.sum;
    uint32_t left = streams->started - (uint32_t)(out_sum->streams + out_sum->failed);
    mem_free(streams->members);
    mem_free(streams);
    return left;
}

void load_streams_measure(struct load *load, uint32_t concurrency, uint32_t requests,
                          struct load_sum *out_sum, struct load_span *out_span)
{
    (void)measure(load, concurrency, requests, out_sum, out_span); /* nobody is told to leave */
}

void load_streams_run(struct load *load, struct json_out *report)
{
    struct load_sum sum;
    struct load_span span;
    uint32_t left = measure(load, load->options->concurrency, load->options->requests, &sum, &span);
    if (sum.streams == 0 && sum.failed == 0)
        load_doubt(load, "no stream was read to its end: nothing is shown");
    json_out_add_u64(report, "left", left);
    load_report_sum(report, &sum);
    load_report_usage(load, report, &sum);
    load_report_span(report, &span, &sum);
}
