/* ask_impl - what ask.c (one request) and hub.c (all of them on one bus endpoint) share. Nobody
 * else includes it. */
#pragma once

#include "ask/ask.h"

enum ask_state { ASK_SUBMITTED, ASK_RUNNING, ASK_CANCELLING, ASK_ENDED, ASK_STATE_COUNT };

/* What an ask has to say to its worker at the end of this turn. */
enum { DUE_CREDIT = 1, DUE_RESEND = 2, DUE_CANCEL = 4 };

struct address { /* a subject, kept */
    char bytes[BUS_SUBJECT_MAX_BYTES];
    size_t len; /* 0: not known */
};

struct ask {
    struct ask_hub *hub;
    struct list link;     /* in hub->open until it has ended */
    struct list due_link; /* in hub->due; once ended, the hub frees it from there */
    unsigned due;         /* DUE_* bits */

    enum ask_state state; /* only ask.c's set_state() writes it */
    struct deadline repeat, limit;
    unsigned silent_parts; /* of silence_ms, while RUNNING */
    struct id id;
    uint32_t epoch;
    ask_event_fn *on_event; /* NULL: abandoned, or the end was delivered */
    void *ctx;

    char *submit_frame; /* until the request is accepted or cancelled */
    size_t submit_bytes;
    struct address submit, control; /* where the submit goes; the worker that has it */
    unsigned nobody_count;          /* submits that bounced because nobody serves the model */
    bool worker_was_full;           /* the last bounce of a submit was ERR_FULL */

    uint64_t next_seq;   /* the one to deliver next */
    uint64_t high_seq;   /* the highest we know to exist */
    uint64_t resend_seq; /* next_seq when a resend was last asked for */
    uint64_t beaten_seq; /* next_seq at the last heartbeat */

    uint64_t payload_bytes;           /* of all events delivered */
    uint64_t consumed_events;         /* delivered, and done with */
    uint64_t held_events, held_bytes; /* deltas and their payload that the owner has */
    struct wire_credit granted;       /* what the worker was last told */
};

static inline struct slice address_slice(const struct address *address)
{
    return slice_of(address->bytes, address->len);
}

/* --- ask.c, for hub.c --- */

/* An event, heartbeat or unknown_stream of this stream; `scratch` holds an event's strings. */
void ask_on_record(struct ask *ask, const struct wire_record *record, struct text *scratch);
/* A record of ours that could not be delivered to `subject`. */
void ask_on_bounce(struct ask *ask, uint16_t type, struct slice subject, enum err why);
/* Writes the records that are due and forgets that they were. */
void ask_write_due(struct ask *ask, struct wire_writer *writer);
void ask_free(struct ask *ask);

/* --- hub.c, for ask.c --- */

struct ask_hub {
    struct bus *bus;
    struct bus_subscription *inbox;
    struct ask_options options;
    struct map *streams; /* stream handle -> open ask */
    struct list open;    /* struct ask.link */
    struct list due;     /* struct ask.due_link */
    struct deferred flush;
    struct text out;     /* a frame being written */
    struct text refused; /* cancels for streams we do not have */
    struct text scratch; /* the strings of the event being delivered */
    struct ask_stats stats;
    bool draining;
    void (*on_idle)(void *ctx);
    void *idle_ctx;
};

/* Has the hub write for it, or free it, at the end of the turn. */
void hub_ask_is_due(struct ask *ask, unsigned due);
/* It has ended: takes it off the table. */
void hub_forget(struct ask *ask);
/* Publishes with our inbox as the reply subject. */
MUST_USE enum err hub_publish(struct ask_hub *hub, struct slice subject, struct slice frame);
/* One frame with one cancel. */
void hub_publish_cancel(struct ask_hub *hub, struct slice subject, const struct ask *ask);
