/* manager_impl - what the files of this folder share. Nobody else includes it.
 *
 *   manager.c    life: subjects, the order of a turn, the broadcast, draining
 *   ticket.c     one request as the manager knows it: its states and its memory
 *   registry.c   nodes and models: who is there, and when they are forgotten
 *   submit.c     what askers say: submit, cancel, waiting, credit
 *   tell.c       what askers are told
 *   assign.c     what workers are given, and how it is repeated
 *   account.c    what workers say: load, held, taken, released
 *   calls.c      questions: who is in flight, cancel by id
 *   count.c      metrics */
#pragma once

#include "base/map.h"
#include "manager/manager.h"
#include "manager/post.h"
#include "manager/queue.h"
#include "manager/sched.h"
#include "metrics/metrics.h"
#include "wire/event.h"
#include "wire/load.h"

enum {
    MANAGER_US_PER_MS = 1000,
    MANAGER_NODES_MAX = 512,
    MANAGER_MODELS_MAX = 256,    /* = MANAGER_STATE_QUEUES_MAX: the broadcast names them all */
    MANAGER_LIVING_MAX = 262144, /* tickets that wait or are with a worker */
    MANAGER_ENDED_MAX = 65536,   /* and those that are remembered */
    MANAGER_ENDED_MS = 60000,
    MANAGER_END_REPEAT_MS = 250,    /* an end event that is not acknowledged, */
    MANAGER_END_PATIENCE_MS = 5000, /* for so long */
    MANAGER_TICK_MS = 200,          /* pings, repeats, leases */
    MANAGER_PROGRESS_MS = 250,
    MANAGER_ASSIGN_REPEAT_MS = 250,    /* an assignment that the worker has not seen, */
    MANAGER_ASSIGN_PATIENCE_MS = 5000, /* for so long: then its asker is told to ask again */
    MANAGER_REPEAT_BYTES = 1 << 20,    /* of assignments repeated to one worker in one tick */
    MANAGER_ASKER_SILENCE_MS = 10000,  /* one that waits asks after it every 500 ms */
    MANAGER_SETTLE_MS = 750, /* until the workers of a predecessor have told what they run */
    MANAGER_GREET_MS = 1500, /* until every node there is has been heard */
    MANAGER_STATE_MS = 50,   /* least time between two broadcasts */
};

enum ticket_state { TICKET_QUEUED, TICKET_ASSIGNED, TICKET_ENDING, TICKET_ENDED };

/* One request as the manager knows it.
 *
 *   QUEUED --a worker has room--> ASSIGNED --it let go, or is gone--> ENDED --60 s--> (forgotten)
 *      \--full | late | cancelled | no model--> ENDING --acknowledged | 5 s--> ENDED
 *
 *   on the list of  QUEUED: manager->queued, ASSIGNED: node->tickets, the others: of that name.
 *
 * In ENDED only this is left; what a living one needs beside is its `life`. */
struct ticket {
    struct list link;
    struct id id;
    uint32_t epoch;
    enum ticket_state state;
    struct node *node; /* ASSIGNED, ENDED: who has or had it; NULL: nobody has it any more */
    uint64_t ended_us;
    struct ticket_life *life; /* NULL in ENDED */
};

struct ticket_life {
    struct ticket *ticket;
    struct manager *manager;
    struct slice inbox, tenant, session, label; /* in `words` */
    char *words;
    int64_t arrival_ms;
    uint64_t heard_us; /* its asker, last */
    bool wants_progress, is_cancelled;

    /* QUEUED, and ASSIGNED until the worker has seen it: */
    char *payload;
    size_t payload_bytes;

    /* QUEUED */
    struct model *model;
    char numerics[NODE_FINGERPRINT_BYTES + 1]; /* of the worker that began it; "": of none */
    struct queue_place place;
    bool is_inherited;     /* asked for before we were here: somebody may run it already */
    int64_t told_position; /* -1: none */
    float told_fraction;

    /* ASSIGNED */
    struct list unseen_link; /* in node->unseen */
    uint64_t number, given_us, sent_us;
    uint64_t marked; /* the full list it was last on */
    struct wire_held held;
    bool is_held; /* the worker has told so */

    /* ENDING */
    bool is_error; /* else: done, cancelled */
    enum fault fault;
    char *message;
    uint32_t retry_after_ms;
    uint64_t told_us;
};

