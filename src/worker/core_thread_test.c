/* The engine thread is a real one and so is its time; the tests wait for events, not for time, and
 * give up after PATIENCE_US. */
#include "testing/test.h"
#include "base/clock.h"
#include "base/mem.h"
#include "worker/core_probe.h"
#include "worker/core_thread.h"

#include <unistd.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const uint64_t PATIENCE_US = 60000000;
static const token_id HELLO[] = {'h' + 1, 'i' + 1};

/* An engine of which the test knows how often it decoded, and that can be held up inside. */
struct watched {
    struct engine engine;
    struct engine *dummy;
    struct engine_ops ops;
    atomic_uint *decodes;
    atomic_bool *is_held; /* decode() does not return, and asks nobody, as long as it is set */
    atomic_bool *hangs;   /* the next one asks until it is told to stop */
};

struct host {
    struct loop *loop;
    struct core_thread *thread;
    struct engine_dummy_options dummy;
    enum err open_fails;
    struct probes probes;
    atomic_uint decodes;
    atomic_bool is_held, is_open, hangs;
    struct selftest_options selftest;
    struct selftest_result selftest_result;
    uint32_t selftest_count; /* results that came */

    pid_t owner;        /* thread of the loop */
    uint32_t handed_on; /* reports that the engine thread brought in the loop's turn */
    bool ends_run;      /* the end of a sequence ends loop_run() */
    uint32_t loading_count;
    float fraction;
    struct engine *engine; /* from on_ready on */
    bool is_failed, is_stopped;
    enum err why;
    char note[128];
};

/* --- the watched engine --- */

static struct watched *watched_of(struct engine *engine)
{
    return CONTAINER_OF(engine, struct watched, engine);
}

static void pause_ms(void)
{
    clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = 1000000}, NULL);
}

static enum err watched_decode(struct engine *engine, const struct engine_row *rows, size_t count)
{
    struct watched *watched = watched_of(engine);
    while (atomic_load(watched->is_held))
        pause_ms();
    atomic_fetch_add(watched->decodes, 1);
    if (atomic_exchange(watched->hangs, false)) {
        while (!engine->should_abort(engine->abort_ctx))
            pause_ms();
        return ERR_CANCELLED;
    }
    watched->dummy->should_abort = engine->should_abort;
    watched->dummy->on_progress = engine->on_progress;
    watched->dummy->abort_ctx = engine->abort_ctx;
    return engine_decode(watched->dummy, rows, count);
}

static const float *watched_logits(struct engine *engine, size_t row)
{
    return engine_logits(watched_of(engine)->dummy, row);
}

static struct slice watched_piece(struct engine *engine, token_id token, char *scratch,
                                  size_t scratch_bytes)
{
    return engine_piece(watched_of(engine)->dummy, token, scratch, scratch_bytes);
}

static bool watched_is_end(struct engine *engine, token_id token)
{
    return engine_is_end(watched_of(engine)->dummy, token);
}

static uint32_t watched_seq_tokens(struct engine *engine, uint32_t slot)
{
    return engine_seq_tokens(watched_of(engine)->dummy, slot);
}

static enum err watched_seq_cut(struct engine *engine, uint32_t slot, uint32_t keep_tokens)
{
    return engine_seq_cut(watched_of(engine)->dummy, slot, keep_tokens);
}

static void watched_close(struct engine *engine)
{
    struct watched *watched = watched_of(engine);
    engine_close(&watched->dummy);
    mem_free(watched);
}

