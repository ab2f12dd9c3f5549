/* server - one listener and its connections: limits, drain, counts. */
#include "http/server.h"

#include "base/mem.h"
#include "http/http1_conn.h"

/* Who comes above connections_max is told so by a 503; of those, at most this many at a time have
 * the luxury of a close that waits until they have read it. The rest is closed at once. */
enum { TURNED_AWAY_MAX = 128 };

struct http_server {
    struct http1_shared shared;
    struct listener *listener; /* NULL: not accepting any more */
    size_t count;              /* of shared.conns */
    size_t turned_away;        /* of these, the ones above connections_max */
    bool is_closing;
    void (*on_drained)(void *ctx);
    void *drained_ctx;
    struct deferred drained;
    struct free_later free_later;
};

struct http_limits http_limits_default(void)
{
    return (struct http_limits){
        .message = {.head_max_bytes = 16 * 1024,
                    .fields_max = HTTP_FIELDS_MAX,
                    .body_max_bytes = 8 * 1024 * 1024},
        .head_ms = 10 * 1000,
        .body_ms = 30 * 1000,
        .idle_ms = 75 * 1000,
        .stall_ms = 30 * 1000,
        .drain_ms = 30 * 1000,
        .out_max_bytes = 256 * 1024,
        .connections_max = 10000,
    };
}

static void release(void *pointer)
{
    struct http_server *server = pointer;
    text_fini(&server->shared.head);
    mem_free(server);
}

/* The last connection has gone: whoever waits for that hears of it, from the loop. */
static void on_none_left(struct http_server *server)
{
    if (server->is_closing)
        loop_free_later(server->shared.loop, &server->free_later, release, server);
    else if (server->on_drained)
        loop_defer(server->shared.loop, &server->drained);
}

static void tell_drained(void *ctx)
{
    struct http_server *server = ctx;
    void (*tell)(void *ctx) = server->on_drained;
    server->on_drained = NULL;
    tell(server->drained_ctx);
}

static void on_conn_closed(void *ctx, struct http_conn *conn)
{
    struct http_server *server = ctx;
    server->count--;
    if (http1_conn_was_turned_away(conn))
        server->turned_away--;
    if (server->count == 0)
        on_none_left(server);
}

static void turn_away(struct http_server *server, struct http_conn *conn)
{
    server->shared.stats.over_limit++;
    server->turned_away++;
    http1_conn_turn_away(conn, 503, "too many connections", SLICE("Retry-After: 1\r\n"));
    if (server->turned_away > TURNED_AWAY_MAX)
        http1_conn_close(conn, ERR_LIMIT);
}

static void on_accept(void *ctx, struct stream *stream)
{
    struct http_server *server = ctx;
    bool is_full = server->count - server->turned_away >= server->shared.limits.connections_max;
    server->count++;
    server->shared.stats.accepted++;
    struct http_conn *conn = http1_conn_open(&server->shared, stream);
    if (is_full)
        turn_away(server, conn);
}

/* The cap on streamed output is kept by the connection, which knows what a whole reply is. */
static const struct stream_options stream_options = {.out_max_bytes = SIZE_MAX};

static struct http_server *server_new(struct loop *loop, const struct http_limits *limits,
                                      const struct http_handler *handler)
{
    struct http_server *server = mem_alloc(sizeof *server);
    server->shared = (struct http1_shared){
        .loop = loop,
        .limits = *limits,
        .handler = *handler,
        .on_closed = on_conn_closed,
        .ctx = server,
    };
    text_init(&server->shared.head, HTTP1_SERVER_TEXT_MAX_BYTES);
    list_init(&server->shared.conns);
    deferred_init(&server->drained, tell_drained, server);
    return server;
}

enum err http_server_open(struct loop *loop, const struct net_address *address,
                          const struct http_limits *limits, const struct http_handler *handler,
                          struct http_server **out_server, struct err_note *out_note)
{
    struct http_server *server = server_new(loop, limits, handler);
    enum err err = listener_open(loop, address, &stream_options, on_accept, server,
                                 &server->listener, out_note);
    if (err == ERR_OK)
        *out_server = server;
    else
        release(server);
    return err;
}

enum err http_server_adopt(struct loop *loop, int fd, const struct http_limits *limits,
                           const struct http_handler *handler, struct http_server **out_server,
                           struct err_note *out_note)
{
    struct http_server *server = server_new(loop, limits, handler);
    enum err err =
        listener_adopt(loop, fd, &stream_options, on_accept, server, &server->listener, out_note);
    if (err == ERR_OK)
        *out_server = server;
    else
        release(server);
    return err;
}

static void stop_accepting(struct http_server *server)
{
    if (server->listener)
        listener_close(&server->listener); /* those already connected still come to on_accept() */
}

void http_server_drain(struct http_server *server, void (*on_drained)(void *ctx), void *ctx)
{
    ASSERT_MSG(!server->shared.is_draining, "it is draining already");
    server->on_drained = on_drained;
    server->drained_ctx = ctx;
    server->shared.is_draining = true;
    stop_accepting(server);
    LIST_FOREACH (link, &server->shared.conns) /* entries leave it from the loop only */
        http1_conn_drain(http1_conn_of(link));
    if (server->count == 0)
        on_none_left(server);
}

void http_server_close(struct http_server **server_taken)
{
    struct http_server *server = *server_taken;
    *server_taken = NULL;
    if (!server)
        return;
    ASSERT(!server->is_closing);
    server->shared.is_draining = true; /* what listener_close() still brings goes at once, too */
    stop_accepting(server);
    deferred_cancel(&server->drained);
    server->is_closing = true;
    LIST_FOREACH (link, &server->shared.conns)
        http1_conn_close(http1_conn_of(link), ERR_CANCELLED);
    if (server->count == 0)
        on_none_left(server);
}

size_t http_server_connections(const struct http_server *server)
{
    return server->count;
}

struct http_server_stats http_server_stats(const struct http_server *server)
{
    return server->shared.stats;
}
