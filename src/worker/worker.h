/* worker - one model instance on the bus: takes submits, queues, prepares (template, tokens), runs
 * them through the core, and sends every event back as it is made. Belongs to one loop; the engine
 * runs on a thread of its own (core_thread.h).
 *
 * 1. A submit is taken once: by (id, epoch); repeats are answered by sending `accepted` again.
 * Ended ids are remembered for 60 s (at most 4096).
 * 2. Admission is bounded: at most queue_max wait for a slot, at most queue_wait_ms each (loading
 * does not count, it has load_timeout_ms); above it `queue_full`, after it `queue_timeout`, when
 * the time is up.
 * 3. The producer keeps what is not acknowledged (bounded by the credit) and sends it again when
 * asked.
 * 4. All events of one step for one inbox leave in one frame.
 * 5. Every accepted request gets exactly one end event. */
#pragma once

#include "bus/bus.h"
#include "worker/core_thread.h"

struct worker_options {
    const char *model;           /* the name requests use: subject "submit.<model>" */
    const char *engine_kind;     /* "llama", "dummy": for the state before the engine is open */
    engine_open_fn *open_engine; /* runs on the engine thread */
    void *open_ctx;
    struct core_options core;
    uint32_t queue_max;          /* 64 */
    uint32_t queue_wait_ms;      /* 2000 */
    uint32_t load_timeout_ms;    /* 300000 */
    uint32_t default_max_tokens; /* 512 */
    uint32_t context_margin; /* tokens of the context kept free for the answer when max_tokens is
                                not given; 0 */
};
struct worker_options worker_options_default(void);

struct worker;
/* Publishes its state on "state.nodes" from now on; loading begins. on_failed: the engine could not
 * be opened (once; the worker goes on answering model_failed until closed). */
MUST_USE enum err worker_start(struct bus *bus, const struct worker_options *options,
                               void (*on_ready)(void *ctx),
                               void (*on_failed)(void *ctx, enum err why, const char *note),
                               void *ctx, struct worker **out_worker);
/* Refuses new submits (draining), lets the running ones end for at most drain_ms, then cancels the
 * rest. on_stopped once, from the loop; then worker_free(). */
void worker_stop(struct worker *worker, uint32_t drain_ms, void (*on_stopped)(void *ctx),
                 void *ctx);
void worker_free(struct worker **worker);

struct worker_stats {
    uint32_t running, queued, parked, slots_free;
    uint64_t accepted, done, failed, cancelled, refused, tokens;
};
struct worker_stats worker_stats(const struct worker *worker);
