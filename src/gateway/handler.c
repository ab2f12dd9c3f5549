/* handler - what the HTTP server asks about every head and request: may they, where to, and what
 * its own refusals look like. */
#include "gateway/handler.h"

#include "base/log.h"
#include "gateway/counts.h"
#include "gateway/reply.h"
#include "gateway/routes.h"

/* --- the head: everything that can be refused without the body --- */

/* A request to a model that is refused at its head is over like any other (reply_done.c). */
static void log_refused(uint32_t mark, const struct api_error *error)
{
    const struct route *route = route_of_mark(mark);
    const struct route_target *target = route ? route->target : NULL;
    if (target && target->dialect)
        log_event(LOG_INFO, "request_done", "req=\"\" dialect=%s status=%d end=%s",
                  target->dialect->name, error->status, error->code);
}

void gateway_refuse(struct gateway *gateway, struct http_conn *conn, const struct api_error *error,
                    struct slice more_fields)
{
    gateway->stats.errors++;
    log_refused(http_conn_mark(conn), error);
    reply_refuse(conn, error, more_fields);
}

/* Takes one part off a field such as `text/plain; charset="utf-8"`: up to the next ';' that is not
 * quoted (RFC 9110 5.6.6). */
static struct slice take_parameter(struct slice *rest)
{
    bool is_quoted = false;
    size_t end = 0;
    for (; end < rest->len && (is_quoted || rest->data[end] != ';'); end++) {
        if (rest->data[end] == '"')
            is_quoted = !is_quoted;
        else if (is_quoted && rest->data[end] == '\\')
            end++;
    }
    struct slice part = slice_first(*rest, end);
    *rest = slice_after(*rest, end + 1);
    return slice_trim(part);
}

/* Without its quotes; data NULL when the media type names none. */
static struct slice charset_of(struct slice type)
{
    struct slice name, value;
    while (type.len > 0) {
        if (!slice_cut(take_parameter(&type), '=', &name, &value) ||
            !slice_eq_ci(name, SLICE("charset")))
            continue;
        bool is_quoted = value.len >= 2 && value.data[0] == '"';
        return is_quoted ? slice_first(slice_after(value, 1), value.len - 2) : value;
    }
    return (struct slice){NULL, 0};
}

/* 415 is for what we could not read whatever the route: a compressed body, or text that is not
 * UTF-8. The media type itself is not looked at: curl sends form-urlencoded by default (spec
 * section 1). */
MUST_USE static enum err check_encoding(const struct http_request *request,
                                        struct api_error *out_error)
{
    struct slice encoding = http_request_field(request, "Content-Encoding");
    struct slice charset = charset_of(http_request_field(request, "Content-Type"));
    if (encoding.len > 0 && !slice_eq_ci(encoding, SLICE("identity")))
        return api_error_set(out_error, 415, "unsupported_encoding", NULL,
                             "Content-Encoding is not supported; send the body as it is");
    if (charset.data == NULL || slice_eq_ci(charset, SLICE("utf-8")) ||
        slice_eq_ci(charset, SLICE("utf8")) || slice_eq_ci(charset, SLICE("us-ascii")))
        return ERR_OK;
    return api_error_set(out_error, 415, "unsupported_charset", NULL,
                         "the charset of Content-Type must be utf-8");
}

MUST_USE static enum err check_access(struct gateway *gateway, struct http_conn *conn,
                                      const struct http_request *request,
                                      struct api_error *out_error)
{
    struct slice origin;
    switch (access_check(&gateway->access, request, &origin)) {
    case ACCESS_OK:
        if (origin.len > 255)
            return api_error_set(out_error, 403, "forbidden", NULL, "Origin is too long");
        http_conn_set_tag(conn, origin);
        return ERR_OK;
    case ACCESS_WRONG_HOST:
        return api_error_set(out_error, 421, "wrong_host", NULL,
                             "this server does not answer for the host '" SLICE_FMT
                             "'; allowed_hosts can add it",
                             SLICE_ARG(slice_first(request->host, 255)));
    case ACCESS_WRONG_ORIGIN:
        break;
    }
    return api_error_set(out_error, 403, "forbidden", NULL,
                         "this origin may not use this server; allowed_origins can add it");
}

/* For `OPTIONS *`, and for paths that are not there: a browser that may not even ask would never
 * learn of the 404. */
static unsigned allowed_anywhere(void)
{
    unsigned allowed = 1u << HTTP_OPTIONS;
    for (size_t i = 0; i < gateway_route_count; i++)
        allowed |= 1u << gateway_routes[i].method;
    return allowed & 1u << HTTP_GET ? allowed | 1u << HTTP_HEAD : allowed;
}

