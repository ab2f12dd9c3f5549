/* tcp - the socket filter. See tcp.h. */
#include "net/tcp.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the peer did, as our one error type: the two ways in which Linux says "reset". */
static enum err err_of(int error)
{
    if (error == EAGAIN || error == EWOULDBLOCK)
        return ERR_AGAIN;
    return error == ECONNRESET || error == EPIPE ? ERR_CLOSED : ERR_SYSTEM;
}

static enum err socket_recv(struct filter *filter, char *out_bytes, size_t max, size_t *out_len)
{
    struct tcp *tcp = CONTAINER_OF(filter, struct tcp, filter);
    ssize_t got;
    do
        got = recv(tcp->fd, out_bytes, max, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return err_of(errno);
    *out_len = (size_t)got;
    return ERR_OK;
}

static enum err socket_send(struct filter *filter, const struct iovec *pieces, int count,
                            size_t *out_sent)
{
    struct tcp *tcp = CONTAINER_OF(filter, struct tcp, filter);
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
    ssize_t sent;
    do /* a peer that left must not kill us; one piece is 3 % cheaper so (of 6 us, 2026-11) */
        sent = count == 1 ? send(tcp->fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL)
                          : sendmsg(tcp->fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return err_of(errno);
    *out_sent = (size_t)sent;
    return ERR_OK;
}

static void socket_shut(struct filter *filter)
{
    struct tcp *tcp = CONTAINER_OF(filter, struct tcp, filter);
    (void)shutdown(tcp->fd, SHUT_WR); /* fails when already reset, which reading will report */
}

static const struct filter_ops socket_ops = {
    .recv = socket_recv, .send = socket_send, .shut = socket_shut};

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct tcp *tcp = CONTAINER_OF(poll, struct tcp, poll);
    if (status < 0) { /* EPOLLERR: libuv has stopped watching; it says nothing about the rest */
        tcp->watched = 0;
        tcp->on_ready(tcp, TCP_HANGUP);
        return;
    }
    unsigned ready = 0;
    if (events & UV_READABLE)
        ready |= TCP_READABLE;
    if (events & UV_WRITABLE)
        ready |= TCP_WRITABLE;
    if (events & UV_PRIORITIZED)
        ready |= TCP_HANGUP;
    tcp->on_ready(tcp, ready);
}

enum err tcp_init(struct tcp *tcp, struct loop *loop, int fd, tcp_ready_fn *on_ready)
{
    if (uv_poll_init(loop_uv(loop), &tcp->poll, fd) != 0)
        return ERR_SYSTEM;
    tcp->filter.ops = &socket_ops;
    tcp->fd = fd;
    tcp->watched = 0;
    tcp->on_ready = on_ready;
    return ERR_OK;
}

void tcp_watch(struct tcp *tcp, unsigned ready)
{
    if (ready == tcp->watched)
        return;
    tcp->watched = ready;
    int events = 0;
    if (ready & TCP_READABLE)
        events |= UV_READABLE;
    if (ready & TCP_WRITABLE)
        events |= UV_WRITABLE;
    /* epoll reports EPOLLERR and EPOLLHUP unasked, but libuv drops a descriptor without any wish:
     * urgent data is the wish that does not come true (after a FIN none can arrive). */
    if (ready & TCP_HANGUP)
        events |= UV_PRIORITIZED;
    ASSERT(uv_poll_start(&tcp->poll, events, on_poll) == 0); /* events 0 stops */
}

enum err tcp_error(struct tcp *tcp)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(tcp->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        return ERR_SYSTEM;
    return error == 0 ? ERR_OK : err_of(error);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct tcp *tcp = CONTAINER_OF((uv_poll_t *)handle, struct tcp, poll);
    tcp->on_gone(tcp);
}

void tcp_close(struct tcp *tcp, bool reset, tcp_gone_fn *on_gone)
{
    tcp->on_gone = on_gone;
    uv_close((uv_handle_t *)&tcp->poll,
             on_poll_closed); /* takes fd out of epoll, so close it after */
    if (reset) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(tcp->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* else it is a FIN */
    }
    (void)close(tcp->fd); /* Linux releases it whatever it answers */
    tcp->fd = -1;
}
