/* gateway_rig - what the tests of the gateway stand on: a real gateway on a free port of a loop
 * whose time the test moves, a worker for the model "m" that hears everything and says only what
 * the test has it say, and clients that are raw sockets (those of http/server_rig.h). Linked into
 * tests only. Set-up that fails aborts. */
#pragma once

#include "base/arena.h"
#include "bus/bus_mem.h"
#include "gateway/reply_state.h"
#include "http/server_rig.h"

enum { JOBS_MAX = 64 };

/* One request as the worker got it. */
struct job {
    struct gateway_rig *rig;
    struct arena *arena;
    struct request request;
    uint64_t seq;   /* of the last event said */
    uint64_t bytes; /* payload of the events said */
    int submits, cancels, credits;
    struct wire_credit credit; /* the last one heard, or the first */
    bool ended;                /* said its end */
};

struct gateway_rig {
    struct server_rig http; /* only its loop and address: clients talk to what listens there */
    struct bus_mem *bus_mem;
    struct bus *front, *back; /* the gateway's endpoint and the worker's */
    struct metrics *metrics;  /* of the gateway, with their feed */
    struct metrics_feed *feed;
    struct gateway *gateway;
    struct client client; /* connected; others are the test's own */
    struct bus_subscription *submits, *control;
    struct node_state state; /* what the worker says of itself; a test may change it */
    struct job jobs[JOBS_MAX];
    int job_count;
    bool obliges; /* the worker ends what is cancelled, at once */
    int drained;  /* calls of on_drained() */
};

/* Limits that no test meets by accident: the head of a stream is held for 3 s, pings come after
 * 10 s, who does not read is closed after 3 s; who sends nothing is not. */
struct gateway_options gateway_rig_options(void);
/* With a worker that has reported that it is ready. Options NULL: those. */
struct gateway_rig *gateway_rig_open(const struct gateway_options *options);
/* The same, and no worker has reported yet. */
struct gateway_rig *gateway_rig_open_alone(const struct gateway_options *options);
/* The same, on a loop of the caller's, which may be a real one. */
struct gateway_rig *gateway_rig_open_on(struct loop *loop, const struct gateway_options *options);
/* Closes the gateway, whatever is in flight, and frees all. ASSERTs that nothing is left. */
void gateway_rig_close(struct gateway_rig *rig);

void rig_report(struct gateway_rig *rig); /* publishes rig->state */
/* Time passes; the worker reports and beats every second, as a living one does. */
void rig_live_ms(struct gateway_rig *rig, uint64_t ms);
void rig_drain(struct gateway_rig *rig, uint32_t drain_ms);
/* Nothing is in flight, neither here nor in the hub. */
bool rig_is_idle(const struct gateway_rig *rig);
/* The oldest reply in flight. */
struct reply *rig_reply(struct gateway_rig *rig);

/* --- the worker's moves: each is one frame, and the loop is run until nothing is left to do --- */

struct job *rig_last_job(struct gateway_rig *rig);
/* All jobs have ended; there is room for new ones. */
void rig_forget_jobs(struct gateway_rig *rig);
void job_say(struct job *job, const struct event *event);
void job_accept(struct job *job);
void job_start(struct job *job); /* accepted, and started with seed 42 and 3 prompt tokens */
void job_delta(struct job *job, struct slice text); /* of one token */
void job_done(struct job *job, enum done_reason reason);
void job_fail(struct job *job, enum fault fault, const char *message);
/* `count` deltas of the same text in one frame; nothing is run. */
void job_burst(struct job *job, struct slice text, int count);
/* As much of the same text as the credit allows now; returns how many deltas that was. */
int job_fill(struct job *job, struct slice text);
/* The same as job_say(), but nothing is run. */
void job_post(struct job *job, const struct event *event);

/* --- the client's side --- */

/* "POST path" with that JSON; `fields`: more head lines, or "". */
void client_post(struct client *client, const char *path, const char *fields, struct slice body);
void client_post_str(struct client *client, const char *path, const char *body);
void client_get(struct client *client, const char *target, const char *fields);
/* Posts, and returns the job that the worker made of it. */
struct job *client_ask(struct client *client, const char *path, const char *body);
enum way { BY_FIN, BY_RESET, WAYS };
void client_leave(struct client *client, enum way way); /* and the loop is run */

/* The first answer among the bytes that a client has read. */
struct answer {
    int status;
    struct slice head; /* status line and fields, borrowed from the client */
    struct text body;  /* without the framing */
    int chunks;        /* of a chunked body, as far as they are here */
    bool is_whole;     /* the last chunk or byte is here */
    size_t bytes;      /* of the input, when whole */
};
/* Which is 0 as long as its head is not here. Runs the loop, and reads, like all that follows. */
int client_status(struct client *client);
/* Is the answer that status with an error of that code, whole, in our form? Prints it if not, and
 * takes it off. */
bool client_was_refused(struct client *client, int status, const char *code);
/* Runs the loop, reads, and takes apart what has come; status 0 if no head is whole. */
struct answer client_answer(struct client *client);
/* Takes the answer's bytes off the client's input, so that the next one is the first. */
void client_forget(struct client *client, struct answer *answer);
void answer_fini(struct answer *answer);
size_t answer_count(const struct answer *answer, const char *needle); /* in its body */
/* The field's value; data NULL when it is not there. */
struct slice answer_field(const struct answer *answer, const char *name);
