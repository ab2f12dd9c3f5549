/* stream - one connected byte stream: a stack of filters with one interface. Today the stack is the
 * socket alone (net/tcp.c); TLS and proxy-protocol will sit on top of it behind the same calls.
 *
 * 1. Reading never stops while the stream is open (a stopped reader cannot see a hang-up): the
 *    owner gets bytes as they come, and bounds what it keeps.
 * 2. Writes are gathered and leave once per turn (those of stream_send() at once). At most
 *    out_max_bytes wait; a write that would cross it takes nothing and returns ERR_FULL; on_room()
 *    follows when half is free again.
 * 3. on_closed() comes exactly once, from the loop, whoever closed; after it (or after
 *    stream_close()) no other callback comes. Memory goes at the end of that turn.
 * 4. At most 64 KiB are read per turn, so that no peer starves its neighbours.
 * Belongs to the loop that made it. */
#pragma once

#include "base/slice.h"
#include "loop/loop.h"

struct stream;

struct stream_events {
    /* Borrowed until it returns. May call stream_write/stream_close. */
    void (*on_read)(void *ctx, struct slice bytes);
    /* The peer sent FIN: nothing more will come. The stream is still writable. */
    void (*on_eof)(void *ctx);
    /* Half of out_max_bytes is free again after an ERR_FULL. */
    void (*on_room)(void *ctx);
    /* `bytes` more have been handed to the kernel (left user space). May be NULL. */
    void (*on_sent)(void *ctx, size_t bytes);
    /* Exactly once. ERR_OK: closed by us; ERR_CLOSED: reset by the peer; ERR_SYSTEM: other. */
    void (*on_closed)(void *ctx, enum err why);
};

struct stream_options {
    size_t out_max_bytes; /* cap on bytes waiting in user space */
};

/* Call once, right after accept/connect handed the stream over; reading begins. `events` must stay
 * valid as long as the stream (a static const). */
void stream_start(struct stream *stream, const struct stream_events *events, void *ctx);

/* Copies, all or nothing. ERR_FULL: rule 2; ERR_CLOSED: already closing, or shut down; ERR_LIMIT:
 * more than out_max_bytes, which could never fit. */
MUST_USE enum err stream_write(struct stream *stream, struct slice bytes);
/* The same for who has gathered already (rule 2): when nothing waits, the kernel is offered them at
 * once, and only what it does not take is copied and waits. What it takes inside this call no
 * on_sent() tells of: stream_pending() shows it. ERR_FULL although nothing waited: no memory for
 * the rest of what the kernel has begun to take; the stream is good for stream_abort() alone. */
MUST_USE enum err stream_send(struct stream *stream, struct slice bytes);
size_t stream_pending(const struct stream *stream); /* bytes waiting in user space */
uint64_t stream_sent(const struct stream *stream);  /* bytes the kernel took, since the start */
/* When the last byte left user space (loop time), or when the queue was last empty: the start of
 * the peer's present silence. */
uint64_t stream_progress_us(const struct stream *stream);

/* Sends FIN once everything queued has left; reading goes on. */
void stream_shutdown(struct stream *stream);
/* Drops what is queued and closes; on_closed(ERR_OK) follows from the loop. Harmless twice. */
void stream_close(struct stream *stream);
/* The same with RST instead of FIN. */
void stream_abort(struct stream *stream);

/* "127.0.0.1:53122"; lives as long as the stream. */
const char *stream_peer(const struct stream *stream);
