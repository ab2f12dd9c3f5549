/* worker - one model instance on the bus: its life, and what the engine's side reports. */
#include "worker/worker_impl.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>

enum { US_PER_MS = 1000, MODEL_NAME_MAX_BYTES = BUS_SUBJECT_MAX_BYTES - 7 /* "submit." */ };

struct worker_options worker_options_default(void)
{
    return (struct worker_options){.core = core_options_default(),
                                   .queue_max = 64,
                                   .queue_wait_ms = 2000,
                                   .load_timeout_ms = 300000,
                                   .default_max_tokens = 512};
}

static void set_detail(struct worker *worker, const char *detail)
{
    snprintf(worker->detail, sizeof(worker->detail), "%s", detail ? detail : "");
}

static struct stream *worker_stream_of_link(struct list *link)
{
    return CONTAINER_OF(link, struct stream, link);
}

/* --- the queue --- */

static void refuse_late(struct stream *stream)
{
    const struct admission_place *place = &stream->place;
    if (place->expires_us == place->deadline_us)
        worker_stream_fail(stream, FAULT_QUEUE_TIMEOUT, SLICE("the request's deadline has passed"),
                           NULL);
    else if (place->phase == ADMISSION_LOADING)
        worker_stream_fail(stream, FAULT_LOADING, SLICE("the model is still loading"), NULL);
    else
        worker_stream_fail(stream, FAULT_QUEUE_TIMEOUT, SLICE("no place became free in time"),
                           NULL);
}

static void arm_expiry(struct worker *worker)
{
    uint64_t wake_us = admission_wake_us(&worker->admission);
    if (wake_us == UINT64_MAX)
        deadline_clear(&worker->expiry);
    else
        deadline_at(&worker->expiry, wake_us);
}

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
    for (struct admission_place *place; (place = admission_next(&worker->admission));)
        worker_stream_start(worker_stream_of_place(place));
    uint64_t now_us = loop_now_us(worker->loop);
    for (struct admission_place *place; (place = admission_expired(&worker->admission, now_us));)
        refuse_late(worker_stream_of_place(place));
    arm_expiry(worker);
    if (worker->admission.count > 0 && !deadline_is_armed(&worker->progress))
        deadline_after(&worker->progress, worker->pace.progress_ms * (uint64_t)US_PER_MS);
    worker_state_changed(worker);
    stop_if_idle(worker);
}

static void on_expiry(void *ctx)
{
    worker_pump(ctx);
}

static void on_progress_due(void *ctx)
{
    struct worker *worker = ctx;
    uint32_t position = 0;
    for (struct admission_place *place = NULL;
         (place = admission_after(&worker->admission, place));)
        worker_stream_tell_progress(worker_stream_of_place(place), position++);
    if (position > 0)
        deadline_after(&worker->progress, worker->pace.progress_ms * (uint64_t)US_PER_MS);
}

/* --- heartbeats --- */

static bool engine_is_stuck(const struct worker *worker)
{
    return core_thread_progress_age_ms(worker->core) > worker->pace.stuck_ms;
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
    if (now_us - worker->beaten_us > 2 * (uint64_t)worker->pace.beat_ms * US_PER_MS)
        worker->awake_since_us = now_us;
    worker->beaten_us = now_us;
}

static void on_beat(void *ctx)
{
    struct worker *worker = ctx;
    notice_own_pause(worker);
    worker_streams_forget_old(worker);
    beat_all(worker, &worker->ended, false);
    beat_all(worker, &worker->living, engine_is_stuck(worker));
    deadline_after(&worker->beat, worker->pace.beat_ms * (uint64_t)US_PER_MS);
    worker_pump(worker);
}

static void on_asker_gone(void *ctx, void *owner) /* the outbox's */
{
    worker_stream_lose(owner);
    worker_pump(ctx);
}

/* --- what the engine's side says --- */

static void fail_all(struct worker *worker, enum fault fault, struct slice message)
{
    LIST_FOREACH_SAFE (link, &worker->living) {
        struct stream *stream = worker_stream_of_link(link);
        if (stream->state != STREAM_RUNNING) /* the core ends those */
            worker_stream_fail(stream, fault, message, NULL);
    }
}