struct node {
    struct sched_node sched; /* in its model's list */
    struct list link;        /* in manager->nodes */
    struct manager *manager;
    struct model *model;                /* NULL: it has told its load, and not yet what it is */
    struct slice name, control, detail; /* each its own memory */
    uint64_t heard_us;
    uint64_t number;     /* of the last assignment */
    uint64_t seen;       /* the highest that it has seen */
    uint64_t lists;      /* full lists so far */
    struct list tickets; /* assigned to it */
    struct list unseen;  /* of these, what it has not seen: oldest number first */
};

struct model {
    struct sched_model sched;
    struct list link; /* in manager->models */
    struct manager *manager;
    struct slice name;
    struct queue queue;
    uint32_t told_count;      /* of the queue, in the last broadcast */
    struct deadline expiry;   /* of its first place, and of its outlook */
    bool was_heard;           /* some node has been there */
    uint64_t absent_since_us; /* once it was heard: when its last node went */
    struct model_metrics *metrics;
};

struct manager {
    struct manager_options options;
    struct bus *bus;
    struct loop *loop;
    struct bus_subscription *submits, *control, *calls, *states;
    struct post *post;
    char name[32];
    uint64_t opened_us, looked_us; /* when it last looked at who is silent */
    uint64_t frames_lost;          /* as of the last tick */
    int64_t opened_wall_ms;

    struct map *tickets; /* stream handle -> struct ticket */
    struct list queued, ending, ended;
    uint32_t queued_count, assigned_count, ending_count, ended_count;
    size_t waiting_bytes;

    struct list nodes, models;
    struct map *nodes_by_name, *nodes_by_control, *models_by_name; /* keys: hash of the name */
    uint32_t node_count, model_count;

    struct deadline tick, progress, state_due, greeted;
    struct deferred state_flush;
    uint64_t state_at_us;
    struct text state_frame;

    struct deferred drained;
    bool is_draining;
    void (*on_drained)(void *ctx);
    void *drained_ctx;
    struct manager_stats stats;
};

static inline uint64_t manager_ms(uint32_t ms)
{
    return (uint64_t)ms * MANAGER_US_PER_MS;
}
static inline bool manager_is_settled(const struct manager *manager)
{
    return loop_now_us(manager->loop) - manager->opened_us >= manager_ms(MANAGER_SETTLE_MS);
}

/* --- ticket.c --- */

/* What is kept of a request beside its payload; slices are copied. */
struct ticket_words {
    struct id id;
    uint32_t epoch;
    struct slice inbox, tenant, session, label;
    int64_t arrival_ms;
};
/* QUEUED without a place yet: the caller has it enter a queue, or moves it on. NULL: no memory, or
 * MANAGER_LIVING_MAX. Its handle must be free. */
struct ticket *ticket_new(struct manager *manager, const struct ticket_words *words);
/* NULL is fine; tickets of every state. */
struct ticket *ticket_find(const struct manager *manager, uint64_t stream);
/* False: no memory for it. */
MUST_USE bool ticket_keep_payload(struct ticket *ticket, struct slice payload);
void ticket_drop_payload(struct ticket *ticket);
void ticket_assign(struct ticket *ticket, struct node *node); /* QUEUED -> ASSIGNED */
/* -> ENDING, and says so. `message` is copied. */
void ticket_fail(struct ticket *ticket, enum fault fault, struct slice message,
                 uint32_t retry_after_ms);
void ticket_end_cancelled(struct ticket *ticket);
/* -> ENDED, silently; its node stays with it (TICKET_ASSIGNED), see tell_where(). */
void ticket_end(struct ticket *ticket);
void ticket_free(struct manager *manager, struct ticket *ticket);
/* Those that need not be remembered any more, and those that are too many. */
void tickets_forget_old(struct manager *manager);
/* Nobody is behind these any more. */
void tickets_forget_node(struct manager *manager, const struct node *node);
void tickets_free(struct manager *manager);

static inline struct ticket *ticket_of_link(struct list *link)
{
    return CONTAINER_OF(link, struct ticket, link);
}
static inline struct ticket *ticket_of_place(struct queue_place *place)
{
    return CONTAINER_OF(place, struct ticket_life, place)->ticket;
}

