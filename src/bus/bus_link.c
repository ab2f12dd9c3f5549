/* bus_link - a unix stream socket on a loop. See bus_link.h.
 *
 * On uv_poll and not uv_pipe, for the reasons of net/tcp.c; not on net/stream, whose queue copies
 * (a frame that is kept until it is acknowledged is sent from where it lies). */
#include "bus/bus_link.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

struct bus_link {
    int fd; /* -1: closed */
    struct loop *loop;
    uv_poll_t poll;
    int watched; /* enum uv_poll_event */
    struct deferred flush;
    const struct link_events *events;
    void *owner;
    struct framing in;
    struct list out;          /* struct piece.link */
    size_t sent_of_first;     /* bytes of the first piece that have left */
    struct piece *last_early; /* of bus_link_say_early() in it; NULL: none is there */
    size_t said;              /* pieces of both bus_link_say() in it */
    bool is_broken;           /* the other side takes nothing any more */
};

/* --- pieces --- */

static size_t piece_bytes(const struct piece *piece)
{
    return FRAMING_HEAD_BYTES + piece->body.len;
}

static struct piece *first_piece(struct bus_link *link)
{
    return CONTAINER_OF(link->out.next, struct piece, link);
}

static void piece_release(struct piece *piece)
{
    mem_free(piece);
}

struct piece *piece_new(const struct envelope *envelope, struct slice frame)
{
    const struct slice parts[] = {envelope->subject, envelope->reply, frame};
    size_t len = parts[0].len + parts[1].len + parts[2].len;
    struct piece *piece = mem_peer_alloc(sizeof(*piece) + len);
    if (!piece)
        return NULL;
    char *body = (char *)(piece + 1);
    piece->body = slice_of(body, len);
    piece->release = piece_release;
    list_init(&piece->link);
    framing_put_head(envelope, frame.len, piece->head);
    for (size_t i = 0; i < ARRAY_COUNT(parts); body += parts[i].len, i++)
        if (parts[i].len)
            memcpy(body, parts[i].data, parts[i].len);
    return piece;
}

/* What bus_link_say() makes: the link counts them. */
struct said {
    struct piece piece;
    struct bus_link *link;
    char names[2 * BUS_SUBJECT_MAX_BYTES];
};

static void said_release(struct piece *piece)
{
    struct said *said = CONTAINER_OF(piece, struct said, piece);
    said->link->said--;
    mem_free(said);
}

static struct piece *said_new(struct bus_link *link, const struct envelope *envelope)
{
    size_t subject_bytes = envelope->subject.len, len = subject_bytes + envelope->reply.len;
    struct said *said = mem_alloc(offsetof(struct said, names) + len);
    if (subject_bytes)
        memcpy(said->names, envelope->subject.data, subject_bytes);
    if (envelope->reply.len)
        memcpy(said->names + subject_bytes, envelope->reply.data, envelope->reply.len);
    said->piece.body = slice_of(said->names, len);
    said->piece.release = said_release;
    list_init(&said->piece.link);
    framing_put_head(envelope, 0, said->piece.head);
    said->link = link;
    link->said++;
    return &said->piece;
}

size_t bus_link_said(const struct bus_link *link)
{
    return link->said;
}

/* --- sending --- */

static void drop_piece(struct bus_link *link, struct piece *piece)
{
    if (piece == link->last_early)
        link->last_early = NULL;
    list_remove(&piece->link);
    if (piece->release)
        piece->release(piece);
}

static void drop_all(struct bus_link *link)
{
    link->sent_of_first = 0;
    while (!list_is_empty(&link->out))
        drop_piece(link, first_piece(link));
}

void bus_link_drop_queued(struct bus_link *link)
{
    struct list *kept = link->sent_of_first ? link->out.next : &link->out;
    while (kept->next != &link->out)
        drop_piece(link, CONTAINER_OF(kept->next, struct piece, link));
}

bool bus_link_is_idle(const struct bus_link *link)
{
    return list_is_empty(&link->out);
}

static void push_behind(struct bus_link *link, struct list *before, struct piece *piece)
{
    list_push_front(before, &piece->link);
    if (link->is_broken)
        drop_piece(link, piece);
    else
        loop_before_sleep(link->loop, &link->flush);
}

