/* load_abort - clients that leave, and how long until the server has forgotten them.
 *
 * In rounds: --concurrency streams begin; once the server says that all are in flight, and each of
 * those to leave is in its phase, they leave, at random times. The server is asked every
 * millisecond what it still has; the kth one that is gone is taken for the kth that left, so their
 * sum is exact and the percentiles are those of a server that forgets in order.
 *
 * 1. queued: those leave that have no event while others run: the server needs fewer slots than
 *    --concurrency. The others leave when the round is over, and do not count.
 * 2. prefill: they leave before their first event: the server needs a slot for each, and time for
 *    their prompts (--body-bytes).
 * 3. decode: they leave in the middle of an event.
 * 4. Who got further than its phase before it left, or to its end, is `missed`. */
#include "load.h"
#include "load_poll.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/splitmix.h"

enum {
    POLL_US = 1000,
    SPREAD_US = 50 * 1000, /* in which those of a round leave */
};

struct leaver {
    struct exchange exchange;
    uint64_t leave_us; /* 0: it stays */
    bool is_gone;
};

struct departure {
    uint64_t at_us;
    bool counts;
};

struct aborts {
    struct load *load;
    struct load_poll poll;
    struct leaver *leavers;
    struct departure *departures; /* of this round, in order */
    uint32_t departed, freed;     /* of them */
    uint32_t left, missed;        /* in all */
    bool are_leaving;             /* the departures of this round have begun */
    uint64_t events;
    struct histogram freed_us;
};

static struct leaver *leaver_of(struct exchange *exchange)
{
    return CONTAINER_OF(exchange, struct leaver, exchange);
}

static void depart(struct aborts *aborts, struct leaver *leaver, bool counts)
{
    leaver->is_gone = true;
    aborts->left += counts;
    aborts->missed += !counts;
    exchange_leave(&leaver->exchange);
    aborts->departures[aborts->departed++] = (struct departure){clock_monotonic_us(), counts};
}

static void on_events(struct exchange *exchange, uint32_t count)
{
    struct aborts *aborts = exchange->ctx;
    struct leaver *leaver = leaver_of(exchange);
    aborts->events += count;
    if (aborts->load->options->phase == PHASE_DECODE && leaver->leave_us &&
        leaver->leave_us <= aborts->load->loop.now_us)
        depart(aborts, leaver, true);
}

/* To its end, although it should have left. */
static void on_end(struct exchange *exchange)
{
    struct aborts *aborts = exchange->ctx;
    if (exchange->answer.state != ANSWER_WHOLE)
        load_doubt(aborts->load, "%s", exchange->answer.problem);
    depart(aborts, leaver_of(exchange), false);
}

static const struct exchange_events abort_events = {.on_events = on_events, .on_end = on_end};

/* What is gone by an answer is gone since before it came. What left after it was asked for cannot
 * be told from it. */
static void on_answer(void *ctx)
{
    struct aborts *aborts = ctx;
    uint32_t concurrency = aborts->load->options->concurrency;
    uint32_t gone = concurrency > aborts->poll.in_flight ? concurrency - aborts->poll.in_flight : 0;
    uint64_t now_us = aborts->load->loop.now_us;
    if (!aborts->are_leaving)
        return;
    for (; aborts->freed < gone && aborts->freed < aborts->departed; aborts->freed++) {
        const struct departure *departure = &aborts->departures[aborts->freed];
        if (departure->counts)
            histogram_add(&aborts->freed_us, now_us - departure->at_us);
    }
}

/* --- one round --- */

/* Turns until it is so, for as long as a stream may take; asks meanwhile. */
static bool wait_until(struct aborts *aborts, bool (*is_so)(struct aborts *), const char *what)
{
    struct load *load = aborts->load;
    uint64_t until_us = clock_monotonic_us() + load->loop.timeout_us;
    while (!is_so(aborts)) {
        uint64_t ask_us = aborts->poll.asked_us + POLL_US;
        if (clock_monotonic_us() > until_us || load->doubts) {
            load_doubt(load, "no longer waited until %s: %u in flight, %u queued, %u left", what,
                       aborts->poll.in_flight, aborts->poll.queued, aborts->departed);
            return false;
        }
        if (clock_monotonic_us() >= ask_us)
            load_poll_ask(&aborts->poll);
        exchange_loop_turn(&load->loop, aborts->poll.is_asking ? UINT64_MAX : ask_us);
    }
    return true;
}

static uint32_t begun(const struct aborts *aborts)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < aborts->load->options->concurrency; i++)
        count += aborts->leavers[i].exchange.first_us != 0;
    return count;
}

