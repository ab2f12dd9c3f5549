/* core_thread - one thread that waits in one place (wait_for_command), and its two doors. */
#include "worker/core_thread.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

enum {
    COMMANDS_MAX = 1024,
    COMMANDS_PER_STEP = 256, /* so that a flood of them cannot stop the decoding */
    LETTERS_MAX = 256,
    GATHERED_KEYS_MAX = 1 << 20,
    /* Of a report that the engine thread hands on itself when the loop sleeps: a token then goes
     * without a change of threads from the step to the bus. It takes 1 us for each; with more of
     * them the loop's thread is worth waking, as it works while the next step does. */
    TURN_RESULTS_MAX = 64,
    /* And only when the last so many steps were so far apart: of faster ones the loop gets several
     * at once, which leave in one frame and one write (8 streams of the dummy without a delay: 60
     * events a write, not 15, also because the first step behind a pause is not hurried out). */
    TURN_STEPS = 4,
    TURN_STEP_US = 500,
    RETRY_US = 5000 /* a full chan, a full mailbox: when to look again */
};
static const uint64_t RESTING = UINT64_MAX; /* as the time of the last progress */
static const float LOADING_STEP = 0.01f;

struct command { /* to the engine thread; for one key, done in the order of the fields */
    struct mail mail;
    struct list link; /* in thread->gathered */
    uint64_t key;
    struct core_job *job;
    bool has_credit, is_cancel;
    uint64_t event_limit, byte_limit;
};

enum letter_kind {
    LETTER_LOADING,
    LETTER_READY,
    LETTER_FAILED,
    LETTER_REPORT,
    LETTER_SELFTEST,
    LETTER_STOPPED
};

struct letter { /* to the loop */
    struct mail mail;
    enum letter_kind kind;
    float fraction;
    enum err why;
    struct err_note *note;
    struct engine *engine;
    struct core_report report;
    struct selftest_result selftest;
    struct text file; /* of it, to be written; empty: not */
};

struct core_thread {
    /* The loop's. */
    struct loop *loop;
    struct core_thread_events events;
    void *ctx;
    struct thread *thread;
    struct list gathered; /* commands that the chan did not take */
    struct map *gathered_by_key;
    struct deadline retry;
    bool is_joined, is_stopped;
    bool is_writing;  /* the pool has these: */
    struct text file; /* of the self-test */
    enum err file_err;
    struct err_note file_note;

    /* Both threads'. */
    struct chan *commands;
    atomic_uint_least32_t commands_waiting; /* in the chan, or nearly */
    struct mailbox *letters;
    atomic_bool stopping;
    atomic_uint_least64_t progress_us; /* of the last progress, or RESTING */
    /* A LETTER_REPORT that was read, for the next report: so steps cost no allocation while the
     * loop keeps up. NULL: there is none. */
    struct letter *_Atomic spare;

    /* The engine thread's. */
    engine_open_fn *open_engine;
    void *open_ctx;
    struct core_options options;
    struct selftest_options selftest_options;
    struct engine *engine;
    struct core *core;
    struct selftest_run *selftest; /* NULL: there is none */
    struct letter *blank;          /* for what the next step says; NULL: to be made */
    uint64_t stepped_us;           /* when the last step began */
    unsigned slow_steps;           /* so many in a row were TURN_STEP_US behind the one before */
    float loading_told;
};

static bool is_stopping(const struct core_thread *thread)
{
    return atomic_load_explicit(&thread->stopping, memory_order_acquire);
}

static void show_progress(struct core_thread *thread)
{
    atomic_store_explicit(&thread->progress_us, clock_monotonic_us(), memory_order_relaxed);
}

static void show_rest(struct core_thread *thread)
{
    atomic_store_explicit(&thread->progress_us, RESTING, memory_order_relaxed);
}

uint64_t core_thread_progress_age_ms(const struct core_thread *thread)
{
    uint64_t last_us = atomic_load_explicit(&thread->progress_us, memory_order_relaxed);
    uint64_t now_us = clock_monotonic_us();
    return last_us < now_us ? (now_us - last_us) / 1000 : 0; /* resting, or just now */
}

