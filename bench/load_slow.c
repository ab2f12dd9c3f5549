/* load_slow - readers that hardly read, and what they cost the server and those that do read.
 *
 * Each slow reader has a small receive buffer and takes --slow-bytes-per-s once a second, the next
 * one a little later. When all of them have begun and the server has settled, its memory is read;
 * then --fast-requests streams are measured beside them, --fast at once. --slow 0: they alone. All
 * ask for the same; the slow ones must not be through before that. */
#include "load.h"

#include "base/clock.h"
#include "base/mem.h"

enum {
    RECEIVE_BUFFER_BYTES = 4096, /* the kernel doubles it, and has a least size of its own */
    ROUND_US = 1000 * 1000,      /* in which each slow one reads once */
    TICK_US = 1000,
    BEGIN_BYTES = 4096,   /* read at a time until the first event is there */
    CONNECTING_MAX = 128, /* at once: a listener's queue is not endless */
};

struct slow {
    struct load *load;
    struct exchange *readers;
    uint64_t reads, start_us; /* so far, since */
    uint64_t over;            /* readers that should not be */
};

static void on_end(struct exchange *exchange)
{
    struct slow *slow = exchange->ctx;
    const struct answer *answer = &exchange->answer;
    slow->over++;
    load_doubt(slow->load, "a slow reader: %s",
               answer->state == ANSWER_WHOLE ? "it has all: --max-tokens is too small"
                                             : answer->problem);
}

static const struct exchange_events slow_events = {.on_end = on_end};

static void read_one(struct slow *slow, struct exchange *reader)
{
    bool had_begun = reader->first_us != 0;
    exchange_read(reader, had_begun ? slow->load->options->slow_bytes_per_s : BEGIN_BYTES);
    if (!had_begun && reader->first_us != 0)
        exchange_hold(reader);
}

/* Each in its turn, spread over the round. */
static void on_tick(void *ctx)
{
    struct slow *slow = ctx;
    uint32_t count = slow->load->options->slow;
    uint64_t due = (clock_monotonic_us() - slow->start_us) * count / ROUND_US;
    if (due - slow->reads > count) /* we were held up: nobody reads twice for it */
        slow->reads = due - count;
    for (; slow->reads < due; slow->reads++)
        read_one(slow, &slow->readers[slow->reads % count]);
}

static void start_readers(struct slow *slow)
{
    struct load *load = slow->load;
    slow->readers = mem_array(load->options->slow, sizeof *slow->readers);
    for (uint32_t i = 0; i < load->options->slow; i++) {
        slow->readers[i] = (struct exchange){.events = &slow_events,
                                             .ctx = slow,
                                             .is_paced = true,
                                             .receive_buffer_bytes = RECEIVE_BUFFER_BYTES};
        exchange_init(&load->loop, &slow->readers[i]);
    }
    slow->start_us = clock_monotonic_us();
    exchange_loop_every(&load->loop, TICK_US, on_tick, slow);
    for (uint32_t i = 0; i < load->options->slow; i++) {
        while (load->loop.connecting >= CONNECTING_MAX)
            exchange_loop_turn(&load->loop, UINT64_MAX);
        exchange_start(&slow->readers[i], text_slice(&load->request), ANSWER_OF_EVENTS,
                       clock_monotonic_us());
    }
}

/* Each within its timeout, or it is over. */
static void wait_begun(struct slow *slow)
{
    for (uint32_t i = 0; i < slow->load->options->slow; i++)
        while (slow->readers[i].first_us == 0 && slow->readers[i].is_running)
            exchange_loop_turn(&slow->load->loop, UINT64_MAX);
}

static void leave_all(struct slow *slow)
{
    exchange_loop_every(&slow->load->loop, 0, NULL, NULL);
    for (uint32_t i = 0; i < slow->load->options->slow; i++)
        exchange_fini(&slow->readers[i]);
    mem_free(slow->readers);
}

void load_slow_run(struct load *load, struct json_out *report)
{
    struct load_sum sum;
    struct load_span span;
    struct load_memory memory;
    struct slow slow = {.load = load};
    uint32_t fast = load->options->fast, requests = load->options->fast_requests;
    load_streams_measure(load, 1, 1, &sum, &span); /* what is made once is made */
    load_memory_before(load, &memory);
    if (load->options->slow > 0) {
        start_readers(&slow);
        wait_begun(&slow);
    }
    load_memory_after(load, &memory);
    load_streams_measure(load, fast, requests > fast ? requests : fast, &sum, &span);
    load_memory_end(load, &memory);
    sum.failed += slow.over;
    load_report_sum(report, &sum);
    json_out_add_u64(report, "slow", load->options->slow);
    load_report_memory(report, &memory, load->options->slow);
    load_report_span(report, &span, &sum);
    if (load->options->slow > 0)
        leave_all(&slow);
}
