/* load - what a worker tells the manager: how much room it has, which streams, which it let go.
 *
 * One frame of kind control, to the manager's control subject; its reply subject is the worker's
 * control subject. The WIRE_LOAD record comes first. At the end of every turn in which room or the
 * set of streams changed: LOAD, and RELEASED for each stream that ended. Every LOAD_INTERVAL_MS,
 * and at once for a manager that was not known yet: LOAD with WIRE_FLAG_ALL, and one HELD for every
 * stream there is, or TAKEN: for all when it registers, and always for what this manager did not
 * assign itself. RELEASED without a slot also answers an assignment that makes no stream. So
 * nothing hangs on one frame: what a manager assigned with a number that LOAD has seen, and that is
 * not among all, has ended.
 *
 * LOAD:     seq = the highest number of an assignment (WIRE_SUBMIT.seq) taken in from this manager;
 *           payload: struct wire_load, little-endian u32 each
 * HELD:     stream, epoch; payload: u8 state, 3 x 0, u32 tokens so far
 * TAKEN:    the same of a stream, in full, so that a manager can list and cancel it: JSON
 * RELEASED: stream, epoch; payload: u32 tokens, u32 flags (0), u64 microseconds it kept a slot
 *           (0: it never had one)
 * Pure. */
#pragma once

#include "base/arena.h"
#include "base/id.h"
#include "wire/frame.h"

enum { LOAD_INTERVAL_MS = 500, WIRE_FLAG_ALL = 2 /* on WIRE_LOAD */ };

struct wire_load {
    uint32_t slots;   /* sequences at once; 0: the model is not ready */
    uint32_t room;    /* so many more requests would be taken now */
    uint32_t running; /* in slots */
    uint32_t waiting; /* taken, not in a slot yet */
    uint32_t parked;
};

enum held_state { HELD_WAITING, HELD_RUNNING, HELD_PARKED, HELD_STATE_COUNT };
const char *held_state_name(enum held_state state); /* "waiting", "running", "parked" */

struct wire_held {
    enum held_state state;
    uint32_t tokens; /* sampled so far */
};

struct wire_taken {
    struct id id;
    struct wire_held held;
    struct slice tenant, session, label, inbox;
    int64_t arrival_ms;
};

struct wire_released {
    uint32_t tokens;
    uint64_t kept_us;
};

void wire_add_load(struct wire_writer *writer, uint64_t seen, const struct wire_load *load,
                   bool is_all);
void wire_add_held(struct wire_writer *writer, uint64_t stream, uint32_t epoch,
                   const struct wire_held *held);
void wire_add_taken(struct wire_writer *writer, uint32_t epoch, const struct wire_taken *taken);
void wire_add_released(struct wire_writer *writer, uint64_t stream, uint32_t epoch,
                       const struct wire_released *released);
/* ERR_PROTOCOL: not of that shape, or (TAKEN) its id does not belong to the record's stream;
 * ERR_LIMIT: (TAKEN) a string beyond its limit in request.h, or no room in the arena, where the
 * strings are copied. */
MUST_USE enum err wire_read_load(const struct wire_record *record, struct wire_load *out_load);
MUST_USE enum err wire_read_held(const struct wire_record *record, struct wire_held *out_held);
MUST_USE enum err wire_read_taken(const struct wire_record *record, struct arena *arena,
                                  struct wire_taken *out_taken);
MUST_USE enum err wire_read_released(const struct wire_record *record,
                                     struct wire_released *out_released);
