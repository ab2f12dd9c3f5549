/* core_thread - runs a core on its own thread: opens the engine there, takes commands, steps, posts
 * reports to the bus side's loop. Commands in by chan, reports out by mailbox (loop/mailbox.h).
 *
 *   LOADING --opened--> RUNNING --core_thread_stop()--> STOPPED (joined, on_stopped)
 *       \--not opened--> FAILED --core_thread_stop()------^
 *
 * The loop is lent (loop_lend()): if it sleeps, a report of few results is handled in its turn by
 * the engine thread itself, so that a token costs no change of threads between the step and the bus
 * (one stream of solo: 210 -> 152 us to the client, 222 -> 180 us of CPU per token; 2 cores,
 * virtualised, 2026-11). Not when steps follow fast: then the loop gathers.
 *
 * 1. Events come in turns of the loop: any on_loading, then on_ready and any on_report, or
 *    on_failed. After core_thread_stop() only on_stopped comes.
 * 2. Commands never fail and never wait. Those of one key are done in their order. While the thread
 *    is too busy to take them (COMMANDS_MAX wait, core_thread.c) they are gathered, one for each
 *    key: so what waits is bounded by the sequences that the bus side admits.
 * 3. Jobs submitted before on_ready wait for it. After on_failed or core_thread_stop() they are
 *    dropped: those events speak for all of them. What still runs at a stop ends without a result.
 * 4. When the loop is too slow to take reports, the engine thread waits for it: nothing is lost.
 * 5. A self-test runs only while the core has no sequence at all. A command ends the decode() that
 *    it is in (within some ms: should_abort), as it does one in which answers settle and nothing
 *    else is done (core.h rule 12), and the core goes first. Its file is written by the
 *    loop's pool: a folder that hangs delays on_stopped(), and nothing else. */
#pragma once

#include "loop/mailbox.h"
#include "loop/thread.h"
#include "worker/core.h"
#include "worker/selftest_run.h"

/* Opens the engine, on the engine thread. */
typedef enum err engine_open_fn(void *ctx, engine_progress_fn *on_progress, void *progress_ctx,
                                struct engine **out_engine, struct err_note *out_note);

struct core_thread_events {                        /* all on the loop */
    void (*on_loading)(void *ctx, float fraction); /* in steps of a hundredth or more */
    /* Opened: info is valid and tokenize/chat/piece may be used until core_thread_stop(). */
    void (*on_ready)(void *ctx, struct engine *engine);
    void (*on_failed)(void *ctx, enum err why, const char *note);
    void (*on_report)(void *ctx, const struct core_report *report); /* borrowed */
    /* What the self-test found, once, or what it had found before: then it comes before on_ready.
     * NULL: nobody asks. */
    void (*on_selftest)(void *ctx, const struct selftest_result *result);
    void (*on_stopped)(void *ctx); /* after core_thread_stop(): last call; the thread is joined */
};

struct core_thread;
/* name: at most 15 bytes. Events and options are copied (what those of the self-test point to is
 * borrowed until on_stopped()); what the options say of a host is not used. `selftest` NULL: none
 * is done.
 * ERR_SYSTEM: no thread. */
MUST_USE enum err core_thread_start(struct loop *loop, const char *name,
                                    engine_open_fn *open_engine, void *open_ctx,
                                    const struct core_options *options,
                                    const struct selftest_options *selftest,
                                    const struct core_thread_events *events, void *ctx,
                                    struct core_thread **out_thread);
/* Loop thread. Commands are bounded by what the bus side admits; they never fail. */
void core_thread_submit(struct core_thread *thread, struct core_job **job); /* takes *job */
/* Also set the job's cancel flag before: it is seen inside a batch. */
void core_thread_cancel(struct core_thread *thread, uint64_t key);
void core_thread_credit(struct core_thread *thread, uint64_t key, uint64_t event_limit,
                        uint64_t byte_limit);
/* Aborts what runs (also a load), closes the engine, joins; on_stopped() follows from the loop.
 * Harmless twice. */
void core_thread_stop(struct core_thread *thread);
void core_thread_free(struct core_thread **thread); /* after on_stopped; NULL inside is fine */
/* Milliseconds since the engine thread last showed progress: a step, a part of one (the engine
 * says so), a part of a load. 0 while it waits for commands or for the loop. Any thread. */
uint64_t core_thread_progress_age_ms(const struct core_thread *thread);
