/* listener - accepts connections for one loop. */
#include "net/socket.h"
#include "net/stack.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum {
    BACKLOG = 1024,       /* completed connections the kernel keeps for us; capped by somaxconn */
    ACCEPT_PER_TURN = 64, /* so that a flood of connects does not starve the connected */
    PAUSE_US = 100 * 1000,
    SNDBUF_BYTES = 64 * 1024,
    NOTSENT_BYTES = 16 * 1024,
};

struct listener {
    uv_poll_t poll;
    struct loop *loop;
    int fd;
    int spare_fd; /* given up to accept and refuse when descriptors have run out; -1: none */
    struct stream_options options;
    accept_fn *on_accept;
    void *ctx;
    struct deadline resume; /* armed while paused */
    bool closed;
};

static void on_acceptable(uv_poll_t *poll, int status, int events);

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Set once here: on Linux every accepted socket inherits them. */
static void set_inherited_options(int fd)
{
    socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    socket_set(fd, SOL_SOCKET, SO_SNDBUF, SNDBUF_BYTES);
    socket_set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_BYTES);
}

static void watch(struct listener *listener)
{
    ASSERT(uv_poll_start(&listener->poll, UV_READABLE, on_acceptable) == 0);
}

static void on_resume(void *ctx)
{
    watch(ctx);
}

/* The kernel has connections for us that we cannot take, and would say so for ever. */
static void pause_accepting(struct listener *listener)
{
    (void)uv_poll_stop(&listener->poll); /* always 0 */
    deadline_after(&listener->resume, PAUSE_US);
}

static void deliver(struct listener *listener, int fd, const struct net_address *peer)
{
    struct stream *stream;
    if (stream_open_socket(listener->loop, fd, peer, &listener->options, &stream) == ERR_OK)
        listener->on_accept(listener->ctx, stream);
    else
        (void)close(fd); /* the machine is out of something: refuse this one, keep serving */
}

/* Out of descriptors. Left alone the connection would wait in the queue and wake us for ever, so it
 * is taken on the spare descriptor and closed: its peer learns at once. */
static enum err shed(struct listener *listener)
{
    if (listener->spare_fd < 0)
        listener->spare_fd = open_spare(); /* another thread may have freed one */
    if (listener->spare_fd < 0)
        return ERR_FULL;
    (void)close(listener->spare_fd);
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    int error = errno;
    if (fd >= 0)
        (void)close(fd);
    listener->spare_fd = open_spare(); /* may fail: another thread took the place */
    if (fd >= 0)
        return ERR_OK;
    return error == EAGAIN ? ERR_AGAIN : ERR_FULL;
}

static bool
is_passing(int error) /* accept(2): errors of that one connection, taken off the queue */
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == ENETDOWN ||
           error == ENOPROTOOPT || error == EHOSTDOWN || error == ENONET || error == EHOSTUNREACH ||
           error == ENETUNREACH || error == EPERM;
}

/* ERR_OK: one connection less in the queue; ERR_AGAIN: none there; ERR_FULL: there may be, but the
 * machine has no room for it. */
static enum err accept_one(struct listener *listener)
{
    struct net_address peer = {0};
    socklen_t len = sizeof(peer.storage);
    struct sockaddr *raw = (struct sockaddr *)(void *)peer.storage.bytes;
    int fd = accept4(listener->fd, raw, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        peer.len = len;
        deliver(listener, fd, &peer);
        return ERR_OK;
    }
    if (errno == EAGAIN)
        return ERR_AGAIN;
    if (errno == EMFILE || errno == ENFILE)
        return shed(listener);
    return is_passing(errno) ? ERR_OK : ERR_FULL;
}

/* on_accept() may close the listener: look before each. */
static enum err accept_some(struct listener *listener, int max)
{
    enum err err = ERR_OK;
    for (int i = 0; i < max && err == ERR_OK && !listener->closed; i++)
        err = accept_one(listener);
    return err;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events; /* whatever it is, accept4() will say it */
    struct listener *listener = CONTAINER_OF(poll, struct listener, poll);
    enum err err = accept_some(listener, ACCEPT_PER_TURN);
    if (listener->closed)
        return;
    if (err == ERR_FULL)
        pause_accepting(listener);
    else if (status < 0)
        watch(listener); /* libuv stops at EPOLLERR */
}

