/* requests_page - asks the manager what is in flight, or to cancel it, and tells the client. */
#include "gateway/requests_page.h"

#include "ask/call.h"
#include "base/mem.h"
#include "gateway/reply.h"
#include "wire/call.h"

/* A client that waits for the manager's answer. */
struct question {
    struct gateway *gateway;
    struct http_conn *conn;
    struct pending_call *call;
    void (*tell)(struct gateway *gateway, struct http_conn *conn, json_t *answer);
    struct free_later free_later;
};

/* --- answers --- */

static void refuse(struct gateway *gateway, struct http_conn *conn, int status, const char *code,
                   const char *message)
{
    struct api_error error;
    (void)api_error_set(&error, status, code, NULL, "%s", message); /* the code is in the error */
    error.retry_after_ms = status == 503 ? 1000 : 0;
    gateway_refuse(gateway, conn, &error, SLICE(""));
}

/* Null rather than "": there is none. */
static void add_word(struct json_out *json, const char *key, const json_t *value)
{
    json_out_key(json, key);
    if (json_string_length(value) > 0)
        json_out_string(json, json_slice(value));
    else
        json_out_null(json);
}

static void add_count(struct json_out *json, const char *key, const json_t *value)
{
    json_int_t count = json_integer_value(value); /* 0 when it is no integer */
    json_out_add_u64(json, key, count > 0 ? (uint64_t)count : 0);
}

static void add_request(struct json_out *json, const json_t *entry)
{
    const json_t *state = json_object_get(entry, "state");
    json_out_begin_object(json);
    json_out_add_string(json, "id", json_slice(json_object_get(entry, "id")));
    json_out_add_string(json, "object", SLICE("request"));
    json_out_add_string(json, "model", json_slice(json_object_get(entry, "model")));
    add_word(json, "tenant", json_object_get(entry, "tenant"));
    add_word(json, "session", json_object_get(entry, "session"));
    add_word(json, "label", json_object_get(entry, "label"));
    add_word(json, "state", state);
    if (slice_eq_str(json_slice(state), "queued")) {
        add_count(json, "queue_position", json_object_get(entry, "position"));
        add_count(json, "eta_ms", json_object_get(entry, "eta_ms"));
    }
    add_count(json, "tokens", json_object_get(entry, "tokens"));
    add_count(json, "age_ms", json_object_get(entry, "age_ms"));
    add_word(json, "worker", json_object_get(entry, "worker"));
    json_out_end_object(json);
}

static void tell_list(struct gateway *gateway, struct http_conn *conn, json_t *answer)
{
    const json_t *entries = json_object_get(answer, "requests");
    if (!json_is_array(entries)) {
        refuse(gateway, conn, 500, "internal_error", "the manager's answer has no list");
        return;
    }
    struct text body;
    text_init(&body, (size_t)2 * CALL_ANSWER_MAX_BYTES); /* our member names are longer */
    struct json_out json = json_out_to(&body);
    json_out_begin_object(&json);
    json_out_add_string(&json, "object", SLICE("list"));
    json_out_key(&json, "data");
    json_out_begin_array(&json);
    for (size_t i = 0; i < json_array_size(entries); i++)
        add_request(&json, json_array_get(entries, i));
    json_out_end_array(&json);
    json_out_add_bool(&json, "has_more", json_is_true(json_object_get(answer, "is_cut")));
    json_out_end_object(&json);
    reply_json(conn, 200, SLICE("Cache-Control: no-store\r\n"), &body);
}

static void tell_cancelled(struct gateway *gateway, struct http_conn *conn, json_t *answer)
{
    (void)gateway;
    (void)answer; /* found or not: it is not there any more */
    http_conn_reply(conn, 204, SLICE(""), SLICE(""), SLICE(""));
}

/* --- asking --- */

static void release(void *pointer)
{
    mem_free(pointer);
}

static void forget(struct question *question)
{
    loop_free_later(question->gateway->loop, &question->free_later, release, question);
}

static void on_answer(void *ctx, enum err err, json_t *answer)
{
    struct question *question = ctx;
    struct gateway *gateway = question->gateway;
    forget(question);
    if (err != ERR_OK)
        refuse(gateway, question->conn, 503, "manager_unavailable",
               "no manager has answered; it may be starting");
    else if (json_object_get(answer, "error"))
        refuse(gateway, question->conn, 500, "internal_error", "the manager refused the question");
    else
        question->tell(gateway, question->conn, answer);
}

