/* http1_reply - the reply side of a connection: what a handler says, put on the wire. */
#include "http/http1_conn_impl.h"

#include "base/clock.h"
#include "base/mem.h"

enum { CHUNK_IN_ONE_PIECE_BYTES = 4096 };

/* --- output --- */

static bool is_over(const struct http_conn *conn)
{
    return conn->state == HTTP1_DRAIN || conn->state == HTTP1_CLOSED;
}

/* on_gone() must not come from inside the call that failed (loop.h, rule 5). */
static void break_later(struct http_conn *conn)
{
    conn->is_broken = true;
    loop_defer(conn->shared->loop, &conn->serve);
}

/* By one of the two ways into the stream: stream_write() or stream_send(). */
typedef enum err stream_take_fn(struct stream *stream, struct slice bytes);

static void pass(struct http_conn *conn, struct slice bytes, stream_take_fn *take)
{
    if (conn->is_broken || bytes.len == 0)
        return;
    bool was_empty = stream_pending(conn->stream) == 0;
    if (take(conn->stream, bytes) != ERR_OK) /* no memory, or it is closing already */
        break_later(conn);
    else if (was_empty && stream_pending(conn->stream) > 0)
        http1_conn_arm_deadline(conn); /* for the stall */
}

void http1_conn_queue(struct http_conn *conn, struct slice bytes)
{
    pass(conn, bytes, stream_write);
}

static bool status_has_body(int status)
{
    return status != 204 && status != 304;
}

static void add_common_fields(struct http_conn *conn, struct text *head)
{
    const struct http_handler *handler = &conn->shared->handler;
    size_t before = head->len;
    if (!handler->common_fields)
        return;
    handler->common_fields(handler->ctx, conn, head);
    struct slice lines = slice_after(text_slice(head), before);
    ASSERT_MSG(text_status(head) != ERR_OK || http1_fields_are_sound(lines),
               "common fields \"" SLICE_FMT "\"", SLICE_ARG(lines));
}

static void queue_head(struct http_conn *conn, const struct http1_reply_head *head)
{
    struct http1_shared *shared = conn->shared;
    http1_write_head(&shared->head, head);
    add_common_fields(conn, &shared->head);
    http1_write_head_end(&shared->head);
    if (text_status(&shared->head) == ERR_OK)
        http1_conn_queue(conn, text_slice(&shared->head));
    else
        break_later(conn);
    text_clear(&shared->head);
    if (shared->handler.on_answer)
        shared->handler.on_answer(shared->handler.ctx, conn, head->status);
}

/* Head and body of an answer whose length is known. */
static void queue_whole(struct http_conn *conn, int status, struct slice content_type,
                        struct slice fields, struct slice body)
{
    struct http1_shared *shared = conn->shared;
    bool has_body = status_has_body(status);
    queue_head(conn, &(struct http1_reply_head){
                         .status = status,
                         .framing = has_body ? HTTP1_FRAMING_LENGTH : HTTP1_FRAMING_NONE,
                         .length = body.len,
                         .keep_alive = !conn->x.is_last,
                         .date = http_date_at(&shared->date, clock_wall_ms()),
                         .content_type = content_type,
                         .fields = fields,
                     });
    if (has_body && !conn->x.is_head)
        http1_conn_queue(conn, body);
}

void http1_conn_queue_error(struct http_conn *conn, int status, struct slice fields,
                            struct slice body)
{
    conn->x.is_last = true;
    queue_whole(conn, status, body.len ? SLICE("application/json") : (struct slice){0}, fields,
                body);
}

/* --- begin and end --- */

/* False when there is nobody to reply to any more. */
static bool enter_reply(struct http_conn *conn)
{
    if (is_over(conn))
        return false;
    bool body_is_unread =
        conn->state == HTTP1_BODY || (conn->state == HTTP1_HEAD && conn->x.has_body);
    if (body_is_unread)
        conn->x.is_last = true;
    http1_conn_set_state(conn, HTTP1_REPLY);
    if (body_is_unread)
        http1_conn_release_request(conn);
    return true;
}

