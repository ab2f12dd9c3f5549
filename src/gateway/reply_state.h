/* reply_state - what reply.c (start, ask, end) and reply_stream.c (events in, bytes out) share. */
#pragma once

#include "gateway/counts.h"
#include "gateway/marks.h"
#include "gateway/reply.h"

enum reply_state { REPLY_PARSING, REPLY_WAITING, REPLY_STREAMING, REPLY_GONE };

struct choice {
    struct reply *reply;
    uint32_t index;
    struct ask *ask; /* NULL: not asked, or ended */
    uint64_t last_delta_us;
};

struct reply {
    struct list link;
    struct gateway *gateway;
    struct http_conn *conn; /* NULL: the client is gone, or the answer is complete */
    enum reply_state state;
    struct key *key;      /* on whose behalf; NULL: nobody's */
    uint32_t key_streams; /* counted there for it */
    struct call *call;
    const struct model_counts *counts;
    uint32_t mark;             /* of the connection, for when it is gone */
    struct slice worker;       /* the last that accepted choice 0; in the call's arena */
    struct choice *choices;    /* call->choices of them, from the time that they are asked */
    struct loop_work *parsing; /* on the pool */

    struct text out; /* formatted, not yet taken by the connection */
    struct deferred flush;
    bool ending; /* the terminator is in `out` */
    uint64_t written_bytes, sent_bytes;
    struct marks marks;
    uint32_t marks_max; /* what all credits together allow */

    struct deadline head_deadline, ping_deadline;
    uint64_t quiet_since_us; /* the last write, or ping */
    uint64_t arrived_us, first_delta_us;
    const char *end; /* for the log line */
    int status;
    struct free_later free_slot;
};

/* --- reply_done.c --- */

/* It is over: the log line, and the counts. */
void reply_done(const struct reply *reply);

/* --- reply.c --- */

/* The one way out: what is still asked for is abandoned; `end` is for the log line. */
void reply_gone(struct reply *reply, const char *end);
/* Answers with a status; only before the head. */
void reply_answer_error(struct reply *reply, const struct api_error *error);
/* Not streaming, all choices done: the answer. */
void reply_answer_whole(struct reply *reply);
/* The X-Request-Id lines. */
void reply_add_id_fields(const struct call *call, struct text *fields);
void reply_abandon_asks(struct reply *reply);
/* "the model 'x' does not exist": whoever finds that out. Returns what api_error_set() does. */
MUST_USE enum err reply_unknown_model(const struct reply *reply, struct api_error *out_error);

/* --- reply_stream.c --- */

/* Hears the connection; sets up the flush and the deadlines. */
void reply_stream_init(struct reply *reply);
/* The call is parsed and will be a stream: room for what its credits allow to be under way. */
void reply_stream_prepare(struct reply *reply);
void reply_stream_stop(struct reply *reply);
/* The ask's callback; ctx is a struct choice. */
void reply_on_event(void *ctx, const struct event *event);
/* Ends the reply with an error: a status before the head, the dialect's error event and terminator
 * after it. */
void reply_fail(struct reply *reply, const struct api_error *error);
