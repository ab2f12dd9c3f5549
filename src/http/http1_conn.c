/* http1_conn - the machine: states, deadlines, turns, and the ways out. What is read is in
 * http1_request.c, what is said in http1_reply.c. */
#include "http/http1_conn_impl.h"

#include "base/mem.h"

#define NEVER UINT64_MAX

/* --- states --- */

#define TO(state) (1u << HTTP1_##state)
static const uint8_t allowed[HTTP1_STATE_COUNT] = {
    /* REPLY from HEAD: on_head() answered; from BODY: the handler does not wait for the rest. */
    [HTTP1_HEAD] = TO(BODY) | TO(WAIT) | TO(REPLY) | TO(DRAIN) | TO(CLOSED),
    [HTTP1_BODY] = TO(WAIT) | TO(REPLY) | TO(DRAIN) | TO(CLOSED),
    [HTTP1_WAIT] = TO(REPLY) | TO(DRAIN) | TO(CLOSED),
    [HTTP1_REPLY] = TO(FLUSH) | TO(DRAIN) | TO(CLOSED),
    [HTTP1_FLUSH] = TO(HEAD) | TO(IDLE) | TO(DRAIN) | TO(CLOSED),
    [HTTP1_IDLE] = TO(HEAD) | TO(CLOSED),
    [HTTP1_DRAIN] = TO(CLOSED),
    [HTTP1_CLOSED] = 0,
};

const char *http1_state_name(enum http1_state state)
{
    static const char *const names[HTTP1_STATE_COUNT] = {
        [HTTP1_HEAD] = "HEAD",   [HTTP1_BODY] = "BODY",     [HTTP1_WAIT] = "WAIT",
        [HTTP1_REPLY] = "REPLY", [HTTP1_FLUSH] = "FLUSH",   [HTTP1_IDLE] = "IDLE",
        [HTTP1_DRAIN] = "DRAIN", [HTTP1_CLOSED] = "CLOSED",
    };
    return (unsigned)state < HTTP1_STATE_COUNT ? names[state] : "?";
}

static uint64_t now_us(const struct http_conn *conn)
{
    return loop_now_us(conn->shared->loop);
}

static uint64_t end_after(uint64_t since_us, uint32_t ms)
{
    return ms ? since_us + (uint64_t)ms * 1000 : NEVER;
}

static uint64_t state_end_us(const struct http_conn *conn)
{
    const struct http_limits *limits = &conn->shared->limits;
    switch (conn->state) {
    case HTTP1_HEAD:
        return end_after(now_us(conn), limits->head_ms);
    case HTTP1_BODY:
        return end_after(now_us(conn), limits->body_ms);
    case HTTP1_IDLE:
        return end_after(now_us(conn), limits->idle_ms);
    default:
        return NEVER; /* DRAIN's clock starts in linger() */
    }
}

static uint64_t stall_end_us(const struct http_conn *conn)
{
    if (stream_pending(conn->stream) == 0)
        return NEVER;
    return end_after(stream_progress_us(conn->stream), conn->shared->limits.stall_ms);
}

/* Progress only moves the stall's end away, so what is armed is never too late; on_deadline()
 * looks again. */
void http1_conn_arm_deadline(struct http_conn *conn)
{
    uint64_t at_us = NEVER;
    if (conn->state != HTTP1_CLOSED) {
        uint64_t stall_us = stall_end_us(conn);
        at_us = stall_us < conn->state_ends_us ? stall_us : conn->state_ends_us;
    }
    if (at_us == NEVER)
        deadline_clear(&conn->deadline);
    else
        deadline_at(&conn->deadline, at_us);
}

/* The only writer of conn->state. */
void http1_conn_set_state(struct http_conn *conn, enum http1_state next)
{
    ASSERT_MSG(allowed[conn->state] & (1u << next), "%s to %s", http1_state_name(conn->state),
               http1_state_name(next));
    conn->state = next;
    conn->state_ends_us = state_end_us(conn);
    http1_conn_arm_deadline(conn);
}

/* --- what a request holds --- */