/* --- registry.c --- */

void registry_init(struct manager *manager);
void registry_fini(struct manager *manager);
struct queue_options registry_queue_options(const struct manager *manager);
/* One frame of "state.nodes". */
void registry_on_states(void *ctx, const struct bus_message *message);
/* The node whose frames come from there, made if need be: NULL when there are too many. */
struct node *registry_worker(struct manager *manager, struct slice control);
struct node *registry_find(const struct manager *manager, struct slice control); /* or NULL */
struct model *registry_model(const struct manager *manager, struct slice name);  /* or NULL */
/* NULL: MANAGER_MODELS_MAX. */
struct model *registry_add_model(struct manager *manager, struct slice name);
/* Its askers are told. */
void registry_remove_node(struct node *node, const char *why);
void registry_tick(struct manager *manager);            /* leases of nodes and models */
void registry_forgive_silence(struct manager *manager); /* we did not run: nobody was silent */
/* The greeting time is over: models that nobody spoke of do not exist. */
void registry_end_greeting(struct manager *manager);
/* Brings outlook and queue of the model up to date, gives what can be given, refuses what is late.
 * After every change. May be called with NULL. */
void model_review(struct model *model);

static inline struct node *node_of_link(struct list *link)
{
    return CONTAINER_OF(link, struct node, link);
}
static inline struct node *node_of_sched(struct sched_node *sched)
{
    return CONTAINER_OF(sched, struct node, sched);
}
static inline struct model *model_of_link(struct list *link)
{
    return CONTAINER_OF(link, struct model, link);
}

/* --- submit.c --- */

/* A record of an asker; `reply` is where it listens. */
void submit_on_record(struct manager *manager, const struct wire_record *record,
                      struct slice reply);
/* What waits for this inbox is let go: nobody listens there any more. */
void submit_asker_is_gone(struct manager *manager, struct slice inbox);
/* From whoever wants it cancelled. */
void submit_cancel(struct ticket *ticket);

/* --- tell.c --- */

void tell_queued(struct ticket *ticket);
void tell_loading(struct ticket *ticket);
void tell_end(struct ticket *ticket);
void tell_unknown(struct manager *manager, struct slice inbox, uint64_t stream, uint32_t epoch);
/* An error of a request that was not taken, and is not kept. */
void tell_refused(struct manager *manager, struct slice inbox, const struct wire_record *record,
                  enum fault fault, struct slice message);
/* Where the request is, as an answer to who asked: queued, assigned, its end, or unknown. */
void tell_where(struct manager *manager, const struct ticket *ticket, struct slice reply);
/* Positions and fractions to those who want them, if there is news. */
void tell_progress(struct model *model);

/* --- assign.c --- */

/* Takes the ticket off its queue and gives it to the node. */
void assign_ticket(struct ticket *ticket, struct node *node);
/* The worker has seen all up to there. */
void assign_seen(struct node *node, uint64_t seen);
void assign_repeat(struct node *node); /* what it has not seen for a while */
void assign_cancel(struct node *node, uint64_t stream, uint32_t epoch);
void assign_ping(struct node *node);
/* Not with a worker any more, for all we know; its asker is told to ask again. */
void assign_lose(struct ticket *ticket);
/* A frame to that worker was lost on the way. */
void assign_on_lost(struct node *node, struct slice frame);

/* --- account.c --- */

/* One frame of a worker: its first record is WIRE_LOAD. */
void account_on_frame(struct manager *manager, struct slice control, const struct wire_record *load,
                      struct wire_reader *reader);

/* --- calls.c --- */

void calls_on_message(void *ctx, const struct bus_message *message);

/* --- manager.c --- */

void manager_state_changed(struct manager *manager); /* broadcast soon */
void manager_greet(struct manager *manager);         /* at once */
void manager_arm_progress(struct manager *manager);

/* --- count.c: all take what is NULL --- */

struct model_metrics *count_model_new(struct metrics *metrics, struct slice name);
void count_model_free(struct model_metrics *model);
void count_wait(const struct model *model, uint64_t wait_us);
void count_refused(const struct manager *manager, enum fault fault, uint32_t retry_after_ms);
void count_lost(const struct manager *manager, const char *why);
void count_gauges(const struct manager *manager);
