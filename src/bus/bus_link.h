/* bus_link - one connection of a unix stream socket on a loop, carrying messages (bus_framing.h);
 * what the switch and the endpoints of bus_unix share. Included by bus_unix*.c and bus_switch*.c.
 *
 * 1. What is to be sent waits as pieces in a queue, and leaves in one sendmsg() at the end of the
 *    turn. The queue has no bound of its own: whoever pushes charges an account first (README).
 * 2. One recv() per readiness, of at most LINK_READ_BYTES beside what completes a large message.
 *    The buffer is on the stack; an idle link holds none.
 * 3. A connection ends where reading finds its end, behind everything that was sent before it. When
 *    sending finds it first, what waits to be sent is dropped, and nothing else happens.
 * The loop's thread only. */
#pragma once

#include "base/list.h"
#include "bus/bus_framing.h"

#include <sys/un.h>

struct bus_link;

enum { LINK_READ_BYTES = 32 * 1024, LINK_PIECES_MAX = 128 /* in one sendmsg */ };

/* --- what a message counts, for every bound of bus_unix --- */

enum {
    BUS_MESSAGE_BYTES = 256, /* what the switch keeps beside the bytes: see struct waiting */
    BUS_OVERHEAD_MAX = BUS_MESSAGE_BYTES + ENVELOPE_MAX_BYTES,
    BUS_OUT_WINDOWS = 8, /* a sender's unsettled bytes, in receivers' caps: bus_switch.h rule 2 */
};
static inline size_t bus_cost(const struct envelope *envelope, size_t frame_bytes)
{
    return BUS_MESSAGE_BYTES + ENVELOPE_HEAD_BYTES + envelope->subject.len + envelope->reply.len +
           frame_bytes;
}

/* --- signs of life --- */

/* Between two beats of an endpoint, and two looks of the switch at who is silent: a quarter of
 * dead_us (at least 4), on the 100 ms at which all else comes round (loop/README.md) if it is that
 * long. */
static inline uint64_t bus_beat_us(uint64_t dead_us)
{
    const uint64_t round_us = 100 * 1000;
    uint64_t beat_us = dead_us / 4;
    return beat_us < round_us ? beat_us : (beat_us + round_us / 2 - 1) / round_us * round_us;
}

/* --- a message on its way out --- */

struct piece {
    struct list link;                     /* in the queue until it has left, or is dropped */
    void (*release)(struct piece *piece); /* once, when it is off the queue; NULL: nobody's
                                             business, its owner frees it (not while queued) */
    struct slice body;                    /* subject, reply, frame */
    char head[FRAMING_HEAD_BYTES];
};
/* With a copy of the frame, released when it has left. NULL: no memory. */
MUST_USE struct piece *piece_new(const struct envelope *envelope, struct slice frame);

/* --- the connection --- */

struct link_events {
    void (*on_ready)(void *owner);    /* something can be read: call bus_link_read(), once */
    void (*before_send)(void *owner); /* something is about to leave: what can go along? */
};
/* Takes `fd` (non-blocking, connected) on success. ERR_SYSTEM: the loop cannot watch it. */
MUST_USE enum err bus_link_open(struct loop *loop, int fd, size_t message_max,
                                const struct link_events *events, void *owner,
                                struct bus_link **out_link);
/* As above, to the switch at `address`. ERR_AGAIN: nobody answers there; ERR_SYSTEM: no descriptor.
 */
MUST_USE enum err bus_link_connect(struct loop *loop, const struct sockaddr_un *address,
                                   const struct link_events *events, void *owner,
                                   struct bus_link **out_link);
/* From anywhere, its callbacks too; drops what did not leave. Sets it NULL; NULL inside is fine. */
void bus_link_close(struct bus_link **link);

/* ERR_AGAIN: nothing there; ERR_CLOSED: the end, and all before it was handed over; ERR_PROTOCOL,
 * ERR_LIMIT: what came is no message, or there is no memory for it. After the last three: close. */
MUST_USE enum err bus_link_read(struct bus_link *link, framed_fn *on_message, void *ctx);
/* Takes it, or borrows it until it has left. */
void bus_link_push(struct bus_link *link, struct piece *piece);
/* A message without a frame. Early ones pass what has not begun to leave, in their own order. */
void bus_link_say(struct bus_link *link, const struct envelope *envelope);
void bus_link_say_early(struct bus_link *link, const struct envelope *envelope);
/* How many of these wait: the owner bounds what it answers to somebody who does not read. */
size_t bus_link_said(const struct bus_link *link);
bool bus_link_is_idle(const struct bus_link *link); /* nothing waits to leave */
/* All but a message that is half out. */
void bus_link_drop_queued(struct bus_link *link);
/* Sends, and sleeps until something can be read, or the socket takes more of what waits, at most
 * wait_ms. Not from the loop's callbacks, but for the bounded waits of bus_unix.h. */
void bus_link_wait(struct bus_link *link, uint64_t wait_ms);
/* Sleeps until all has left, at most wait_ms. As above. */
void bus_link_drain(struct bus_link *link, uint64_t wait_ms);
