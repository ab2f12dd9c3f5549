/* worker - one model instance on the bus: its life, and what the engine's side reports. */
#include "worker/worker_impl.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>

enum { US_PER_MS = 1000 };

struct worker_options worker_options_default(void)
{
    return (struct worker_options){.core = core_options_default(), .default_max_tokens = 512};
}

static const char ENGINE_FAILED[] = "the engine failed";

static void set_detail(struct worker *worker, const char *detail)
{
    snprintf(worker->detail, sizeof(worker->detail), "%s", detail ? detail : "");
}

static struct stream *worker_stream_of_link(struct list *link)
{
    return CONTAINER_OF(link, struct stream, link);
}

/* --- the queue --- */

static void stop_if_idle(struct worker *worker)
{
    if (!worker->is_draining || worker->is_stopping || worker->living_count > 0 ||
        worker->preparing > 0)
        return;
    worker->is_stopping = true;
    worker->engine = NULL; /* closed from now on */
    core_thread_stop(worker->core);
}

void worker_pump(struct worker *worker)
{
    while (worker->slots_free > 0 && !list_is_empty(&worker->queue)) {
        worker->slots_free--;
        worker_stream_start(CONTAINER_OF(worker->queue.next, struct stream, queue_link));
    }
    worker_state_changed(worker);
    worker_load_changed(worker);
    stop_if_idle(worker);
}

/* --- heartbeats --- */

uint32_t worker_stuck_ms(const struct worker *worker)
{
    if (worker->phase == NODE_LOADING || worker->is_stopping)
        return 0;
    uint64_t age_ms = core_thread_progress_age_ms(worker->core);
    return age_ms < UINT32_MAX ? (uint32_t)age_ms : UINT32_MAX;
}

static bool asker_is_silent(const struct worker *worker, const struct stream *stream)
{
    uint64_t since_us = outbox_quiet_since_us(stream->out);
    if (since_us < worker->awake_since_us)
        since_us = worker->awake_since_us;
    return loop_now_us(worker->loop) - since_us >
           worker->pace.asker_silence_ms * (uint64_t)US_PER_MS;
}

/* Losing one ends at most that one: the rest of the list stays as it is. */
static void beat_all(struct worker *worker, struct list *streams, bool is_stuck)
{
    LIST_FOREACH_SAFE (link, streams) {
        struct stream *stream = worker_stream_of_link(link);
        if (!stream->out || (is_stuck && stream->state == STREAM_RUNNING))
            continue;
        if (asker_is_silent(worker, stream))
            worker_stream_lose(stream);
        else
            outbox_beat(stream->out);
    }
}

/* A beat that comes late says that we did not run (SIGSTOP, a suspended machine). What askers could
 * not say in that time is not their silence. */
static void notice_own_pause(struct worker *worker)
{
    uint64_t now_us = loop_now_us(worker->loop);
    if (now_us - worker->beaten_us > 2 * (uint64_t)worker->pace.beat_ms * US_PER_MS) {
        worker->awake_since_us = now_us;
        worker_load_register(worker); /* its lease may have run out */
    }
    worker->beaten_us = now_us;
}

static void on_beat(void *ctx)
{
    struct worker *worker = ctx;
    notice_own_pause(worker);
    worker_streams_forget_old(worker);
    beat_all(worker, &worker->ended, false);
    beat_all(worker, &worker->living, worker_stuck_ms(worker) > worker->pace.stuck_ms);
    deadline_round(&worker->beat, worker->pace.beat_ms * (uint64_t)US_PER_MS);
    worker_pump(worker);
}

static void on_asker_gone(void *ctx, void *owner) /* the outbox's */
{
    worker_stream_lose(owner);
    worker_pump(ctx);
}

static void on_bounce(void *ctx, const struct bus_message *message, enum err why)
{
    struct worker *worker = ctx;
    outbox_bounced(worker->outbox, message, why);
    worker_load_bounced(worker, message, why);
}

/* --- what the engine's side says --- */

/* The core ends those that it has. */
static void give_up_waiting(struct worker *worker, enum fault fault, struct slice message)
{
    LIST_FOREACH_SAFE (link, &worker->living) {
        struct stream *stream = worker_stream_of_link(link);
        if (stream->state != STREAM_RUNNING)
            worker_stream_give_up(stream, fault, message);
    }
}

/* The thread that wrote it has posted a letter since, which has come. */
static void read_file(struct worker *worker)
{
    const struct worker_file *file = worker->options.file;
    if (!file)
        return;
    worker->layers = file->layers;
    worker->weights_bytes = file->weights_bytes;
}

static void on_loading(void *ctx, float fraction)
{
    struct worker *worker = ctx;
    read_file(worker);
    worker->load_fraction = fraction;
    worker_state_changed(worker);
}

