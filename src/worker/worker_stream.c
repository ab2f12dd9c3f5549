/* worker_stream - the life of a request on a worker: its states, its events, its end. */
#include "worker/worker_impl.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

enum {
    US_PER_MS = 1000,
    WAITED_BEFORE_MAX_MS = 24 * 3600 * 1000,
    RETRY_AFTER_MS =
        1000, /* what is refused here should not have come: by then the manager knows */
};

/* Work of the pool for a stream that may end before it is done. */
struct preparation {
    struct worker *worker;
    struct stream *stream; /* NULL: it has ended */
    struct prep *prep;
    size_t bytes;
};

/* --- states --- */

#define TO(state) (1u << STREAM_##state)
static const uint8_t allowed[STREAM_STATE_COUNT] = {
    [STREAM_PREPARING] = TO(WAITING) | TO(ENDED),
    [STREAM_WAITING] = TO(RUNNING) | TO(ENDED),
    [STREAM_RUNNING] = TO(ENDED),
    [STREAM_ENDED] = 0,
};

/* Releases what belonged to the state that is left. */
static void leave_state(struct stream *stream)
{
    struct worker *worker = stream->worker;
    worker_task_leave(stream);
    if (stream->preparation) {
        stream->preparation->stream = NULL;
        prep_cancel(stream->preparation->prep);
        stream->preparation = NULL;
    }
    list_remove(&stream->queue_link);
    core_job_free(&stream->job);
    if (stream->state == STREAM_RUNNING) {
        (void)map_remove(worker->keys, stream->key);
        worker->in_core--;
    }
}

static void set_state(struct stream *stream, enum stream_state next) /* the only writer of it */
{
    ASSERT_MSG(allowed[stream->state] & (1u << next), "from %d to %d", (int)stream->state,
               (int)next);
    leave_state(stream);
    stream->state = next;
}

/* As the core sees it: parked is who may not say more. */
static bool is_parked(const struct stream *stream)
{
    return stream->delta_count >= stream->told_limits.delta_events ||
           stream->delta_bytes >= stream->told_limits.delta_bytes;
}

struct wire_held worker_stream_held(const struct stream *stream)
{
    enum held_state state = HELD_WAITING;
    if (stream->state == STREAM_RUNNING)
        state = is_parked(stream) ? HELD_PARKED : HELD_RUNNING;
    return (struct wire_held){.state = state, .tokens = stream->tokens};
}

/* --- events --- */

void worker_stream_emit(struct stream *stream, const struct event *event, const int32_t *tokens)
{
    if (stream->out)
        outbox_add(stream->out, event, tokens);
}

/* --- the end --- */

static bool is_natural_end(const struct event *end)
{
    return end->type == EVENT_DONE && end->done.reason != DONE_CANCELLED;
}

static void count_end(struct stream *stream, const struct event *end) /* NULL: handed back */
{
    struct worker *worker = stream->worker;
    struct worker_stats *stats = &worker->stats;
    if (!end)
        stats->handed_back++;
    else if (is_natural_end(end))
        stats->done++;
    else if (end->type == EVENT_DONE)
        stats->cancelled++;
    else if (stream->state == STREAM_RUNNING)
        stats->failed++;
    else
        stats->refused++;
    worker_metrics_count_end(&worker->metrics, end);
    if (stream->cancelled_us)
        metric_observe(worker->metrics.cancel_seconds,
                       (double)(loop_now_us(worker->loop) - stream->cancelled_us) / 1e6);
}

static void tell_released(const struct stream *stream)
{
    struct worker *worker = stream->worker;
    struct wire_released released = {.tokens = stream->tokens};
    if (stream->started_us)
        released.kept_us = loop_now_us(worker->loop) - stream->started_us;
    worker_load_released(worker, stream->id.low, stream->epoch, &released);
}

static void finish(struct stream *stream, const struct event *end)
{
    struct worker *worker = stream->worker;
    count_end(stream, end);
    tell_released(stream);
    set_state(stream, STREAM_ENDED);
    mem_free(stream->names);
    stream->names = NULL;
    stream->ended_us = loop_now_us(worker->loop);
    list_remove(&stream->link);
    list_push_back(&worker->ended, &stream->link);
    worker->living_count--;
    worker->ended_count++;
    worker_streams_forget_old(worker);
}

void worker_stream_end(struct stream *stream, const struct event *end)
{
    if (stream->out && !is_natural_end(end))
        outbox_drop_waiting(stream->out);
    worker_stream_emit(stream, end, NULL);
    finish(stream, end);
}

