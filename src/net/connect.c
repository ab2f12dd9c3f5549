/* connect - the client side: one attempt, one answer. */
#include "net/socket.h"
#include "net/stack.h"

#include "base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>
#include <uv.h>

struct net_attempt {
    uv_poll_t poll;
    struct loop *loop;
    int fd;
    struct net_address address;
    struct stream_options options;
    connect_fn *on_connect;
    void *ctx;
};

static enum err err_of(int error)
{
    if (error == 0)
        return ERR_OK;
    if (error == ECONNREFUSED)
        return ERR_REFUSED;
    return error == ETIMEDOUT ? ERR_TIMEOUT : ERR_SYSTEM;
}

static void on_poll_closed(uv_handle_t *handle)
{
    mem_free(CONTAINER_OF((uv_poll_t *)handle, struct net_attempt, poll));
}

/* Writable or broken: the handshake is over either way, and the socket knows how it went. */
static void on_decided(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events; /* SO_ERROR says it better */
    struct net_attempt *attempt = CONTAINER_OF(poll, struct net_attempt, poll);
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    /* First our own watcher, since libuv allows one per descriptor. The memory stays until its
     * callback, which comes after this one has returned. */
    uv_close((uv_handle_t *)poll, on_poll_closed);
    struct stream *stream = NULL;
    enum err err = err_of(error);
    if (err == ERR_OK)
        err = stream_open_socket(attempt->loop, attempt->fd, &attempt->address, &attempt->options,
                                 &stream);
    if (err != ERR_OK)
        (void)close(attempt->fd);
    attempt->on_connect(attempt->ctx, stream, err);
}

static enum err start_handshake(const struct net_address *address, int *out_fd)
{
    int fd = -1;
    TRY(socket_new(address, &fd));
    socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    /* EINTR: as EINPROGRESS, the handshake goes on (connect(2)). */
    if (connect(fd, address_raw(address), address->len) != 0 && errno != EINPROGRESS &&
        errno != EINTR) {
        int error = errno;
        (void)close(fd);
        return err_of(error);
    }
    *out_fd = fd;
    return ERR_OK;
}

enum err net_connect_begin(struct loop *loop, const struct net_address *address,
                           const struct stream_options *options, connect_fn *on_connect, void *ctx,
                           struct net_attempt **out_attempt)
{
    int fd = -1;
    TRY(start_handshake(address, &fd));
    struct net_attempt *attempt = mem_alloc(sizeof(*attempt));
    if (uv_poll_init(loop_uv(loop), &attempt->poll, fd) != 0) {
        (void)close(fd);
        mem_free(attempt);
        return ERR_SYSTEM;
    }
    attempt->loop = loop;
    attempt->fd = fd;
    attempt->address = *address;
    attempt->options = *options;
    attempt->on_connect = on_connect;
    attempt->ctx = ctx;
    ASSERT(uv_poll_start(&attempt->poll, UV_WRITABLE, on_decided) == 0);
    *out_attempt = attempt;
    return ERR_OK;
}

void net_connect_cancel(struct net_attempt **attempt)
{
    uv_close((uv_handle_t *)&(*attempt)->poll, on_poll_closed);
    (void)close((*attempt)->fd);
    *attempt = NULL;
}

enum err net_connect(struct loop *loop, const struct net_address *address,
                     const struct stream_options *options, connect_fn *on_connect, void *ctx)
{
    struct net_attempt *attempt;
    return net_connect_begin(loop, address, options, on_connect, ctx, &attempt);
}
