/* core_inline - a core stepped by deadlines. See core_inline.h. */
#include "testing/sim/core_inline.h"

#include "base/mem.h"

enum { LOAD_PARTS = 4 };

struct core_thread {
    struct loop *loop;
    struct core_thread_events events;
    void *ctx;
    engine_open_fn *open_engine;
    void *open_ctx;
    struct core_options options;
    struct core_pace *pace;
    struct engine *engine;
    struct core *core;
    struct core_report report; /* of the last step */
    uint32_t loaded_parts;
    bool has_failed, is_stopping, is_stopped;
    struct deadline tick; /* the end of a step, or of a part of the load */
    bool is_busy;         /* since the tick was armed for one */
    uint64_t progress_us;
};

static struct core_pace *next_pace;

void core_inline_next(struct core_pace *pace)
{
    next_pace = pace;
}

static uint64_t read_clock(void *host)
{
    const struct core_thread *thread = host;
    return loop_now_us(thread->loop);
}

/* --- steps --- */

static void begin(struct core_thread *thread, uint64_t takes_us)
{
    if (!thread->is_busy)
        thread->progress_us = loop_now_us(thread->loop);
    thread->is_busy = true;
    deadline_after(&thread->tick, takes_us);
}

/* What it does next: a step, or nothing until a parked sequence is to be saved. */
static void go_on(struct core_thread *thread)
{
    uint64_t wake_us;
    if (!thread->core || thread->is_stopping || thread->is_busy)
        return;
    if (core_has_work(thread->core, loop_now_us(thread->loop), &wake_us))
        begin(thread, thread->pace->step_us);
    else if (wake_us != UINT64_MAX)
        deadline_at(&thread->tick, wake_us);
    else
        deadline_clear(&thread->tick);
}

static void step(struct core_thread *thread)
{
    uint64_t wake_us, now_us = loop_now_us(thread->loop);
    thread->is_busy = false;
    bool is_news = core_has_work(thread->core, now_us, &wake_us) &&
                   core_step(thread->core, now_us, &thread->report);
    thread->progress_us = now_us;
    if (is_news)
        thread->events.on_report(thread->ctx, &thread->report);
    go_on(thread);
}

static bool ignore_progress(void *ctx, float fraction)
{
    (void)ctx, (void)fraction; /* told by parts, below */
    return true;
}

static void open_engine(struct core_thread *thread)
{
    struct err_note note = {0};
    enum err why =
        thread->open_engine(thread->open_ctx, ignore_progress, NULL, &thread->engine, &note);
    thread->is_busy = false;
    if (why != ERR_OK) {
        thread->has_failed = true;
        thread->events.on_failed(thread->ctx, why, note.text);
        return;
    }
    thread->core = core_new(thread->engine, &thread->options);
    thread->events.on_ready(thread->ctx, thread->engine);
    go_on(thread);
}

static void load_part(struct core_thread *thread)
{
    thread->progress_us = loop_now_us(thread->loop);
    if (++thread->loaded_parts > LOAD_PARTS) {
        open_engine(thread);
        return;
    }
    begin(thread, thread->pace->load_us / LOAD_PARTS);
    thread->events.on_loading(thread->ctx, (float)thread->loaded_parts / LOAD_PARTS);
}

static void stop(struct core_thread *thread)
{
    core_free(thread->core);
    thread->core = NULL;
    engine_close(&thread->engine);
    thread->is_stopped = true;
    thread->pace->thread = NULL;
    thread->events.on_stopped(thread->ctx); /* may free the thread */
}

static void on_tick(void *ctx)
{
    struct core_thread *thread = ctx;
    if (thread->is_stopping)
        stop(thread);
    else if (thread->pace->is_stalled)
        return; /* core_pace_stall() goes on here */
    else if (thread->core)
        step(thread);
    else if (!thread->has_failed)
        load_part(thread);
}

void core_pace_stall(struct core_pace *pace, bool is_stalled)
{
    bool goes_on = pace->is_stalled && !is_stalled;
    pace->is_stalled = is_stalled;
    if (goes_on && pace->thread && pace->thread->is_busy)
        deadline_after(&pace->thread->tick, pace->step_us);
}

/* --- core_thread.h --- */

enum err core_thread_start(struct loop *loop, const char *name, engine_open_fn *open,
                           void *open_ctx, const struct core_options *options,
                           const struct selftest_options *selftest,
                           const struct core_thread_events *events, void *ctx,
                           struct core_thread **out_thread)
{
    (void)name;     /* there is no thread to be called so */
    (void)selftest; /* the dummy has none */
    ASSERT(next_pace && next_pace->step_us > 0);
    struct core_thread *thread = mem_alloc(sizeof(*thread));
    *thread = (struct core_thread){.loop = loop,
                                   .events = *events,
                                   .ctx = ctx,
                                   .open_engine = open,
                                   .open_ctx = open_ctx,
                                   .options = *options,
                                   .pace = next_pace};
    thread->options.clock_us = read_clock;
    thread->options.poll = NULL;
    thread->options.host = thread;
    thread->pace->thread = thread;
    core_report_init(&thread->report);
    next_pace = NULL;
    deadline_init(&thread->tick, loop, on_tick, thread);
    begin(thread, thread->pace->load_us / LOAD_PARTS);
    *out_thread = thread;
    return ERR_OK;
}

/* The worker submits nothing before on_ready(): what core_thread.h promises for that is not here.
 */
void core_thread_submit(struct core_thread *thread, struct core_job **job)
{
    ASSERT(thread->core || thread->has_failed || thread->is_stopping);
    if (!thread->core || thread->is_stopping) {
        core_job_free(job); /* rule 3 */
        return;
    }
    core_start(thread->core, job);
    go_on(thread);
}

void core_thread_cancel(struct core_thread *thread, uint64_t key)
{
    if (thread->core && !thread->is_stopping)
        core_cancel(thread->core, key);
    go_on(thread);
}

void core_thread_credit(struct core_thread *thread, uint64_t key, uint64_t event_limit,
                        uint64_t byte_limit)
{
    if (thread->core && !thread->is_stopping)
        core_credit(thread->core, key, event_limit, byte_limit);
    go_on(thread);
}

void core_thread_stop(struct core_thread *thread)
{
    if (thread->is_stopping)
        return;
    thread->is_stopping = true;
    deadline_at(&thread->tick, loop_now_us(thread->loop));
}

void core_thread_free(struct core_thread **thread)
{
    if (!*thread)
        return;
    ASSERT((*thread)->is_stopped);
    core_report_fini(&(*thread)->report);
    mem_free(*thread);
    *thread = NULL;
}

uint64_t core_thread_progress_age_ms(const struct core_thread *thread)
{
    uint64_t now_us = loop_now_us(thread->loop);
    return thread->is_busy && now_us > thread->progress_us ? (now_us - thread->progress_us) / 1000
                                                           : 0;
}
