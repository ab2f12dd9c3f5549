/* worker_task - the life of a task on a worker: from a submit to the pool, and what comes back from
 * there to the asker. Its stream is PREPARING all the while: it needs no slot, and its end comes
 * with its results. */
#include "worker/worker_impl.h"

#include "base/mem.h"
#include "worker/task_work.h"

struct task_run {
    struct worker *worker;
    struct stream *stream; /* NULL: it has ended, and nobody waits for what the pool finds */
    struct engine *engine; /* open as long as something is being prepared */
    struct cancel_flag *cancel;
    uint64_t begun_us;
    enum task_kind kind;
    struct list link; /* in worker->tasks, until the pool has it; only of those that compute */

    enum err err; /* of the work, with */
    struct task_answer answer;
    struct prep_refusal refusal;
    size_t submit_bytes;
    char submit[];
};

static void work(void *ctx) /* a thread of the pool */
{
    struct task_run *run = ctx;
    run->err = task_work_do(run->engine, slice_of(run->submit, run->submit_bytes), run->kind,
                            run->cancel, &run->answer, &run->refusal);
}

/* --- what comes back --- */

static void emit_started(const struct task_run *run)
{
    struct worker *worker = run->worker;
    struct event event = {.type = EVENT_STARTED};
    event.started.model = slice_str(worker->model);
    event.started.worker = slice_str(worker->node);
    event.started.prompt_tokens = run->answer.prompt_tokens;
    worker_stream_emit(run->stream, &event, NULL);
}

static void emit_usage(const struct task_run *run)
{
    const struct stream *stream = run->stream;
    struct event event = {.type = EVENT_USAGE};
    event.usage.prompt_tokens = run->answer.prompt_tokens;
    event.usage.queue_us = stream->waited_before_us + run->begun_us - stream->arrived_us;
    event.usage.prefill_us = loop_now_us(run->worker->loop) - run->begun_us;
    worker_stream_emit(run->stream, &event, NULL);
}

/* All of it goes to the outbox at once, which lets out what there is credit for: it is bounded by
 * TASK_RESULTS_MAX_BYTES, all of them by has_room(), and who does not listen is soon gone. */
static void answer(struct task_run *run)
{
    struct slice rest = text_slice(&run->answer.parts);
    struct event event = {.type = EVENT_RESULT};
    emit_started(run);
    while (task_answer_next(&rest, &event.result))
        worker_stream_emit(run->stream, &event, NULL);
    emit_usage(run);
    worker_stream_end(run->stream, &(struct event){.type = EVENT_DONE, .done.reason = DONE_STOP});
}

static size_t kept_in(const struct list *streams, uint64_t tenant)
{
    size_t bytes = 0;
    LIST_FOREACH (link, streams) {
        const struct stream *stream = CONTAINER_OF(link, struct stream, link);
        if (stream->tenant == tenant && stream->out)
            bytes += outbox_kept_bytes(stream->out);
    }
    return bytes;
}

static bool fits(size_t bytes, size_t kept, size_t max)
{
    return kept <= max && bytes <= max - kept;
}

/* Who does not read has 8 MiB here for each task, and no slot is what it takes to have many. So a
 * tenant may not have all of the room; where nobody is one, everybody is the same. Streams are
 * counted only when so much waits that it matters. */
static bool has_room(const struct task_run *run)
{
    const struct worker *worker = run->worker;
    size_t bytes = text_slice(&run->answer.parts).len, kept = outbox_all_kept_bytes(worker->outbox);
    size_t tenant_max = worker->pace.kept_tenant_bytes_max;
    uint64_t tenant = run->stream->tenant;
    if (!fits(bytes, kept, worker->pace.kept_bytes_max))
        return false;
    return tenant == 0 || fits(bytes, kept, tenant_max) ||
           fits(bytes, kept_in(&worker->living, tenant) + kept_in(&worker->ended, tenant),
                tenant_max);
}

static void refuse_results(struct task_run *run)
{
    worker_stream_fail(run->stream, FAULT_QUEUE_FULL,
                       SLICE("too many results of this model wait to be read"), NULL);
}

static void run_free(struct task_run *run)
{
    list_remove(&run->link);
    run->worker->preparing--;
    run->worker->preparing_bytes -= run->submit_bytes;
    cancel_flag_unref(run->cancel);
    mem_free(run);
}

static void start_next(struct worker *worker);

static void on_done(void *ctx, enum err status)
{
    struct task_run *run = ctx;
    struct worker *worker = run->worker;
    if (task_computes(run->kind))
        worker->computes_task = false;
    bool has_answer = status == ERR_OK && run->err == ERR_OK;
    if (run->stream) {
        run->stream->task = NULL;
        if (has_answer && has_room(run))
            answer(run);
        else if (has_answer)
            refuse_results(run);
        else
            worker_stream_fail(run->stream, run->refusal.fault, slice_str(run->refusal.message),
                               run->refusal.param);
    }
    if (has_answer)
        task_answer_fini(&run->answer);
    run_free(run);
    start_next(worker);
    worker_pump(worker);
}

static void start(struct task_run *run)
{
    run->begun_us = loop_now_us(run->worker->loop);
    (void)loop_work_start(run->worker->loop, work, on_done, run); /* ended by the flag alone */
}

/* One computes, the others wait for it: first come, first served. */
static void start_next(struct worker *worker)
{
    if (worker->computes_task || list_is_empty(&worker->tasks))
        return;
    worker->computes_task = true;
    start(CONTAINER_OF(list_pop_front(&worker->tasks), struct task_run, link));
}

/* --- what goes there --- */

bool worker_task_begin(struct stream *stream, struct slice submit, enum task_kind kind)
{
    struct worker *worker = stream->worker;
    struct task_run *run = mem_peer_alloc(sizeof(*run) + submit.len);
    if (!run)
        return false;
    *run = (struct task_run){.worker = worker,
                             .stream = stream,
                             .engine = worker->engine,
                             .cancel = cancel_flag_new(),
                             .kind = kind,
                             .submit_bytes = submit.len};
    memcpy(run->submit, submit.data, submit.len);
    stream->task = run;
    list_init(&run->link);
    if (task_computes(kind)) {
        list_push_back(&worker->tasks, &run->link);
        start_next(worker);
    } else {
        start(run);
    }
    return true;
}

void worker_task_leave(struct stream *stream)
{
    struct task_run *run = stream->task;
    if (!run)
        return;
    stream->task = NULL;
    run->stream = NULL;
    atomic_store(&run->cancel->cancelled, true);
    if (list_is_linked(&run->link)) /* nobody has begun it */
        run_free(run);
}