void http1_conn_forget_exchange(struct http_conn *conn)
{
    mem_free(conn->x.tag);
    conn->x = (struct http1_exchange){0};
}

/* The connection ends after this reply at the latest: no use for more bytes (rule 1). */
static bool discards_input(const struct http_conn *conn)
{
    switch (conn->state) {
    case HTTP1_DRAIN:
    case HTTP1_CLOSED:
        return true;
    case HTTP1_WAIT:
    case HTTP1_REPLY:
        return conn->x.is_last;
    default:
        return false;
    }
}

/* The handler has had the request: its bytes go, those of the next one stay. Nothing happens while
 * a callback may still look at them; it is called again after that. */
void http1_conn_release_request(struct http_conn *conn)
{
    if (conn->running)
        return;
    if (discards_input(conn))
        http1_input_fini(&conn->input);
    else
        http1_input_consume(&conn->input, conn->request_bytes);
    conn->head_bytes = conn->request_bytes = 0;
    text_fini(&conn->body);
}

/* --- the ways out --- */

static void detach_handler(struct http_conn *conn, enum err why)
{
    const struct http_reply_events *events = conn->x.events;
    void *ctx = conn->x.events_ctx;
    http1_conn_forget_exchange(conn);
    if (events)
        events->on_gone(ctx, why);
}

static void enter_closed(struct http_conn *conn, enum err why)
{
    http1_conn_set_state(conn, HTTP1_CLOSED);
    deferred_cancel(&conn->serve);
    http1_conn_release_request(conn);
    detach_handler(conn, why);
}

void http1_conn_close(struct http_conn *conn, enum err why)
{
    if (conn->state == HTTP1_CLOSED)
        return;
    stream_close(conn->stream);
    enter_closed(conn, why);
}

void http1_conn_abort(struct http_conn *conn, enum err why)
{
    if (conn->state == HTTP1_CLOSED)
        return;
    stream_abort(conn->stream);
    enter_closed(conn, why);
}

/* DRAIN: once the last byte has left, the client has drain_ms to read it and say FIN. */
static void linger(struct http_conn *conn)
{
    if (stream_pending(conn->stream) > 0)
        return;
    if (conn->peer_eof) {
        http1_conn_close(conn, ERR_CLOSED);
        return;
    }
    if (conn->state_ends_us == NEVER) {
        conn->state_ends_us = end_after(now_us(conn), conn->shared->limits.drain_ms);
        http1_conn_arm_deadline(conn);
    }
}

void http1_conn_enter_drain(struct http_conn *conn, enum err why)
{
    http1_conn_set_state(conn, HTTP1_DRAIN);
    http1_conn_release_request(conn);
    stream_shutdown(conn->stream);
    detach_handler(conn, why);
    if (conn->state == HTTP1_DRAIN) /* on_gone() may have closed the server */
        linger(conn);
}

static void refuse(struct http_conn *conn, int status, const char *sentence, struct slice fields,
                   enum err why)
{
    const struct http_handler *handler = &conn->shared->handler;
    struct text body;
    text_init(&body, HTTP1_SERVER_TEXT_MAX_BYTES);
    if (handler->error_body)
        handler->error_body(handler->ctx, status, sentence, &body);
    if (conn->state != HTTP1_CLOSED) {
        http1_conn_queue_error(conn, status, fields, text_slice(&body));
        http1_conn_enter_drain(conn, why);
    }
    text_fini(&body);
}

void http1_conn_refuse_malformed(struct http_conn *conn, enum http1_refusal refusal)
{
    conn->shared->stats.refused++;
    refuse(conn, http1_refusal_status(refusal), http1_refusal_sentence(refusal), (struct slice){0},
           ERR_PROTOCOL);
}

void http1_conn_out_of_memory(struct http_conn *conn)
{
    if (conn->state == HTTP1_HEAD || conn->state == HTTP1_BODY)
        refuse(conn, 503, "no memory for the request", (struct slice){0}, ERR_LIMIT);
    else
        http1_conn_abort(conn, ERR_CLOSED);
}