static void on_loading(void *ctx, float fraction)
{
    struct worker *worker = ctx;
    worker->load_fraction = fraction;
    worker_state_changed(worker);
}

static void on_ready(void *ctx, struct engine *engine)
{
    struct worker *worker = ctx;
    if (worker->is_stopping)
        return; /* it was under way */
    worker->engine = engine;
    worker->context_tokens = engine->info.context_tokens;
    worker->weights_bytes = engine->info.weights_bytes;
    worker->phase = NODE_READY;
    worker->load_fraction = 1;
    worker->created_s = clock_wall_ms() / 1000;
    set_detail(worker, engine->info.description);
    snprintf(worker->engine_kind, sizeof(worker->engine_kind), "%s", engine->info.kind);
    admission_loaded(&worker->admission, engine->info.slots);
    LIST_FOREACH (link, &worker->living)
        worker_stream_prepare(worker_stream_of_link(link));
    log_event(LOG_INFO, "model_ready", "model=%s engine=%s slots=%u context=%u node=%s",
              log_quote(slice_str(worker->model), 64), worker->engine_kind, engine->info.slots,
              engine->info.context_tokens, log_quote(slice_str(worker->node), 96));
    worker_pump(worker);
    if (!worker->is_draining && worker->on_ready)
        worker->on_ready(worker->ctx);
}

static void on_failed(void *ctx, enum err why, const char *note)
{
    struct worker *worker = ctx;
    worker->phase = NODE_FAILED;
    set_detail(worker, note);
    fail_all(worker, FAULT_MODEL_FAILED, slice_str(worker->detail));
    worker_pump(worker);
    if (worker->is_draining)
        return; /* it was we who broke the load off */
    log_event(LOG_ERROR, "model_failed", "model=%s err=%s note=%s",
              log_quote(slice_str(worker->model), 64), err_name(why),
              log_quote(slice_str(worker->detail), sizeof(worker->detail)));
    if (worker->on_failed)
        worker->on_failed(worker->ctx, why, worker->detail);
}

static void on_started(struct stream *stream)
{
    const struct worker *worker = stream->worker;
    struct event event = {.type = EVENT_STARTED};
    event.started.model = slice_str(worker->model);
    event.started.worker = slice_str(worker->node);
    event.started.prompt_tokens = stream->prompt_tokens;
    event.started.seed = stream->seed;
    worker_stream_emit(stream, &event, NULL);
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
    ASSERT(result->token_count <= UINT16_MAX);
    struct event event = {.type = EVENT_DELTA};
    event.delta.token_count = (uint16_t)result->token_count;
    event.delta.text = result->text;
    worker_stream_emit(stream, &event, result->tokens);
}

static void on_done(struct stream *stream, const struct core_result *result)
{
    struct worker *worker = stream->worker;
    admission_count_served(&worker->admission, loop_now_us(worker->loop) - stream->started_us);
    struct event usage = {.type = EVENT_USAGE};
    usage.usage.prompt_tokens = result->prompt_tokens;
    usage.usage.completion_tokens = result->completion_tokens;
    usage.usage.queue_us = stream->started_us - stream->arrived_us;
    usage.usage.prefill_us = result->prefill_us;
    usage.usage.decode_us = result->decode_us;
    if (result->reason == DONE_CANCELLED && stream->out)
        outbox_drop_waiting(stream->out);
    worker_stream_emit(stream, &usage, NULL);
    if (result->reason == DONE_CANCELLED && stream->is_drained) {
        worker_stream_fail(stream, FAULT_DRAINING, SLICE("the worker is stopping"), NULL);
        return;
    }
    struct event end = {.type = EVENT_DONE};
    end.done.reason = result->reason;
    end.done.stop = result->stop;
    worker_stream_end(stream, &end);
}