/* The whole reply is queued. */
static void finish(struct http_conn *conn)
{
    bool is_last = conn->x.is_last;
    http1_conn_forget_exchange(conn);
    if (conn->is_broken) {
        http1_conn_abort(conn, ERR_CLOSED);
    } else if (is_last) {
        http1_conn_enter_drain(conn, ERR_OK);
    } else {
        http1_conn_set_state(conn, HTTP1_FLUSH);
        http1_head_init(&conn->head_parser);
        if (!conn->running) /* else serve() is under way, and goes on */
            loop_defer(conn->shared->loop, &conn->serve);
    }
}

void http_conn_reply(struct http_conn *conn, int status, struct slice content_type,
                     struct slice fields, struct slice body)
{
    if (!enter_reply(conn))
        return;
    queue_whole(conn, status, content_type, fields, body);
    finish(conn);
}

void http_conn_begin(struct http_conn *conn, int status, struct slice content_type,
                     struct slice fields)
{
    if (!enter_reply(conn))
        return;
    enum http1_framing framing = !status_has_body(status) ? HTTP1_FRAMING_NONE
                                 : conn->x.minor > 0      ? HTTP1_FRAMING_CHUNKED
                                                          : HTTP1_FRAMING_CLOSE;
    conn->x.is_chunked = framing == HTTP1_FRAMING_CHUNKED;
    conn->x.drops_body = framing == HTTP1_FRAMING_NONE || conn->x.is_head;
    if (framing == HTTP1_FRAMING_CLOSE)
        conn->x.is_last = true;
    queue_head(conn, &(struct http1_reply_head){
                         .status = status,
                         .framing = framing,
                         .keep_alive = !conn->x.is_last,
                         .date = http_date_at(&conn->shared->date, clock_wall_ms()),
                         .content_type = content_type,
                         .fields = fields,
                     });
}

void http_conn_end(struct http_conn *conn)
{
    if (is_over(conn))
        return;
    ASSERT_MSG(conn->state == HTTP1_REPLY, "%s", http1_state_name(conn->state));
    if (conn->x.is_chunked && !conn->x.drops_body)
        http1_conn_queue(conn, HTTP1_LAST_CHUNK);
    finish(conn);
}

void http_conn_break(struct http_conn *conn)
{
    http1_conn_forget_exchange(conn); /* the handler knows: no on_gone() */
    http1_conn_abort(conn, ERR_CANCELLED);
}

/* --- streaming --- */

static size_t room_left(const struct http_conn *conn)
{
    size_t max_bytes = conn->shared->limits.out_max_bytes;
    size_t waiting = stream_pending(conn->stream);
    return waiting < max_bytes ? max_bytes - waiting : 0;
}

/* A small chunk is put together here and passed on in one piece: cheaper for the kernel than three,
 * and for our queue. */
static void pass_chunk(struct http_conn *conn, struct slice bytes, stream_take_fn *take)
{
    char chunk[CHUNK_IN_ONE_PIECE_BYTES];
    struct slice line = http1_chunk_line(bytes.len, chunk);
    if (http1_chunk_bytes(bytes.len) > sizeof(chunk)) {
        http1_conn_queue(conn, line);
        http1_conn_queue(conn, bytes);
        http1_conn_queue(conn, HTTP1_AFTER_CHUNK);
        return;
    }
    memcpy(chunk + line.len, bytes.data, bytes.len);
    memcpy(chunk + line.len + bytes.len, "\r\n", 2);
    pass(conn, slice_of(chunk, line.len + bytes.len + 2), take);
}

static enum err write_body(struct http_conn *conn, struct slice bytes, stream_take_fn *take)
{
    if (is_over(conn) || conn->is_broken)
        return ERR_CLOSED;
    ASSERT_MSG(conn->state == HTTP1_REPLY, "%s", http1_state_name(conn->state));
    if (bytes.len == 0) /* as a chunk, it would be the last one */
        return ERR_OK;
    if (conn->x.drops_body) {
        loop_defer(conn->shared->loop, &conn->serve); /* reports it as sent */
    } else {
        size_t needed = conn->x.is_chunked ? http1_chunk_bytes(bytes.len) : bytes.len;
        if (needed > conn->shared->limits.out_max_bytes)
            return ERR_LIMIT;
        if (needed > room_left(conn)) {
            conn->x.wants_room = true;
            return ERR_FULL;
        }
        if (conn->x.is_chunked)
            pass_chunk(conn, bytes, take);
        else
            pass(conn, bytes, take);
        if (conn->is_broken)
            return ERR_CLOSED;
        if (room_left(conn) < conn->shared->limits.out_max_bytes / 2)
            conn->x.wants_room = true; /* who asked http_conn_room() never meets ERR_FULL */
    }
    conn->x.body_queued += bytes.len;
    return ERR_OK;
}

