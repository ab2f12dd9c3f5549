/* bus_zmq_link - a ZeroMQ socket on a loop. See bus_zmq_link.h. */
#include "bus/bus_zmq_link.h"

#include "base/mem.h"

#include <errno.h>
#include <uv.h>

struct zlink {
    void *socket; /* NULL: closed */
    struct loop *loop;
    uv_poll_t poll;
    bool watched;
    struct deferred ready, look;
    zlink_ready_fn *on_ready;
    void *owner;
};

/* --- parts --- */

void zparts_init(struct zparts *parts)
{
    for (size_t i = 0; i < ARRAY_COUNT(parts->part); i++)
        zmq_msg_init(&parts->part[i]);
    parts->count = 0;
}

void zparts_fini(struct zparts *parts)
{
    for (size_t i = 0; i < ARRAY_COUNT(parts->part); i++)
        zmq_msg_close(&parts->part[i]);
    parts->count = 0;
}

struct slice zparts_bytes(struct zparts *parts, size_t index)
{
    return slice_of(zmq_msg_data(&parts->part[index]), zmq_msg_size(&parts->part[index]));
}

/* --- readiness --- */

static bool can_receive(struct zlink *link)
{
    int events = 0;
    size_t bytes = sizeof(events);
    return zmq_getsockopt(link->socket, ZMQ_EVENTS, &events, &bytes) == 0 && (events & ZMQ_POLLIN);
}

static void touched(struct zlink *link)
{
    loop_before_sleep(link->loop, &link->look);
}

static void run_ready(void *ctx)
{
    struct zlink *link = ctx;
    touched(link);
    link->on_ready(link->owner); /* may close the link; its memory stays for this turn */
}

static void look_before_sleep(void *ctx)
{
    struct zlink *link = ctx;
    if (can_receive(link))
        loop_defer(link->loop, &link->ready); /* the next turn, which does not sleep */
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status; /* the descriptor is an eventfd of libzmq: it has no errors of its own */
    (void)events; /* READABLE is all we asked for */
    struct zlink *link = poll->data;
    if (can_receive(link))
        run_ready(link);
    else
        touched(link);
}

void zlink_again(struct zlink *link)
{
    loop_defer(link->loop, &link->ready);
}

/* --- life --- */

enum err zlink_open(void *zmq_context, int type, struct loop *loop, zlink_ready_fn *on_ready,
                    void *owner, struct zlink **out_link)
{
    void *socket = zmq_socket(zmq_context, type);
    if (!socket)
        return ERR_SYSTEM;
    int no_limit = 0;
    int64_t message_max = BUS_FRAME_MAX_BYTES + ENVELOPE_MAX_BYTES;
    zmq_setsockopt(socket, ZMQ_SNDHWM, &no_limit, sizeof(no_limit));
    zmq_setsockopt(socket, ZMQ_LINGER, &no_limit, sizeof(no_limit));
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &message_max, sizeof(message_max));
    struct zlink *link = mem_alloc(sizeof(*link));
    link->socket = socket;
    link->loop = loop;
    link->on_ready = on_ready;
    link->owner = owner;
    deferred_init(&link->ready, run_ready, link);
    deferred_init(&link->look, look_before_sleep, link);
    *out_link = link;
    return ERR_OK;
}

void *zlink_socket(struct zlink *link)
{
    return link->socket;
}

enum err zlink_watch(struct zlink *link)
{
    int fd = -1;
    size_t bytes = sizeof(fd);
    if (zmq_getsockopt(link->socket, ZMQ_FD, &fd, &bytes) != 0 ||
        uv_poll_init(loop_uv(link->loop), &link->poll, fd) != 0)
        return ERR_SYSTEM;
    link->poll.data = link;
    link->watched = true;
    if (uv_poll_start(&link->poll, UV_READABLE, on_poll) != 0)
        return ERR_SYSTEM;
    touched(link); /* what came before it was watched */
    return ERR_OK;
}

static void on_poll_closed(uv_handle_t *poll)
{
    mem_free(poll->data);
}

void zlink_close(struct zlink **link, int linger_ms)
{
    struct zlink *closing = *link;
    *link = NULL;
    if (!closing)
        return;
    deferred_cancel(&closing->ready);
    deferred_cancel(&closing->look);
    if (closing->watched)
        uv_close((uv_handle_t *)&closing->poll, on_poll_closed); /* before the descriptor goes */
    zmq_setsockopt(closing->socket, ZMQ_LINGER, &linger_ms, sizeof(linger_ms));
    zmq_close(closing->socket);
    closing->socket = NULL;
    if (!closing->watched)
        mem_free(closing);
}

/* --- messages --- */

static enum err send_part(struct zlink *link, zmq_msg_t *part, bool more)
{
    int status;
    do
        status = zmq_msg_send(part, link->socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
    while (status < 0 && errno == EINTR);
    return status < 0 ? ERR_CLOSED : ERR_OK; /* EHOSTUNREACH; EAGAIN cannot be (rule 3) */
}

static enum err send_bytes(struct zlink *link, struct slice bytes, bool more)
{
    zmq_msg_t part;
    if (zmq_msg_init_size(&part, bytes.len) != 0)
        return ERR_LIMIT;
    memcpy(zmq_msg_data(&part), bytes.data, bytes.len);
    enum err err = send_part(link, &part, more);
    zmq_msg_close(&part); /* empty once it was sent */
    return err;
}

/* A message is taken or refused with its first part. */
enum err zlink_send(struct zlink *link, struct slice to, const struct envelope *envelope,
                    zmq_msg_t *frame)
{
    char bytes[ENVELOPE_MAX_BYTES];
    size_t len = envelope_encode(envelope, bytes);
    ASSERT(envelope_has_frame(envelope->kind) == (frame != NULL));
    touched(link);
    if (to.len)
        TRY(send_bytes(link, to, true));
    TRY(send_bytes(link, slice_of(bytes, len), frame != NULL));
    return frame ? send_part(link, frame, false) : ERR_OK;
}

static bool receive_part(struct zlink *link, zmq_msg_t *part)
{
    int status;
    do
        status = zmq_msg_recv(part, link->socket, ZMQ_DONTWAIT);
    while (status < 0 && errno == EINTR);
    ASSERT_MSG(status >= 0 || errno == EAGAIN, "zmq_msg_recv: %s", zmq_strerror(errno));
    return status >= 0;
}

enum err zlink_receive(struct zlink *link, struct zparts *parts)
{
    touched(link);
    if (!receive_part(link, &parts->part[0]))
        return ERR_AGAIN;
    parts->count = 1;
    for (bool more = zmq_msg_more(&parts->part[0]); more;) {
        bool fits = parts->count < ARRAY_COUNT(parts->part);
        zmq_msg_t rest, *part = fits ? &parts->part[parts->count] : &rest;
        zmq_msg_init(&rest);
        if (!receive_part(link, part)) /* the parts of a message come together */
            break;
        more = zmq_msg_more(part);
        parts->count += parts->count <= ARRAY_COUNT(parts->part);
        zmq_msg_close(&rest);
    }
    return ERR_OK;
}

void zlink_wait(struct zlink *link, long wait_ms)
{
    zmq_pollitem_t item = {.socket = link->socket, .events = ZMQ_POLLIN};
    touched(link);
    (void)zmq_poll(&item, 1, wait_ms); /* nothing, or a signal: the caller looks at its clock */
}
