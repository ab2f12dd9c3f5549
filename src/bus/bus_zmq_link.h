/* bus_zmq_link - one ZeroMQ socket on a loop, carrying envelopes and frames; what the switch and
 * the endpoints of bus_zmq share. Included by bus_zmq*.c and zmq_switch*.c only.
 *
 * 1. ZMQ_FD tells of changes, not of states, and any call on the socket may take such a change off
 *    it. So whoever touched the socket looks at ZMQ_EVENTS once more before the loop sleeps: that
 *    is done here, in one place, and no caller has to think of it.
 * 2. on_ready() comes from the loop while something can be received; it takes at most
 *    ZLINK_BATCH messages and is called again, in the next turn, if more wait.
 * 3. The socket has no message limits of its own for what it sends: bytes are bounded by those who
 *    send (HWM bounds no bytes), so a send never blocks and is never refused for want of room.
 * The loop's thread only. */
#pragma once

#include "bus/bus_envelope.h"

#include <zmq.h>

struct zlink;
typedef void zlink_ready_fn(void *owner);

enum { ZLINK_BATCH = 64 };

/* --- what a message counts, for every bound of bus_zmq --- */

enum {
    ZLINK_MESSAGE_BYTES = 256, /* two zmq_msg_t, the routing id, our node */
    ZLINK_OVERHEAD_MAX = ZLINK_MESSAGE_BYTES + ENVELOPE_MAX_BYTES,
    ZLINK_OUT_WINDOWS = 8, /* a sender's unsettled bytes, in receivers' caps: see README */
};
static inline size_t zlink_cost(const struct envelope *envelope, size_t frame_bytes)
{
    return ZLINK_MESSAGE_BYTES + ENVELOPE_HEAD_BYTES + envelope->subject.len + envelope->reply.len +
           frame_bytes;
}

/* --- one received message: [routing id,] envelope [, frame] --- */

struct zparts {
    zmq_msg_t part[3];
    size_t count; /* 4: there were more, and they are lost */
};
void zparts_init(struct zparts *parts);
void zparts_fini(struct zparts *parts);
struct slice zparts_bytes(struct zparts *parts, size_t index);

/* --- the socket --- */

/* ERR_SYSTEM: no socket to be had (descriptors). Set options, bind or connect, then watch. */
MUST_USE enum err zlink_open(void *zmq_context, int type, struct loop *loop,
                             zlink_ready_fn *on_ready, void *owner, struct zlink **out_link);
void *zlink_socket(struct zlink *link);
/* ERR_SYSTEM: the loop cannot watch one descriptor more. */
MUST_USE enum err zlink_watch(struct zlink *link);
/* on_ready() comes in the next turn, whatever the socket says: the owner has kept something back.
 */
void zlink_again(struct zlink *link);
/* What is sent may leave for linger_ms more. From anywhere, on_ready() too; no call after it. Sets
 * it NULL; NULL inside is fine. */
void zlink_close(struct zlink **link, int linger_ms);

/* `to`: the routing id, empty on a DEALER. Takes the content of *frame on success (it stays an
 * empty message); NULL for kinds without a frame. ERR_CLOSED: nobody of that name is connected;
 * ERR_LIMIT: no memory. */
MUST_USE enum err zlink_send(struct zlink *link, struct slice to, const struct envelope *envelope,
                             zmq_msg_t *frame);
/* Into initialised, empty parts. ERR_AGAIN: nothing there. */
MUST_USE enum err zlink_receive(struct zlink *link, struct zparts *parts);
/* Sleeps until something can be received, at most wait_ms. Not from the loop's callbacks, but for
 * the bounded exchanges of bus_zmq.h. */
void zlink_wait(struct zlink *link, long wait_ms);