static enum err open_watched(void *ctx, engine_progress_fn *on_progress, void *progress_ctx,
                             struct engine **out_engine, struct err_note *out_note)
{
    static const struct engine_ops ops = {.close = watched_close,
                                          .piece = watched_piece,
                                          .is_end = watched_is_end,
                                          .decode = watched_decode,
                                          .logits = watched_logits,
                                          .seq_tokens = watched_seq_tokens,
                                          .seq_cut = watched_seq_cut};
    struct host *host = ctx;
    if (host->open_fails != ERR_OK)
        return err_note_fail(out_note, host->open_fails, "no such model");
    struct engine *dummy;
    TRY(engine_dummy_open(&host->dummy, on_progress, progress_ctx, &dummy, out_note));
    struct watched *watched = mem_alloc(sizeof(*watched));
    watched->dummy = dummy;
    watched->engine.ops = &ops;
    watched->engine.info = dummy->info;
    watched->engine.info.can_save = false;
    watched->decodes = &host->decodes;
    watched->is_held = &host->is_held;
    watched->hangs = &host->hangs;
    *out_engine = &watched->engine;
    atomic_store(&host->is_open, true);
    return ERR_OK;
}

/* --- the host --- */

static void on_loading(void *ctx, float fraction)
{
    struct host *host = ctx;
    CHECK(!host->engine && !host->is_failed);
    CHECK(fraction >= host->fraction && fraction <= 1);
    host->fraction = fraction;
    host->loading_count++;
}

static void on_ready(void *ctx, struct engine *engine)
{
    struct host *host = ctx;
    CHECK(!host->engine && !host->is_failed && !host->is_stopped);
    host->engine = engine;
}

static void on_failed(void *ctx, enum err why, const char *note)
{
    struct host *host = ctx;
    CHECK(!host->engine && !host->is_failed && !host->is_stopped);
    host->is_failed = true;
    host->why = why;
    snprintf(host->note, sizeof(host->note), "%s", note);
}

static void on_report(void *ctx, const struct core_report *report)
{
    struct host *host = ctx;
    CHECK(host->engine && !host->is_stopped);
    host->handed_on += gettid() != host->owner;
    probes_take(&host->probes, report);
    if (host->ends_run && host->probes.probe[0].is_ended)
        loop_stop(host->loop);
}

static void on_selftest(void *ctx, const struct selftest_result *result)
{
    struct host *host = ctx;
    CHECK(!host->is_stopped);
    host->selftest_result = *result;
    host->selftest_count++;
}

static void on_stopped(void *ctx)
{
    struct host *host = ctx;
    CHECK(!host->is_stopped);
    host->is_stopped = true;
    core_thread_free(&host->thread); /* from inside the last event, the worst place */
}

static struct host *host_new(uint32_t slots, uint32_t tokens)
{
    struct host *host = mem_alloc(sizeof(*host));
    host->loop = loop_new();
    host->owner = gettid();
    host->dummy = engine_dummy_options_default();
    host->dummy.slots = slots;
    host->dummy.tokens = tokens;
    host->dummy.delay_us = 0;
    probes_init(&host->probes, NULL, NULL);
    return host;
}

static void host_start(struct host *host)
{
    static const struct core_thread_events events = {.on_loading = on_loading,
                                                     .on_ready = on_ready,
                                                     .on_failed = on_failed,
                                                     .on_report = on_report,
                                                     .on_selftest = on_selftest,
                                                     .on_stopped = on_stopped};
    struct core_options options = core_options_default();
    CHECK_OK(core_thread_start(host->loop, "engine", open_watched, host, &options, &host->selftest,
                               &events, host, &host->thread));
}

/* One turn; there are turns as long as there is patience. */
static void turn(struct host *host, uint64_t since_us)
{
    CHECK(clock_monotonic_us() - since_us < PATIENCE_US);
    if (!loop_turn(host->loop, false))
        pause_ms();
}

#define UNTIL(host, cond)                                                                          \
    do {                                                                                           \
        uint64_t since_us_ = clock_monotonic_us();                                                 \
        while (!(cond))                                                                            \
            turn((host), since_us_);                                                               \
    } while (0)