static void command_free(struct command *command)
{
    core_job_free(&command->job);
    mem_free(command);
}

static struct command *command_of(struct mail *mail)
{
    return mail ? CONTAINER_OF(mail, struct command, mail) : NULL;
}

/* --- the engine thread --- */

static void do_command(struct core_thread *thread, struct command *command)
{
    if (thread->core && command->job)
        core_start(thread->core, &command->job);
    if (thread->core && command->has_credit)
        core_credit(thread->core, command->key, command->event_limit, command->byte_limit);
    if (thread->core && command->is_cancel)
        core_cancel(thread->core, command->key);
    command_free(command);
}

/* The one place where the thread waits. */
static bool wait_for_command(struct core_thread *thread, uint64_t timeout_us)
{
    if (timeout_us > 0)
        show_rest(thread);
    struct command *command = command_of(chan_take(thread->commands, timeout_us));
    if (timeout_us > 0)
        show_progress(thread);
    if (command) {
        atomic_fetch_sub_explicit(&thread->commands_waiting, 1, memory_order_relaxed);
        do_command(thread, command);
    }
    return command != NULL;
}

static struct letter *letter_new(enum letter_kind kind)
{
    struct letter *letter = mem_alloc(sizeof(*letter));
    letter->kind = kind;
    return letter;
}

static void letter_free(struct letter *letter)
{
    if (!letter)
        return;
    core_report_fini(&letter->report);
    text_fini(&letter->file);
    mem_free(letter->note);
    mem_free(letter);
}

static bool try_to_post(struct core_thread *thread, struct letter *letter)
{
    struct mail *mail = &letter->mail;
    bool takes_turn = letter->kind == LETTER_REPORT && thread->slow_steps >= TURN_STEPS &&
                      letter->report.result_count <= TURN_RESULTS_MAX;
    return (takes_turn ? mailbox_post_and_turn(thread->letters, &mail)
                       : mailbox_post(thread->letters, &mail)) == ERR_OK;
}

/* Waits for the loop to make room (rule 4); commands go on being taken. */
static void post(struct core_thread *thread, struct letter *letter)
{
    while (!try_to_post(thread, letter))
        wait_for_command(thread, RETRY_US);
}

static bool on_load_progress(void *ctx, float fraction)
{
    struct core_thread *thread = ctx;
    show_progress(thread);
    if (fraction >= thread->loading_told + LOADING_STEP) {
        struct letter *letter = letter_new(LETTER_LOADING);
        letter->fraction = fraction;
        if (try_to_post(thread, letter))
            thread->loading_told = fraction;
        else
            letter_free(letter); /* the loop is busy: a later one will do */
    }
    return !is_stopping(thread);
}

static uint64_t read_clock(void *host)
{
    (void)host;
    return clock_monotonic_us();
}

static bool poll_host(void *host)
{
    return is_stopping(host);
}

/* A decode() of the self-test, or of an answer that settles, gives way to whatever comes. */
static bool is_awaited(void *host)
{
    const struct core_thread *thread = host;
    return atomic_load_explicit(&thread->commands_waiting, memory_order_relaxed) > 0;
}

static void on_decode_progress(void *host)
{
    show_progress(host);
}

static void tell_selftest(struct core_thread *thread)
{
    struct selftest_result result;
    if (!thread->selftest || !selftest_run_take_result(thread->selftest, &result))
        return;
    struct letter *letter = letter_new(LETTER_SELFTEST);
    letter->selftest = result;
    letter->file = selftest_run_take_file(thread->selftest);
    post(thread, letter);
}

static bool open_core(struct core_thread *thread)
{
    struct err_note *note = mem_alloc(sizeof(*note));
    enum err why =
        thread->open_engine(thread->open_ctx, on_load_progress, thread, &thread->engine, note);
    if (why != ERR_OK) {
        struct letter *failed = letter_new(LETTER_FAILED);
        failed->why = why;
        failed->note = note;
        post(thread, failed);
        return false;
    }
    mem_free(note);
    thread->core = core_new(thread->engine, &thread->options);
    thread->selftest = selftest_run_new(thread->engine, thread->core, &thread->selftest_options,
                                        clock_monotonic_us());
    tell_selftest(thread); /* what is known from before */
    struct letter *letter = letter_new(LETTER_READY);
    letter->engine = thread->engine;
    post(thread, letter);
    return true;
}

