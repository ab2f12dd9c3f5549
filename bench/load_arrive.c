/* load_arrive - prompts that arrive while others read their answers: what do those feel of it, and
 * how long does the new one wait?
 *
 * --concurrency streams run, each asked again when it is over. When all have begun, --seconds are
 * quiet; then --requests prompts of --bodies arrive, each when the one before it is over.
 *
 * 1. A gap is quiet, or beside the prompts, by when it ends. Those that are open when the last
 *    prompt is over count with what they are by then: who is starved to the end is seen.
 * 2. --concurrency 0: the prompts alone. */
#include "load.h"

#include "base/clock.h"
#include "base/mem.h"

enum phase { BEGINNING, QUIET, BESIDE };

struct arrive {
    struct load_crowd prompts;
    struct load_stream prompt;
    uint32_t arrived;
    struct exchange *runners;
    enum phase phase;
    struct load_sum gaps[BESIDE + 1];
};

/* --- those that run --- */

static void run_one(struct arrive *arrive, struct exchange *runner)
{
    exchange_start(runner, text_slice(&arrive->prompts.load->request), ANSWER_OF_EVENTS,
                   clock_monotonic_us());
}

static void on_events(struct exchange *exchange, uint32_t count)
{
    struct arrive *arrive = exchange->ctx;
    load_sum_events(&arrive->gaps[arrive->phase], exchange, count);
}

static void on_end(struct exchange *exchange)
{
    struct arrive *arrive = exchange->ctx;
    if (exchange->answer.state == ANSWER_WHOLE)
        run_one(arrive, exchange);
    else
        load_doubt(arrive->prompts.load, "a running stream: %s", exchange->answer.problem);
}

static const struct exchange_events runner_events = {.on_events = on_events, .on_end = on_end};

static void start_runners(struct arrive *arrive)
{
    struct load *load = arrive->prompts.load;
    arrive->runners = mem_array(load->options->concurrency, sizeof *arrive->runners);
    for (uint32_t i = 0; i < load->options->concurrency; i++) {
        arrive->runners[i] = (struct exchange){.events = &runner_events, .ctx = arrive};
        exchange_init(&load->loop, &arrive->runners[i]);
        run_one(arrive, &arrive->runners[i]);
    }
}

/* Each within its timeout, or it is a doubt. */
static void wait_begun(struct arrive *arrive)
{
    struct load *load = arrive->prompts.load;
    for (uint32_t i = 0; i < load->options->concurrency; i++)
        while (arrive->runners[i].first_us == 0 && load->doubts == 0)
            exchange_loop_turn(&load->loop, UINT64_MAX);
}

/* Rule 1. */
static void close_gaps(struct arrive *arrive)
{
    uint64_t now_us = clock_monotonic_us();
    for (uint32_t i = 0; i < arrive->prompts.load->options->concurrency; i++)
        if (arrive->runners[i].last_us)
            histogram_add(&arrive->gaps[BESIDE].gap, now_us - arrive->runners[i].last_us);
}

/* --- those that arrive --- */

static void next_prompt(struct arrive *arrive)
{
    struct load *load = arrive->prompts.load;
    if (arrive->arrived == load->options->requests || load->doubts)
        return;
    arrive->arrived++;
    load_crowd_start(&arrive->prompt, clock_monotonic_us());
}

static void on_over(struct load_crowd *crowd, struct exchange *exchange)
{
    (void)exchange; /* the only one */
    next_prompt(CONTAINER_OF(crowd, struct arrive, prompts));
}

static void run_prompts(struct arrive *arrive, struct load_span *span)
{
    struct load *load = arrive->prompts.load;
    const struct load_sum *sum = &arrive->prompts.sum;
    load_span_begin(load, span);
    arrive->phase = BESIDE;
    next_prompt(arrive);
    while (sum->streams + sum->failed < arrive->arrived)
        exchange_loop_turn(&load->loop, UINT64_MAX);
    close_gaps(arrive);
    load_span_end(load, span);
}

/* --- all of it --- */

static void report_all(struct arrive *arrive, const struct load_span *span, struct json_out *report)
{
    struct load_sum *sum = &arrive->prompts.sum;
    load_report_times(report, "quiet_gap_us", &arrive->gaps[QUIET].gap);
    load_report_times(report, "beside_gap_us", &arrive->gaps[BESIDE].gap);
    json_out_add_u64(report, "beside_events", arrive->gaps[BESIDE].events);
    load_report_sum(report, sum);
    load_report_usage(arrive->prompts.load, report, sum);
    sum->events += arrive->gaps[BESIDE].events; /* all that the CPU was used for */
    load_report_span(report, span, sum);
}

void load_arrive_run(struct load *load, struct json_out *report)
{
    struct arrive *arrive = mem_alloc(sizeof *arrive);
    struct load_span span;
    arrive->prompts = (struct load_crowd){.load = load, .on_over = on_over};
    load_crowd_add(&arrive->prompts, &arrive->prompt);
    start_runners(arrive);
    wait_begun(arrive);
    arrive->phase = QUIET;
    if (load->options->concurrency > 0)
        load_pause(load, load->options->seconds);
    run_prompts(arrive, &span);
    report_all(arrive, &span, report);
    exchange_fini(&arrive->prompt.exchange);
    for (uint32_t i = 0; i < load->options->concurrency; i++)
        exchange_fini(&arrive->runners[i]);
    mem_free(arrive->runners);
    mem_free(arrive);
}
