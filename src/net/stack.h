/* stack - the inside of a stream: filters on top of a socket. Only net/ includes this.
 *
 *      owner
 *        |  stream.h: write, close               ^ on_read, on_eof, on_room, on_sent, on_closed
 *      stream.c   the queue, the turn, the life cycle
 *        |  filter_recv, filter_send, filter_shut (pulled from above, never called from below)
 *      filter     TLS, proxy-protocol: any number of these, today none
 *        |  the same three calls
 *      tcp.c      the socket; also tells stream.c when it is ready (tcp.h)
 *
 * A filter behaves like a non-blocking socket to the one above it: it takes or gives what it can
 * now, says ERR_AGAIN when that is nothing, and is asked again when the socket is ready. So a
 * filter holds no callbacks, no clock and no queue of plain bytes; what it must hold (a TLS record)
 * is bounded by its protocol. */
#pragma once

#include "net/listener.h"
#include "net/stream.h"

#include <sys/uio.h>

struct filter;

struct filter_ops {
    /* Up to `max` bytes into out_bytes; *out_len 0 with ERR_OK: the peer sent its end. Fewer bytes
     * than `max` means that nothing is held back: the socket's readiness announces the next ones.
     * ERR_AGAIN: nothing now; ERR_CLOSED: reset; ERR_SYSTEM; ERR_PROTOCOL: not what the filter
     * speaks. */
    enum err (*recv)(struct filter *filter, char *out_bytes, size_t max, size_t *out_len);
    /* Takes the first *out_sent bytes of the pieces (at least 1 with ERR_OK). Errors as recv. */
    enum err (*send)(struct filter *filter, const struct iovec *pieces, int count,
                     size_t *out_sent);
    /* Sends the end (FIN, close_notify). Called once, after the last send. */
    void (*shut)(struct filter *filter);
};

struct filter {
    const struct filter_ops *ops;
};

static inline enum err filter_recv(struct filter *filter, char *out_bytes, size_t max,
                                   size_t *out_len)
{
    return filter->ops->recv(filter, out_bytes, max, out_len);
}

static inline enum err filter_send(struct filter *filter, const struct iovec *pieces, int count,
                                   size_t *out_sent)
{
    return filter->ops->send(filter, pieces, count, out_sent);
}

static inline void filter_shut(struct filter *filter)
{
    filter->ops->shut(filter);
}

/* A stream on a connected socket. Takes `fd` on success. ERR_SYSTEM: the loop cannot watch it. */
MUST_USE enum err stream_open_socket(struct loop *loop, int fd, const struct net_address *peer,
                                     const struct stream_options *options,
                                     struct stream **out_stream);
