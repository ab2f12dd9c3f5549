/* http server - listens on one address with one loop, and gives whole requests to a handler.
 *
 * One http_server per loop thread; several on the same address share it by SO_REUSEPORT. */
#pragma once

#include "http/http1_parser.h"
#include "net/listener.h"

struct http_conn; /* one exchange's view of its connection; see below */
struct http_server;

/* Durations in milliseconds, 0 = never; sizes in bytes. Defaults: spec section 8. */
struct http_limits {
    struct http1_limits message;
    uint32_t head_ms;         /* first byte of a request (or accept) to its whole head: else 408 */
    uint32_t body_ms;         /* head to whole body: else 408 */
    uint32_t idle_ms;         /* keep-alive connection without a request: closed silently */
    uint32_t stall_ms;        /* client reads nothing of a reply that waits: closed */
    uint32_t drain_ms;        /* after the last byte: wait this long for the client's FIN */
    size_t out_max_bytes;     /* queued output per connection */
    uint32_t connections_max; /* of this server: above, 503 and closed at once */
};
struct http_limits http_limits_default(void);

/* What a handler answers to a head. */
enum http_head_verdict {
    HTTP_HEAD_CONTINUE, /* read the body (100-continue is sent if it was asked for) */
    HTTP_HEAD_REPLIED, /* http_conn_reply*() was called: the body is not read, the connection closes
                          after the reply unless there is no body */
};

struct http_handler {
    void *ctx;
    /* Called once the head is whole; may refuse early (wrong path, 413, 421, 401 ...). NULL: always
     * CONTINUE. The request's body is empty here. */
    enum http_head_verdict (*on_head)(void *ctx, struct http_conn *conn,
                                      const struct http_request *request);
    /* Head and body are whole. Reply now or later. */
    void (*on_request)(void *ctx, struct http_conn *conn, const struct http_request *request);
    /* A malformed request is answered by the server itself; this makes the body of that answer
     * (the surface's error JSON: it goes as application/json). NULL: an empty body. */
    void (*error_body)(void *ctx, int status, const char *sentence, struct text *out_body);
    /* The fields every reply carries (CORS ...), appended as whole lines "Name: value\r\n". NULL:
     * none. */
    void (*common_fields)(void *ctx, struct http_conn *conn, struct text *out_lines);
    /* The head of an answer is on its way, the handler's or the server's own; once for each. For
     * counting only: it must not answer. NULL: nobody counts. */
    void (*on_answer)(void *ctx, struct http_conn *conn, int status);
};

/* `limits` and `handler` are copied. ERR_*: from the listener, with its note. */
MUST_USE enum err http_server_open(struct loop *loop, const struct net_address *address,
                                   const struct http_limits *limits,
                                   const struct http_handler *handler,
                                   struct http_server **out_server, struct err_note *out_note);
/* The same on a socket that listens already (net_listen()); `fd` is taken on success. ERR_*: from
 * listener_adopt(), with its note. */
MUST_USE enum err http_server_adopt(struct loop *loop, int fd, const struct http_limits *limits,
                                    const struct http_handler *handler,
                                    struct http_server **out_server, struct err_note *out_note);
/* Stop accepting; idle connections close; those with a reply in progress close after it
 * (Connection: close). on_drained() comes once, when none is left. */
void http_server_drain(struct http_server *server, void (*on_drained)(void *ctx), void *ctx);
/* Closes every connection now (their on_gone is called), then frees at the end of the turn. */
void http_server_close(struct http_server **server);
size_t http_server_connections(const struct http_server *server);

struct http_server_stats {
    uint64_t accepted, requests, refused /* malformed */, timeouts, stalled, over_limit;
};
struct http_server_stats http_server_stats(const struct http_server *server);

/* --- the reply, from inside on_head/on_request or any time until on_gone --- */

struct http_reply_events {
    /* The client is gone, or the connection is closed for another reason, before http_conn_end().
     * Once; `conn` must not be used after it. ERR_CLOSED: hung up (also a FIN while a reply is
     * pending, as in nginx and Go); ERR_TIMEOUT: stalled; ERR_CANCELLED: server close. Whoever
     * listens from on_head() on also hears of a body that is not worth waiting for: ERR_PROTOCOL,
     * ERR_LIMIT, ERR_TIMEOUT (the server answers those itself). */
    void (*on_gone)(void *ctx, enum err why);
    /* Half of out_max_bytes is free again, after an ERR_FULL or writes that left less than half of
     * it. May be NULL. */
    void (*on_room)(void *ctx);
    /* `bytes` of this reply's body have left user space (framing not counted). May be NULL. */
    void (*on_sent)(void *ctx, size_t bytes);
};
/* Who wants to hear. Without it, a hang-up is handled silently. `events` must stay valid. */
void http_conn_listen(struct http_conn *conn, const struct http_reply_events *events, void *ctx);

/* Whole answer at once: status line, Date, Connection, Content-Length, `fields` (lines
 * "Name: value\r\n", may be empty), body, and the end. Nothing may follow. Body is left out for
 * HEAD, 204, 304. It is copied whatever out_max_bytes says (that caps streams); the next request of
 * this client waits until at most half of that is left to send. Here and in http_conn_begin():
 * Connection, Content-Length, Transfer-Encoding and Date are the server's own; `fields` with one of
 * them, or that are not whole lines, are our bug (ASSERT). */
void http_conn_reply(struct http_conn *conn, int status, struct slice content_type,
                     struct slice fields, struct slice body);

/* Streaming: head, then any number of writes, then the end. Chunked on 1.1, until-close on 1.0. */
void http_conn_begin(struct http_conn *conn, int status, struct slice content_type,
                     struct slice fields);
/* Copies as one chunk, all or nothing. ERR_FULL: out_max_bytes; on_room() follows. ERR_LIMIT: more
 * than out_max_bytes at once, it would never fit. ERR_CLOSED: on_gone() follows, or has come. */
MUST_USE enum err http_conn_write(struct http_conn *conn, struct slice bytes);
/* The same for what was gathered already, the last write of its turn: it is offered to the kernel
 * at once if nothing waits. *out_sent: how much of the body has left by now and was not told of,
 * which on_sent() will not tell again. */
MUST_USE enum err http_conn_send(struct http_conn *conn, struct slice bytes, size_t *out_sent);
/* The last chunk; keep-alive goes on when allowed. `conn` must not be used after it. */
void http_conn_end(struct http_conn *conn);
/* Breaks the connection off by RST, without a proper end: only for what can't be ended (never a
 * stream that could still get its terminator). As with http_conn_end(), `conn` must not be used
 * after it, and no on_gone() comes. */
void http_conn_break(struct http_conn *conn);

bool http_conn_is_begun(const struct http_conn *conn); /* the head of the reply is out */
size_t http_conn_room(const struct http_conn *conn);   /* bytes http_conn_write() would take now */
/* The body of the request whose on_request is running, taken over (then empty there): for parsing
 * on the pool. The bytes are released with text_fini(). */
struct text http_conn_take_body(struct http_conn *conn);
struct loop *http_conn_loop(const struct http_conn *conn);
const char *http_conn_peer(const struct http_conn *conn);
/* Per-connection word for common_fields (the CORS answer of this request): up to 255 bytes, reset
 * with each request. */
void http_conn_set_tag(struct http_conn *conn, struct slice tag);
struct slice http_conn_tag(const struct http_conn *conn);
/* Per-connection number for on_answer: 0 until it is set, and again with each request. */
void http_conn_set_mark(struct http_conn *conn, uint32_t mark);
uint32_t http_conn_mark(const struct http_conn *conn);
