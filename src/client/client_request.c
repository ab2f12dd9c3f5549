/* client_request - one exchange. The picture and the rules are in client_request.h. */
#include "client/client_request.h"

#include "base/mem.h"
#include "http/http_bytes.h"

struct client_request {
    struct loop *loop;
    const struct client_events *events;
    void *ctx;
    enum client_state state;     /* set_state() writes it */
    struct net_attempt *attempt; /* while CONNECT */
    struct stream *stream;
    struct text request; /* what is to be sent; gone when the stream has it */
    bool to_head;
    uint64_t connect_us, head_us, idle_us, end_us;
    size_t event_max_bytes;
    struct http1_limits limits;

    struct text head; /* of the response, as far as it came; gone in BODY */
    struct http1_response_parser parser;
    int interim_count;
    struct http1_response_body body;
    struct sse_decoder *decoder; /* the body is an event stream that somebody wants */

    struct deadline deadline; /* of the state */
    struct deadline total;
    struct deferred report; /* when no stream's end brings us back from the loop */
    struct free_later slot;
    struct client_result result;
};

const char *client_state_name(enum client_state state)
{
    static const char *const names[CLIENT_STATE_COUNT] = {"CONNECT", "HEAD", "BODY", "END", "DONE"};
    return (unsigned)state < CLIENT_STATE_COUNT ? names[state] : "?";
}

enum client_state client_request_state(const struct client_request *request)
{
    return request->state;
}

/* --- the state, its deadline, and the end --- */

#define TO(state) (1u << CLIENT_##state)
static const uint8_t allowed[CLIENT_STATE_COUNT] = {
    [CLIENT_CONNECT] = TO(HEAD) | TO(DONE),
    [CLIENT_HEAD] = TO(BODY) | TO(DONE),
    [CLIENT_BODY] = TO(END) | TO(DONE),
    [CLIENT_END] = TO(DONE),
    [CLIENT_DONE] = 0,
};

static void arm(struct client_request *request)
{
    const uint64_t after_us[CLIENT_STATE_COUNT] = {[CLIENT_CONNECT] = request->connect_us,
                                                   [CLIENT_HEAD] = request->head_us,
                                                   [CLIENT_BODY] = request->idle_us,
                                                   [CLIENT_END] = request->end_us};
    deadline_clear(&request->deadline);
    if (after_us[request->state] > 0)
        deadline_after(&request->deadline, after_us[request->state]);
}

static void set_state(struct client_request *request, enum client_state next)
{
    ASSERT_MSG(allowed[request->state] & (1u << next), "%s to %s",
               client_state_name(request->state), client_state_name(next));
    request->state = next;
    arm(request);
}

static void release(void *pointer)
{
    struct client_request *request = pointer;
    sse_decoder_free(request->decoder);
    text_fini(&request->head);
    text_fini(&request->request);
    mem_free(request);
}

/* Nothing of net/ knows us any more (rule 1). */
static void report(void *ctx)
{
    struct client_request *request = ctx;
    request->events->on_done(request->ctx, &request->result);
    loop_free_later(request->loop, &request->slot, release, request);
}

/* Into DONE, from wherever; the report follows from the loop. */
static void finish(struct client_request *request, enum err err)
{
    if (request->state == CLIENT_DONE)
        return;
    request->result.err = err;
    request->result.at = request->state;
    deadline_clear(&request->total);
    set_state(request, CLIENT_DONE);
    if (request->attempt)
        net_connect_cancel(&request->attempt);
    if (request->stream)
        stream_close(request->stream); /* on_closed() reports */
    else
        loop_defer(request->loop, &request->report);
}

static void refuse(struct client_request *request, enum response_refusal refusal)
{
    request->result.refusal = refusal;
    finish(request, response_refusal_err(refusal));
}

void client_request_cancel(struct client_request *request)
{
    finish(request, ERR_CANCELLED);
}

/* A whole answer stays one, even when the peer forgets to hang up behind it. */
static void on_deadline(void *ctx)
{
    struct client_request *request = ctx;
    finish(request, request->state == CLIENT_END ? ERR_OK : ERR_TIMEOUT);
}

/* --- the response --- */

static bool is_event_stream(const struct http1_response *response)
{
    struct slice type, parameters;
    (void)slice_cut(http1_response_field(response, "Content-Type"), ';', &type, &parameters);
    return response->status == 200 && slice_eq_ci(slice_trim(type), SLICE("text/event-stream"));
}

static void on_body_whole(struct client_request *request)
{
    set_state(request, CLIENT_END);
    if (request->end_us == 0)
        finish(request, ERR_OK);
}

