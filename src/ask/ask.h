/* ask - one outstanding request as an object: submit, repeat, credit, gap repair, cancel, end.
 * Gateway, agents, workflows, tests and benchmarks all use it; nobody writes that logic twice.
 *
 *   SUBMITTED --manager has it--> QUEUED --accepted--> RUNNING --done | error--> ENDED
 *       \--accepted---------------------------------------^
 *   QUEUED, RUNNING before the first delta --nobody has it any more--> SUBMITTED, next epoch
 *   RUNNING after the first delta --silence_ms without a sign | worker gone--> ENDED (worker_lost),
 *                                  or, where the answer is kept (rule 9)--> SUBMITTED, next epoch
 *   SUBMITTED --submit_ms--> ENDED (error, made here)
 *   SUBMITTED, QUEUED, RUNNING --ask_cancel()--> CANCELLING --end | cancel_ms--> ENDED
 *
 *   state       repeats every repeat_ms     limit        when it passes
 *   SUBMITTED   the submit                  submit_ms    error loading (no manager), or queue_full
 *                                                        if the last bounce said that it is full
 *   QUEUED      WIRE_WAITING (every 500 ms) -            the manager has the clock; once it has
 *                                                        named a worker: silence_ms, as RUNNING
 *   RUNNING     a resend, while events miss silence_ms   worker lost: rule 6
 *   CANCELLING  the cancel                  cancel_ms    done cancelled
 *
 * 1. on_event gets each event once and in order, whatever the bus did: duplicates are dropped; what
 *    comes early is dropped too and fetched again (WIRE_FLAG_RESEND) with what is missing. What a
 *    manager says while a request waits (queued, loading; seq 0) may come often, or not at all.
 * 2. Exactly one end event (done or error) is delivered, always from the loop; after it the ask is
 *    gone. An ask that ends by our own doing (timeout, loss) makes the end event itself.
 * 3. Credit: the producer may run ahead by at most credit_events and credit_bytes of what the owner
 *    has consumed (ask_consumed); granted anew at half. Deltas beyond it end the ask
 *    (internal_error).
 * 4. submit is repeated every repeat_ms until a manager or worker has it; cancel too.
 * 5. What one turn has to say to one worker leaves in one frame at the end of the turn.
 * 6. A request of which no delta came is asked for again when its worker is lost, or gives it up
 *    (ends it with worker_lost or draining), at most reruns_max times, then it is worker_lost, or
 *    what the last one said; when its manager is lost too, as often as that
 *    happens. The owner sees only that progress and `accepted` come again, with numbers from the
 *    start (`started` comes once).
 * 7. Events are taken from the worker whose `accepted` came first, and of the present epoch;
 *    whoever else produces for the ask is told to stop.
 * 8. A worker with streams of ours is pinged every ping_ms; when the ping comes back it is gone.
 * 9. With continue_bytes_max > 0 the ids of an answer and its submit are kept while it runs, as
 *    long as those of all asks fit there; one that does not is worker_lost as without. A worker
 * that is lost, or ends it with worker_lost or draining, after the first delta then costs one of
 *    reruns_max: it is submitted again with what was said (wire/continuation.h), unless no frame
 *    takes so much: then it is worker_lost at once. The owner sees a pause and nothing else: no
 *    progress, no token twice; `usage` comes with the end. Its events count from the start again,
 *    and what it holds of before is taken off the new credit (but one delta). Only a worker with
 *    the same numerics gets it (continuation.h); when none comes it ends with worker_lost.
 *
 * Belongs to the loop of its hub. */
#pragma once

#include "bus/bus.h"
#include "wire/event.h"
#include "wire/request.h"

struct ask;
struct ask_hub;

struct ask_options {
    uint32_t repeat_ms;        /* 250 */
    uint32_t submit_ms;        /* 5000: nobody has it */
    uint32_t silence_ms;       /* 5000: the worker neither sends nor beats while our loop runs */
    uint32_t cancel_ms;        /* 2000: cancelled, and no end came: end it here */
    uint32_t ping_ms;          /* 200; at least 1 */
    uint32_t reruns_max;       /* 3 */
    uint32_t credit_events;    /* 64; at least 1 */
    uint32_t credit_bytes;     /* 65536; at least 1 */
    size_t asks_max;           /* 10000: per hub */
    size_t continue_bytes_max; /* 0: no answer goes on elsewhere (rule 9); per hub */
};
struct ask_options ask_options_default(void);

/* One per loop thread: owns the inbox subscription of the endpoint. It takes the endpoint's bounce
 * handler. ERR_*: from bus_subscribe. */
MUST_USE enum err ask_hub_new(struct bus *bus, const struct ask_options *options,
                              struct ask_hub **out_hub);
/* Every ask must have ended. Not from an on_event; from on_idle is fine. NULL is fine. */
void ask_hub_free(struct ask_hub *hub);
/* Bounces of calls that were made through the same endpoint (call.h) go there; NULL: nowhere. */
void ask_hub_on_call_bounce(struct ask_hub *hub, bus_bounce_fn *on_bounce, void *ctx);
size_t ask_hub_count(const struct ask_hub *hub);
/* Cancels all and refuses new ones (ERR_CLOSED); on_idle once when none is left (from the loop). */
void ask_hub_drain(struct ask_hub *hub, void (*on_idle)(void *ctx), void *ctx);

/* Slices are borrowed until it returns. May call ask_consumed, ask_cancel and ask_abandon on this
 * ask, and ask_open. The end event is the last call; the pointer to the ask is not to be used
 * after it. */
typedef void ask_event_fn(void *ctx, const struct event *event);

/* Publishes `request` (its inbox, epoch 1, credit are filled in here; its id must be set) on
 * "submit". Its encoded form is kept until the first delta. ERR_FULL: asks_max; ERR_LIMIT: too
 * large, no model or one beyond REQUEST_NAME_MAX_BYTES, or no memory; ERR_CLOSED: draining. */
MUST_USE enum err ask_open(struct ask_hub *hub, const struct request *request,
                           ask_event_fn *on_event, void *ctx, struct ask **out_ask);
/* The owner is done with so many delivered delta or result events and their bytes, the sum of
 * event_credit_bytes() (they left the process): cumulative credit moves on. Never more than was
 * delivered (ASSERT). Other events are consumed by their delivery. */
void ask_consumed(struct ask *ask, uint32_t events, uint32_t bytes);
/* Wants the end: to the submit subject and straight to the manager or worker that has it, repeated.
 * The end event (done CANCELLED, or whatever end was under way) follows within cancel_ms; deltas
 * may still come before it. Harmless twice. */
void ask_cancel(struct ask *ask);
/* ask_cancel, and nothing is heard of it any more: the hub sees it through. For owners that are
 * gone. Sets it NULL; NULL inside is fine. */
void ask_abandon(struct ask **ask);
struct id ask_id(const struct ask *ask);

/* Counted since the hub was made. */
struct ask_stats {
    uint64_t opened, ended;
    uint64_t repeated_submits;
    uint64_t resends_asked;
    uint64_t duplicates_dropped; /* events that had come before */
    uint64_t lost;               /* asks that ended with worker_lost, made here */
    uint64_t reruns;             /* asked for again because the worker was lost, */
    uint64_t continued;          /* and so many of them after a delta (rule 9) */
};
struct ask_stats ask_hub_stats(const struct ask_hub *hub);
