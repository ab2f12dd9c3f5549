/* bus - moves opaque frames between the threads and processes of millrace. One `struct bus` is one
 * endpoint and belongs to one loop; every transport has its own way to open one (bus_mem.h,
 * bus_unix.h) and behaves the same: bus_conformance_test.c runs against each.
 *
 * 1. Subjects are dotted words ("submit.llama"); a subscription names one subject, no wildcards.
 *    With a queue group, each message goes to one member of it (round robin); without, to all.
 * 2. Frames from one sender on one subject to one receiver keep their order. A frame arrives at
 *    most once and may be lost when a process dies: numbers above the bus (ask/, worker/outbox)
 *    repair it.
 * 3. Never blocks. What waits for one receiver is capped in bytes (peer_bytes_max); one full or
 *    dead receiver never holds up another.
 * 4. A frame that could not be delivered comes back to its *sender* through on_bounce, from the
 *    loop, once for each receiver that should have had it (of a queue group: when no member has
 *    room). ERR_NOT_FOUND: nobody subscribed; ERR_FULL: receiver full; ERR_CLOSED: receiver gone;
 *    ERR_AGAIN: the way to it broke and is being mended, the receiver is there.
 * 5. All callbacks come from the loop; slices are borrowed until they return. */
#pragma once

#include "base/slice.h"
#include "loop/loop.h"

struct bus;
struct bus_subscription;

enum { BUS_SUBJECT_MAX_BYTES = 160, BUS_FRAME_MAX_BYTES = 16 * 1024 * 1024 };

struct bus_message {
    struct slice subject;
    struct slice reply; /* where answers go; may be empty */
    struct slice frame;
};
typedef void bus_message_fn(void *ctx, const struct bus_message *message);
typedef void bus_bounce_fn(void *ctx, const struct bus_message *message, enum err why);

/* Of one frame: more than may wait for one receiver cannot be sent at all. */
size_t bus_frame_max_bytes(const struct bus *bus);
/* Copies the frame. ERR_LIMIT: subject empty or too long, frame larger than what may wait for one
 * receiver, or no memory; ERR_FULL: it would bounce, but peer_bytes_max of frames that came back
 * wait in the loop already, or the way out is full; ERR_CLOSED: this endpoint is closed. What the
 * receiver's side says comes as a bounce. */
MUST_USE enum err bus_publish(struct bus *bus, struct slice subject, struct slice reply,
                              struct slice frame);
/* Messages published after this returned (by anyone who knows that it did) are delivered.
 * An empty group is none. ERR_LIMIT: as above; ERR_FULL: 65536 subscriptions, or subjects;
 * ERR_TIMEOUT: the switch of another process did not confirm it in time. */
MUST_USE enum err bus_subscribe(struct bus *bus, struct slice subject, struct slice group,
                                bus_message_fn *on_message, void *ctx,
                                struct bus_subscription **out_subscription);
/* No call after it returned; what was already under way bounces (ERR_NOT_FOUND). Sets it NULL. */
void bus_unsubscribe(struct bus_subscription **subscription);

/* One endpoint has one bounce handler (rule 4). */
void bus_on_bounce(struct bus *bus, bus_bounce_fn *on_bounce, void *ctx);

/* A subject that is this endpoint's own: process generation + endpoint, never used again. Subscribe
 * to it to be reachable. */
struct slice bus_inbox(const struct bus *bus);
struct loop *bus_loop(const struct bus *bus);
/* Drops the subscriptions (their pointers are gone); frames waiting for this endpoint bounce to
 * their senders (ERR_CLOSED). May come from one of its callbacks. NULL inside is fine. */
void bus_close(struct bus **bus);