/* As UNTIL, but the loop stands still meanwhile. */
#define UNTIL_WITHOUT_TURNS(cond)                                                                  \
    do {                                                                                           \
        uint64_t since_us_ = clock_monotonic_us();                                                 \
        while (!(cond)) {                                                                          \
            CHECK(clock_monotonic_us() - since_us_ < PATIENCE_US);                                 \
            pause_ms();                                                                            \
        }                                                                                          \
    } while (0)

static void host_free(struct host *host)
{
    if (host->thread)
        core_thread_stop(host->thread);
    UNTIL(host, host->is_stopped);
    CHECK(!host->thread);
    probes_fini(&host->probes);
    loop_free(host->loop);
    mem_free(host);
}

static struct probe *submit(struct host *host, size_t index, uint64_t event_limit)
{
    struct probe *probe = probe_make(&host->probes, index, HELLO, ARRAY_COUNT(HELLO));
    probe->job.event_limit = event_limit;
    struct core_job *job = probe_job(probe);
    core_thread_submit(host->thread, &job);
    CHECK(!job);
    return probe;
}

static void cancel(struct host *host, size_t index)
{
    atomic_store(&host->probes.probe[index].cancel->cancelled, true);
    core_thread_cancel(host->thread, index + 1);
}

static void grant(struct host *host, size_t index, uint64_t event_limit)
{
    host->probes.probe[index].event_limit = event_limit;
    core_thread_credit(host->thread, index + 1, event_limit, UINT64_MAX);
}

/* --- tests --- */

TEST(it_loads_with_progress_runs_and_stops)
{
    struct host *host = host_new(2, 5);
    host->dummy.load_ms = 50;
    host_start(host);
    struct probe *probe = submit(host, 0, UINT64_MAX); /* before it is ready */
    UNTIL(host, host->engine);
    CHECK(host->loading_count >= 2);
    CHECK_STR(host->engine->info.kind, "dummy");
    UNTIL(host, probe->is_ended);
    CHECK_SLICE(text_slice(&probe->text), "tok1 tok2 tok3 tok4 tok5");
    UNTIL(host, core_thread_progress_age_ms(host->thread) == 0);
    core_thread_stop(host->thread);
    core_thread_stop(host->thread);
    UNTIL(host, host->is_stopped);
    host_free(host);
}

TEST(sequences_from_the_loop_get_their_text_with_credit_given_bit_by_bit)
{
    struct host *host = host_new(4, 20);
    host_start(host);
    for (size_t i = 0; i < 12; i++)
        submit(host, i, 1 + i % 3);
    for (size_t i = 0; i < 12; i++) {
        struct probe *probe = &host->probes.probe[i];
        while (!probe->is_ended) {
            uint64_t limit = probe->event_limit;
            UNTIL(host, probe->is_ended || probe->delta_count == limit);
            grant(host, i, limit + 1 + i % 4);
        }
        CHECK_EQ(probe->id_count, 20);
        CHECK_EQ(probe->reason, DONE_EOS);
    }
    CHECK_EQ(host->probes.tokens_sampled, 240);
    host_free(host);
}

TEST(cancel_reaches_into_a_decode_that_hangs)
{
    struct host *host = host_new(2, 20);
    host->dummy.stall_at = 3;
    host_start(host);
    struct probe *one = submit(host, 0, UINT64_MAX);
    UNTIL(host, one->id_count == 2);
    cancel(host, 0);
    UNTIL(host, one->is_ended);
    CHECK_EQ(one->reason, DONE_CANCELLED);
    CHECK_EQ(host->probes.slots_free, 2);
    host_free(host);
}

TEST(stop_ends_a_decode_that_hangs_and_drops_its_sequences)
{
    struct host *host = host_new(2, 20);
    host->dummy.stall_at = 3;
    host_start(host);
    struct probe *probe = submit(host, 0, UINT64_MAX);
    UNTIL(host, probe->id_count == 2);
    for (size_t i = 1; i < 5; i++)
        submit(host, i, UINT64_MAX); /* some are in the core, some on the way to it */
    core_thread_stop(host->thread);
    submit(host, 5, UINT64_MAX); /* dropped at once */
    grant(host, 5, 1);
    UNTIL(host, host->is_stopped);
    CHECK(!probe->is_ended);
    host_free(host);
}