static bool are_all_there(struct aborts *aborts)
{
    uint32_t all = aborts->load->options->concurrency;
    if (aborts->poll.in_flight != all)
        return false;
    switch (aborts->load->options->phase) {
    case PHASE_QUEUED:
        return aborts->poll.queued > 0 && begun(aborts) == all - aborts->poll.queued;
    case PHASE_PREFILL:
        return aborts->poll.queued == 0;
    default:
        return begun(aborts) == all;
    }
}

static void plan_departures(struct aborts *aborts)
{
    struct load *load = aborts->load;
    uint64_t now_us = clock_monotonic_us();
    aborts->are_leaving = true;
    for (uint32_t i = 0; i < load->options->concurrency; i++) {
        struct leaver *leaver = &aborts->leavers[i];
        bool stays = load->options->phase == PHASE_QUEUED && leaver->exchange.first_us != 0;
        if (!stays)
            leaver->leave_us = now_us + (uint64_t)(splitmix_unit(&load->random) * SPREAD_US);
    }
}

/* Those whose time has come, but in decode: they wait for their next event. */
static bool have_all_left(struct aborts *aborts)
{
    uint64_t now_us = clock_monotonic_us();
    bool all_left = true;
    for (uint32_t i = 0; i < aborts->load->options->concurrency; i++) {
        struct leaver *leaver = &aborts->leavers[i];
        if (leaver->leave_us == 0 || leaver->is_gone)
            continue;
        if (leaver->leave_us <= now_us && aborts->load->options->phase != PHASE_DECODE)
            depart(aborts, leaver, leaver->exchange.first_us == 0);
        all_left &= leaver->is_gone;
    }
    return all_left;
}

static bool are_all_forgotten(struct aborts *aborts)
{
    return aborts->freed == aborts->departed;
}

static bool is_nothing_in_flight(struct aborts *aborts)
{
    return aborts->poll.in_flight == 0;
}

static void start_all(struct aborts *aborts)
{
    struct load *load = aborts->load;
    aborts->departed = aborts->freed = 0;
    aborts->are_leaving = false;
    for (uint32_t i = 0; i < load->options->concurrency; i++) {
        struct leaver *leaver = &aborts->leavers[i];
        leaver->leave_us = 0;
        leaver->is_gone = false;
        exchange_start(&leaver->exchange, text_slice(&load->request), ANSWER_OF_EVENTS,
                       clock_monotonic_us());
    }
}

static bool run_round(struct aborts *aborts)
{
    start_all(aborts);
    if (!wait_until(aborts, are_all_there, "all are in flight and in their phase"))
        return false;
    plan_departures(aborts);
    if (!wait_until(aborts, have_all_left, "all have left") ||
        !wait_until(aborts, are_all_forgotten, "those that left are forgotten"))
        return false;
    aborts->are_leaving = false;
    for (uint32_t i = 0; i < aborts->load->options->concurrency; i++)
        exchange_leave(&aborts->leavers[i].exchange);
    return wait_until(aborts, is_nothing_in_flight, "nothing is in flight");
}

/* --- all of it --- */

static void report_aborts(struct aborts *aborts, const struct load_span *span,
                          struct json_out *report)
{
    struct load_sum sum = {.streams = aborts->left, .events = aborts->events};
    if (aborts->freed_us.total == 0)
        load_doubt(aborts->load, "no stream left in its phase: nothing is shown");
    json_out_add_u64(report, "streams", aborts->left);
    json_out_add_u64(report, "missed", aborts->missed);
    json_out_add_u64(report, "events", aborts->events);
    load_report_times(report, "freed_us", &aborts->freed_us);
    load_report_span(report, span, &sum);
}

void load_abort_run(struct load *load, struct json_out *report)
{
    uint32_t count = load->options->concurrency;
    struct aborts *aborts = mem_alloc(sizeof *aborts);
    struct load_span span;
    aborts->load = load;
    aborts->leavers = mem_array(count, sizeof *aborts->leavers);
    aborts->departures = mem_array(count, sizeof *aborts->departures);
    for (uint32_t i = 0; i < count; i++) {
        aborts->leavers[i].exchange = (struct exchange){.events = &abort_events, .ctx = aborts};
        exchange_init(&load->loop, &aborts->leavers[i].exchange);
    }
    load_poll_init(&aborts->poll, load, on_answer, aborts);
    load_span_begin(load, &span);
    while (aborts->left + aborts->missed < load->options->requests && run_round(aborts))
        ;
    load_span_end(load, &span);
    report_aborts(aborts, &span, report);
    load_poll_fini(&aborts->poll);
    for (uint32_t i = 0; i < count; i++)
        exchange_fini(&aborts->leavers[i].exchange);
    mem_free(aborts->departures);
    mem_free(aborts->leavers);
    mem_free(aborts);
}
