/* worker_impl - what the files of the worker share: worker.c (life, the engine's side),
 * worker_inbox.c (what askers say), worker_stream.c (the life of a request), worker_state.c (what
 * it says of itself). Nobody else includes it. */
#pragma once

#include "base/map.h"
#include "wire/node_state.h"
#include "worker/admission.h"
#include "worker/outbox.h"
#include "worker/prep.h"
#include "worker/worker.h"

enum {
    WORKER_LIVING_MAX = 16384, /* requests at once: waiting, running and parked; more: queue_full */
    WORKER_NAME_BYTES = 200,
};

/* How fast its clocks go. Tests turn them. */
struct worker_pace {
    uint32_t ended_max; /* ended requests remembered, */
    uint32_t ended_ms;  /* for so long */
    uint32_t beat_ms;
    uint32_t progress_ms; /* between two queued or loading events of one request */
    uint32_t state_ms;    /* between two node states, however much changes */
    /* An asker answers heartbeats that bring nothing new; one silent for so long, while nothing new
     * was made for it, is gone without the bus having told. */
    uint32_t asker_silence_ms;
    /* An engine thread that shows no sign for so long is stuck: the streams in it do not beat any
     * more, so that their askers see what is the matter. */
    uint32_t stuck_ms;
};

/* What becomes of a request:
 *
 *   HELD --model loaded--> PREPARING --job made--> WAITING --slot free--> RUNNING
 *   any --end event made--> ENDED --ended_ms, or ended_max later ones--> (freed)
 *
 *   state      has                             cancel
 *   HELD       request, place                  ends it
 *   PREPARING  prep, place                     ends it; the pool's result is thrown away
 *   WAITING    job, place                      ends it
 *   RUNNING    key, in the core                flag and core_thread_cancel(); the core ends it
 *   ENDED      out, until the end is acked     forgets what was not acked
 */
enum stream_state {
    STREAM_HELD,
    STREAM_PREPARING,
    STREAM_WAITING,
    STREAM_RUNNING,
    STREAM_ENDED,
    STREAM_STATE_COUNT
};

struct stream {
    struct worker *worker;
    struct list link; /* in worker->living or ->ended */
    enum stream_state state;
    struct id id;
    uint32_t epoch;
    bool is_known;             /* in worker->streams; a superseded epoch is not */
    struct outbox_stream *out; /* NULL: nobody listens any more, or all was acknowledged */
    uint64_t arrived_us, started_us, ended_us;

    struct admission_place place;
    struct arena *arena; /* holds request, while HELD */
    struct request request;
    struct preparation *preparation; /* while PREPARING */
    struct core_job *job;            /* while WAITING */

    uint64_t key; /* in the core; 0: was never there */
    struct cancel_flag *cancel;
    bool is_cancelled; /* while RUNNING: the core was told */
    bool is_drained;   /* and it was us who wanted it, not the asker */
    bool wants_progress;
    uint32_t prompt_tokens;
    uint64_t seed;
    int64_t told_position;            /* in the last queued event; -1: none yet */
    float told_fraction;              /* in the last loading event; -1: none yet */
    struct outbox_limits told_limits; /* to the core */
};

struct worker {
    struct worker_options options;
    struct worker_pace pace;
    struct bus *bus;
    struct loop *loop;
    char model[WORKER_NAME_BYTES], node[WORKER_NAME_BYTES + 16], engine_kind[32];
    char detail[512]; /* of the model, or why it failed */

    enum node_phase phase;
    float load_fraction;
    struct engine *engine; /* from on_ready() to core_thread_stop() */
    uint32_t context_tokens;
    uint64_t weights_bytes;
    struct core_thread *core;

    struct bus_subscription *submits, *control;
    struct outbox *outbox;
    struct admission admission;
    struct map *streams; /* stream handle -> struct stream, living or ended */
    struct map *keys;    /* key in the core -> struct stream */
    struct list living, ended;
    uint32_t living_count, ended_count;
    uint32_t in_core;     /* jobs the core has or will get */
    uint32_t preparing;   /* on the pool */
    uint32_t core_parked; /* as it said last */
    uint64_t last_key;
    struct map *decodings; /* stream handle -> large submit on the pool */
    size_t decoding_bytes;
    struct text refusals; /* unknown_stream records of one message */

    struct deadline expiry, beat, progress, drain, state_due;
    uint64_t beaten_us, awake_since_us; /* the last beat; the first one after a pause of ours */
    struct deferred state_flush;
    struct node_state said; /* what was last published; its slices are not kept */
    uint64_t state_at_us;   /* and when */
    struct text state_frame;
    int64_t created_s, last_token_ms;

    bool is_draining, is_stopping;
    struct worker_stats stats;
    void (*on_ready)(void *ctx);
    void (*on_failed)(void *ctx, enum err why, const char *note);
    void *ctx;
    void (*on_stopped)(void *ctx);
    void *stopped_ctx;
};

/* --- worker_inbox.c --- */

MUST_USE enum err
worker_inbox_open(struct worker *worker);       /* submits and credits come from now on */
void worker_inbox_close(struct worker *worker); /* none any more; harmless twice */
void worker_inbox_free(struct worker *worker);

/* --- worker_stream.c --- */

/* HELD, and says that it is accepted. Takes *arena, which holds *request. Its handle is free. */
struct stream *worker_stream_new(struct worker *worker, struct arena **arena,
                                 const struct request *request);
/* All that are left; they have ended. */
void worker_streams_free(struct worker *worker);
/* The ended ones that need not be remembered any more. */
void worker_streams_forget_old(struct worker *worker);

/* A later epoch: the asker has given this one up. Its handle is free then. */
void worker_stream_supersede(struct stream *stream);
void worker_stream_credit(struct stream *stream, const struct wire_record *record);
/* Its asker is gone, or wants a later epoch: nothing is said any more, and it is cancelled. */
void worker_stream_lose(struct stream *stream);
void worker_stream_emit(struct stream *stream, const struct event *event, const int32_t *tokens);
/* Makes the end event; from any state but ENDED. */
void worker_stream_end(struct stream *stream, const struct event *end);
void worker_stream_fail(struct stream *stream, enum fault fault, struct slice message,
                        const char *param);
void worker_stream_cancel(struct stream *stream); /* harmless twice */
/* HELD -> PREPARING: the model is loaded. */
void worker_stream_prepare(struct stream *stream);
/* WAITING -> RUNNING: it has left the queue. */
void worker_stream_start(struct stream *stream);
/* A queued or loading event, if it asked for them and there is news. */
void worker_stream_tell_progress(struct stream *stream, uint32_t position);

static inline struct stream *worker_stream_of_place(struct admission_place *place)
{
    return CONTAINER_OF(place, struct stream, place);
}

/* --- worker.c --- */

/* Starts what can start, refuses what waited too long, says what changed. After every change. */
void worker_pump(struct worker *worker);

/* --- worker_state.c --- */

void worker_state_init(struct worker *worker);
void worker_state_changed(struct worker *worker);
void worker_state_publish(struct worker *worker);
void worker_state_fini(struct worker *worker);