TEST(a_self_test_runs_by_itself_when_nothing_else_does)
{
    struct host *host = host_new(4, 20);
    host->selftest.budget_us = UINT64_MAX;
    host_start(host);
    UNTIL(host, host->selftest_count == 1);
    CHECK_EQ(host->selftest_result.determinism, NODE_EXACT);
    CHECK_EQ(host->selftest_result.width_max, 4);
    CHECK(host->engine != NULL);
    host_free(host);
}

/* The pool writes it, and whoever stops waits for that: also when the result came too late to be
 * told. */
TEST(what_a_self_test_found_is_in_its_file_when_the_thread_has_stopped)
{
    char folder[] = "/tmp/millrace-selftest-XXXXXX", path[64];
    struct host *host = host_new(2, 20);
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof(path), "%s/self-test.json", folder);
    host->selftest = (struct selftest_options){.budget_us = UINT64_MAX, .path = path, .key = "k"};
    host_start(host);
    UNTIL(host, host->selftest_count == 1);
    core_thread_stop(host->thread);
    UNTIL(host, host->is_stopped);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(rmdir(folder), 0); /* and nothing else is there */
    host_free(host);
}

/* Its decode() here would go on for ever; the request ends it, runs, and the test begins again. */
TEST(a_request_ends_the_decode_of_a_self_test)
{
    struct host *host = host_new(2, 20);
    host->selftest.budget_us = UINT64_MAX;
    atomic_store(&host->hangs, true);
    host_start(host);
    UNTIL(host, atomic_load(&host->decodes) == 1);
    struct probe *probe = submit(host, 0, UINT64_MAX);
    UNTIL(host, probe->is_ended);
    CHECK_EQ(probe->reason, DONE_EOS);
    CHECK_EQ(probe->id_count, 20);
    UNTIL(host, host->selftest_count == 1);
    CHECK_EQ(host->selftest_result.determinism, NODE_EXACT);
    host_free(host);
}

TEST(stop_ends_a_self_test)
{
    struct host *host = host_new(2, 20);
    host->selftest.budget_us = UINT64_MAX;
    atomic_store(&host->hangs, true);
    host_start(host);
    UNTIL(host, atomic_load(&host->decodes) == 1);
    core_thread_stop(host->thread);
    UNTIL(host, host->is_stopped);
    CHECK_EQ(host->selftest_count, 0);
    host_free(host);
}

TEST(stop_ends_a_load)
{
    struct host *host = host_new(1, 1);
    host->dummy.load_ms = 3600000;
    host_start(host);
    submit(host, 0, UINT64_MAX);
    core_thread_stop(host->thread);
    UNTIL(host, host->is_stopped);
    CHECK(!host->engine && !host->is_failed);
    host_free(host);
}

TEST(stop_right_behind_start_never_lends_a_closed_engine)
{
    for (int round = 0; round < 50; round++) {
        struct host *host = host_new(1, 1);
        host_start(host);
        if (round % 2) /* the letter that says so is about to be written, or is there already */
            UNTIL_WITHOUT_TURNS(atomic_load(&host->is_open));
        core_thread_stop(host->thread);
        UNTIL(host, host->is_stopped);
        CHECK(!host->engine);
        host_free(host);
    }
}

TEST(an_engine_that_does_not_open_is_told_and_jobs_are_dropped)
{
    struct host *host = host_new(1, 1);
    host->open_fails = ERR_PROTOCOL;
    host_start(host);
    submit(host, 0, UINT64_MAX);
    UNTIL(host, host->is_failed);
    CHECK_EQ(host->why, ERR_PROTOCOL);
    CHECK_STR(host->note, "no such model");
    submit(host, 1, UINT64_MAX);
    cancel(host, 1);
    host_free(host);
}

