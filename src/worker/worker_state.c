/* worker_state - what a worker tells everyone about itself, on "state.nodes". */
#include "worker/worker_impl.h"

#include "base/clock.h"
#include "wire/frame.h"
#include "wire/node_state.h"

enum { US_PER_MS = 1000, STATE_FRAME_MAX_BYTES = 64 * 1024 };

/* A broken engine offers no slot, and runs nothing either. */
static uint32_t slots_busy(const struct worker *worker)
{
    if (worker->phase == NODE_FAILED)
        return 0;
    return worker->slots - worker->slots_free;
}

static struct node_numerics numerics(const struct worker *worker)
{
    if (!worker->options.profile)
        return (struct node_numerics){0};
    return (struct node_numerics){.profile = slice_str(worker->options.profile),
                                  .determinism = worker->selftest.determinism,
                                  .width_max = worker->selftest.width_max,
                                  .fingerprint = slice_str(worker->selftest.fingerprint)};
}

static struct node_state state_now(const struct worker *worker)
{
    return (struct node_state){
        .node = slice_str(worker->node),
        .model = slice_str(worker->model),
        .engine = slice_str(worker->engine_kind),
        .detail = slice_str(worker->detail),
        .control = bus_inbox(worker->bus),
        .phase = worker->is_draining ? NODE_DRAINING : worker->phase,
        .load_fraction = worker->load_fraction,
        .layers = worker->layers,
        .reads_only = worker->reads_only,
        .context_tokens = worker->context_tokens,
        .slots = worker->slots,
        .slots_busy = slots_busy(worker),
        .queued = worker_waiting(worker),
        .parked = worker->core_parked,
        .created_s = worker->created_s,
        .size_bytes = worker->weights_bytes,
        .tokens_total = worker->stats.tokens,
        .last_token_ms = worker->last_token_ms,
        .numerics = numerics(worker),
        .adapters = worker->adapters,
        .adapter_count = worker->engine ? worker->adapter_count : 0,
    };
}

void worker_state_publish(struct worker *worker)
{
    struct wire_writer writer;
    struct node_state state = state_now(worker);
    deferred_cancel(&worker->state_flush);
    text_clear(&worker->state_frame);
    wire_begin(&writer, &worker->state_frame, WIRE_STATE);
    wire_open_record(&writer, &(struct wire_record){.type = WIRE_NODE_STATE});
    node_state_encode(&state, &worker->state_frame);
    wire_close_record(&writer);
    if (wire_finish(&writer) == ERR_OK) /* else no memory now: the next one is soon */
        (void)bus_publish(worker->bus, SLICE("state.nodes"), (struct slice){0},
                          text_slice(&worker->state_frame)); /* lost: the next one says it all */
    worker->said = state;
    memcpy(worker->said_fingerprint, worker->selftest.fingerprint,
           sizeof(worker->said_fingerprint));
    worker->state_at_us = loop_now_us(worker->loop);
    deadline_round(&worker->state_due, NODE_STATE_INTERVAL_MS * US_PER_MS);
}

static void on_publish(void *ctx)
{
    worker_state_publish(ctx);
}

/* Until it is told the manager may send us an answer that was begun with other numerics. */
static bool has_new_fingerprint(const struct worker *worker)
{
    return strcmp(worker->selftest.fingerprint, worker->said_fingerprint) != 0;
}

/* Tokens alone are no news: they come with the next one, after a second at most. */
static bool is_news(const struct worker *worker)
{
    struct node_state now = state_now(worker);
    const struct node_state *said = &worker->said;
    return now.phase != said->phase || now.load_fraction != said->load_fraction ||
           now.slots != said->slots || now.slots_busy != said->slots_busy ||
           now.queued != said->queued || now.parked != said->parked ||
           now.numerics.determinism != said->numerics.determinism || has_new_fingerprint(worker);
}

static void set_gauges(struct worker *worker)
{
    metric_set(worker->metrics.slots, worker->phase == NODE_FAILED ? 0 : worker->slots);
    metric_set(worker->metrics.slots_busy, slots_busy(worker));
    metric_set(worker->metrics.parked, worker->core_parked);
    if (worker->options.profile)
        worker_metrics_set_determinism(&worker->metrics,
                                       worker->phase == NODE_READY && !worker->is_draining,
                                       worker->selftest.determinism);
}

/* At the end of the turn, or state_ms after the last one; another phase or fingerprint, of which
 * there are few, does not wait: at the start, somebody waits for "ready". */
void worker_state_changed(struct worker *worker)
{
    set_gauges(worker);
    if (!is_news(worker))
        return;
    uint64_t earliest_us = worker->state_at_us + worker->pace.state_ms * (uint64_t)US_PER_MS;
    bool is_urgent = state_now(worker).phase != worker->said.phase || has_new_fingerprint(worker);
    if (is_urgent || loop_now_us(worker->loop) >= earliest_us)
        loop_before_sleep(worker->loop, &worker->state_flush);
    else if (!deadline_is_armed(&worker->state_due) || worker->state_due.at_us > earliest_us)
        deadline_at(&worker->state_due, earliest_us);
}

void worker_state_again(struct worker *worker)
{
    loop_before_sleep(worker->loop, &worker->state_flush);
}

/* Somebody has just begun to listen, and would else know of us a second later. However many ask in
 * a turn, it is said once. */
static void on_wanted(void *ctx, const struct bus_message *message)
{
    (void)message; /* that it came is all it says */
    worker_state_again(ctx);
}

enum err worker_state_open(struct worker *worker)
{
    return bus_subscribe(worker->bus, SLICE("state.wanted"), (struct slice){0}, on_wanted, worker,
                         &worker->state_wanted);
}

void worker_state_close(struct worker *worker)
{
    bus_unsubscribe(&worker->state_wanted);
}

void worker_state_init(struct worker *worker)
{
    text_init(&worker->state_frame, STATE_FRAME_MAX_BYTES);
    deadline_init(&worker->state_due, worker->loop, on_publish, worker);
    deferred_init(&worker->state_flush, on_publish, worker);
}

void worker_state_fini(struct worker *worker)
{
    worker_state_close(worker);
    deadline_clear(&worker->state_due);
    deferred_cancel(&worker->state_flush);
    text_fini(&worker->state_frame);
}
