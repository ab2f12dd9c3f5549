/* stage - what the tests of this folder play on: a hub, an owner that writes down what it is told,
 * and a manager and a worker that hear everything and say only what the test has them say. Virtual
 * time, one loop. Included by *_test.c only. */
#pragma once

#include "ask/ask.h"
#include "bus/bus_mem.h"

enum { STAGE_HEARD_MAX = 4096, STAGE_EVENTS_MAX = 512, STAGE_TEXT_MAX = 8192 };

/* One record that the manager or the worker got; pings are only counted. */
struct heard {
    bool on_control; /* the worker's, "control.w" */
    bool on_manager; /* the manager's own, "control.m"; neither: on "submit" */
    uint16_t type, flags;
    uint64_t stream;
    uint32_t epoch;
    struct wire_credit credit;
    uint64_t at_us;
    size_t frame; /* which frame it came in, from 1 */
};

struct stage {
    struct ask_options options;
    size_t peer_bytes_max;

    struct loop *loop;
    struct bus_mem *bus_mem;
    struct bus *asker, *manager, *worker;
    struct ask_hub *hub;
    struct loop *away_loop; /* NULL: the same; set it for a manager and worker that do not look */
    struct bus_subscription *on_submit, *on_manager, *on_control;

    struct heard heard[STAGE_HEARD_MAX];
    size_t heard_count, frames_heard, pings;
    struct text last_submit; /* its payload */
    struct slice reply;      /* who speaks: the reply subject of what is said; "control.w" */
    uint32_t epoch;          /* of what is said; 1 */
};

/* The owner of one ask. */
struct owner {
    struct stage *stage;
    struct ask *ask; /* NULL after its end */
    struct id id;
    bool consumes;                                                    /* each delta at once */
    void (*on_event)(struct owner *owner, const struct event *event); /* may be NULL */

    size_t count; /* of events */
    enum event_type types[STAGE_EVENTS_MAX];
    uint64_t seqs[STAGE_EVENTS_MAX];
    char text[STAGE_TEXT_MAX]; /* of the deltas, joined */
    size_t text_bytes;
    size_t ends;
    enum done_reason reason;
    enum fault fault;
    uint32_t retry_after_ms;
};

/* Options may be changed between stage_init() and stage_open(). */
void stage_init(struct stage *stage);
/* A hub, a manager at "submit" and "control.m", a worker at "control.w". */
void stage_open(struct stage *stage);
void stage_open_default(struct stage *stage); /* both */
void stage_close(struct stage *stage);
void stage_run(struct stage *stage, uint64_t ms); /* lets that much time pass */
void stage_worker_leaves(struct stage *stage);
void stage_worker_comes(struct stage *stage);
void stage_manager_leaves(struct stage *stage);
void stage_manager_comes(struct stage *stage);

struct request stage_request(struct id id);
/* Opens an ask with a fresh id; it has to work. */
void owner_ask(struct owner *owner, struct stage *stage);
ask_event_fn owner_on_event;

struct owner owner_eager(void); /* consumes each delta at once */
/* Asks, and the submit has left. */
void owner_submit(struct owner *owner, struct stage *stage);
/* And the manager says that it waits. */
void owner_queue(struct owner *owner, struct stage *stage);
/* Asks, and the worker accepts it (event 1), without a word from the manager. */
void owner_start(struct owner *owner, struct stage *stage);
/* The worker accepts what was submitted, in this epoch, and ends it well after one delta, "x". */
void owner_finish(struct owner *owner, struct stage *stage, uint32_t epoch);
size_t owner_events(const struct owner *owner, enum event_type type); /* how many came */

/* How many records of the type the worker heard so far, and the last one (NULL: none). */
size_t heard_count(const struct stage *stage, uint16_t type);
const struct heard *heard_last(const struct stage *stage, uint16_t type);
size_t heard_in_epoch(const struct stage *stage, uint16_t type, uint32_t epoch);
/* The last submit, as whoever gets it reads it. */
void check_last_submit(const struct stage *stage, const struct owner *owner, uint32_t epoch);

/* What the worker (or whoever stage.reply is) says: each call is one frame to the asker's inbox,
 * then one settled turn. */
void say(struct stage *stage, const struct owner *owner, const struct event *event);
void say_accepted(struct stage *stage, const struct owner *owner, uint64_t seq);
void say_delta(struct stage *stage, const struct owner *owner, uint64_t seq, const char *text);
void say_done(struct stage *stage, const struct owner *owner, uint64_t seq,
              enum done_reason reason);
void say_record(struct stage *stage, const struct wire_record *record);
void say_heartbeat(struct stage *stage, const struct owner *owner, uint64_t seq);
void say_unknown(struct stage *stage, const struct owner *owner);
void say_bytes(struct stage *stage, struct slice frame);

/* What the manager says, whoever spoke before. */
void manager_say_queued(struct stage *stage, const struct owner *owner);
void manager_say_assigned(struct stage *stage, const struct owner *owner, struct slice control);
void manager_say_unknown(struct stage *stage, const struct owner *owner);