static void on_ready(void *ctx, struct engine *engine)
{
    struct worker *worker = ctx;
    if (worker->is_stopping)
        return; /* it was under way */
    worker->engine = engine;
    for (uint32_t i = 0; i < engine->info.adapter_count; i++)
        worker->adapters[i] = (struct node_adapter){slice_str(engine->info.adapters[i].name),
                                                    engine->info.adapters[i].scale};
    worker->adapter_count = engine->info.adapter_count;
    read_file(worker);
    worker->context_tokens = engine->info.context_tokens;
    worker->weights_bytes = engine->info.weights_bytes;
    worker->reads_only = engine->info.reads_only;
    worker->phase = NODE_READY;
    worker->load_fraction = 1;
    worker->created_s = clock_wall_ms() / 1000;
    set_detail(worker, engine->info.description);
    snprintf(worker->engine_kind, sizeof(worker->engine_kind), "%s", engine->info.kind);
    worker->slots = worker->slots_free = engine->info.slots;
    log_event(LOG_INFO, "model_ready", "model=%s engine=%s slots=%u context=%u node=%s",
              log_quote(slice_str(worker->model), 64), worker->engine_kind, engine->info.slots,
              engine->info.context_tokens, log_quote(slice_str(worker->node), 96));
    worker_pump(worker);
    if (!worker->is_draining && worker->on_ready)
        worker->on_ready(worker->ctx);
}

static void on_selftest(void *ctx, const struct selftest_result *result)
{
    struct worker *worker = ctx;
    worker->selftest = *result;
    log_event(LOG_INFO, "self_test",
              "model=%s determinism=%s width_max=%u draft_rows_exact_max=%u fingerprint=%s "
              "spent_ms=%llu was=%s",
              log_quote(slice_str(worker->model), 64), node_determinism_name(result->determinism),
              result->width_max, result->draft_rows_exact_max, result->fingerprint,
              (unsigned long long)result->spent_us / US_PER_MS,
              worker->phase == NODE_LOADING ? "kept" : "measured");
    worker_state_changed(worker);
}

/* Once, and not when it was we who broke it off. */
static void fail(struct worker *worker, const char *log_name, enum err why, const char *note)
{
    worker->phase = NODE_FAILED;
    set_detail(worker, note);
    if (worker->is_draining)
        return;
    log_event(LOG_ERROR, log_name, "model=%s node=%s err=%s note=%s",
              log_quote(slice_str(worker->model), 64), log_quote(slice_str(worker->node), 96),
              err_name(why), log_quote(slice_str(worker->detail), sizeof(worker->detail)));
    if (worker->on_failed)
        worker->on_failed(worker->ctx, why, worker->detail);
}

static void on_failed(void *ctx, enum err why, const char *note)
{
    fail(ctx, "model_failed", why, note);
    worker_pump(ctx);
}

static void on_started(struct stream *stream, const struct core_result *result)
{
    struct worker *worker = stream->worker;
    struct event event = {.type = EVENT_STARTED};
    event.started.model = slice_str(worker->model);
    event.started.worker = slice_str(worker->node);
    event.started.prompt_tokens = stream->prompt_tokens;
    event.started.cached_tokens = result->cached_tokens;
    event.started.seed = stream->seed;
    event.started.numerics = slice_str(worker->selftest.fingerprint);
    worker_stream_emit(stream, &event, NULL);
    metric_add(worker->metrics.prompt_tokens, stream->prompt_tokens);
    metric_add(worker->metrics.replayed_tokens, stream->replayed_tokens);
    metric_add(worker->metrics.cached_tokens, result->cached_tokens);
    metric_add(worker->metrics.prefix_hits, result->cached_tokens > 0);
    metric_observe(worker->metrics.prefill_seconds, (double)result->prefill_us / 1e6);
}

static void on_prefill(struct stream *stream, const struct core_result *result)
{
    if (!stream->out || !outbox_has_room_for_progress(stream->out))
        return;
    struct event event = {.type = EVENT_PREFILL};
    event.prefill.done_tokens = result->done_tokens;
    event.prefill.total_tokens = result->total_tokens;
    worker_stream_emit(stream, &event, NULL);
}

static void on_delta(struct stream *stream, const struct core_result *result)
{
    struct event event = {.type = EVENT_DELTA};
    event.delta.token_count = (uint16_t)result->token_count;
    event.delta.text = result->text;
    stream->tokens += result->token_count;
    stream->delta_count++;
    stream->delta_bytes += event_credit_bytes(&event);
    worker_stream_emit(stream, &event, &result->token);
}