/* --- serving: as far as the bytes at hand allow --- */

static bool next_request(struct http_conn *conn)
{
    size_t waiting = stream_pending(conn->stream);
    if (conn->input.len > 0 && waiting <= conn->shared->limits.out_max_bytes / 2) {
        http1_conn_set_state(conn, HTTP1_HEAD);
        return true;
    }
    if (conn->input.len == 0 && waiting == 0)
        http1_conn_set_state(conn, HTTP1_IDLE);
    return false;
}

/* False when there is nothing to do before the next event. */
static bool step(struct http_conn *conn)
{
    switch (conn->state) {
    case HTTP1_HEAD:
        return http1_conn_read_head(conn);
    case HTTP1_BODY:
        return http1_conn_read_body(conn);
    case HTTP1_FLUSH:
        return next_request(conn);
    default:
        return false;
    }
}

/* Nothing more will come. Whoever half-closes still gets what was answered at once; a reply that
 * is pending is nobody's any more. */
static void on_hang_up(struct http_conn *conn)
{
    switch (conn->state) {
    case HTTP1_HEAD:
    case HTTP1_BODY:
    case HTTP1_WAIT:
    case HTTP1_REPLY:
        http1_conn_enter_drain(conn, ERR_CLOSED);
        break;
    case HTTP1_IDLE:
        http1_conn_close(conn, ERR_CLOSED);
        break;
    case HTTP1_DRAIN:
        linger(conn);
        break;
    default:
        break; /* FLUSH: once it has left, IDLE or HEAD come here */
    }
}

static void serve(void *ctx)
{
    struct http_conn *conn = ctx;
    if (conn->is_broken) {
        http1_conn_abort(conn, ERR_CLOSED);
        return;
    }
    http1_conn_report_sent(conn);
    uint32_t first = conn->requests;
    bool has_more = true;
    while (has_more && conn->requests - first < HTTP1_REQUESTS_PER_TURN)
        has_more = step(conn);
    if (conn->state == HTTP1_CLOSED)
        return;
    if (has_more)
        loop_defer(conn->shared->loop, &conn->serve);
    else if (conn->peer_eof)
        on_hang_up(conn);
}

/* --- what the stream says --- */

static void discard(struct http_conn *conn, size_t bytes)
{
    conn->discarded += bytes;
    if (conn->discarded > HTTP1_DISCARD_MAX_BYTES)
        http1_conn_abort(conn, ERR_CLOSED);
}

/* Appends what fits; the rest is left in *bytes. False when the connection could not take it. */
static bool keep_some(struct http_conn *conn, struct slice *bytes)
{
    size_t max_bytes = conn->shared->limits.message.head_max_bytes + HTTP1_READ_MAX_BYTES;
    struct slice part = slice_first(*bytes, max_bytes - conn->input.len);
    if (part.len == 0) {
        http1_conn_abort(conn, ERR_CLOSED); /* rule 1 */
        return false;
    }
    if (conn->state == HTTP1_IDLE)
        http1_conn_set_state(conn, HTTP1_HEAD);
    if (http1_input_append(&conn->input, part, max_bytes) != ERR_OK) {
        http1_conn_out_of_memory(conn);
        return false;
    }
    *bytes = slice_after(*bytes, part.len);
    return true;
}

static void on_read(void *ctx, struct slice bytes)
{
    struct http_conn *conn = ctx;
    while (!discards_input(conn)) {
        if (!keep_some(conn, &bytes))
            return;
        if (bytes.len == 0) {
            loop_defer(conn->shared->loop, &conn->serve);
            return;
        }
        serve(conn); /* rule 3: reading cannot stop, so the fairness gives way */
    }
    discard(conn, bytes.len);
}

static void on_eof(void *ctx)
{
    struct http_conn *conn = ctx;
    conn->peer_eof = true;
    loop_defer(conn->shared->loop, &conn->serve); /* behind the bytes that came before it */
}

static void on_stream_room(void *ctx)
{
    (void)ctx; /* a write that the stream refused was for memory, and has broken the connection */
}

