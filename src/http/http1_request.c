/* http1_request - the request side of a connection: heads and bodies out of the input, and the
 * calls of the handler. */
#include "http/http1_conn_impl.h"

static void run_request(struct http_conn *conn, struct http_request *request)
{
    const struct http_handler *handler = &conn->shared->handler;
    http1_conn_set_state(conn, HTTP1_WAIT);
    conn->running = request;
    handler->on_request(handler->ctx, conn, request);
    conn->running = NULL;
    http1_conn_release_request(conn);
}

static bool head_is_accepted(struct http_conn *conn, struct http_request *request)
{
    const struct http_handler *handler = &conn->shared->handler;
    if (!handler->on_head)
        return true;
    conn->running = request;
    enum http_head_verdict verdict = handler->on_head(handler->ctx, conn, request);
    conn->running = NULL;
    if (conn->state == HTTP1_HEAD) {
        ASSERT_MSG(verdict == HTTP_HEAD_CONTINUE, "on_head() said REPLIED and did not");
        return true;
    }
    ASSERT_MSG(verdict == HTTP_HEAD_REPLIED || conn->state == HTTP1_CLOSED,
               "on_head() replied and said CONTINUE");
    http1_conn_release_request(conn);
    return false;
}

static void open_exchange(struct http_conn *conn, const struct http_request *request)
{
    conn->requests++;
    conn->shared->stats.requests++;
    conn->request_bytes = conn->head_bytes;
    conn->x = (struct http1_exchange){
        .minor = request->minor,
        .is_head = request->method == HTTP_HEAD,
        .has_body = request->chunked || (request->has_length && request->content_length > 0),
        .is_last = !request->keep_alive || conn->shared->is_draining,
    };
}

static void begin_body(struct http_conn *conn, const struct http_request *request)
{
    const struct http1_limits *limits = &conn->shared->limits.message;
    enum http1_refusal refusal;
    if (http1_body_init(&conn->body_parser, request, limits, &refusal) != ERR_OK) {
        http1_conn_refuse_malformed(conn, refusal);
        return;
    }
    /* RFC 9110 10.1.1: needless once the body is coming. (Of a client of 1.0, the parser ignores
     * the wish.) */
    if (request->expect_continue && conn->input.len == conn->head_bytes)
        http1_conn_queue(conn, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
    text_init(&conn->body, limits->body_max_bytes);
    http1_conn_set_state(conn, HTTP1_BODY);
}

bool http1_conn_read_head(struct http_conn *conn)
{
    struct http_field fields[HTTP_FIELDS_MAX];
    struct http_request request;
    enum http1_refusal refusal;
    if (conn->input.len == 0)
        return false;
    enum err err = http1_head_parse(&conn->head_parser, http1_input_bytes(&conn->input),
                                    &conn->shared->limits.message, fields, &request,
                                    &conn->head_bytes, &refusal);
    if (err == ERR_AGAIN)
        return false;
    if (err != ERR_OK) {
        http1_conn_refuse_malformed(conn, refusal);
        return false;
    }
    open_exchange(conn, &request);
    if (!head_is_accepted(conn, &request))
        return true;
    if (conn->x.has_body)
        begin_body(conn, &request);
    else
        run_request(conn, &request);
    return true;
}

/* The head is parsed again (rule 5), which cannot fail: the same bytes were fine before. */
static void on_body_whole(struct http_conn *conn)
{
    struct http_field fields[HTTP_FIELDS_MAX];
    struct http_request request;
    struct http1_head_parser parser;
    size_t head_bytes;
    enum http1_refusal refusal;
    http1_head_init(&parser);
    enum err err =
        http1_head_parse(&parser, slice_first(http1_input_bytes(&conn->input), conn->head_bytes),
                         &conn->shared->limits.message, fields, &request, &head_bytes, &refusal);
    ASSERT_MSG(err == ERR_OK && head_bytes == conn->head_bytes, "%s", err_name(err));
    request.body = text_slice(&conn->body);
    run_request(conn, &request);
}

bool http1_conn_read_body(struct http_conn *conn)
{
    enum err err = ERR_AGAIN;
    size_t at = conn->head_bytes;
    while (err == ERR_AGAIN && at < conn->input.len) {
        struct slice rest = slice_after(http1_input_bytes(&conn->input), at), data;
        size_t consumed;
        enum http1_refusal refusal;
        err = http1_body_parse(&conn->body_parser, rest, &consumed, &data, &refusal);
        if (err != ERR_OK && err != ERR_AGAIN) {
            http1_conn_refuse_malformed(conn, refusal);
            return false;
        }
        at += consumed;
        text_add(&conn->body, data);
    }
    if (text_status(&conn->body) != ERR_OK) { /* the parser keeps the limit: this is memory */
        http1_conn_out_of_memory(conn);
        return false;
    }
    if (err == ERR_AGAIN) {
        http1_input_truncate(&conn->input, conn->head_bytes);
        return false;
    }
    conn->request_bytes = at;
    on_body_whole(conn);
    return true;
}
