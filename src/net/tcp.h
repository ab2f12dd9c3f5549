/* tcp - the filter at the bottom of every stream: one connected socket, and when it is ready.
 * Lives inside its stream. Only net/ includes this.
 *
 * Built on uv_poll and our own recv/sendmsg, not on uv_tcp: uv_write tells nothing until its last
 * byte has left (a slow reader would look dead), uv_tcp raises SIGPIPE, forgets the connection
 * after a FIN, and reports a reset behind unread bytes as a FIN. */
#pragma once

#include "net/stack.h"

#include <uv.h>

enum tcp_ready {
    TCP_READABLE = 1, /* bytes, or the peer's FIN */
    TCP_WRITABLE = 2,
    TCP_HANGUP = 4, /* reset or broken; watched always, alone only on request */
};

struct tcp;
typedef void tcp_ready_fn(struct tcp *tcp, unsigned ready);
typedef void tcp_gone_fn(struct tcp *tcp);

struct tcp {
    struct filter filter;
    uv_poll_t poll;
    int fd;
    unsigned watched; /* enum tcp_ready bits that are armed now */
    tcp_ready_fn *on_ready;
    tcp_gone_fn *on_gone;
};

/* Takes `fd` on success. ERR_SYSTEM: epoll refuses it (limits of the machine). */
MUST_USE enum err tcp_init(struct tcp *tcp, struct loop *loop, int fd, tcp_ready_fn *on_ready);
/* From now on on_ready() comes for these bits, and for TCP_HANGUP with any of them; 0: for nothing.
 * Asking for what is already watched costs nothing, a change costs two system calls. */
void tcp_watch(struct tcp *tcp, unsigned ready);
/* What broke the connection: ERR_OK if nothing did. Reading it clears it. */
MUST_USE enum err tcp_error(struct tcp *tcp);
/* Closes the descriptor now, with RST if `reset`; on_gone() follows from the loop, once, and only
 * then may the memory go. */
void tcp_close(struct tcp *tcp, bool reset, tcp_gone_fn *on_gone);