static uint64_t selftest_due_us(const struct core_thread *thread)
{
    bool may_run = thread->selftest && core_is_idle(thread->core);
    return may_run ? selftest_run_due_us(thread->selftest) : UINT64_MAX;
}

static void take_commands(struct core_thread *thread)
{
    uint64_t wake_us = 0, now_us = clock_monotonic_us();
    uint64_t timeout_us = 0;
    if (!core_has_work(thread->core, now_us, &wake_us)) {
        uint64_t due_us = selftest_due_us(thread);
        wake_us = due_us < wake_us ? due_us : wake_us;
        if (wake_us > now_us)
            timeout_us = wake_us == UINT64_MAX ? UINT64_MAX : wake_us - now_us;
    }
    uint32_t count = 0;
    while (count++ < COMMANDS_PER_STEP && wait_for_command(thread, timeout_us))
        timeout_us = 0;
}

static struct letter *blank_report(struct core_thread *thread)
{
    struct letter *letter = atomic_exchange_explicit(&thread->spare, NULL, memory_order_acquire);
    if (letter)
        return letter;
    letter = letter_new(LETTER_REPORT);
    core_report_init(&letter->report);
    return letter;
}

static void step_selftest(struct core_thread *thread)
{
    selftest_run_step(thread->selftest, read_clock, NULL);
    show_progress(thread);
    tell_selftest(thread);
}

static void step_core(struct core_thread *thread, uint64_t now_us)
{
    if (thread->selftest)
        selftest_run_yield(thread->selftest, now_us);
    if (!thread->blank)
        thread->blank = blank_report(thread);
    bool is_slow = now_us - thread->stepped_us >= TURN_STEP_US;
    thread->slow_steps = is_slow ? thread->slow_steps + 1 : 0;
    thread->stepped_us = now_us;
    bool is_news = core_step(thread->core, now_us, &thread->blank->report);
    show_progress(thread);
    if (!is_news)
        return;
    post(thread, thread->blank);
    thread->blank = NULL;
}

static void step(struct core_thread *thread)
{
    uint64_t wake_us, now_us = clock_monotonic_us();
    if (is_stopping(thread))
        return;
    if (core_has_work(thread->core, now_us, &wake_us))
        step_core(thread, now_us);
    else if (selftest_due_us(thread) <= now_us)
        step_selftest(thread);
}

static void run(void *ctx)
{
    struct core_thread *thread = ctx;
    if (open_core(thread)) {
        while (!is_stopping(thread)) {
            take_commands(thread);
            step(thread);
        }
    }
    while (!is_stopping(thread))
        wait_for_command(thread, UINT64_MAX); /* to drop it */
    selftest_run_free(thread->selftest);
    core_free(thread->core);
    thread->core = NULL;
    letter_free(thread->blank);
    engine_close(&thread->engine);
    post(thread, letter_new(LETTER_STOPPED));
}

/* --- the loop: letters --- */

static void drop_commands(struct core_thread *thread)
{
    struct command *command;
    while ((command = command_of(chan_take(thread->commands, 0))))
        command_free(command);
    LIST_FOREACH_SAFE (link, &thread->gathered) {
        list_remove(link);
        command_free(CONTAINER_OF(link, struct command, link));
    }
}

static void drop_letter(void *ctx, struct mail *mail)
{
    (void)ctx;
    letter_free(CONTAINER_OF(mail, struct letter, mail));
}

static void stop_if_done(struct core_thread *thread)
{
    if (!thread->is_joined || thread->is_writing)
        return;
    thread->is_stopped = true;
    thread->events.on_stopped(thread->ctx); /* may free the thread */
}