static void emit_usage(struct stream *stream, const struct core_result *result)
{
    struct event usage = {.type = EVENT_USAGE};
    usage.usage.prompt_tokens = result->prompt_tokens;
    usage.usage.cached_tokens = result->cached_tokens;
    usage.usage.completion_tokens = result->completion_tokens;
    usage.usage.queue_us = stream->waited_before_us + stream->started_us - stream->arrived_us;
    usage.usage.prefill_us = result->prefill_us;
    usage.usage.decode_us = result->decode_us;
    worker_stream_emit(stream, &usage, NULL);
}

static void on_done(struct stream *stream, const struct core_result *result)
{
    bool is_cancelled = result->reason == DONE_CANCELLED;
    if (is_cancelled && stream->out)
        outbox_drop_waiting(stream->out);
    emit_usage(stream, result);
    if (is_cancelled && stream->is_drained) {
        worker_stream_give_up(stream, FAULT_DRAINING, SLICE("the worker is stopping"));
        return;
    }
    struct event end = {.type = EVENT_DONE};
    end.done.reason = result->reason;
    end.done.stop = result->text;
    worker_stream_end(stream, &end);
}

static void on_result(struct worker *worker, const struct core_report *report,
                      const struct core_result *result)
{
    struct stream *stream = map_get(worker->keys, result->key);
    ASSERT(stream); /* core.h rule 4: nothing comes after the end */
    switch (result->kind) {
    case CORE_STARTED:
        on_started(stream, result);
        return;
    case CORE_PREFILL:
        on_prefill(stream, result);
        return;
    case CORE_DELTA:
        on_delta(stream, result);
        return;
    case CORE_DONE:
        on_done(stream, result);
        return;
    case CORE_FAILED:
        if (report->broken) /* the same request may succeed elsewhere */
            worker_stream_give_up(stream, FAULT_WORKER_LOST, slice_str(ENGINE_FAILED));
        else
            worker_stream_fail(stream, result->fault, result->text, NULL);
        return;
    }
}

static void on_broken(struct worker *worker)
{
    if (worker->phase == NODE_FAILED)
        return;
    give_up_waiting(worker, FAULT_WORKER_LOST, slice_str(ENGINE_FAILED));
    fail(worker, "engine_failed", ERR_SYSTEM, ENGINE_FAILED);
}

/* Those that the core has not seen yet have a slot all the same. */
static void count_slots(struct worker *worker, const struct core_report *report)
{
    uint32_t seen = report->running + report->parked + report->waiting;
    uint32_t under_way = worker->in_core > seen ? worker->in_core - seen : 0;
    worker->slots_free = report->slots_free > under_way ? report->slots_free - under_way : 0;
    worker->core_parked = report->parked;
}

static void on_report(void *ctx, const struct core_report *report)
{
    struct worker *worker = ctx;
    for (size_t i = 0; i < report->result_count; i++)
        on_result(worker, report, &report->results[i]);
    worker->stats.tokens += report->tokens_sampled;
    if (report->tokens_sampled > 0)
        worker->last_token_ms = clock_wall_ms();
    metric_add(worker->metrics.tokens, (double)report->tokens_sampled);
    metric_add(worker->metrics.draft_tokens, report->tokens_drafted);
    metric_add(worker->metrics.draft_right, report->drafts_right);
    metric_add(worker->metrics.settled_tokens, (double)report->tokens_settled);
    metric_add(worker->metrics.adapter_changes, report->adapter_changes);
    metric_set(worker->metrics.prefix_bytes, (double)report->prefix_bytes);
    worker_metrics_count_disk(&worker->metrics, &report->disk);
    count_slots(worker, report);
    if (report->broken)
        on_broken(worker);
    worker_pump(worker);
}

/* --- life --- */

static void on_core_stopped(void *ctx)
{
    struct worker *worker = ctx;
    outbox_flush(worker->outbox); /* the last end events; nobody will be here to repeat them */
    worker_state_publish(worker);
    worker_state_close(worker);
    worker_load_close(worker);
    worker_inbox_close(worker);
    deadline_clear(&worker->beat);
    deadline_clear(&worker->drain);
    deadline_clear(&worker->state_due);
    log_event(LOG_INFO, "worker_stopped", "model=%s node=%s",
              log_quote(slice_str(worker->model), 64), log_quote(slice_str(worker->node), 96));
    worker->on_stopped(worker->stopped_ctx); /* may free the worker */
}

static void on_drain_over(void *ctx)
{
    struct worker *worker = ctx;
    LIST_FOREACH (link, &worker->living) {
        struct stream *stream = worker_stream_of_link(link);
        if (stream->state != STREAM_RUNNING || stream->cancelled_us)
            continue;
        stream->is_drained = true;
        worker_stream_cancel(stream);
    }
    give_up_waiting(worker, FAULT_DRAINING, SLICE("the worker is stopping"));
    worker_pump(worker);
}

