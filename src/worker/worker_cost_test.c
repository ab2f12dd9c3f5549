/* worker_cost_test - what an open stream costs a worker in memory: bytes that it holds while
 * nothing happens. The engine's own (a slot's cache) are there from its start, and not of the
 * stream. */
#include "base/mem.h"
#include "testing/heap.h"
#include "testing/test.h"
#include "worker/asker_rig.h"

#include <stdio.h>

enum {
    STREAMS = 40,
    /* All of the worker: the stream, its names, its outbox with the events that are not
     * acknowledged, its job in the core and its place there, beside the ids of its prompt; and the
     * lists that it sends meanwhile, by the clock. 2026-11 they hold 1858 .. 1960 (x86-64, clang
     * 14). */
    STREAM_BUDGET_BYTES = 2240,
    TOKEN_BYTES = 5,         /* an id has 4; an answer that has begun has room for a quarter more */
    MALLOC_BYTES = 1024,     /* for what malloc adds: 2335 in all were seen (glibc 2.36) */
    CREDIT_EVENTS = 4,       /* so far it comes: accepted, started, a token or two */
    LONG_PROMPT_BYTES = 500, /* one batch of the engine: nothing is told meanwhile */
};

/* Of each stream. */
struct cost {
    size_t bytes, prompt_tokens;
};

struct crowd {
    struct rig *rig;
    struct raw *raw;
    uint32_t count;
};

static bool all_are_parked(void *ctx)
{
    const struct crowd *crowd = ctx;
    return worker_stats(crowd->rig->worker).parked == crowd->count;
}

/* It has said something, and waits for its reader. */
static void open_stream(struct crowd *crowd, struct slice prompt)
{
    struct request request = raw_request(crowd->raw);
    request.prompt = prompt;
    request.credit_events = CREDIT_EVENTS;
    raw_submit(crowd->raw, &request);
    crowd->count++;
    rig_until(crowd->rig, all_are_parked, crowd);
    rig_turns(crowd->rig);
}

static size_t prompt_tokens(struct metrics *metrics)
{
    static const char name[] = "millrace_prompt_tokens_total";
    return (size_t)metric_value(metrics_get(metrics, METRIC_COUNTER, name, "", "model=\"dummy\""));
}

static struct cost cost_of_a_stream(struct slice prompt)
{
    struct crowd crowd = {.rig = rig_new()};
    struct metrics *metrics = metrics_new();
    crowd.rig->options.metrics = metrics;
    crowd.rig->engine.slots = STREAMS + 1;
    crowd.rig->options.core.park_ms = 3600 * 1000; /* they stay in their slots */
    rig_start_ready(crowd.rig);
    crowd.raw = raw_open(crowd.rig);
    open_stream(&crowd, prompt); /* what all of them share grows to what is needed */
    size_t before = heap_bytes();
    for (int i = 0; i < STREAMS; i++)
        open_stream(&crowd, prompt);
    size_t held = heap_bytes() - before;
    struct cost each = {held / STREAMS, prompt_tokens(metrics) / (STREAMS + 1)};
    raw_close(crowd.raw);
    rig_free(crowd.rig);
    metrics_free(metrics);
    return each;
}

static void check_budget(struct cost each)
{
    size_t budget = STREAM_BUDGET_BYTES + each.prompt_tokens * TOKEN_BYTES;
    printf("an open stream, asked with %zu tokens: %zu bytes, of them %zu of its tokens\n",
           each.prompt_tokens, each.bytes, each.prompt_tokens * TOKEN_BYTES);
    CHECK(each.bytes <= budget + (heap_bytes_are_exact() ? 0 : MALLOC_BYTES));
}

TEST(an_open_stream_fits_its_budget)
{
    check_budget(cost_of_a_stream(SLICE("question")));
}

/* But the ids of its tokens: the answer goes on behind them, and who comes next is compared with
 * them. The dummy makes a token of each byte; held as text, too, they would not fit. */
TEST(an_open_stream_does_not_hold_what_it_was_asked_with)
{
    static char prompt[LONG_PROMPT_BYTES];
    memset(prompt, 'x', sizeof(prompt));
    struct cost each = cost_of_a_stream(slice_of(prompt, sizeof(prompt)));
    CHECK_EQ(each.prompt_tokens, sizeof(prompt));
    check_budget(each);
}
