/* load_idle - connections that do nothing: what each costs the server in memory, and how soon it
 * answers new clients meanwhile.
 *
 * keepalive: each has asked for /health once, and waits. sse: each has the head of its stream, or
 * its first event (--ready), and reads what else comes: the server must be slow to give more. When
 * all are there and the server has settled, its memory is read; then, for --seconds, one new client
 * after the other asks for /health, from connect() to the end of the answer. All must still be
 * there at the end. One comes and leaves before, so that what is made once is made. */
#include "load.h"
#include "load_request.h"

#include "base/clock.h"
#include "base/mem.h"

enum {
    CONNECTING_MAX = 128, /* at once: a listener's queue is not endless */
    PROBE_US = 10 * 1000, /* between the beginnings of two new clients, at least */
};

struct idler {
    struct exchange exchange;
    bool is_ready;
};

struct idle {
    struct load *load;
    struct idler *idlers;
    uint32_t pending, ready;
    struct text health; /* the request for it */
    struct histogram probes;
};

static bool is_sse(const struct idle *idle)
{
    return idle->load->options->kind == KIND_SSE;
}

/* --- the many --- */

static void become_ready(struct exchange *exchange)
{
    struct idle *idle = exchange->ctx;
    CONTAINER_OF(exchange, struct idler, exchange)->is_ready = true;
    idle->pending--;
    idle->ready++;
    exchange_hold(exchange);
}

static void on_idle_head(struct exchange *exchange)
{
    const struct idle *idle = exchange->ctx;
    if (is_sse(idle) && idle->load->options->ready == READY_HEAD && exchange->answer.status == 200)
        become_ready(exchange);
}

static void on_idle_events(struct exchange *exchange, uint32_t count)
{
    (void)count;
    if (!CONTAINER_OF(exchange, struct idler, exchange)->is_ready)
        become_ready(exchange);
}

/* Of a stream it is always wrong; with a keep-alive connection it only begins. */
static void on_idle_end(struct exchange *exchange)
{
    struct idle *idle = exchange->ctx;
    const struct answer *answer = &exchange->answer;
    if (!is_sse(idle) && answer->state == ANSWER_WHOLE) {
        become_ready(exchange);
        return;
    }
    if (!CONTAINER_OF(exchange, struct idler, exchange)->is_ready)
        idle->pending--;
    load_doubt(idle->load, "an idle connection: %s",
               answer->state == ANSWER_WHOLE ? "its stream is over" : answer->problem);
}

static const struct exchange_events idle_events = {
    .on_head = on_idle_head, .on_events = on_idle_events, .on_end = on_idle_end};

static void open_one(struct idle *idle, struct idler *idler)
{
    struct load *load = idle->load;
    idler->exchange = (struct exchange){.events = &idle_events, .ctx = idle};
    exchange_init(&load->loop, &idler->exchange);
    idle->pending++;
    exchange_start(&idler->exchange, text_slice(is_sse(idle) ? &load->request : &idle->health),
                   is_sse(idle) ? ANSWER_OF_EVENTS : ANSWER_OF_JSON, clock_monotonic_us());
}

static void wait_ready(struct idle *idle)
{
    while (idle->pending > 0)
        exchange_loop_turn(&idle->load->loop, UINT64_MAX);
}

static void open_and_leave_one(struct idle *idle)
{
    struct idler idler = {0};
    open_one(idle, &idler);
    wait_ready(idle);
    exchange_fini(&idler.exchange);
    idle->ready = 0;
}

static void open_all(struct idle *idle)
{
    for (uint32_t i = 0; i < idle->load->options->connections && !idle->load->doubts; i++) {
        while (idle->load->loop.connecting >= CONNECTING_MAX)
            exchange_loop_turn(&idle->load->loop, UINT64_MAX);
        open_one(idle, &idle->idlers[i]);
    }
    wait_ready(idle);
}

static void check_all(struct idle *idle)
{
    uint32_t there = 0, count = idle->load->options->connections;
    for (uint32_t i = 0; i < count; i++) {
        const struct idler *idler = &idle->idlers[i];
        there += idler->is_ready && exchange_is_open(&idler->exchange);
    }
    if (there < count)
        load_doubt(idle->load, "%u of %u connections are there at the end", there, count);
}

/* --- new clients --- */

static void on_probe_end(struct exchange *exchange)
{
    struct idle *idle = exchange->ctx;
    if (exchange->answer.state == ANSWER_WHOLE)
        histogram_add(&idle->probes, exchange->loop->now_us - exchange->start_us);
    else
        load_doubt(idle->load, "/health of a new client: %s", exchange->answer.problem);
}

static const struct exchange_events probe_events = {.on_end = on_probe_end};

static void probe(struct idle *idle)
{
    struct load *load = idle->load;
    struct exchange probe = {.events = &probe_events, .ctx = idle};
    uint64_t next_us = clock_monotonic_us();
    uint64_t until_us = next_us + (uint64_t)(load->options->seconds * 1e6);
    exchange_init(&load->loop, &probe);
    while (clock_monotonic_us() < until_us) {
        uint64_t now_us = clock_monotonic_us();
        if (!probe.is_running && now_us >= next_us) {
            exchange_leave(&probe); /* each has a connection of its own */
            next_us = now_us + PROBE_US;
            exchange_start(&probe, text_slice(&idle->health), ANSWER_OF_JSON, now_us);
        }
        exchange_loop_turn(&load->loop, probe.is_running ? UINT64_MAX : next_us);
    }
    exchange_fini(&probe);
}

/* --- all of it --- */

static void run(struct idle *idle, struct load_memory *memory, struct load_span *span)
{
    struct load *load = idle->load;
    open_and_leave_one(idle);
    load_memory_before(load, memory);
    open_all(idle);
    load_memory_after(load, memory);
    load_span_begin(load, span);
    probe(idle);
    load_span_end(load, span);
    load_memory_end(load, memory);
    check_all(idle);
}

void load_idle_run(struct load *load, struct json_out *report)
{
    uint32_t count = load->options->connections;
    struct idle *idle = mem_alloc(sizeof *idle);
    struct load_sum sum = {0};
    struct load_memory memory;
    struct load_span span;
    idle->load = load;
    idle->idlers = mem_array(count, sizeof *idle->idlers);
    text_init(&idle->health, ANSWER_HEAD_MAX_BYTES);
    load_request_write_get(load->options, "/health", &idle->health);
    run(idle, &memory, &span);
    json_out_add_u64(report, "idle", idle->ready);
    load_report_times(report, "health_us", &idle->probes);
    load_report_memory(report, &memory, count);
    load_report_span(report, &span, &sum);
    for (uint32_t i = 0; i < count && idle->idlers[i].exchange.loop; i++)
        exchange_fini(&idle->idlers[i].exchange);
    text_fini(&idle->health);
    mem_free(idle->idlers);
    mem_free(idle);
}