static void begin_body(struct client_request *request, const struct http1_response *response)
{
    enum response_refusal refusal;
    request->result.status = response->status;
    if (http1_response_body_init(&request->body, response, &request->limits, &refusal) != ERR_OK) {
        refuse(request, refusal);
        return;
    }
    if (request->events->on_event && is_event_stream(response) &&
        sse_decoder_new(request->event_max_bytes, &request->decoder) != ERR_OK) {
        finish(request, ERR_LIMIT);
        return;
    }
    set_state(request, CLIENT_BODY);
    if (request->events->on_head)
        request->events->on_head(request->ctx, response);
}

static void on_response_head(struct client_request *request, const struct http1_response *response)
{
    if (!http1_response_is_interim(response)) {
        begin_body(request, response);
        text_fini(&request->head);
        return;
    }
    if (++request->interim_count > CLIENT_INTERIM_MAX) {
        refuse(request, RESPONSE_INTERIM_TOO_MANY);
        return;
    }
    http1_response_init(&request->parser, request->to_head);
    text_clear(&request->head);
}

/* Returns what belongs behind the head; never looks at more than may be kept (rule 2). */
static struct slice take_head(struct client_request *request, struct slice bytes)
{
    struct http_field fields[HTTP_FIELDS_MAX];
    struct http1_response response;
    enum response_refusal refusal;
    size_t head_bytes, before = request->head.len;
    struct slice piece = slice_first(bytes, request->limits.head_max_bytes - before);
    text_add(&request->head, piece);
    if (request->head.overflowed) {
        finish(request, ERR_LIMIT);
        return (struct slice){0};
    }
    switch (http1_response_parse(&request->parser, text_slice(&request->head), &request->limits,
                                 fields, &response, &head_bytes, &refusal)) {
    case ERR_OK:
        on_response_head(request, &response);
        return slice_after(bytes, head_bytes - before);
    case ERR_AGAIN:
        return slice_after(bytes, piece.len);
    default:
        refuse(request, refusal);
        return (struct slice){0};
    }
}

/* The decoder goes on to the end of its input, also when the owner cancelled at an event. */
static void on_event(void *ctx, const struct sse_event *event)
{
    struct client_request *request = ctx;
    if (request->state != CLIENT_DONE)
        request->events->on_event(request->ctx, event);
}

static void hand_on(struct client_request *request, struct slice data)
{
    request->result.body_bytes += data.len;
    if (request->decoder) {
        if (sse_decoder_feed(request->decoder, data, on_event, request) != ERR_OK)
            finish(request, ERR_LIMIT);
    } else if (request->events->on_body) {
        request->events->on_body(request->ctx, data);
    }
}

static struct slice take_body(struct client_request *request, struct slice bytes)
{
    enum response_refusal refusal;
    struct slice data;
    size_t consumed;
    enum err err = http1_response_body_parse(&request->body, bytes, &consumed, &data, &refusal);
    if (err != ERR_OK && err != ERR_AGAIN) {
        refuse(request, refusal);
        return (struct slice){0};
    }
    if (data.len > 0)
        hand_on(request, data);
    if (err == ERR_OK && request->state == CLIENT_BODY)
        on_body_whole(request);
    return slice_after(bytes, consumed);
}

static void on_read(void *ctx, struct slice bytes)
{
    struct client_request *request = ctx;
    if (request->state == CLIENT_BODY)
        arm(request);
    while (request->state != CLIENT_DONE) {
        /* An empty body is whole without a byte: BODY is asked even when nothing is left. */
        if (request->state != CLIENT_BODY && bytes.len == 0)
            return;
        if (request->state == CLIENT_HEAD) {
            bytes = take_head(request, bytes);
        } else if (request->state == CLIENT_BODY) {
            bytes = take_body(request, bytes);
            if (request->state == CLIENT_BODY && bytes.len == 0)
                return;
        } else {
            refuse(request, RESPONSE_BYTES_AFTER); /* rule 3 */
        }
    }
}

/* --- the connection --- */

static void end_with_connection(struct client_request *request, bool is_fin)
{
    request->result.peer_closed = true;
    bool is_whole =
        request->state == CLIENT_END || (is_fin && request->state == CLIENT_BODY &&
                                         http1_response_body_ends_at_fin(&request->body));
    finish(request, is_whole ? ERR_OK : ERR_CLOSED);
}

static void on_eof(void *ctx)
{
    end_with_connection(ctx, true);
}

static void on_room(void *ctx)
{
    (void)ctx; /* the request was written whole */
}

static void on_closed(void *ctx, enum err why)
{
    struct client_request *request = ctx;
    request->stream = NULL;
    if (request->state == CLIENT_DONE) {
        report(request);
        return;
    }
    if (why == ERR_SYSTEM) {
        finish(request, request->state == CLIENT_END ? ERR_OK : ERR_SYSTEM);
        return;
    }
    end_with_connection(request, false);
}

