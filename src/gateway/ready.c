/* ready - the readiness page, and the probe behind it. */
#include "gateway/ready.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/health.h"
#include "gateway/reply.h"

enum {
    FRESH_MS = 30 * 1000,       /* so young a token speaks for the model */
    BUSY_TRUST_MS = 120 * 1000, /* and so young a one for a busy model */
    PROBE_EVERY_MS = 10 * 1000,
    PROBE_MAX_MS = 10 * 1000,
    WAIT_MAX_MS = 2 * 1000,
};

struct ready {
    struct gateway *gateway;
    struct ask *probe;           /* NULL: none under way */
    uint64_t probed_us;          /* when the last one began; 0: never, here and below */
    uint64_t good_us, failed_us; /* when one last ended well, and when one did not */
    uint64_t loaded_us;          /* when the model was first found ready; 0: it is not */
    struct deadline give_up;
    struct list waiting; /* struct waiter.link */
    size_t waiting_count;
};

/* A client that waits for the end of the probe. */
struct waiter {
    struct list link;
    struct ready *ready;
    struct http_conn *conn;
    struct deadline deadline;
    struct free_later free_later;
};

/* --- what is known --- */

/* All nodes that serve the default model, taken together. */
struct pulse {
    bool is_ready, is_busy;
    bool reads_only;       /* those that are ready */
    int64_t last_token_ms; /* wall clock; 0: none yet */
};

static struct pulse take_pulse(const struct gateway *gateway)
{
    struct pulse pulse = {0};
    struct slice model = slice_str(gateway->options.default_model);
    const struct node_state *node;
    for (size_t cursor = 0; (node = model_table_next(gateway->models, &cursor));) {
        if (node->phase != NODE_READY || !slice_eq(node->model, model))
            continue;
        pulse.is_ready = true;
        pulse.reads_only |= node->reads_only;
        pulse.is_busy |= node->slots_busy + node->queued + node->parked > 0;
        if (node->last_token_ms > pulse.last_token_ms)
            pulse.last_token_ms = node->last_token_ms;
    }
    pulse.is_busy |= model_table_sum(gateway->models, model).queued > 0; /* at the manager, too */
    return pulse;
}

static uint64_t now_us(const struct ready *ready)
{
    return loop_now_us(ready->gateway->loop);
}

static int64_t ms_since(const struct ready *ready, uint64_t then_us)
{
    return (int64_t)((now_us(ready) - then_us) / 1000);
}

/* INT64_MAX: none is known of. */
static int64_t last_good_token_age_ms(const struct ready *ready, const struct pulse *pulse)
{
    int64_t age_ms = INT64_MAX;
    if (pulse->last_token_ms > 0)
        age_ms = clock_wall_ms() - pulse->last_token_ms;
    if (ready->good_us > 0 && ms_since(ready, ready->good_us) < age_ms)
        age_ms = ms_since(ready, ready->good_us);
    return age_ms;
}

static bool has_failed_since(const struct ready *ready, int64_t age_ms)
{
    return ready->failed_us > 0 && ms_since(ready, ready->failed_us) < age_ms;
}

static bool may_probe(const struct ready *ready)
{
    return ready->probed_us == 0 || ms_since(ready, ready->probed_us) >= PROBE_EVERY_MS;
}

bool ready_has_failed(const struct ready *ready)
{
    struct pulse pulse = take_pulse(ready->gateway);
    return has_failed_since(ready, last_good_token_age_ms(ready, &pulse));
}

/* A busy model makes no tokens during a long prefill, and cannot be asked for one. The first
 * prefill of all counts from the load: another gateway's probe may be what it is busy with. */
static bool is_trusted(const struct ready *ready, int64_t age_ms)
{
    if (has_failed_since(ready, age_ms))
        return false;
    if (age_ms == INT64_MAX)
        age_ms = ms_since(ready, ready->loaded_us);
    return age_ms < BUSY_TRUST_MS;
}

static void note_load(struct ready *ready, bool is_ready)
{
    if (!is_ready)
        ready->loaded_us = 0;
    else if (ready->loaded_us == 0)
        ready->loaded_us = now_us(ready);
}

enum verdict { VERDICT_NO, VERDICT_YES, VERDICT_PROBE };

/* The table of ready.h. */
static enum verdict judge(struct ready *ready)
{
    struct pulse pulse = take_pulse(ready->gateway);
    note_load(ready, pulse.is_ready);
    int64_t age_ms = last_good_token_age_ms(ready, &pulse);
    if (ready->gateway->draining || !pulse.is_ready)
        return VERDICT_NO;
    if (pulse.reads_only || age_ms < FRESH_MS)
        return VERDICT_YES;
    if (ready->probe)
        return VERDICT_PROBE;
    if (pulse.is_busy)
        return is_trusted(ready, age_ms) ? VERDICT_YES : VERDICT_NO;
    return may_probe(ready) ? VERDICT_PROBE : VERDICT_NO;
}

/* --- answers --- */