enum err net_listen(const struct net_address *address, int *out_fd, struct err_note *out_note)
{
    int fd = -1;
    TRY(socket_bound(address, SOCKET_SHARED, &fd, out_note));
    set_inherited_options(fd);
    if (listen(fd, BACKLOG) != 0) {
        int error = errno;
        char where[64];
        net_address_format(address, where);
        (void)close(fd);
        return err_note_fail(out_note, error == EADDRINUSE ? ERR_REFUSED : ERR_SYSTEM,
                             "cannot listen on %s: %s", where, strerror(error));
    }
    *out_fd = fd;
    return ERR_OK;
}

static bool has_option(int fd, int option, int wanted)
{
    int value = -1;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 && value == wanted;
}

/* A number came from outside (an environment): anything may be behind it. */
MUST_USE static enum err check_handed_over(int fd, struct err_note *out_note)
{
    if (fd < 0 || fcntl(fd, F_GETFD) < 0)
        return err_note_fail(out_note, ERR_REFUSED, "descriptor %d is not open", fd);
    if (!has_option(fd, SO_PROTOCOL, IPPROTO_TCP))
        return err_note_fail(out_note, ERR_REFUSED, "descriptor %d is not a TCP socket", fd);
    if (!has_option(fd, SO_ACCEPTCONN, 1))
        return err_note_fail(out_note, ERR_REFUSED,
                             "descriptor %d is a TCP socket that does not listen", fd);
    return ERR_OK;
}

/* What net_listen() gave it, whoever really made it: accept4() must not wait for anybody. */
MUST_USE static enum err prepare_handed_over(int fd, struct err_note *out_note)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return err_note_fail(out_note, ERR_SYSTEM, "cannot set up descriptor %d: %s", fd,
                             strerror(errno));
    set_inherited_options(fd);
    return ERR_OK;
}

/* Takes `fd` on success. */
MUST_USE static enum err serve(struct loop *loop, int fd, const struct stream_options *options,
                               accept_fn *on_accept, void *ctx, struct listener **out_listener,
                               struct err_note *out_note)
{
    struct listener *listener = mem_alloc(sizeof(*listener));
    int status = uv_poll_init(loop_uv(loop), &listener->poll, fd);
    if (status != 0) {
        mem_free(listener);
        return err_note_fail(out_note, ERR_SYSTEM, "cannot watch a listening socket: %s",
                             uv_strerror(status));
    }
    listener->loop = loop;
    listener->fd = fd;
    listener->spare_fd = open_spare();
    listener->options = *options;
    listener->on_accept = on_accept;
    listener->ctx = ctx;
    deadline_init(&listener->resume, loop, on_resume, listener);
    watch(listener);
    *out_listener = listener;
    return ERR_OK;
}

enum err listener_open(struct loop *loop, const struct net_address *address,
                       const struct stream_options *options, accept_fn *on_accept, void *ctx,
                       struct listener **out_listener, struct err_note *out_note)
{
    int fd = -1;
    TRY(net_listen(address, &fd, out_note));
    enum err err = serve(loop, fd, options, on_accept, ctx, out_listener, out_note);
    if (err != ERR_OK)
        (void)close(
            fd); /* nobody has connected in these microseconds, or is reset: we cannot serve */
    return err;
}

enum err listener_adopt(struct loop *loop, int fd, const struct stream_options *options,
                        accept_fn *on_accept, void *ctx, struct listener **out_listener,
                        struct err_note *out_note)
{
    TRY(check_handed_over(fd, out_note));
    TRY(prepare_handed_over(fd, out_note));
    return serve(loop, fd, options, on_accept, ctx, out_listener, out_note);
}

static void on_poll_closed(uv_handle_t *handle)
{
    mem_free(CONTAINER_OF((uv_poll_t *)handle, struct listener, poll));
}

void listener_close(struct listener **listener_place)
{
    struct listener *listener = *listener_place;
    if (!listener)
        return;
    *listener_place = NULL;
    /* The queue is in order of arrival: one backlog (and the one that Linux lets in above it)
     * reaches everybody who was there when we began, however fast others come. */
    (void)accept_some(listener, BACKLOG + 1); /* ERR_FULL: those cannot be helped */
    listener->closed = true;
    deadline_clear(&listener->resume);
    /* Before close(): epoll would go on telling of a socket that another process has, too. */
    uv_close((uv_handle_t *)&listener->poll, on_poll_closed);
    (void)close(listener->fd);
    listener->fd =
        -1; /* on_accept() may have called us: its caller must not use the number again */
    if (listener->spare_fd >= 0)
        (void)close(listener->spare_fd);
}