static const struct stream_events stream_events = {
    .on_read = on_read, .on_eof = on_eof, .on_room = on_room, .on_closed = on_closed};

static void on_connect(void *ctx, struct stream *stream, enum err why)
{
    struct client_request *request = ctx;
    request->attempt = NULL;
    if (!stream) {
        finish(request, why);
        return;
    }
    request->stream = stream;
    stream_start(stream, &stream_events, request);
    set_state(request, CLIENT_HEAD);
    enum err err = stream_write(stream, text_slice(&request->request));
    text_fini(&request->request);
    if (err != ERR_OK)
        finish(request, err == ERR_FULL ? ERR_LIMIT : err); /* it fits: full means no memory */
}

/* --- the start --- */

static bool is_token(const char *method)
{
    for (const char *at = method; *at; at++)
        if (!http_byte_is(*at, HTTP_BYTE_TOKEN))
            return false;
    return *method != 0;
}

static bool is_target(struct slice target)
{
    for (size_t i = 0; i < target.len; i++)
        if (!http_byte_is(target.data[i], HTTP_BYTE_TARGET))
            return false;
    return target.len > 0 && target.data[0] == '/';
}

/* Whole lines, none of them empty: no value can end the head early. */
static bool are_fields(struct slice fields)
{
    while (fields.len > 0) {
        size_t line_bytes = slice_find(fields, SLICE("\r\n"));
        if (line_bytes == SLICE_NPOS || line_bytes == 0)
            return false;
        for (size_t i = 0; i < line_bytes; i++)
            if (!http_byte_is(fields.data[i], HTTP_BYTE_VALUE))
                return false;
        fields = slice_after(fields, line_bytes + 2);
    }
    return true;
}

MUST_USE static enum err write_request(struct text *out, const struct client_options *options)
{
    char host[64];
    if (!is_token(options->method) || !is_target(options->target) || !are_fields(options->fields))
        return ERR_REFUSED;
    net_address_format(&options->address, host);
    text_add_f(out, "%s ", options->method);
    text_add(out, options->target);
    text_add_f(out, " HTTP/1.1\r\nHost: %s\r\n", host);
    text_add(out, options->fields);
    if (options->body.len > 0 || slice_eq(slice_str(options->method), SLICE("POST")))
        text_add_f(out, "Content-Length: %zu\r\n", options->body.len);
    text_add(out, SLICE("Connection: close\r\n\r\n"));
    text_add(out, options->body);
    return text_status(out);
}

static struct client_request *request_new(struct loop *loop, const struct client_options *options)
{
    struct client_request *request = mem_alloc(sizeof(*request));
    request->loop = loop;
    request->to_head = slice_eq(slice_str(options->method), SLICE("HEAD"));
    request->connect_us = options->connect_us;
    request->head_us = options->head_us;
    request->idle_us = options->idle_us;
    request->end_us = options->end_us;
    request->event_max_bytes =
        options->event_max_bytes ? options->event_max_bytes : CLIENT_EVENT_BYTES_DEFAULT;
    request->limits = (struct http1_limits){
        .head_max_bytes =
            options->head_max_bytes ? options->head_max_bytes : CLIENT_HEAD_BYTES_DEFAULT,
        .fields_max = HTTP_FIELDS_MAX,
        .body_max_bytes = options->body_max_bytes ? options->body_max_bytes : UINT64_MAX,
    };
    text_init(&request->request, CLIENT_REQUEST_MAX_BYTES);
    text_init(&request->head, request->limits.head_max_bytes);
    http1_response_init(&request->parser, request->to_head);
    deadline_init(&request->deadline, loop, on_deadline, request);
    deadline_init(&request->total, loop, on_deadline, request);
    deferred_init(&request->report, report, request);
    return request;
}

enum err client_request_start(struct loop *loop, const struct client_options *options,
                              const struct client_events *events, void *ctx,
                              struct client_request **out_request)
{
    struct client_request *request = request_new(loop, options);
    enum err err = write_request(&request->request, options);
    if (err != ERR_OK) {
        release(request);
        return err;
    }
    request->events = events;
    request->ctx = ctx;
    arm(request);
    if (options->total_us > 0)
        deadline_after(&request->total, options->total_us);
    struct stream_options stream = {.out_max_bytes = request->request.len};
    err =
        net_connect_begin(loop, &options->address, &stream, on_connect, request, &request->attempt);
    if (err != ERR_OK)
        finish(request, err);
    *out_request = request;
    return ERR_OK;
}