static void on_client_gone(void *ctx, enum err why)
{
    struct question *question = ctx;
    (void)why; /* whatever it was, nobody listens */
    call_abandon(&question->call);
    forget(question);
}

static void ask(struct gateway *gateway, struct http_conn *conn, const struct text *words,
                void (*tell)(struct gateway *gateway, struct http_conn *conn, json_t *answer))
{
    static const struct http_reply_events events = {.on_gone = on_client_gone};
    struct question *question = mem_alloc(sizeof(*question));
    *question = (struct question){.gateway = gateway, .conn = conn, .tell = tell};
    enum err err = text_status(words);
    if (err == ERR_OK)
        err = call_open(gateway->caller, SLICE("manager.calls"), text_slice(words),
                        REQUESTS_WAIT_MS, on_answer, question, &question->call);
    if (err == ERR_OK) {
        http_conn_listen(conn, &events, question);
        return;
    }
    mem_free(question);
    refuse(gateway, conn, 503, "overloaded", "too many questions wait for the manager");
}

/* Opens {"call":...,"tenant":... The key was looked at a moment ago, by who called the route. */
static struct json_out begin_question(struct text *words, const char *call,
                                      const struct gateway *gateway,
                                      const struct http_request *request)
{
    struct key *key = NULL;
    enum key_verdict verdict = key_ring_check(gateway->keys, request, &key);
    ASSERT_MSG(verdict == KEY_FINE, "verdict %d", (int)verdict);
    text_init(words, CALL_QUESTION_MAX_BYTES);
    struct json_out json = json_out_to(words);
    json_out_begin_object(&json);
    json_out_add_string(&json, "call", slice_str(call));
    json_out_add_string(&json, "tenant", slice_str(key ? key->tenant : ""));
    return json;
}

/* REQUESTS_LIMIT_MAX when none is named. */
MUST_USE static enum err read_limit(const struct http_request *request, uint64_t *out_limit)
{
    struct text value;
    uint64_t limit = REQUESTS_LIMIT_MAX;
    text_init(&value, 32);
    enum err err = http_query_value(request->query, "limit", &value);
    if (err == ERR_OK)
        err = slice_parse_u64(text_slice(&value), REQUESTS_LIMIT_MAX, &limit);
    else if (err == ERR_NOT_FOUND)
        err = ERR_OK;
    text_fini(&value);
    if (err != ERR_OK || limit == 0)
        return ERR_PROTOCOL;
    *out_limit = limit;
    return ERR_OK;
}

void requests_page_list(struct gateway *gateway, struct http_conn *conn,
                        const struct http_request *request, const struct route_match *match)
{
    (void)match;
    uint64_t limit;
    struct text words;
    if (read_limit(request, &limit) != ERR_OK) {
        struct api_error error;
        (void)api_error_set(&error, 400, "invalid_value", "limit", /* the code is in the error */
                            "limit must be a whole number in 1..%d", REQUESTS_LIMIT_MAX);
        gateway_refuse(gateway, conn, &error, SLICE(""));
        return;
    }
    struct json_out json = begin_question(&words, "requests", gateway, request);
    json_out_add_u64(&json, "limit", limit);
    json_out_end_object(&json);
    ask(gateway, conn, &words, tell_list);
    text_fini(&words);
}

void requests_page_cancel(struct gateway *gateway, struct http_conn *conn,
                          const struct http_request *request, const struct route_match *match)
{
    struct id id;
    char id_text[ID_TEXT_BYTES + 1];
    struct text words;
    if (id_parse(match->params[0], &id) != ERR_OK) {
        struct api_error error;
        (void)api_error_set(&error, 400, "invalid_value", "id", /* the code is in the error */
                            "the id of a request is 32 hex digits, as in X-Request-Id");
        gateway_refuse(gateway, conn, &error, SLICE(""));
        return;
    }
    struct json_out json = begin_question(&words, "cancel", gateway, request);
    json_out_add_string(&json, "id", id_format(id, id_text));
    json_out_end_object(&json);
    ask(gateway, conn, &words, tell_cancelled);
    text_fini(&words);
}
