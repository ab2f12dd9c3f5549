/* ask_impl - what ask.c (one request), ask_hear.c (what others say of it) and hub.c (all requests
 * of one bus endpoint) share. Nobody else includes it. */
#pragma once

#include "ask/ask.h"
#include "ask/contact.h"
#include "ask/said.h"

enum ask_state {
    ASK_SUBMITTED,
    ASK_QUEUED,
    ASK_RUNNING,
    ASK_CANCELLING,
    ASK_ENDED,
    ASK_STATE_COUNT
};

/* What an ask has to say at the end of this turn, and where. */
enum {
    DUE_CREDIT = 1, /* these three: to its worker */
    DUE_RESEND = 2,
    DUE_CANCEL = 4,
    DUE_CANCEL_SUBMIT = 8,   /* to whoever gets submits */
    DUE_CANCEL_MANAGER = 16, /* to its manager */
};

/* Where submits go: one manager of those that listen. */
#define SUBMIT_SUBJECT SLICE("submit")

/* Thousands of these are alive at once, most of them waiting: what only a few need lies elsewhere.
 */
struct ask {
    struct ask_hub *hub;
    struct list link;         /* in hub->open until it has ended */
    struct list due_link;     /* in hub->due; once ended, the hub frees it from there */
    struct list worker_link;  /* in worker->asks until it has ended */
    struct list manager_link; /* in manager->asks */
    struct contact *worker;  /* whom we speak to: the acceptor, before it the one we were told of */
    struct contact *manager; /* who said that it waits there; NULL once accepted */
    ask_event_fn *on_event;  /* NULL: abandoned, or the end was delivered */
    void *ctx;

    char *submit; /* its payload, until something was said that cannot be taken back: a rerun */
    struct said *said;   /* what was, if it is kept (rule 9): the submit is then, too */
    struct event *usage; /* came while it is kept: for the owner only if the end follows */
    uint32_t submit_bytes;
    uint32_t epoch;
    struct id id;
    struct deadline repeat, limit;

    enum ask_state state; /* only ask.c's set_state() writes it */
    uint8_t due;          /* DUE_* bits */
    uint8_t silent_parts; /* of silence_ms, while a worker is listened to */
    bool nobody_has_it;   /* a submit of this epoch came back: nobody listens there */
    bool manager_is_full; /* the last bounce of a submit said so */
    bool was_started;     /* `started` was delivered */
    uint32_t rerun_count;

    uint64_t next_seq;   /* the one to deliver next; beyond 1: accepted */
    uint64_t high_seq;   /* the highest we know to exist */
    uint64_t resend_seq; /* next_seq when a resend was last asked for */
    uint64_t beaten_seq; /* next_seq at the last heartbeat */
    uint64_t heard_us;   /* when the worker last gave a sign */

    uint64_t payload_bytes;           /* of all events delivered */
    uint64_t held_events, held_bytes; /* deltas and their payload that the owner has */
    struct wire_credit granted;       /* what the worker was last told */
};

static inline bool ask_is_accepted(const struct ask *ask)
{
    return ask->next_seq > 1;
}
static inline bool ask_events_miss(const struct ask *ask)
{
    return ask->next_seq <= ask->high_seq;
}

/* --- ask.c: what happens to it --- */

void ask_is_queued(struct ask *ask, struct slice manager_control); /* SUBMITTED, QUEUED */
void ask_was_accepted(struct ask *ask);
/* Speaks to that worker from now on; harmless if it does already. */
void ask_turn_to(struct ask *ask, struct slice worker_control);
/* The worker lives. */
void ask_listen_anew(struct ask *ask);
/* Once for each missing event, then again every repeat_ms. Nothing while nobody is known to ask. */
void ask_for_resend(struct ask *ask);
/* After the delivery of an event. */
void ask_review_credit(struct ask *ask);
/* Something was delivered that a second run would say again: it ends with its worker, unless the
 * event could be kept. */
void ask_keep_said(struct ask *ask, const struct event *event);
void ask_forget_submit(struct ask *ask);
/* Its worker was lost, and another one may have it: nothing was said yet, or all of it is kept. */
bool ask_may_go_on(const struct ask *ask);
/* Whoever had it has it no more: asked for again, or the end. */
void ask_on_lost(struct ask *ask, const char *message);
void ask_on_manager_gone(struct ask *ask);
/* Rule 2. `due`: what still has to be said of it. */
void ask_end(struct ask *ask, const struct event *event, unsigned due);
void ask_end_cancelled(struct ask *ask, unsigned due);
void ask_on_nonsense(struct ask *ask);
/* Writes what is due for the worker and forgets that it was. */
void ask_write_due(struct ask *ask, struct wire_writer *writer);
void ask_free(struct ask *ask);

/* --- ask_hear.c: what others say, from hub.c --- */

/* A record of this stream from who listens at `from` (may be empty); `scratch` holds an event's
 * strings. True: nobody wants to hear that, and `from` should be told to stop (rule 7). */
MUST_USE bool ask_on_record(struct ask *ask, const struct wire_record *record, struct slice from,
                            struct text *scratch);
/* A record of ours that could not be delivered to `subject`. */
void ask_on_bounce(struct ask *ask, const struct wire_record *record, struct slice subject,
                   enum err why);

/* --- hub.c, for the others --- */

struct ask_hub {
    struct bus *bus;
    struct bus_subscription *inbox;
    struct ask_options options;
    struct map *streams;           /* stream handle -> open ask */
    struct list open;              /* struct ask.link */
    struct list due;               /* struct ask.due_link */
    unsigned due_bits;             /* DUE_* of any of them */
    struct list workers, managers; /* struct contact.link */
    struct deadline ping, wait;    /* armed while there is somebody to ask */
    struct deferred flush;
    struct text out;     /* a frame being written */
    struct text refused; /* cancels for streams we do not have */
    struct text scratch; /* the strings of the event being delivered */
    size_t kept_bytes;   /* of answers that may go on: their ids and submits */
    struct ask_stats stats;
    bus_bounce_fn *on_call_bounce; /* may be NULL */
    void *call_ctx;
    bool draining;
    void (*on_idle)(void *ctx);
    void *idle_ctx;
};

/* Has the hub write for it, or free it, at the end of the turn. */
void hub_ask_is_due(struct ask *ask, unsigned due);
/* It has ended: takes it off the table. */
void hub_forget(struct ask *ask);
/* Asks of ours are with a worker (pings), or wait with a manager: begins to ask for them. */
void hub_watch_workers(struct ask_hub *hub);
void hub_watch_managers(struct ask_hub *hub);
/* The submit as it is now. ERR_*: from bus_publish. */
MUST_USE enum err hub_publish_submit(struct ask_hub *hub, const struct ask *ask);
/* One frame with one cancel, at once: for whom the ask turns away from. */
void hub_publish_cancel(struct ask_hub *hub, struct slice subject, const struct ask *ask);
