/* stream - the queue, the turn and the life cycle on top of a stack of filters. */
#include "net/tcp.h"

#include "base/buf.h"
#include "base/mem.h"

enum {
    READ_MAX_BYTES = 64 * 1024, /* rule 4 */
    SEND_MAX_PIECES = 64,       /* per system call: 256 KiB of full chunks */
};

struct stream {
    struct tcp tcp;
    struct filter *top; /* what we read from and write to: the socket, or the last filter on it */
    struct loop *loop;
    const struct stream_events *events; /* NULL until stream_start() */
    void *ctx;

    struct buf out;
    struct deferred turn_end; /* flush(); asked for by every write and every readiness to write */
    uint64_t sent_bytes;
    uint64_t progress_us;

    bool blocked;     /* the kernel took less than we had: wait for TCP_WRITABLE */
    bool room_wanted; /* an ERR_FULL was answered: on_room() is owed */
    bool eof;         /* on_eof() was called: nothing left to read */
    bool hangup_seen; /* after eof: TCP_HANGUP fired once and explained nothing; stop watching */
    bool shut_wanted; /* stream_shutdown() was called: no more writes */
    bool shut;        /* our end is sent */
    bool closed;      /* the descriptor is gone, on_closed() is under way (rule 3) */
    enum err why;
    struct free_later free_later;
    char peer[64];
};

static void on_ready(struct tcp *tcp, unsigned ready);
static void flush(void *ctx);

enum err stream_open_socket(struct loop *loop, int fd, const struct net_address *peer,
                            const struct stream_options *options, struct stream **out_stream)
{
    struct stream *stream = mem_alloc(sizeof(*stream));
    enum err err = tcp_init(&stream->tcp, loop, fd, on_ready);
    if (err != ERR_OK) {
        mem_free(stream);
        return err;
    }
    stream->top = &stream->tcp.filter;
    stream->loop = loop;
    buf_init(&stream->out, options->out_max_bytes);
    deferred_init(&stream->turn_end, flush, stream);
    net_address_format(peer, stream->peer);
    *out_stream = stream;
    return ERR_OK;
}

/* What we wait for follows from the state; the only caller of tcp_watch(). */
static void watch(struct stream *stream)
{
    unsigned ready = stream->blocked ? TCP_WRITABLE : 0;
    if (!stream->eof)
        ready |= TCP_READABLE; /* always (rule 1) */
    else if (!stream->hangup_seen)
        ready |= TCP_HANGUP; /* readable would fire for ever */
    tcp_watch(&stream->tcp, ready);
}

void stream_start(struct stream *stream, const struct stream_events *events, void *ctx)
{
    ASSERT(!stream->events && !stream->closed);
    stream->events = events;
    stream->ctx = ctx;
    watch(stream);
}

/* --- the end --- */

static void release(void *pointer)
{
    mem_free(pointer);
}

static void on_gone(struct tcp *tcp)
{
    struct stream *stream = CONTAINER_OF(tcp, struct stream, tcp);
    if (stream->events) /* else it was closed before anybody took it over */
        stream->events->on_closed(stream->ctx, stream->why);
    loop_free_later(stream->loop, &stream->free_later, release, stream);
}

static void close_now(struct stream *stream, enum err why, bool reset)
{
    if (stream->closed)
        return;
    stream->closed = true;
    stream->why = why;
    deferred_cancel(&stream->turn_end);
    buf_fini(&stream->out);
    tcp_close(&stream->tcp, reset, on_gone);
}

void stream_close(struct stream *stream)
{
    close_now(stream, ERR_OK, false);
}

void stream_abort(struct stream *stream)
{
    close_now(stream, ERR_OK, true);
}

/* The connection failed under us. */
static void fail(struct stream *stream, enum err err)
{
    close_now(stream, err == ERR_CLOSED ? ERR_CLOSED : ERR_SYSTEM, false);
}

/* --- reading --- */

static void on_end(struct stream *stream)
{
    stream->eof = true;
    stream->events->on_eof(stream->ctx);
}

/* One read per readiness is rule 4; epoll is level-triggered and calls again for the rest. The
 * buffer is the loop's stack: one for all its streams, as only one of them reads at a time. */
static void read_once(struct stream *stream, bool hung_up)
{
    char bytes[READ_MAX_BYTES];
    size_t len = 0;
    enum err err = filter_recv(stream->top, bytes, sizeof(bytes), &len);
    if (err == ERR_OK && len > 0)
        stream->events->on_read(stream->ctx, slice_of(bytes, len));
    else if (err == ERR_OK)
        on_end(stream);
    else if (err != ERR_AGAIN)
        fail(stream, err);
    else if (hung_up) /* broken, and no word why: waiting on would spin */
        fail(stream, ERR_SYSTEM);
}

/* The peer sent its end before; was it followed by a reset? EPOLLHUP without an error is only both
 * directions being shut: it would fire for ever, so we look once. */
static void check_hangup(struct stream *stream)
{
    stream->hangup_seen = true;
    enum err err = tcp_error(&stream->tcp);
    if (err != ERR_OK)
        fail(stream, err);
}

