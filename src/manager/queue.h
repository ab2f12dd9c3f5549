/* queue - who waits for one model, in which order and how long.
 *
 * 1. At most queue_max wait above the room that the model's workers have; one more is ERR_FULL.
 *    Who was let in before (is_again: its worker or its manager is gone) is always let in again.
 * 2. Order: high before normal before low, first come first served inside. Who comes again stands
 *    before all that arrived later than it did the first time.
 * 3. Time is up for a place: queue_wait_ms after it entered while the model is served;
 *    load_timeout_ms after it entered while it is not (it loads, or no worker is there). When the
 *    one changes into the other, the new time begins then. Who has lost its worker (has_run) has
 *    load_timeout_ms after it entered also while others serve and one loads: that may be the
 *    successor, and the others may be full, or of other numerics. At its own deadline, always.
 * 4. What a place waits for is estimated from the measured time that a request keeps a slot, and
 *    the slots of all workers together.
 * 5. Who needs a worker with certain numerics stands in a line of its own, with all who need the
 *    same. A line that nobody can serve is passed by at once, however long it is; and neither rule
 *    1 nor a position counts who stands in another line. QUEUE_LINES_MAX lines; who would need one
 *    more is ERR_LIMIT.
 *
 * Pure: no clock (the caller passes now_us), no memory but its own struct; places live inside their
 * owners and are borrowed while they are in the queue. */
#pragma once

#include "base/list.h"
#include "wire/node_state.h"
#include "wire/request.h"

struct queue_options {
    uint32_t queue_max, queue_wait_ms, load_timeout_ms;
};

struct queue_place { /* public so that it lives inside its owner; touch it through the calls */
    struct list order_link, expiry_link;
    enum request_priority priority;
    int64_t arrived_ms;
    bool is_waiting, has_run;
    uint32_t line;        /* in queue->lines */
    uint32_t position;    /* others before it, as of entering or the last queue_number() */
    uint64_t entered_us;  /* kept after it has left */
    uint64_t deadline_us; /* its own; UINT64_MAX: none */
    uint64_t expires_us;  /* rule 3 */
};

enum {
    QUEUE_PRIORITIES = 3,
    QUEUE_LINES_MAX = 8, /* the workers of one model differ in processor and settings: by a few */
};

struct queue_line {
    char numerics[NODE_FINGERPRINT_BYTES + 1]; /* of all who stand here; "": any worker will do */
    struct list order[QUEUE_PRIORITIES];       /* best first */
    uint32_t counts[QUEUE_PRIORITIES];
};

struct queue { /* public for the same reason as a place */
    struct queue_options options;
    struct queue_line lines[QUEUE_LINES_MAX]; /* [0]: who can have any worker */
    struct list expiry[2];                    /* of those that have run are [1]; soonest first */
    uint32_t count;                           /* places in the queue, in all lines */
    uint32_t slots;                           /* of all workers */
    uint32_t room;                            /* so many more they would take now */
    bool is_served, is_coming;
    uint64_t served_us; /* moving average of how long a request keeps its slot; 0: none did yet */
};

void queue_init(struct queue *queue, const struct queue_options *options);

struct queue_entry {
    enum request_priority priority;
    int64_t arrived_ms;     /* the first time, by any clock that is one for all; see rule 2 */
    bool is_again, has_run; /* rules 1 and 2; rule 3 */
    uint64_t deadline_us;   /* UINT64_MAX: none */
    const char *numerics;   /* rule 5; NULL or "": any */
};
/* ERR_FULL: rule 1. ERR_LIMIT: rule 5. */
MUST_USE enum err queue_enter(struct queue *queue, struct queue_place *place,
                              const struct queue_entry *entry, uint64_t now_us);
/* Harmless for a place that has left already, or zeroed memory. */
void queue_leave(struct queue *queue, struct queue_place *place);

/* What the workers have together; is_served: at least one of them is ready. */
void queue_set_service(struct queue *queue, bool is_served, uint32_t slots, uint32_t room,
                       uint64_t now_us);
/* Rule 3: whether one more worker loads. */
void queue_set_coming(struct queue *queue, bool is_coming, uint64_t now_us);
/* A request that kept a slot for so long has ended. */
void queue_count_served(struct queue *queue, uint64_t kept_us);

typedef bool queue_may_go_fn(void *ctx, const char *numerics);
/* The place whose turn it is, of those whose line may go on: a question for each line in which
 * somebody waits. It stays in the queue. NULL: none. */
struct queue_place *queue_first(const struct queue *queue, queue_may_go_fn *may_go, void *ctx);
/* A place whose time is up: it has left the queue. NULL: none. */
struct queue_place *queue_expired(struct queue *queue, uint64_t now_us);
/* When the next place expires; UINT64_MAX: nobody waits. */
uint64_t queue_wake_us(const struct queue *queue);

/* Visits the places, line by line in the order of rule 2: start with NULL; NULL at the end. */
struct queue_place *queue_after(const struct queue *queue, const struct queue_place *place);
/* Brings the position of every place up to date. */
void queue_number(struct queue *queue);
/* For the place with `position` others before it, in ms; 0: not known yet. */
uint32_t queue_eta_ms(const struct queue *queue, uint32_t position);
/* For who was refused: when the queue as it is will have been served, 1 ms to 60 s; 1 s while
 * nothing was measured. */
uint32_t queue_retry_after_ms(const struct queue *queue);