void worker_stream_fail(struct stream *stream, enum fault fault, struct slice message,
                        const char *param)
{
    struct event end = {.type = EVENT_ERROR};
    end.error.fault = fault;
    end.error.message = message;
    end.error.param = slice_str(param);
    if (fault == FAULT_QUEUE_FULL)
        end.error.retry_after_ms = RETRY_AFTER_MS;
    worker_stream_end(stream, &end);
}

void worker_stream_give_up(struct stream *stream, enum fault fault, struct slice message)
{
    if (stream->delta_count > 0) {
        worker_stream_fail(stream, fault, message, NULL);
        return;
    }
    if (stream->out)
        worker_say_unknown(stream->worker, stream->names->inbox, stream->id.low, stream->epoch);
    outbox_close(&stream->out);
    stream->is_handed_back = true;
    finish(stream, NULL);
}

static void end_cancelled(struct stream *stream)
{
    struct event end = {.type = EVENT_DONE};
    end.done.reason = DONE_CANCELLED;
    worker_stream_end(stream, &end);
}

/* --- from the pool, to the core --- */

static struct outbox_limits limits_of(const struct stream *stream)
{
    /* Nobody listens: it is cancelled, and needs no credit to end. */
    return stream->out ? outbox_limits(stream->out) : (struct outbox_limits){0};
}

static void take_job(struct stream *stream, struct core_job *job)
{
    stream->preparation = NULL;
    set_state(stream, STREAM_WAITING);
    list_push_back(&stream->worker->queue, &stream->queue_link);
    stream->job = job;
    stream->prompt_tokens = job->prompt_count;
    stream->replayed_tokens = job->said.is_over ? 0 : job->said.count;
    stream->seed = job->sampling.seed;
}

static void on_prepared(void *ctx, enum err err, struct core_job *job,
                        const struct prep_refusal *refusal)
{
    struct preparation *preparation = ctx;
    struct worker *worker = preparation->worker;
    struct stream *stream = preparation->stream;
    worker->preparing--;
    worker->preparing_bytes -= preparation->bytes;
    mem_free(preparation);
    if (!stream) {
        core_job_free(&job);
    } else if (err == ERR_OK) {
        take_job(stream, job);
    } else {
        stream->preparation = NULL;
        worker_stream_fail(stream, refusal->fault, slice_str(refusal->message), refusal->param);
    }
    worker_pump(worker);
}

/* Time stands still in a turn. */
static bool take_place_in_line(struct worker *worker, size_t bytes)
{
    uint64_t now_us = loop_now_us(worker->loop);
    if (worker->in_line_at_us != now_us)
        worker->in_line_bytes = 0;
    worker->in_line_at_us = now_us;
    if (bytes > WORKER_IN_LINE_BYTES_MAX - worker->in_line_bytes)
        return false;
    worker->in_line_bytes += bytes;
    return true;
}

/* The ends of system prompts are of use where there is a cache to keep them. */
static uint32_t mark_tokens(const struct worker *worker)
{
    const struct core_options *core = &worker->options.core;
    return core->prefix_bytes_max > 0 && worker->engine->info.can_save ? core->prefix_save_tokens
                                                                       : 0;
}

/* NULL: no memory. */
static struct preparation *preparation_new(struct stream *stream, struct slice submit,
                                           bool want_progress)
{
    struct worker *worker = stream->worker;
    struct prep_options options = {.limits = {worker->options.default_max_tokens,
                                              worker->options.context_margin, mark_tokens(worker)},
                                   .want_progress = want_progress,
                                   .in_line = take_place_in_line(worker, submit.len),
                                   .forms = worker->forms};
    struct preparation *preparation = mem_alloc(sizeof(*preparation));
    *preparation = (struct preparation){.worker = worker, .stream = stream, .bytes = submit.len};
    preparation->prep =
        prep_start(worker->loop, worker->engine, submit, &options, on_prepared, preparation);
    if (preparation->prep)
        return preparation;
    mem_free(preparation);
    return NULL;
}

static void tell_first_work(struct worker *worker)
{
    if (!worker->has_told_work && worker->options.on_first_work)
        worker->options.on_first_work(worker->ctx);
    worker->has_told_work = true;
}

static bool begin_preparing(struct stream *stream, struct slice submit, const struct request *head)
{
    if (head->task.kind != TASK_NONE)
        return worker_task_begin(stream, submit, head->task.kind);
    stream->preparation = preparation_new(stream, submit, head->want_progress);
    return stream->preparation != NULL;
}

