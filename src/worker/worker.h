/* worker - one model instance on the bus: takes what a manager assigns to it, prepares it
 * (template, tokens), runs it through the core, and sends every event straight to the asker as it
 * is made. Belongs to one loop; the engine runs on a thread of its own (core_thread.h).
 *
 * 1. Assignments come to its control subject. A request is taken once, by (id, epoch); repeats are
 * answered by sending what is not acknowledged again. Ended ids are remembered for 60 s (at most
 * 4096).
 * 2. It tells the manager it heard last how much room it has and which streams (wire/load.h): so it
 * is sent what there is room for, and the queue here is normally empty. It is first come first
 * served, and bounded: beyond WORKER_LIVING_MAX requests, or WORKER_PREPARING_BYTES_MAX of them in
 * preparation, `queue_full`.
 * 3. No stream needs a manager: what runs goes on without one.
 * 4. The producer keeps what is not acknowledged (bounded by the credit) and sends it again when
 * asked.
 * 5. All events of one step for one inbox leave in one frame.
 * 6. Every request taken gets exactly one end event; or, as long as none of its answer was made,
 * unknown_stream, when it could not run here (the engine broke, the worker stops): its asker then
 * has it run elsewhere. What is assigned while the model is not ready is answered like that, too.
 */
#pragma once

#include "bus/bus.h"
#include "metrics/metrics.h"
#include "worker/core_thread.h"

enum { WORKER_MODEL_MAX_BYTES = 200 };

/* What is known of a model before it is loaded. */
struct worker_file {
    uint32_t layers;
    uint64_t weights_bytes;
};

struct worker_options {
    const char *model;           /* the name requests use; 1..WORKER_MODEL_MAX_BYTES */
    const char *engine_kind;     /* "llama", "dummy": for the state before the engine is open */
    engine_open_fn *open_engine; /* runs on the engine thread */
    void *open_ctx;
    /* Filled by open_engine() before it tells of progress; NULL: nothing is known. */
    const struct worker_file *file;
    struct core_options core;
    struct selftest_options selftest; /* default: none is done */
    const char *profile;              /* of numbers: "exact", "fast"; NULL: it is not told */
    uint32_t default_max_tokens;      /* 512 */
    uint32_t context_margin; /* tokens of the context kept free for the answer when max_tokens is
                                not given; 0 */
    void (*on_first_work)(void *ctx); /* ctx of worker_start; once, before anything of the first
                                         request reaches the engine. NULL: nobody wants to know */
    struct metrics *metrics;          /* of its loop's thread, borrowed; NULL: none are kept */
};
struct worker_options worker_options_default(void);

struct worker;
/* Publishes its state on "state.nodes" from now on; loading begins. on_failed, once: the engine
 * could not be opened, or broke later and cannot be used any more (the worker takes nothing then,
 * until it is stopped). ERR_LIMIT: the model's name; or from bus_subscribe, core_thread_start. */
MUST_USE enum err worker_start(struct bus *bus, const struct worker_options *options,
                               void (*on_ready)(void *ctx),
                               void (*on_failed)(void *ctx, enum err why, const char *note),
                               void *ctx, struct worker **out_worker);
/* Takes nothing new (draining: no room), lets what it has end for at most drain_ms, then gives up
 * the rest. on_stopped once, from the loop; then worker_free(). */
void worker_stop(struct worker *worker, uint32_t drain_ms, void (*on_stopped)(void *ctx),
                 void *ctx);
void worker_free(struct worker **worker);

/* For whoever watches: milliseconds since the engine last got on with its work. 0: it has none, or
 * is just being opened or closed. */
uint32_t worker_stuck_ms(const struct worker *worker);

struct worker_stats {
    uint32_t running, queued, parked, slots_free;
    uint64_t accepted, done, failed, cancelled, refused, handed_back, tokens;
};
struct worker_stats worker_stats(const struct worker *worker);