static void answer_no(struct gateway *gateway, struct http_conn *conn)
{
    const char *status = health_status(gateway);
    bool is_loading = strcmp(status, "loading") == 0;
    struct text body;
    text_init(&body, 256);
    text_add_f(&body, "{\"status\":\"%s\",\"progress_url\":\"%s\"}",
               strcmp(status, "ok") == 0 ? "degraded" : status,
               is_loading ? "/v1/loading/progress" : "/health");
    reply_json(conn, 503, SLICE("Cache-Control: no-store\r\nRetry-After: 1\r\n"), &body);
}

/* --- those who wait --- */

static void release(void *pointer)
{
    mem_free(pointer);
}

static void forget(struct waiter *waiter)
{
    deadline_clear(&waiter->deadline);
    list_remove(&waiter->link);
    waiter->ready->waiting_count--;
    loop_free_later(waiter->ready->gateway->loop, &waiter->free_later, release, waiter);
}

static void tell(struct waiter *waiter, bool is_ready)
{
    struct http_conn *conn = waiter->conn;
    forget(waiter);
    if (is_ready)
        health_say_ok(conn);
    else
        answer_no(waiter->ready->gateway, conn);
}

static void tell_all(struct ready *ready, bool is_ready)
{
    while (!list_is_empty(&ready->waiting))
        tell(CONTAINER_OF(ready->waiting.next, struct waiter, link), is_ready);
}

static void on_waited_long(void *ctx)
{
    tell(ctx, false);
}

static void on_client_gone(void *ctx, enum err why)
{
    (void)why; /* whatever it was, nobody listens */
    forget(ctx);
}

static void wait_for_probe(struct ready *ready, struct http_conn *conn)
{
    static const struct http_reply_events events = {.on_gone = on_client_gone};
    if (ready->waiting_count == READY_WAITING_MAX) {
        answer_no(ready->gateway, conn);
        return;
    }
    struct waiter *waiter = mem_alloc(sizeof(*waiter));
    waiter->ready = ready;
    waiter->conn = conn;
    list_push_back(&ready->waiting, &waiter->link);
    ready->waiting_count++;
    deadline_init(&waiter->deadline, ready->gateway->loop, on_waited_long, waiter);
    deadline_after(&waiter->deadline, WAIT_MAX_MS * 1000ull);
    http_conn_listen(conn, &events, waiter);
}

/* --- the probe --- */

static void end_probe(struct ready *ready, bool is_good)
{
    ready->probe = NULL;
    *(is_good ? &ready->good_us : &ready->failed_us) = now_us(ready);
    if (!is_good)
        log_event(LOG_WARN, "probe_failed", "model=%s",
                  log_quote(slice_str(ready->gateway->options.default_model), 64));
    deadline_clear(&ready->give_up);
    tell_all(ready, is_good);
}

static void on_probe_event(void *ctx, const struct event *event)
{
    struct ready *ready = ctx;
    if (!event_is_end(event->type))
        return;
    end_probe(ready, event->type == EVENT_DONE && event->done.reason != DONE_CANCELLED);
}

static void on_give_up(void *ctx)
{
    struct ready *ready = ctx;
    ask_abandon(&ready->probe);
    end_probe(ready, false);
}

static void start_probe(struct ready *ready)
{
    struct gateway *gateway = ready->gateway;
    struct request request = {.id = id_new(),
                              .epoch = 1,
                              .label = SLICE("ready-probe"),
                              .model = slice_str(gateway->options.default_model),
                              .prompt_kind = PROMPT_TEXT,
                              .prompt = SLICE("1"),
                              .sampling = sampling_default(),
                              .max_tokens = 1,
                              .ignore_eos = true,
                              .arrival_ms = clock_wall_ms()};
    request.sampling.temperature = 0;
    ready->probed_us = now_us(ready);
    if (ask_open(gateway->hub, &request, on_probe_event, ready, &ready->probe) == ERR_OK)
        deadline_after(&ready->give_up, PROBE_MAX_MS * 1000ull);
    else
        end_probe(ready, false);
}

void ready_answer(struct gateway *gateway, struct http_conn *conn,
                  const struct http_request *request, const struct route_match *match)
{
    (void)request;
    (void)match;
    struct ready *ready = gateway->ready;
    enum verdict verdict = judge(ready);
    if (verdict == VERDICT_YES) {
        health_say_ok(conn);
    } else if (verdict == VERDICT_NO) {
        answer_no(gateway, conn);
    } else {
        wait_for_probe(ready, conn);
        if (!ready->probe)
            start_probe(ready);
    }
}

/* --- life --- */

struct ready *ready_new(struct gateway *gateway)
{
    struct ready *ready = mem_alloc(sizeof(*ready));
    ready->gateway = gateway;
    list_init(&ready->waiting);
    deadline_init(&ready->give_up, gateway->loop, on_give_up, ready);
    return ready;
}

void ready_drain(struct ready *ready)
{
    deadline_clear(&ready->give_up);
    ask_abandon(&ready->probe);
    tell_all(ready, false);
}

void ready_free(struct ready *ready)
{
    if (!ready)
        return;
    ASSERT(list_is_empty(&ready->waiting));
    deadline_clear(&ready->give_up);
    ask_abandon(&ready->probe);
    mem_free(ready);
}