/* What it would say is, or may be, the rest of another answer. Where nothing is known of this
 * worker's numbers yet, those of one model on one kind of processor are taken to be the same; not
 * so with adapters, whose files are replaced by newer trainings under the same name. */
static bool has_other_numerics(const struct worker *worker, const struct request *head)
{
    struct slice mine = slice_str(worker->selftest.fingerprint);
    struct slice begun_with = head->continue_from.numerics;
    bool has_adapters = worker->engine->info.adapter_count > 0 || head->adapters.count > 0;
    if (begun_with.len == 0)
        return false;
    return mine.len > 0 ? !slice_eq(mine, begun_with) : has_adapters;
}

void worker_stream_prepare(struct stream *stream, struct slice submit, const struct request *head)
{
    struct worker *worker = stream->worker;
    if (worker->engine->info.reads_only && head->task.kind == TASK_NONE) {
        worker_stream_fail(stream, FAULT_UNSUPPORTED_PARAMETER,
                           SLICE("this model writes nothing: it is for embeddings or reranking"),
                           "model");
        return;
    }
    if (has_other_numerics(worker, head)) { /* the manager did not know */
        worker_stream_fail(stream, FAULT_WORKER_LOST,
                           SLICE("the worker is lost, and this one has other numerics than the "
                                 "one that began the answer"),
                           NULL);
        return;
    }
    if (worker->living_count > WORKER_LIVING_MAX ||
        worker->preparing_bytes + submit.len > WORKER_PREPARING_BYTES_MAX) {
        worker_stream_fail(stream, FAULT_QUEUE_FULL, SLICE("too many requests wait for this model"),
                           NULL);
        return;
    }
    tell_first_work(worker);
    if (!begin_preparing(stream, submit, head)) {
        worker_stream_fail(stream, FAULT_INSUFFICIENT_MEMORY,
                           SLICE("no memory to prepare the request"), NULL);
        return;
    }
    worker->stats.accepted++;
    worker->preparing++;
    worker->preparing_bytes += submit.len;
}

void worker_stream_start(struct stream *stream)
{
    struct worker *worker = stream->worker;
    struct core_job *job = stream->job;
    stream->job = NULL;
    stream->told_limits = limits_of(stream);
    stream->cancel = cancel_flag_new();
    stream->key = job->key = ++worker->last_key;
    stream->started_us = loop_now_us(worker->loop);
    job->cancel = cancel_flag_ref(stream->cancel);
    job->event_limit = stream->told_limits.delta_events;
    job->byte_limit = stream->told_limits.delta_bytes;
    set_state(stream, STREAM_RUNNING);
    enum err err = map_put(worker->keys, stream->key, stream);
    ASSERT(err == ERR_OK); /* room for WORKER_LIVING_MAX */
    worker->in_core++;
    core_thread_submit(worker->core, &job);
}

/* --- what the asker says --- */

static void cancel_running(struct stream *stream)
{
    if (stream->cancelled_us)
        return;
    stream->cancelled_us = loop_now_us(stream->worker->loop);
    atomic_store(&stream->cancel->cancelled, true);
    core_thread_cancel(stream->worker->core, stream->key);
}

/* A cancel for a stream whose end was sent crossed it, or comes from an inbox that knows the stream
 * no more: either way nobody waits for the end. (An asker that did will hear unknown_stream.) */
static void cancel_ended(struct stream *stream)
{
    if (stream->out && outbox_end_is_sent(stream->out))
        outbox_close(&stream->out);
}

void worker_stream_cancel(struct stream *stream)
{
    if (stream->state == STREAM_ENDED)
        cancel_ended(stream);
    else if (stream->state == STREAM_RUNNING)
        cancel_running(stream);
    else
        end_cancelled(stream);
}

void worker_stream_lose(struct stream *stream)
{
    outbox_close(&stream->out);
    if (stream->state != STREAM_ENDED)
        worker_stream_cancel(stream);
}

void worker_stream_credit(struct stream *stream, const struct wire_record *record)
{
    struct wire_credit credit;
    if (!stream->out || wire_read_credit(record, &credit) != ERR_OK)
        return;
    outbox_credit(stream->out, &credit, record->flags & WIRE_FLAG_RESEND);
    if (outbox_end_is_acked(stream->out)) {
        outbox_close(&stream->out);
        return;
    }
    struct outbox_limits limits = outbox_limits(stream->out);
    if (stream->state != STREAM_RUNNING ||
        (limits.delta_events <= stream->told_limits.delta_events &&
         limits.delta_bytes <= stream->told_limits.delta_bytes))
        return;
    stream->told_limits = limits;
    core_thread_credit(stream->worker->core, stream->key, limits.delta_events, limits.delta_bytes);
}