static void answer_options(struct http_conn *conn, unsigned allowed)
{
    struct text allow, fields;
    text_init(&allow, 256);
    text_init(&fields, 1024);
    router_allow(allowed, &allow);
    text_add_f(&fields, "Allow: " SLICE_FMT "\r\n", SLICE_ARG(text_slice(&allow)));
    access_preflight_fields(text_slice(&allow), &fields);
    http_conn_reply(conn, 204, SLICE(""), text_slice(&fields), SLICE(""));
    text_fini(&allow);
    text_fini(&fields);
}

static void answer_method_not_allowed(struct gateway *gateway, struct http_conn *conn,
                                      const struct http_request *request, unsigned allowed)
{
    struct api_error error;
    struct text fields;
    text_init(&fields, 256);
    text_add(&fields, SLICE("Allow: "));
    router_allow(allowed, &fields);
    text_add(&fields, SLICE("\r\n"));
    (void)api_error_set(&error, 405, "method_not_allowed", NULL, /* the code is in the error */
                        "the method " SLICE_FMT " is not allowed here",
                        SLICE_ARG(slice_first(request->method_text, 32)));
    gateway_refuse(gateway, conn, &error, text_slice(&fields));
    text_fini(&fields);
}

/* --- whose request it is --- */

static const char *const how_to_present = "as 'Authorization: Bearer KEY' or 'x-api-key: KEY'";

static void refuse_without_key(struct gateway *gateway, struct http_conn *conn,
                               enum key_verdict verdict)
{
    struct api_error error;
    struct slice challenge = SLICE("WWW-Authenticate: Bearer\r\n");
    switch (verdict) { /* each (void): the code is in the error */
    case KEY_AMBIGUOUS:
        (void)api_error_set(&error, 400, "ambiguous_api_key", NULL,
                            "Authorization and x-api-key hold different API keys; send one");
        challenge = SLICE("");
        break;
    case KEY_INVALID:
        (void)api_error_set(&error, 401, "invalid_api_key", NULL, "this API key is not known here");
        challenge = SLICE("WWW-Authenticate: Bearer error=\"invalid_token\"\r\n");
        break;
    default:
        (void)api_error_set(&error, 401, "missing_api_key", NULL, "an API key is needed here, %s",
                            how_to_present);
        break;
    }
    gateway_refuse(gateway, conn, &error, challenge);
}

/* A client that opens without end holds slots and memory that others pay for. */
static bool is_refused_by_count(struct gateway *gateway, struct http_conn *conn,
                                const struct route_target *target, const struct key *key)
{
    struct api_error error;
    if (!target->dialect || !key || key->streams < gateway->streams_per_key)
        return false;
    (void)api_error_set(&error, 429, "rate_limited", NULL, /* the code is in the error */
                        "this API key has %u requests in flight here, and may have %u",
                        key->streams, gateway->streams_per_key);
    error.retry_after_ms = 1000;
    gateway_refuse(gateway, conn, &error, SLICE(""));
    return true;
}

static bool is_refused_by_drain(struct gateway *gateway, struct http_conn *conn,
                                const struct route_target *target)
{
    struct api_error error;
    if (!gateway->draining || !target->dialect)
        return false;
    (void)api_error_set(&error, 503, "draining", NULL, /* the code is in the error */
                        "this server is stopping");
    error.retry_after_ms = 1000;
    gateway_refuse(gateway, conn, &error, SLICE(""));
    return true;
}

/* Who asks for a stream that survives its connection would be badly served by one that does not: so
 * it is refused by name, like `resumable` in a body. (Idempotency-Key is different: SDKs send it
 * with everything, and without a stream to join a repeated request is answered anew, as it would be
 * without the field.) */
static bool is_refused_by_wish(struct gateway *gateway, struct http_conn *conn,
                               const struct route_target *target,
                               const struct http_request *request)
{
    struct api_error error;
    struct slice wish = http_request_field(request, "X-Stream-Resume");
    if (!target->dialect || wish.len == 0 || slice_eq_str(wish, "0"))
        return false;
    (void)api_error_set(&error, 400, "unsupported_parameter", "X-Stream-Resume",
                        "X-Stream-Resume is not supported yet"); /* the code is in the error */
    gateway_refuse(gateway, conn, &error, SLICE(""));
    return true;
}

/* --- where to --- */

static void answer_not_found(struct gateway *gateway, struct http_conn *conn,
                             const struct http_request *request)
{
    struct api_error error;
    (void)api_error_set(&error, 404, "not_found", NULL, /* the code is in the error */
                        "there is nothing at " SLICE_FMT,
                        SLICE_ARG(slice_first(request->path, 200)));
    gateway_refuse(gateway, conn, &error, SLICE(""));
}