void worker_stop(struct worker *worker, uint32_t drain_ms, void (*on_stopped)(void *ctx), void *ctx)
{
    ASSERT(!worker->is_draining);
    worker->is_draining = true;
    worker->on_stopped = on_stopped;
    worker->stopped_ctx = ctx;
    worker_state_publish(worker);
    if (drain_ms == 0)
        on_drain_over(worker);
    else
        deadline_after(&worker->drain, (uint64_t)drain_ms * US_PER_MS);
    worker_pump(worker);
}

static void init(struct worker *worker, struct bus *bus, const struct worker_options *options)
{
    worker->options = *options;
    worker->pace = (struct worker_pace){.ended_max = 4096,
                                        .ended_ms = 60000,
                                        .kept_bytes_max = (size_t)256 << 20,
                                        .kept_tenant_bytes_max = (size_t)128 << 20,
                                        .beat_ms = 500,
                                        .load_ms = LOAD_INTERVAL_MS,
                                        .state_ms = 50,
                                        .asker_silence_ms = 10000,
                                        .stuck_ms = 5000};
    worker->bus = bus;
    worker->loop = bus_loop(bus);
    worker->phase = NODE_LOADING;
    snprintf(worker->model, sizeof(worker->model), "%s", options->model);
    snprintf(worker->node, sizeof(worker->node), "%s-%08x", options->model, (unsigned)random_u64());
    snprintf(worker->engine_kind, sizeof(worker->engine_kind), "%s", options->engine_kind);
    worker->created_s = clock_wall_ms() / 1000;
    worker->streams = map_new(WORKER_LIVING_MAX + worker->pace.ended_max + 2);
    worker->keys = map_new(WORKER_LIVING_MAX + 1);
    list_init(&worker->living);
    list_init(&worker->ended);
    list_init(&worker->queue);
    list_init(&worker->tasks);
    worker->forms = forms_new(worker->loop);
    worker->outbox = outbox_new(bus, on_asker_gone, worker);
    bus_on_bounce(bus, on_bounce, worker);
    worker_metrics_init(&worker->metrics, options->metrics, slice_str(worker->model));
    deadline_init(&worker->beat, worker->loop, on_beat, worker);
    deadline_init(&worker->drain, worker->loop, on_drain_over, worker);
    worker_state_init(worker);
}

static void fini(struct worker *worker)
{
    worker_inbox_free(worker);
    worker_load_free(worker);
    worker_streams_free(worker);
    bus_on_bounce(worker->bus, NULL, NULL);
    outbox_free(worker->outbox);
    forms_free(worker->forms);
    map_free(worker->streams);
    map_free(worker->keys);
    deadline_clear(&worker->beat);
    deadline_clear(&worker->drain);
    worker_state_fini(worker);
    mem_free(worker);
}

static enum err start_core(struct worker *worker)
{
    static const struct core_thread_events events = {.on_loading = on_loading,
                                                     .on_ready = on_ready,
                                                     .on_failed = on_failed,
                                                     .on_report = on_report,
                                                     .on_selftest = on_selftest,
                                                     .on_stopped = on_core_stopped};
    const struct worker_options *options = &worker->options;
    return core_thread_start(worker->loop, "engine", options->open_engine, options->open_ctx,
                             &options->core, &options->selftest, &events, worker, &worker->core);
}

enum err worker_start(struct bus *bus, const struct worker_options *options,
                      void (*on_ready_fn)(void *ctx),
                      void (*on_failed_fn)(void *ctx, enum err why, const char *note), void *ctx,
                      struct worker **out_worker)
{
    if (options->model[0] == '\0' || strlen(options->model) > WORKER_MODEL_MAX_BYTES)
        return ERR_LIMIT;
    struct worker *worker = mem_alloc(sizeof(*worker));
    init(worker, bus, options);
    worker->on_ready = on_ready_fn;
    worker->on_failed = on_failed_fn;
    worker->ctx = ctx;
    enum err err = worker_inbox_open(worker);
    if (err == ERR_OK)
        err = worker_load_open(worker);
    if (err == ERR_OK)
        err = worker_state_open(worker);
    if (err == ERR_OK)
        err = start_core(worker);
    if (err != ERR_OK) {
        fini(worker);
        return err;
    }
    worker_state_publish(worker);
    worker->beaten_us = loop_now_us(worker->loop);
    deadline_round(&worker->beat, worker->pace.beat_ms * (uint64_t)US_PER_MS);
    *out_worker = worker;
    return ERR_OK;
}

void worker_free(struct worker **worker)
{
    struct worker *going = *worker;
    *worker = NULL;
    if (!going)
        return;
    core_thread_free(&going->core);
    fini(going);
}

struct worker_stats worker_stats(const struct worker *worker)
{
    struct worker_stats stats = worker->stats;
    stats.running = worker->in_core - worker->core_parked;
    stats.queued = worker_waiting(worker);
    stats.parked = worker->core_parked;
    stats.slots_free = worker->slots_free;
    return stats;
}