/* --- beginning and end --- */

static struct outbox_stream *open_outbox(struct stream *stream, const struct request *head)
{
    return outbox_open(stream->worker->outbox,
                       &(struct outbox_stream_options){.stream = request_stream(head),
                                                       .epoch = head->epoch,
                                                       .inbox = head->inbox,
                                                       .credit_events = head->credit_events,
                                                       .credit_bytes = head->credit_bytes,
                                                       .owner = stream});
}

/* From its arrival at the service until now. Clocks of two machines differ: what they cannot have
 * measured (less than nothing, more than anybody waits) counts as nothing. */
static uint64_t waited_before_us(const struct request *head)
{
    int64_t waited_ms = head->arrival_ms ? clock_wall_ms() - head->arrival_ms : 0;
    bool is_sane = waited_ms >= 0 && waited_ms <= WAITED_BEFORE_MAX_MS;
    return is_sane ? (uint64_t)waited_ms * US_PER_MS : 0;
}

static struct slice put(char **at, struct slice text)
{
    char *begin = *at;
    if (text.len)
        memcpy(begin, text.data, text.len);
    *at += text.len;
    return slice_of(begin, text.len);
}

/* NULL: no memory. */
static struct stream_names *names_new(const struct request *head)
{
    struct stream_names *names = mem_peer_alloc(
        sizeof(*names) + head->inbox.len + head->tenant.len + head->session.len + head->label.len);
    if (!names)
        return NULL;
    char *at = names->bytes;
    names->arrival_ms = head->arrival_ms;
    names->inbox = put(&at, head->inbox);
    names->tenant = put(&at, head->tenant);
    names->session = put(&at, head->session);
    names->label = put(&at, head->label);
    return names;
}

struct stream *worker_stream_new(struct worker *worker, const struct request *head,
                                 uint32_t manager_id)
{
    struct stream_names *names = names_new(head);
    if (!names)
        return NULL;
    struct stream *stream = mem_alloc(sizeof(*stream));
    *stream = (struct stream){.worker = worker,
                              .state = STREAM_PREPARING,
                              .id = head->id,
                              .tenant = head->tenant.len ? hash_bytes(head->tenant) : 0,
                              .epoch = head->epoch,
                              .is_known = true,
                              .arrived_us = loop_now_us(worker->loop),
                              .waited_before_us = waited_before_us(head),
                              .names = names,
                              .manager_id = manager_id};
    list_init(&stream->queue_link);
    list_push_back(&worker->living, &stream->link);
    worker->living_count++;
    stream->out = open_outbox(stream, head);
    enum err err = map_put(worker->streams, stream->id.low, stream);
    ASSERT(err == ERR_OK); /* room for the living, the ended, and one between */
    struct event accepted = {.type = EVENT_ACCEPTED};
    accepted.accepted.worker = slice_str(worker->node);
    accepted.accepted.control = bus_inbox(worker->bus);
    worker_stream_emit(stream, &accepted, NULL);
    return stream;
}

static void make_unknown(struct stream *stream)
{
    (void)map_remove(stream->worker->streams, stream->id.low);
    stream->is_known = false;
}

void worker_stream_supersede(struct stream *stream)
{
    make_unknown(stream);
    worker_stream_lose(stream);
}

static void free_ended(struct stream *stream)
{
    if (stream->is_known)
        make_unknown(stream);
    outbox_close(&stream->out);
    cancel_flag_unref(stream->cancel);
    list_remove(&stream->link);
    stream->worker->ended_count--;
    mem_free(stream);
}

static bool is_old(const struct worker *worker, const struct stream *stream)
{
    return worker->ended_count > worker->pace.ended_max ||
           loop_now_us(worker->loop) - stream->ended_us >=
               worker->pace.ended_ms * (uint64_t)US_PER_MS;
}

void worker_streams_forget_old(struct worker *worker)
{
    while (!list_is_empty(&worker->ended)) {
        struct stream *oldest = CONTAINER_OF(worker->ended.next, struct stream, link);
        if (!is_old(worker, oldest))
            return;
        free_ended(oldest);
    }
}

void worker_streams_free(struct worker *worker)
{
    ASSERT(list_is_empty(&worker->living));
    while (!list_is_empty(&worker->ended))
        free_ended(CONTAINER_OF(worker->ended.next, struct stream, link));
}