static void finish(struct core_thread *thread)
{
    thread_join(&thread->thread);
    mailbox_close(thread->letters, drop_letter, NULL); /* LETTER_STOPPED was the last */
    deadline_clear(&thread->retry);
    drop_commands(thread);
    thread->is_joined = true;
    stop_if_done(thread);
}

static void write_file(void *ctx) /* a thread of the pool */
{
    struct core_thread *thread = ctx;
    thread->file_err = selftest_record_write(thread->selftest_options.path,
                                             text_slice(&thread->file), &thread->file_note);
}

static void on_file_written(void *ctx, enum err status)
{
    struct core_thread *thread = ctx;
    (void)status; /* it is never cancelled */
    if (thread->file_err != ERR_OK)
        log_event(LOG_WARN, "self_test_file_not_kept", "note=%s",
                  log_quote(slice_str(thread->file_note.text), sizeof(thread->file_note.text)));
    text_fini(&thread->file);
    thread->is_writing = false;
    stop_if_done(thread);
}

/* There is one at most: a test ends once. */
static void keep_selftest(struct core_thread *thread, struct letter *letter)
{
    if (letter->file.len == 0)
        return;
    ASSERT(!thread->is_writing);
    thread->is_writing = true;
    thread->file = letter->file;
    letter->file = (struct text){0};
    (void)loop_work_start(thread->loop, write_file, on_file_written, thread); /* to its end */
}

static void deliver(struct core_thread *thread, struct letter *letter)
{
    switch (letter->kind) {
    case LETTER_LOADING:
        thread->events.on_loading(thread->ctx, letter->fraction);
        break;
    case LETTER_READY:
        thread->events.on_ready(thread->ctx, letter->engine);
        break;
    case LETTER_FAILED:
        thread->events.on_failed(thread->ctx, letter->why, letter->note->text);
        break;
    case LETTER_REPORT:
        thread->events.on_report(thread->ctx, &letter->report);
        break;
    case LETTER_SELFTEST:
        keep_selftest(thread, letter);
        if (thread->events.on_selftest)
            thread->events.on_selftest(thread->ctx, &letter->selftest);
        break;
    case LETTER_STOPPED:
        finish(thread);
        break;
    }
}

static void on_letter(void *ctx, struct mail *mail)
{
    struct core_thread *thread = ctx;
    struct letter *letter = CONTAINER_OF(mail, struct letter, mail);
    /* Once it is stopping, an engine that was ready may be closed already. */
    if (is_stopping(thread) && letter->kind == LETTER_SELFTEST)
        keep_selftest(thread, letter);
    if (!is_stopping(thread) || letter->kind == LETTER_STOPPED)
        deliver(thread, letter); /* may free the thread, when it was the last one */
    if (letter->kind == LETTER_REPORT)
        letter = atomic_exchange_explicit(&thread->spare, letter, memory_order_acq_rel);
    letter_free(letter);
}

/* --- the loop: commands --- */

static bool try_to_send(struct core_thread *thread, struct command *command)
{
    struct mail *mail = &command->mail;
    atomic_fetch_add_explicit(&thread->commands_waiting, 1, memory_order_relaxed);
    if (chan_post(thread->commands, &mail) == ERR_OK)
        return true;
    atomic_fetch_sub_explicit(&thread->commands_waiting, 1, memory_order_relaxed);
    return false;
}

static void on_retry(void *ctx)
{
    struct core_thread *thread = ctx;
    while (!list_is_empty(&thread->gathered)) {
        struct command *command = CONTAINER_OF(thread->gathered.next, struct command, link);
        uint64_t key = command->key;
        list_remove(&command->link); /* before it is another thread's */
        if (!try_to_send(thread, command)) {
            list_push_front(&thread->gathered, &command->link);
            deadline_after(&thread->retry, RETRY_US);
            return;
        }
        map_remove(thread->gathered_by_key, key);
    }
}

static void merge(struct command *into, struct command *command)
{
    if (command->has_credit) {
        into->has_credit = true;
        into->event_limit = command->event_limit;
        into->byte_limit = command->byte_limit;
    }
    into->is_cancel |= command->is_cancel;
    command_free(command);
}