static void on_result(struct worker *worker, const struct core_report *report,
                      const struct core_result *result)
{
    struct stream *stream = map_get(worker->keys, result->key);
    ASSERT(stream); /* core.h rule 4: nothing comes after the end */
    switch (result->kind) {
    case CORE_STARTED:
        on_started(stream);
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
            worker_stream_fail(stream, FAULT_WORKER_LOST, SLICE("the engine failed"), NULL);
        else
            worker_stream_fail(stream, result->fault, result->message, NULL);
        return;
    }
}

static void on_broken(struct worker *worker)
{
    if (worker->phase == NODE_FAILED)
        return;
    worker->phase = NODE_FAILED;
    set_detail(worker, "the engine failed");
    log_event(LOG_ERROR, "engine_failed", "model=%s node=%s",
              log_quote(slice_str(worker->model), 64), log_quote(slice_str(worker->node), 96));
    fail_all(worker, FAULT_WORKER_LOST, slice_str(worker->detail));
}

static void on_report(void *ctx, const struct core_report *report)
{
    struct worker *worker = ctx;
    for (size_t i = 0; i < report->result_count; i++)
        on_result(worker, report, &report->results[i]);
    worker->stats.tokens += report->tokens_sampled;
    if (report->tokens_sampled > 0)
        worker->last_token_ms = clock_wall_ms();
    worker->core_parked = report->parked;
    admission_set_slots_free(&worker->admission, report->slots_free, worker->in_core,
                             report->running + report->parked);
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
        if (stream->state != STREAM_RUNNING || stream->is_cancelled)
            continue;
        stream->is_drained = true;
        worker_stream_cancel(stream);
    }
    fail_all(worker, FAULT_DRAINING, SLICE("the worker is stopping"));
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
                                        .beat_ms = 500,
                                        .progress_ms = 250,
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
    worker->outbox = outbox_new(bus, on_asker_gone, worker);
    admission_init(&worker->admission,
                   &(struct admission_options){.queue_max = options->queue_max,
                                               .queue_wait_ms = options->queue_wait_ms,
                                               .load_timeout_ms = options->load_timeout_ms});
    deadline_init(&worker->expiry, worker->loop, on_expiry, worker);
    deadline_init(&worker->beat, worker->loop, on_beat, worker);
    deadline_init(&worker->progress, worker->loop, on_progress_due, worker);
    deadline_init(&worker->drain, worker->loop, on_drain_over, worker);
    worker_state_init(worker);
}

static void fini(struct worker *worker)
{
    worker_inbox_free(worker);
    worker_streams_free(worker);
    outbox_free(worker->outbox);
    map_free(worker->streams);
    map_free(worker->keys);
    deadline_clear(&worker->expiry);
    deadline_clear(&worker->beat);
    deadline_clear(&worker->progress);
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
                                                     .on_stopped = on_core_stopped};
    return core_thread_start(worker->loop, "engine", worker->options.open_engine,
                             worker->options.open_ctx, &worker->options.core, &events, worker,
                             &worker->core);
}

enum err worker_start(struct bus *bus, const struct worker_options *options,
                      void (*on_ready_fn)(void *ctx),
                      void (*on_failed_fn)(void *ctx, enum err why, const char *note), void *ctx,
                      struct worker **out_worker)
{
    if (options->model[0] == '\0' || strlen(options->model) > MODEL_NAME_MAX_BYTES)
        return ERR_LIMIT;
    struct worker *worker = mem_alloc(sizeof(*worker));
    init(worker, bus, options);
    worker->on_ready = on_ready_fn;
    worker->on_failed = on_failed_fn;
    worker->ctx = ctx;
    enum err err = worker_inbox_open(worker);
    if (err == ERR_OK)
        err = start_core(worker);
    if (err != ERR_OK) {
        fini(worker);
        return err;
    }
    worker_state_publish(worker);
    deadline_after(&worker->beat, worker->pace.beat_ms * (uint64_t)US_PER_MS);
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
    stats.queued = worker->admission.count;
    stats.parked = worker->core_parked;
    stats.slots_free = worker->admission.slots_free;
    return stats;
}