static void on_ready(struct tcp *tcp, unsigned ready)
{
    struct stream *stream = CONTAINER_OF(tcp, struct stream, tcp);
    if (ready & TCP_WRITABLE) {
        stream->blocked = false; /* flushed at the end of the turn, with what the turn adds */
        loop_before_sleep(stream->loop, &stream->turn_end);
    }
    if (!stream->eof && ready & (TCP_READABLE | TCP_HANGUP))
        read_once(stream, ready & TCP_HANGUP);
    else if (stream->eof && ready & TCP_HANGUP)
        check_hangup(stream);
    if (stream->closed)
        return;
    /* While a flush is due, `blocked` is not settled: it will call watch() itself. */
    if (!(ready & TCP_WRITABLE))
        watch(stream);
}

/* --- writing --- */

enum err stream_write(struct stream *stream, struct slice bytes)
{
    if (stream->closed || stream->shut_wanted)
        return ERR_CLOSED;
    if (bytes.len > stream->out.max_bytes)
        return ERR_LIMIT;
    bool was_empty = stream->out.len == 0;
    enum err err = buf_append(&stream->out, bytes);
    if (err == ERR_FULL)
        stream->room_wanted = true;
    else if (was_empty)
        stream->progress_us = loop_now_us(stream->loop);
    loop_before_sleep(stream->loop, &stream->turn_end);
    return err;
}

/* What the kernel takes of it. Whatever goes wrong: the rest is queued, and flush() meets it. */
static size_t offer(struct stream *stream, struct slice bytes)
{
    struct iovec piece = {(void *)bytes.data, bytes.len};
    size_t sent = 0;
    stream->blocked = filter_send(stream->top, &piece, 1, &sent) == ERR_AGAIN;
    stream->sent_bytes += sent;
    return sent;
}

enum err stream_send(struct stream *stream, struct slice bytes)
{
    bool may_go_now = stream->out.len == 0 && !stream->blocked && !stream->shut_wanted &&
                      !stream->closed && bytes.len <= stream->out.max_bytes;
    size_t sent = may_go_now && bytes.len > 0 ? offer(stream, bytes) : 0;
    return sent > 0 && sent == bytes.len ? ERR_OK : stream_write(stream, slice_after(bytes, sent));
}

/* As much as the kernel takes; sets `blocked` when it wants no more. */
static enum err send_queue(struct stream *stream, size_t *out_sent)
{
    size_t total = 0;
    enum err err = ERR_OK;
    while (stream->out.len > 0 && !stream->blocked) {
        struct iovec pieces[SEND_MAX_PIECES];
        int count = buf_iov(&stream->out, pieces, SEND_MAX_PIECES);
        size_t sent = 0;
        err = filter_send(stream->top, pieces, count, &sent);
        if (err != ERR_OK)
            break;
        buf_consume(&stream->out, sent);
        total += sent;
    }
    if (err == ERR_AGAIN) {
        stream->blocked = true;
        err = ERR_OK;
    }
    *out_sent = total;
    return err;
}

static void tell_sent(struct stream *stream, size_t sent)
{
    stream->sent_bytes += sent;
    stream->progress_us = loop_now_us(stream->loop);
    if (stream->events && stream->events->on_sent)
        stream->events->on_sent(stream->ctx, sent);
}

/* on_room() follows progress, never mere time: a writer whose piece still does not fit would be
 * called every turn otherwise. An empty queue is room in any case (a refused allocation). */
static void tell_room(struct stream *stream, size_t sent)
{
    bool moved = sent > 0 || stream->out.len == 0;
    if (!stream->room_wanted || !moved || stream->out.len > stream->out.max_bytes / 2)
        return;
    stream->room_wanted = false;
    if (stream->events)
        stream->events->on_room(stream->ctx);
}

/* The end of a turn in which something was written or the socket took bytes again (rule 2). Every
 * call to the owner may close the stream. */
static void flush(void *ctx)
{
    struct stream *stream = ctx;
    size_t sent = 0;
    enum err err = send_queue(stream, &sent);
    if (sent > 0)
        tell_sent(stream, sent);
    if (err != ERR_OK)
        fail(stream, err);
    if (!stream->closed)
        tell_room(stream, sent);
    if (stream->closed)
        return;
    if (stream->shut_wanted && !stream->shut && stream->out.len == 0) {
        stream->shut = true;
        filter_shut(stream->top);
    }
    if (stream->events)
        watch(stream);
}

void stream_shutdown(struct stream *stream)
{
    if (stream->closed || stream->shut_wanted)
        return;
    stream->shut_wanted = true;
    loop_before_sleep(stream->loop, &stream->turn_end);
}

/* --- questions --- */

size_t stream_pending(const struct stream *stream)
{
    return stream->out.len;
}

uint64_t stream_sent(const struct stream *stream)
{
    return stream->sent_bytes;
}

uint64_t stream_progress_us(const struct stream *stream)
{
    return stream->out.len == 0 ? loop_now_us(stream->loop) : stream->progress_us;
}

const char *stream_peer(const struct stream *stream)
{
    return stream->peer;
}
