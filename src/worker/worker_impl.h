/* worker_impl - what the files of the worker share: worker.c (life, the engine's side),
 * worker_inbox.c (what askers and managers say), worker_stream.c (the life of a request),
 * worker_task.c (the part of it in which a task is done),
 * worker_load.c (what it tells the manager), worker_state.c (what it says of itself). Nobody else
 * includes it. */
#pragma once

#include "base/map.h"
#include "wire/load.h"
#include "wire/node_state.h"
#include "worker/outbox.h"
#include "worker/prep.h"
#include "worker/worker.h"
#include "worker/worker_metrics.h"

enum {
    WORKER_LIVING_MAX = 16384, /* requests at once: prepared, waiting, running, parked */
    WORKER_PREPARING_BYTES_MAX = 64 * 1024 * 1024, /* submits on the pool */
    /* Of submits in one turn, prepared on the loop itself (prep.h): far below a ms. A request with
     * a short prompt costs 15 us less without the pool. */
    WORKER_IN_LINE_BYTES_MAX = 4096,
    WORKER_RELEASED_MAX = WORKER_LIVING_MAX, /* told in one turn; the full list says the rest */
    WORKER_MANAGERS_MAX = 4, /* whose numbers are remembered: one, but for a change of managers */
};

/* How fast its clocks go. Tests turn them. */
struct worker_pace {
    uint32_t ended_max;    /* ended requests remembered, */
    uint32_t ended_ms;     /* for so long */
    size_t kept_bytes_max; /* that wait for askers: results that would be more are not kept, */
    size_t kept_tenant_bytes_max; /* nor those of a tenant of which so much waits */
    uint32_t beat_ms;
    uint32_t load_ms;  /* between two full lists for the manager */
    uint32_t state_ms; /* between two node states, however much changes */
    /* An asker answers heartbeats that bring nothing new; one silent for so long, while nothing new
     * was made for it, is gone without the bus having told. */
    uint32_t asker_silence_ms;
    /* An engine thread that shows no sign for so long is stuck: the streams in it do not beat any
     * more, so that their askers see what is the matter. */
    uint32_t stuck_ms;
};

/* What becomes of a request:
 *
 *   PREPARING --job made--> WAITING --slot free--> RUNNING      (a task ends from PREPARING)
 *   any --end event made, or handed back--> ENDED --ended_ms, or ended_max later ones--> (freed)
 *
 *   state      has                             cancel
 *   PREPARING  prep, or the task's work        ends it; the pool's result is thrown away
 *   WAITING    job, a place in worker->queue   ends it
 *   RUNNING    key, in the core                flag and core_thread_cancel(); the core ends it
 *   ENDED      out, until the end is acked     forgets what was not acked
 */
enum stream_state {
    STREAM_PREPARING,
    STREAM_WAITING,
    STREAM_RUNNING,
    STREAM_ENDED,
    STREAM_STATE_COUNT
};

/* Of what it was asked with, the part that is still needed while it runs: 150 bytes, where the
 * whole head in its arena took 900. */
struct stream_names {
    int64_t arrival_ms;
    struct slice inbox, tenant, session, label; /* in bytes[] */
    char bytes[];
};

struct stream {
    struct worker *worker;
    struct list link; /* in worker->living or ->ended */
    enum stream_state state;
    struct id id;
    uint64_t tenant; /* its hash; 0: of none */
    uint32_t epoch;
    bool is_known;             /* in worker->streams; a superseded epoch is not */
    bool is_handed_back;       /* ENDED without an end event: it may run elsewhere */
    struct outbox_stream *out; /* NULL: nobody listens any more, or all was acknowledged */
    uint64_t arrived_us, started_us, ended_us;
    uint64_t waited_before_us; /* on its way here, by the wall clocks */

    struct stream_names *names;      /* while it lives */
    uint32_t manager_id;             /* who assigned it; 0: nobody knows */
    struct preparation *preparation; /* while PREPARING, or, if it is a task, */
    struct task_run *task;           /* this */
    struct list queue_link;          /* while WAITING, */
    struct core_job *job;            /* with this */

    uint64_t key; /* in the core; 0: was never there */
    struct cancel_flag *cancel;
    uint64_t cancelled_us;             /* while RUNNING: the core was told then; 0: it was not */
    bool is_drained;                   /* and it was us who wanted it, not the asker */
    uint32_t prompt_tokens, tokens;    /* put in; sampled */
    uint32_t replayed_tokens;          /* said elsewhere, and put in behind the prompt */
    uint64_t delta_count, delta_bytes; /* made: what the core counts against its credit */
    uint64_t seed;
    struct outbox_limits told_limits; /* to the core */
};

/* Whom we hear "here I am" from; its numbers are its own. */
struct worker_manager {
    uint32_t id;   /* counts up; 0: a free place */
    uint64_t seen; /* its highest assignment that was taken in */
    size_t control_bytes;
    char control[BUS_SUBJECT_MAX_BYTES];
};

struct worker_release {
    uint64_t stream;
    uint32_t epoch;
    struct wire_released what;
};

struct worker {
    struct worker_options options;
    struct worker_pace pace;
    struct bus *bus;
    struct loop *loop;
    char model[WORKER_MODEL_MAX_BYTES + 1], node[WORKER_MODEL_MAX_BYTES + 16], engine_kind[32];
    char detail[512]; /* of the model, or why it failed */

    enum node_phase phase;
    float load_fraction;
    struct engine *engine; /* from on_ready() to core_thread_stop() */
    struct forms *forms;
    uint32_t context_tokens;
    uint32_t layers;
    uint64_t weights_bytes;
    bool reads_only;
    struct node_adapter adapters[ENGINE_ADAPTERS_MAX]; /* names: the engine's */
    size_t adapter_count;
    struct selftest_result selftest; /* all unknown until it was done */
    struct core_thread *core;