static void on_sent(void *ctx, size_t bytes)
{
    (void)bytes; /* stream_pending() says it better */
    struct http_conn *conn = ctx;
    http1_conn_report_sent(conn);
    http1_conn_offer_room(conn);
    if (conn->state == HTTP1_DRAIN) {
        linger(conn);
    } else if (conn->state == HTTP1_FLUSH) {
        if (next_request(conn) || conn->peer_eof)
            loop_defer(conn->shared->loop, &conn->serve);
    }
}

static void release(void *pointer)
{
    struct http_conn *conn = pointer;
    mem_free(conn);
}

static void on_closed(void *ctx, enum err why)
{
    (void)why; /* reset or worse: the handler hears that the client is gone */
    struct http_conn *conn = ctx;
    if (conn->state != HTTP1_CLOSED)
        enter_closed(conn, ERR_CLOSED);
    list_remove(&conn->link);
    conn->shared->on_closed(conn->shared->ctx, conn);
    loop_free_later(conn->shared->loop, &conn->free_later, release, conn);
}

/* --- time --- */

static void on_expired(struct http_conn *conn)
{
    switch (conn->state) {
    case HTTP1_HEAD:
        conn->shared->stats.timeouts++;
        refuse(conn, 408, "the request head took too long", (struct slice){0}, ERR_TIMEOUT);
        break;
    case HTTP1_BODY:
        conn->shared->stats.timeouts++;
        refuse(conn, 408, "the request body took too long", (struct slice){0}, ERR_TIMEOUT);
        break;
    default: /* IDLE and DRAIN: nobody waits for an answer */
        http1_conn_close(conn, ERR_TIMEOUT);
        break;
    }
}

static void on_deadline(void *ctx)
{
    struct http_conn *conn = ctx;
    if (list_is_linked(&conn->serve.link)) { /* what came in this very turn is in time */
        deferred_cancel(&conn->serve);
        serve(conn);
    }
    if (conn->state == HTTP1_CLOSED)
        return;
    if (stall_end_us(conn) <= now_us(conn)) {
        conn->shared->stats.stalled++;
        http1_conn_abort(conn, ERR_TIMEOUT);
    } else if (conn->state_ends_us <= now_us(conn)) {
        on_expired(conn);
    } else {
        http1_conn_arm_deadline(conn);
    }
}

/* --- life --- */

struct http_conn *http1_conn_open(struct http1_shared *shared, struct stream *stream)
{
    static const struct stream_events events = {
        .on_read = on_read,
        .on_eof = on_eof,
        .on_room = on_stream_room,
        .on_sent = on_sent,
        .on_closed = on_closed,
    };
    struct http_conn *conn = mem_alloc(sizeof *conn);
    conn->shared = shared;
    conn->stream = stream;
    list_push_back(&shared->conns, &conn->link);
    deadline_init(&conn->deadline, shared->loop, on_deadline, conn);
    deferred_init(&conn->serve, serve, conn);
    http1_head_init(&conn->head_parser);
    conn->state = HTTP1_HEAD;
    conn->state_ends_us = state_end_us(conn);
    http1_conn_arm_deadline(conn);
    stream_start(stream, &events, conn);
    return conn;
}

void http1_conn_turn_away(struct http_conn *conn, int status, const char *sentence,
                          struct slice fields)
{
    conn->was_turned_away = true;
    refuse(conn, status, sentence, fields, ERR_LIMIT);
}

bool http1_conn_was_turned_away(const struct http_conn *conn)
{
    return conn->was_turned_away;
}

void http1_conn_drain(struct http_conn *conn)
{
    switch (conn->state) {
    case HTTP1_IDLE:
        http1_conn_close(conn, ERR_CANCELLED);
        break;
    case HTTP1_FLUSH:
        http1_conn_enter_drain(conn, ERR_CANCELLED);
        break;
    default: /* a request that has begun gets its answer */
        conn->x.is_last = true;
        break;
    }
}

struct http_conn *http1_conn_of(struct list *link)
{
    return CONTAINER_OF(link, struct http_conn, link);
}