/* What has left since the last call. What waits is the tail of all that was queued, so at most that
 * many bytes of this body are in it. A little late while frames wait too, never early, and exact
 * once nothing waits. */
static size_t newly_sent(struct http_conn *conn)
{
    size_t waiting = stream_pending(conn->stream);
    size_t sent = conn->x.body_queued > waiting ? conn->x.body_queued - waiting : 0;
    size_t before = conn->x.body_sent;
    if (sent <= before)
        return 0;
    conn->x.body_sent = sent;
    return sent - before;
}

enum err http_conn_write(struct http_conn *conn, struct slice bytes)
{
    return write_body(conn, bytes, stream_write);
}

enum err http_conn_send(struct http_conn *conn, struct slice bytes, size_t *out_sent)
{
    TRY(write_body(conn, bytes, stream_send));
    *out_sent = conn->x.drops_body ? 0 : newly_sent(conn);
    return ERR_OK;
}

void http1_conn_report_sent(struct http_conn *conn)
{
    size_t sent = newly_sent(conn);
    if (sent > 0 && conn->x.events && conn->x.events->on_sent)
        conn->x.events->on_sent(conn->x.events_ctx, sent);
}

void http1_conn_offer_room(struct http_conn *conn)
{
    if (!conn->x.wants_room || room_left(conn) < conn->shared->limits.out_max_bytes / 2)
        return;
    conn->x.wants_room = false;
    if (conn->x.events && conn->x.events->on_room)
        conn->x.events->on_room(conn->x.events_ctx);
}

/* --- questions, and small words --- */

void http_conn_listen(struct http_conn *conn, const struct http_reply_events *events, void *ctx)
{
    conn->x.events = events;
    conn->x.events_ctx = ctx;
}

bool http_conn_is_begun(const struct http_conn *conn)
{
    return conn->state == HTTP1_REPLY;
}

size_t http_conn_room(const struct http_conn *conn)
{
    if (is_over(conn) || conn->is_broken)
        return 0;
    if (conn->x.drops_body)
        return conn->shared->limits.out_max_bytes;
    return conn->x.minor > 0 ? http1_chunk_room(room_left(conn)) : room_left(conn);
}

struct text http_conn_take_body(struct http_conn *conn)
{
    ASSERT_MSG(conn->running, "only while on_request() runs");
    struct text body = conn->body;
    text_init(&conn->body, 0);
    conn->running->body = (struct slice){0};
    return body;
}

struct loop *http_conn_loop(const struct http_conn *conn)
{
    return conn->shared->loop;
}

const char *http_conn_peer(const struct http_conn *conn)
{
    return stream_peer(conn->stream);
}

void http_conn_set_tag(struct http_conn *conn, struct slice tag)
{
    ASSERT_MSG(tag.len <= UINT8_MAX, "%zu bytes", tag.len);
    mem_free(conn->x.tag);
    conn->x.tag = NULL;
    conn->x.tag_bytes = (uint8_t)tag.len;
    if (tag.len == 0)
        return;
    conn->x.tag = mem_alloc(tag.len);
    memcpy(conn->x.tag, tag.data, tag.len);
}

struct slice http_conn_tag(const struct http_conn *conn)
{
    return slice_of(conn->x.tag, conn->x.tag_bytes);
}

void http_conn_set_mark(struct http_conn *conn, uint32_t mark)
{
    conn->x.mark = mark;
}

uint32_t http_conn_mark(const struct http_conn *conn)
{
    return conn->x.mark;
}
