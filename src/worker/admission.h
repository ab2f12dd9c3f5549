/* admission - who waits for a slot, in which order and how long.
 *
 *   enter --model loaded--> PREPARING --prepared--> READY --slot free--> (next: leaves)
 *   any --time is up | admission_leave()--> (gone)
 *
 * 1. At most queue_max wait above what the free slots will take at once; one more is ERR_FULL.
 * 2. Order: high before normal before low, first come first served inside. One that is still being
 *    prepared holds nobody up behind it.
 * 3. Time is up for a place: load_timeout_ms after it entered while the model loads; queue_wait_ms
 *    after it was prepared; at its own deadline, always.
 * 4. What a place waits for is estimated from the measured time that a request keeps a slot.
 *
 * Pure: no clock (the caller passes now_us), no memory but its own struct; places live inside their
 * owners and are borrowed while they are in the queue. */
#pragma once

#include "base/list.h"
#include "wire/request.h"

struct admission_options {
    uint32_t queue_max, queue_wait_ms, load_timeout_ms;
};

enum admission_phase { ADMISSION_LOADING, ADMISSION_PREPARING, ADMISSION_READY };

struct admission_place { /* public so that it lives inside its owner; touch it through the calls */
    struct list order_link, expiry_link;
    enum request_priority priority;
    enum admission_phase phase;
    bool is_waiting;
    uint64_t deadline_us; /* its own; UINT64_MAX: none */
    uint64_t expires_us;  /* rule 3; UINT64_MAX: never */
};

enum { ADMISSION_PRIORITIES = 3 };

struct admission { /* public for the same reason */
    struct admission_options options;
    struct list order[ADMISSION_PRIORITIES]; /* best first */
    struct list expiry;                      /* soonest first */
    uint32_t count;                          /* places in the queue */
    uint32_t slots, slots_free;              /* 0 until the model is loaded */
    bool is_loaded;
    uint64_t served_us; /* moving average of how long a request keeps its slot; 0: none did yet */
};

void admission_init(struct admission *admission, const struct admission_options *options);

/* ERR_FULL: rule 1. deadline_us: UINT64_MAX for none. */
MUST_USE enum err admission_enter(struct admission *admission, struct admission_place *place,
                                  enum request_priority priority, uint64_t deadline_us,
                                  uint64_t now_us);
/* Harmless for a place that has left already, or zeroed memory. */
void admission_leave(struct admission *admission, struct admission_place *place);
/* The model is there, with all its slots free; places from before are now being prepared. */
void admission_loaded(struct admission *admission, uint32_t slots);
/* Prepared: its wait for a slot begins. */
void admission_ready(struct admission *admission, struct admission_place *place, uint64_t now_us);

/* What the core says: so many slots a new request could take, when `counted` jobs had reached it.
 * Of the `given` ones the others are still under way, and will take theirs. */
void admission_set_slots_free(struct admission *admission, uint32_t slots_free, uint32_t given,
                              uint32_t counted);
/* A request that kept a slot for so long has ended. */
void admission_count_served(struct admission *admission, uint64_t kept_us);

/* The place that starts now: it has left the queue and its slot is taken. NULL: no slot is free, or
 * nobody is ready. */
struct admission_place *admission_next(struct admission *admission);
/* A place whose time is up: it has left the queue; its `phase` says while what. NULL: none. */
struct admission_place *admission_expired(struct admission *admission, uint64_t now_us);
/* When the next place expires; UINT64_MAX: none will. */
uint64_t admission_wake_us(const struct admission *admission);

/* Visits the places in the order of rule 2: start with NULL; NULL at the end. */
struct admission_place *admission_after(const struct admission *admission,
                                        const struct admission_place *place);
/* For the place with `position` others before it, in ms; 0: not known yet. */
uint32_t admission_eta_ms(const struct admission *admission, uint32_t position);
/* For who was refused: when the queue as it is will have been served, 1 ms to 60 s; 1 s while
 * nothing was measured. */
uint32_t admission_retry_after_ms(const struct admission *admission);