    struct bus_subscription *control;
    struct outbox *outbox;
    struct map *streams; /* stream handle -> struct stream, living or ended */
    struct map *keys;    /* key in the core -> struct stream */
    struct list living, ended;
    struct list queue; /* those WAITING, first come first served */
    struct list
        tasks; /* that compute, and wait for the one that does; as many as there are living */
    bool computes_task;
    uint32_t living_count, ended_count;
    uint32_t slots, slots_free; /* free: for a new one, those under way counted off */
    uint32_t in_core;           /* jobs the core has or will get */
    uint32_t preparing;         /* also for those that have ended since */
    size_t preparing_bytes;
    size_t in_line_bytes;   /* prepared on the loop in the turn */
    uint64_t in_line_at_us; /* of this time */
    uint32_t core_parked;   /* as it said last */
    uint64_t last_key;
    struct text refusals; /* unknown_stream records of one message */

    struct bus_subscription *managers_heard;
    struct bus_subscription *state_wanted;
    struct worker_manager managers[WORKER_MANAGERS_MAX];
    struct worker_manager *manager; /* that we tell our load; NULL: nobody */
    uint32_t last_manager_id;
    bool registers;                  /* the next list tells it everything */
    struct worker_release *released; /* since it was last told */
    size_t released_count, released_max;
    struct wire_load told; /* what it knows, if nothing was lost */
    uint64_t told_seen;
    struct deferred load_flush;
    struct text load_frame;

    struct deadline beat, drain, load_due, state_due;
    uint64_t beaten_us, awake_since_us; /* the last beat; the first one after a pause of ours */
    struct deferred state_flush;
    struct node_state said; /* what was last published; its slices are not kept, but for this */
    char said_fingerprint[NODE_FINGERPRINT_BYTES + 1];
    uint64_t state_at_us; /* and when */
    struct text state_frame;
    int64_t created_s, last_token_ms;

    struct worker_metrics metrics;
    bool is_draining, is_stopping, has_told_work;
    struct worker_stats stats;
    void (*on_ready)(void *ctx);
    void (*on_failed)(void *ctx, enum err why, const char *note);
    void *ctx;
    void (*on_stopped)(void *ctx);
    void *stopped_ctx;
};

/* Taken, and not in a slot. */
static inline uint32_t worker_waiting(const struct worker *worker)
{
    return worker->living_count - worker->in_core;
}

/* --- worker_inbox.c --- */

MUST_USE enum err
worker_inbox_open(struct worker *worker);       /* assignments and credits come from now on */
void worker_inbox_close(struct worker *worker); /* none any more; harmless twice */
void worker_inbox_free(struct worker *worker);
/* To an asker: what you speak of is not here. */
void worker_say_unknown(struct worker *worker, struct slice inbox, uint64_t stream, uint32_t epoch);

/* --- worker_stream.c --- */

/* PREPARING (but worker_stream_prepare() is still to come), and says that it is accepted. Copies
 * what it needs of *head. Its handle is free. NULL: no memory for the copy. */
struct stream *worker_stream_new(struct worker *worker, const struct request *head,
                                 uint32_t manager_id);
/* All that are left; they have ended. */
void worker_streams_free(struct worker *worker);
/* The ended ones that need not be remembered any more. */
void worker_streams_forget_old(struct worker *worker);

/* Has it prepared, or ends it: there is too much of that already. */
void worker_stream_prepare(struct stream *stream, struct slice submit, const struct request *head);
/* WAITING -> RUNNING: there is a slot for it. */
void worker_stream_start(struct stream *stream);
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
/* It ends here through no fault of its own. While it has said nothing its asker hears
 * unknown_stream, and may have it elsewhere; after that it fails. */
void worker_stream_give_up(struct stream *stream, enum fault fault, struct slice message);
void worker_stream_cancel(struct stream *stream); /* harmless twice */
struct wire_held worker_stream_held(const struct stream *stream);

/* --- worker_task.c --- */

/* On the pool, which ends the stream. False: no memory for the copy. */
bool worker_task_begin(struct stream *stream, struct slice submit, enum task_kind kind);
void worker_task_leave(struct stream *stream); /* it ends without; harmless if there is no task */

/* --- worker.c --- */

/* Starts what can start, says what changed. After every change. */
void worker_pump(struct worker *worker);

/* --- worker_load.c --- */

MUST_USE enum err worker_load_open(struct worker *worker);
void worker_load_close(struct worker *worker); /* says the last; harmless twice */
void worker_load_free(struct worker *worker);
/* An assignment with that number came from there. The id of the manager; 0: it says not who. */
uint32_t worker_load_assigned(struct worker *worker, struct slice control, uint64_t number);
void worker_load_released(struct worker *worker, uint64_t stream, uint32_t epoch,
                          const struct wire_released *what);
/* At the end of the turn, if there is news. */
void worker_load_changed(struct worker *worker);
/* The manager may have given us up: it is told everything anew. */
void worker_load_register(struct worker *worker);
void worker_load_bounced(struct worker *worker, const struct bus_message *message, enum err why);

/* --- worker_state.c --- */

void worker_state_init(struct worker *worker);
MUST_USE enum err worker_state_open(struct worker *worker); /* tells it when somebody asks, too */
void worker_state_close(struct worker *worker);             /* no more; harmless twice */
void worker_state_changed(struct worker *worker);
void worker_state_again(struct worker *worker); /* at the end of the turn, news or not */
void worker_state_publish(struct worker *worker);
void worker_state_fini(struct worker *worker);