void bus_link_push(struct bus_link *link, struct piece *piece)
{
    push_behind(link, link->out.prev, piece);
}

void bus_link_say(struct bus_link *link, const struct envelope *envelope)
{
    bus_link_push(link, said_new(link, envelope));
}

void bus_link_say_early(struct bus_link *link, const struct envelope *envelope)
{
    struct piece *piece = said_new(link, envelope);
    struct list *before = link->sent_of_first ? link->out.next : &link->out;
    if (link->last_early)
        before = &link->last_early->link;
    link->last_early = piece;
    push_behind(link, before, piece);
}

static size_t gather(struct bus_link *link, struct iovec iov[2 * LINK_PIECES_MAX])
{
    size_t count = 0, skip = link->sent_of_first;
    LIST_FOREACH (node, &link->out) {
        struct piece *piece = CONTAINER_OF(node, struct piece, link);
        struct slice head = slice_after(slice_of(piece->head, FRAMING_HEAD_BYTES), skip);
        struct slice body =
            slice_after(piece->body, skip > FRAMING_HEAD_BYTES ? skip - FRAMING_HEAD_BYTES : 0);
        if (head.len)
            iov[count++] = (struct iovec){(void *)(uintptr_t)head.data, head.len};
        if (body.len)
            iov[count++] = (struct iovec){(void *)(uintptr_t)body.data, body.len};
        skip = 0;
        if (count > 2 * LINK_PIECES_MAX - 2)
            break;
    }
    return count;
}

/* Returns how many bytes the kernel took. */
static size_t send_some(struct bus_link *link)
{
    struct iovec iov[2 * LINK_PIECES_MAX];
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = gather(link, iov)};
    ssize_t sent;
    do
        sent = sendmsg(link->fd, &message, MSG_NOSIGNAL); /* a peer that left must not kill us */
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN && errno != ENOBUFS) {
        link->is_broken = true;
        drop_all(link);
    }
    return sent > 0 ? (size_t)sent : 0;
}

static bool took(struct bus_link *link, size_t sent)
{
    bool any = sent > 0;
    for (size_t left; sent > 0; sent -= left) {
        struct piece *piece = first_piece(link);
        left = piece_bytes(piece) - link->sent_of_first;
        if (sent < left) {
            link->sent_of_first += sent;
            break;
        }
        link->sent_of_first = 0;
        drop_piece(link, piece);
    }
    return any;
}

static void watch(struct bus_link *link, int events);

static bool is_blocked(const struct bus_link *link)
{
    return link->watched & UV_WRITABLE;
}

static bool send_queue(struct bus_link *link)
{
    if (link->fd < 0 || bus_link_is_idle(link))
        return false;
    if (link->events->before_send)
        link->events->before_send(link->owner);
    return took(link, send_some(link));
}

/* Blocked is who got nothing, or not all, of a write out; the next turn finds which, if the pieces
 * were too many for one. */
static void on_flush(void *ctx)
{
    struct bus_link *link = ctx;
    if (is_blocked(link))
        return; /* the socket says when */
    bool any = send_queue(link);
    deferred_cancel(&link->flush); /* what before_send() said asked for one more, and has left */
    if (link->fd < 0 || bus_link_is_idle(link))
        return;
    if (any && !link->sent_of_first)
        loop_before_sleep(link->loop, &link->flush);
    else
        watch(link, UV_READABLE | UV_WRITABLE);
}

/* --- readiness --- */

static void on_writable(struct bus_link *link)
{
    watch(link, UV_READABLE);
    on_flush(link);
}

/* status < 0 is EPOLLERR (the other side left things unread), and libuv has stopped watching: there
 * may be more to read than one call takes, so it is watched again. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct bus_link *link = poll->data;
    if (status < 0) {
        link->watched = 0;
        watch(link, UV_READABLE);
    } else if (events & UV_WRITABLE) {
        on_writable(link);
    }
    if (status < 0 || (events & UV_READABLE))
        link->events->on_ready(
            link->owner); /* may close the link; its memory stays for this turn */
}