/* More than the chan takes, while nobody takes any. */
TEST(a_flood_of_commands_is_gathered_and_all_are_done)
{
    enum { GRANTS = 3000 };
    struct host *host = host_new(8, 40);
    host_start(host);
    UNTIL(host, host->engine);
    atomic_store(&host->is_held, true);
    struct probe *first = submit(host, 0, 1);
    UNTIL_WITHOUT_TURNS(core_thread_progress_age_ms(host->thread) > 20); /* it hangs */
    for (size_t i = 1; i < 8; i++)
        submit(host, i, 1);
    for (uint64_t n = 0; n < GRANTS; n++)
        grant(host, n % 8, 2 + n / 8 / 20); /* up to 2 + 18 */
    for (size_t i = 8; i < 40; i++) {
        submit(host, i, UINT64_MAX);
        if (i >= 30)
            core_thread_cancel(host->thread, i + 1); /* without the flag: the command must arrive */
    }
    uint64_t age_ms = core_thread_progress_age_ms(host->thread);
    UNTIL(host, core_thread_progress_age_ms(host->thread) > age_ms + 50); /* tries in vain */
    atomic_store(&host->is_held, false);
    UNTIL(host, first->delta_count == 20);
    for (size_t i = 0; i < 8; i++) {
        UNTIL(host, host->probes.probe[i].delta_count == 20);
        grant(host, i, UINT64_MAX);
    }
    for (size_t i = 0; i < 40; i++) {
        const struct probe *probe = &host->probes.probe[i];
        UNTIL(host, probe->is_ended);
        CHECK_EQ(probe->reason, i < 30 ? DONE_EOS : DONE_CANCELLED);
        CHECK_EQ(probe->id_count, i < 30 ? 40 : 0);
    }
    host_free(host);
}

TEST(a_loop_that_does_not_turn_makes_the_engine_wait_and_loses_nothing)
{
    struct host *host = host_new(1, 900);
    host_start(host);
    UNTIL(host, host->engine);
    struct probe *probe = submit(host, 0, UINT64_MAX);
    UNTIL_WITHOUT_TURNS(atomic_load(&host->decodes) >= 256); /* as many letters fit */
    UNTIL_WITHOUT_TURNS(core_thread_progress_age_ms(host->thread) == 0);
    CHECK(atomic_load(&host->decodes) <= 257);
    UNTIL(host, probe->is_ended);
    CHECK_EQ(probe->id_count, 900);
    for (uint32_t i = 0; i < 900; i++)
        CHECK_EQ(probe->ids[i], 257 + i);
    host_free(host);
}

/* Until one was: the loop sleeps most of the time, not always. */
TEST(slow_steps_are_handed_on_by_the_engine_thread_while_the_loop_sleeps)
{
    while (true) {
        struct host *host = host_new(1, 100);
        host->dummy.delay_us = 1000;
        host->ends_run = true;
        host_start(host);
        UNTIL(host, host->engine);
        struct probe *probe = submit(host, 0, UINT64_MAX);
        loop_run(host->loop);
        CHECK_EQ(probe->id_count, 100);
        for (uint32_t i = 0; i < 100; i++)
            CHECK_EQ(probe->ids[i], 257 + i);
        uint32_t handed_on = host->handed_on;
        host_free(host);
        if (handed_on > 0)
            return;
    }
}

TEST(progress_ages_while_the_engine_hangs_and_not_while_it_rests)
{
    struct host *host = host_new(1, 3);
    host_start(host);
    UNTIL(host, host->engine);
    atomic_store(&host->is_held, true);
    struct probe *probe = submit(host, 0, UINT64_MAX);
    UNTIL(host, core_thread_progress_age_ms(host->thread) > 50);
    atomic_store(&host->is_held, false);
    UNTIL(host, probe->is_ended);
    UNTIL(host, core_thread_progress_age_ms(host->thread) == 0);
    host_free(host);
}