/* What a request may do, and for whom. */
struct admission {
    struct route_match match;
    struct key *key; /* borrowed from the ring; NULL: nobody's */
};

/* True: there is a route, it may be taken, and nothing speaks against reading the body. Otherwise
 * it was answered. Asked twice, at the head and with the whole body: between them the keys may have
 * been replaced, a drain may have begun, and other requests of the same key may have come. */
static bool admit(struct gateway *gateway, struct http_conn *conn,
                  const struct http_request *request, struct admission *out_admission)
{
    struct route_match *match = &out_admission->match;
    enum err found =
        router_find(gateway_routes, gateway_route_count, request->method, request->path, match);
    const struct route_target *target = found == ERR_OK ? match->route->target : NULL;
    out_admission->key = NULL;
    http_conn_set_mark(conn, route_mark(target ? match->route : NULL, request->method));
    if (request->method == HTTP_OPTIONS) { /* a browser asks before it knows a key (Fetch 4.8) */
        answer_options(conn, found == ERR_REFUSED ? match->allowed : allowed_anywhere());
        return false;
    }
    if (!target || !target->is_open) { /* also where nothing is: strangers learn nothing */
        enum key_verdict verdict = key_ring_check(gateway->keys, request, &out_admission->key);
        if (verdict != KEY_FINE) {
            refuse_without_key(gateway, conn, verdict);
            return false;
        }
    }
    if (found == ERR_REFUSED)
        answer_method_not_allowed(gateway, conn, request, match->allowed);
    else if (!target)
        answer_not_found(gateway, conn, request);
    else
        return !is_refused_by_wish(gateway, conn, target, request) &&
               !is_refused_by_drain(gateway, conn, target) &&
               !is_refused_by_count(gateway, conn, target, out_admission->key);
    return false;
}

static enum http_head_verdict on_head(void *ctx, struct http_conn *conn,
                                      const struct http_request *request)
{
    struct gateway *gateway = ctx;
    struct admission admission;
    struct api_error error;
    http_conn_set_mark(conn, route_mark(NULL, request->method));
    if (check_access(gateway, conn, request, &error) != ERR_OK ||
        check_encoding(request, &error) != ERR_OK) {
        gateway_refuse(gateway, conn, &error, SLICE(""));
        return HTTP_HEAD_REPLIED;
    }
    return admit(gateway, conn, request, &admission) ? HTTP_HEAD_CONTINUE : HTTP_HEAD_REPLIED;
}

/* What GET would begin with; a model is not set to work for a body that nobody will see. */
static void answer_head_of_stream(struct http_conn *conn)
{
    http_conn_begin(conn, 200, SLICE("text/event-stream"), SLICE("Cache-Control: no-cache\r\n"));
    http_conn_end(conn);
}

static void on_request(void *ctx, struct http_conn *conn, const struct http_request *request)
{
    struct gateway *gateway = ctx;
    struct admission admission;
    if (!admit(gateway, conn, request, &admission))
        return;
    const struct route_target *target = admission.match.route->target;
    if (target->dialect && request->method == HTTP_HEAD)
        answer_head_of_stream(conn);
    else if (target->dialect)
        reply_start(gateway, conn, target->dialect, request, admission.key);
    else
        target->answer(gateway, conn, request, &admission.match);
}

/* What the HTTP server refuses by itself looks like every other error. */
static const char *code_of(int status)
{
    switch (status) {
    case 408:
        return "request_timeout";
    case 413:
        return "body_too_large";
    case 414:
        return "target_too_long";
    case 417:
        return "expectation_failed";
    case 431:
        return "head_too_large";
    case 501:
        return "not_implemented";
    case 503:
        return "too_many_connections";
    case 505:
        return "http_version_not_supported";
    default:
        return "bad_request";
    }
}

static void error_body(void *ctx, int status, const char *sentence, struct text *out_body)
{
    (void)ctx;
    struct api_error error;
    (void)api_error_set(&error, status, code_of(status), NULL, "%s", sentence);
    api_error_write(&error, out_body);
}

static void common_fields(void *ctx, struct http_conn *conn, struct text *out_lines)
{
    (void)ctx;
    access_fields(http_conn_tag(conn), out_lines);
}

static void on_answer(void *ctx, struct http_conn *conn, int status)
{
    struct gateway *gateway = ctx;
    counts_answer(gateway->counts, http_conn_mark(conn), status);
}

struct http_handler handler_of(struct gateway *gateway)
{
    return (struct http_handler){.ctx = gateway,
                                 .on_head = on_head,
                                 .on_request = on_request,
                                 .error_body = error_body,
                                 .common_fields = common_fields,
                                 .on_answer = on_answer};
}