static void gather(struct core_thread *thread, struct command *command)
{
    ASSERT(map_put(thread->gathered_by_key, command->key, command) == ERR_OK);
    list_push_back(&thread->gathered, &command->link);
    if (!deadline_is_armed(&thread->retry))
        deadline_after(&thread->retry, RETRY_US);
}

static void send(struct core_thread *thread, struct command *command)
{
    list_init(&command->link);
    struct command *waiting = map_get(thread->gathered_by_key, command->key);
    if (is_stopping(thread))
        command_free(command); /* rule 3 */
    else if (waiting)
        merge(waiting, command);
    else if (!try_to_send(thread, command))
        gather(thread, command);
}

static struct command *command_new(uint64_t key)
{
    struct command *command = mem_alloc(sizeof(*command));
    command->key = key;
    return command;
}

void core_thread_submit(struct core_thread *thread, struct core_job **job)
{
    struct command *command = command_new((*job)->key);
    command->job = *job;
    *job = NULL;
    /* A job is the first of its key: what is gathered under it is about one that has ended. */
    struct command *stale = map_remove(thread->gathered_by_key, command->key);
    if (stale) {
        ASSERT(!stale->job);
        list_remove(&stale->link);
        command_free(stale);
    }
    send(thread, command);
}

void core_thread_cancel(struct core_thread *thread, uint64_t key)
{
    struct command *command = command_new(key);
    command->is_cancel = true;
    send(thread, command);
}

void core_thread_credit(struct core_thread *thread, uint64_t key, uint64_t event_limit,
                        uint64_t byte_limit)
{
    struct command *command = command_new(key);
    command->has_credit = true;
    command->event_limit = event_limit;
    command->byte_limit = byte_limit;
    send(thread, command);
}

/* --- life --- */

static void release(struct core_thread *thread)
{
    letter_free(atomic_load(&thread->spare));
    map_free(thread->gathered_by_key);
    chan_free(thread->commands);
    mailbox_unref(thread->letters);
    mem_free(thread);
}

enum err core_thread_start(struct loop *loop, const char *name, engine_open_fn *open_engine,
                           void *open_ctx, const struct core_options *options,
                           const struct selftest_options *selftest,
                           const struct core_thread_events *events, void *ctx,
                           struct core_thread **out_thread)
{
    struct core_thread *thread = mem_alloc(sizeof(*thread));
    thread->loop = loop;
    thread->events = *events;
    thread->ctx = ctx;
    thread->open_engine = open_engine;
    thread->open_ctx = open_ctx;
    thread->options = *options;
    if (selftest)
        thread->selftest_options = *selftest;
    thread->options.clock_us = read_clock;
    thread->options.poll = poll_host;
    thread->options.is_awaited = is_awaited;
    thread->options.on_progress = on_decode_progress;
    thread->options.host = thread;
    loop_lend(loop);
    thread->commands = chan_new(COMMANDS_MAX);
    thread->letters = mailbox_new(loop, LETTERS_MAX, on_letter, thread);
    thread->gathered_by_key = map_new(GATHERED_KEYS_MAX);
    list_init(&thread->gathered);
    deadline_init(&thread->retry, loop, on_retry, thread);
    atomic_init(&thread->stopping, false);
    atomic_init(&thread->progress_us, clock_monotonic_us());
    enum err err = thread_start(name, run, thread, &thread->thread);
    if (err != ERR_OK) {
        mailbox_close(thread->letters, drop_letter, NULL);
        release(thread);
        return err;
    }
    *out_thread = thread;
    return ERR_OK;
}

void core_thread_stop(struct core_thread *thread)
{
    if (is_stopping(thread))
        return;
    atomic_store_explicit(&thread->stopping, true, memory_order_release);
    struct command *wake_up = command_new(0);
    if (!try_to_send(thread, wake_up))
        command_free(wake_up); /* the chan is full: the thread does not wait on it */
}

void core_thread_free(struct core_thread **thread)
{
    if (!*thread)
        return;
    ASSERT((*thread)->is_stopped);
    release(*thread);
    *thread = NULL;
}