static void watch(struct bus_link *link, int events)
{
    if (link->watched == events)
        return;
    link->watched = events;
    ASSERT(uv_poll_start(&link->poll, events, on_poll) == 0);
}

/* --- reading --- */

static ssize_t receive(struct bus_link *link, const struct iovec *to, size_t count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)to, .msg_iovlen = count};
    ssize_t got;
    do
        got = recvmsg(link->fd, &message, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    return got;
}

enum err bus_link_read(struct bus_link *link, framed_fn *on_message, void *ctx)
{
    char buffer[LINK_READ_BYTES], *room = NULL;
    if (framing_has_rest(&link->in)) /* of an outer call: see bus_framing.h rule 3 */
        return framing_take(&link->in, 0, (struct slice){0}, on_message, ctx);
    size_t room_bytes = framing_room(&link->in, &room);
    const struct iovec to[] = {{room, room_bytes}, {buffer, sizeof(buffer)}};
    ssize_t got = room_bytes ? receive(link, to, 2) : receive(link, to + 1, 1);
    if (got < 0)
        return errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
    if (got == 0)
        return ERR_CLOSED;
    size_t in_room = (size_t)got < room_bytes ? (size_t)got : room_bytes;
    return framing_take(&link->in, in_room, slice_of(buffer, (size_t)got - in_room), on_message,
                        ctx);
}

static void sleep_on(struct bus_link *link, short events, uint64_t wait_ms)
{
    struct pollfd fd = {.fd = link->fd, .events = events};
    int wait = wait_ms < INT32_MAX ? (int)wait_ms : INT32_MAX;
    (void)poll(&fd, 1, wait); /* nothing, or a signal: the caller looks at its clock */
}

void bus_link_wait(struct bus_link *link, uint64_t wait_ms)
{
    (void)send_queue(link); /* what does not leave is waited for */
    sleep_on(link, bus_link_is_idle(link) ? POLLIN : POLLIN | POLLOUT, wait_ms);
}

void bus_link_drain(struct bus_link *link, uint64_t wait_ms)
{
    uint64_t now_us = clock_monotonic_us(), until_us = now_us + wait_ms * 1000;
    while (!bus_link_is_idle(link) && now_us < until_us) {
        if (!send_queue(link) && !bus_link_is_idle(link))
            sleep_on(link, POLLOUT, (until_us - now_us) / 1000 + 1);
        now_us = clock_monotonic_us();
    }
}

/* --- life --- */

enum err bus_link_open(struct loop *loop, int fd, size_t message_max,
                       const struct link_events *events, void *owner, struct bus_link **out_link)
{
    struct bus_link *link = mem_alloc(sizeof(*link));
    if (uv_poll_init(loop_uv(loop), &link->poll, fd) != 0) {
        mem_free(link);
        return ERR_SYSTEM;
    }
    link->fd = fd;
    link->loop = loop;
    link->events = events;
    link->owner = owner;
    link->poll.data = link;
    framing_init(&link->in, message_max);
    list_init(&link->out);
    deferred_init(&link->flush, on_flush, link);
    watch(link, UV_READABLE);
    *out_link = link;
    return ERR_OK;
}

enum err bus_link_connect(struct loop *loop, const struct sockaddr_un *address,
                          const struct link_events *events, void *owner, struct bus_link **out_link)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return ERR_SYSTEM;
    enum err err = ERR_AGAIN; /* whatever the reason: it may be there the next time */
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
        err = bus_link_open(loop, fd, FRAMING_MESSAGE_MAX_BYTES, events, owner, out_link);
    if (err != ERR_OK)
        (void)close(fd); /* was never used */
    return err;
}

static void on_poll_closed(uv_handle_t *poll)
{
    mem_free(poll->data);
}

void bus_link_close(struct bus_link **link)
{
    struct bus_link *closing = *link;
    *link = NULL;
    if (!closing)
        return;
    deferred_cancel(&closing->flush);
    framing_fini(&closing->in);
    drop_all(closing);
    uv_close((uv_handle_t *)&closing->poll, on_poll_closed); /* before the descriptor goes */
    (void)close(closing->fd); /* Linux releases it whatever it answers */
    closing->fd = -1;
}
