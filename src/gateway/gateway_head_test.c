/* gateway_head_test - what is decided before the first byte of an answer leaves: who may ask, for
 * what, when the head of a stream goes out, and that a refusal before it is a real status. */
#include "gateway/gateway_rig.h"
#include "testing/test.h"

#define CHAT "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define CHAT_PROGRESS                                                                              \
    "{\"stream\":true,\"stream_options\":{\"include_progress\":true},"                             \
    "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define CHAT_WHOLE "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"

static struct gateway_rig *rig;
static struct client client;

static void open_with(const struct gateway_options *options)
{
    rig = gateway_rig_open(options);
    client_open(&client, &rig->http);
}

static void open_default(void)
{
    struct gateway_options options = gateway_rig_options();
    open_with(&options);
}

static void close_all(void)
{
    client_fini(&client);
    gateway_rig_close(rig);
}

/* A chat stream that the worker has heard of. */
static struct job *ask_chat(const char *body)
{
    client_post_str(&client, "/v1/chat/completions", body);
    client_settle(&client);
    return rig_last_job(rig);
}

static void check_status(int status)
{
    struct answer answer = client_answer(&client);
    CHECK_EQ(answer.status, status);
    answer_fini(&answer);
}

/* The whole error answer: status, code, and that it is JSON of our form. */
static void check_refused(int status, const char *code)
{
    struct answer answer = client_answer(&client);
    struct err_note note = {""};
    json_t *body;
    CHECK_EQ(answer.status, status);
    CHECK(answer.is_whole);
    CHECK_SLICE(answer_field(&answer, "Content-Type"), "application/json");
    CHECK_OK(json_read(text_slice(&answer.body), JSON_DEPTH_MAX, &body, &note));
    const json_t *error = json_object_get(body, "error");
    CHECK_STR(json_string_value(json_object_get(error, "code")), code);
    CHECK(json_string_length(json_object_get(error, "message")) > 0);
    json_decref(body);
    client_forget(&client, &answer);
}

/* --- when the head leaves (architecture.md) --- */

TEST(the_head_leaves_with_the_first_delta_and_not_before)
{
    open_default();
    struct job *job = ask_chat(CHAT);
    check_status(0);
    job_start(job);
    rig_live_ms(rig, 2999);
    check_status(0);
    job_delta(job, SLICE("x"));
    check_status(200);
    close_all();
}

TEST(a_delta_without_text_yet_does_not_send_the_head)
{
    open_default();
    struct job *job = ask_chat(CHAT);
    job_start(job);
    job_delta(job, SLICE(""));
    check_status(0);
    job_delta(job, SLICE("\xf0\x9f\x98\x80"));
    check_status(200);
    close_all();
}

TEST(the_head_leaves_head_hold_after_a_worker_took_the_request)
{
    open_default();
    struct job *job = ask_chat(CHAT);
    rig_live_ms(rig, 4000); /* nobody took it yet */
    check_status(0);
    job_accept(job);
    rig_live_ms(rig, 2999);
    check_status(0);
    rig_live_ms(rig, 1);
    check_status(200);
    close_all();
}

TEST(the_head_leaves_with_a_progress_event_that_was_wished)
{
    static const struct event progress[] = {
        {.type = EVENT_QUEUED, .queued = {.position = 2}},
        {.type = EVENT_LOADING, .loading = {.fraction = 0.5f}},
        {.type = EVENT_PREFILL, .prefill = {.done_tokens = 1, .total_tokens = 9}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(progress); i++) {
        open_default();
        struct job *job = ask_chat(CHAT_PROGRESS);
        CHECK(job->request.want_progress);
        job_accept(job);
        check_status(0);
        job_say(job, &progress[i]);
        check_status(200);
        CHECK_EQ(client_count(&client, "\"progress\":{\"state\":"), 1);
        close_all();
    }
}

TEST(a_progress_event_that_nobody_wished_changes_nothing)
{
    open_default();
    struct job *job = ask_chat(CHAT);
    CHECK(!job->request.want_progress);
    job_accept(job);
    job_say(job, &(struct event){.type = EVENT_QUEUED, .queued = {.position = 2}});
    check_status(0);
    close_all();
}

TEST(a_refusal_before_the_head_is_a_real_status)
{
    static const struct {
        enum fault fault;
        int status;
        const char *code, *retry_after;
    } cases[] = {
        {FAULT_INTERNAL_ERROR, 500, "internal_error", NULL},
        {FAULT_INVALID_REQUEST, 400, "invalid_request", NULL},
        {FAULT_CONTEXT_LENGTH_EXCEEDED, 400, "context_length_exceeded", NULL},
        {FAULT_MODEL_NOT_FOUND, 404, "model_not_found", NULL},
        {FAULT_MODEL_FAILED, 503, "model_failed", "1"},
        {FAULT_QUEUE_FULL, 429, "queue_full", "1"},
        {FAULT_QUEUE_TIMEOUT, 429, "queue_timeout", "1"},
        {FAULT_LOADING, 503, "loading", "1"},
        {FAULT_DRAINING, 503, "draining", "1"},
        {FAULT_WORKER_LOST, 502, "worker_lost", NULL},
        {FAULT_STALLED, 504, "stalled", NULL},
        {FAULT_CANCELLED, 503, "cancelled", "1"},
        {FAULT_INSUFFICIENT_MEMORY, 507, "insufficient_memory", NULL},
    };
    open_default();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct job *job = ask_chat(i % 2 ? CHAT : CHAT_WHOLE);
        job_accept(job);
        job_fail(job, cases[i].fault, "no");
        struct answer answer = client_answer(&client);
        CHECK_EQ(answer.status, cases[i].status);
        CHECK_SLICES(answer_field(&answer, "Retry-After"), slice_str(cases[i].retry_after));
        CHECK_EQ(answer_field(&answer, "X-Request-Id").len, 32);
        answer_fini(&answer);
        check_refused(cases[i].status, cases[i].code);
        CHECK(rig_is_idle(rig));
    }
    close_all();
}

TEST(retry_after_is_what_the_worker_computed_in_whole_seconds_rounded_up)
{
    open_default();
    struct job *job = ask_chat(CHAT);
    job_say(job, &(struct event){.type = EVENT_ERROR,
                                 .error = {.fault = FAULT_QUEUE_FULL,
                                           .message = SLICE("full"),
                                           .retry_after_ms = 2001}});
    struct answer answer = client_answer(&client);
    CHECK_EQ(answer.status, 429);
    CHECK_SLICE(answer_field(&answer, "Retry-After"), "3");
    answer_fini(&answer);
    close_all();
}

TEST(nobody_takes_the_request_and_that_is_a_502)
{
    open_default();
    (void)ask_chat(CHAT);
    rig_live_ms(rig, 5000);
    check_refused(502, "worker_lost");
    close_all();
}

TEST(the_head_of_a_stream_tells_proxies_and_caches_to_keep_off)
{
    open_default();
    struct job *job = ask_chat(CHAT);
    job_start(job);
    job_delta(job, SLICE("x"));
    struct answer answer = client_answer(&client);
    CHECK_SLICE(answer_field(&answer, "Content-Type"), "text/event-stream");
    CHECK_SLICE(answer_field(&answer, "Cache-Control"), "no-cache");
    CHECK_SLICE(answer_field(&answer, "X-Accel-Buffering"), "no");
    CHECK_SLICE(answer_field(&answer, "Connection"), "keep-alive");
    CHECK_SLICE(answer_field(&answer, "Transfer-Encoding"), "chunked");
    answer_fini(&answer);
    close_all();
}

/* --- which model --- */

TEST(a_request_that_names_no_model_gets_the_default_one)
{
    open_default();
    struct job *job = ask_chat(CHAT);
    CHECK_SLICE(job->request.model, "m");
    close_all();
}

TEST(an_unknown_model_is_404_while_another_is_there)
{
    open_default();
    client_post_str(&client, "/v1/completions", "{\"model\":\"gpt-9\",\"prompt\":\"x\"}");
    check_refused(404, "model_not_found");
    CHECK_EQ(rig->job_count, 0);
    close_all();
}

TEST(before_any_worker_has_reported_a_model_is_loading)
{
    struct gateway_options options = gateway_rig_options();
    rig = gateway_rig_open_alone(&options);
    client_open(&client, &rig->http);
    client_post_str(&client, "/v1/chat/completions", CHAT);
    struct answer answer = client_answer(&client);
    CHECK_SLICE(answer_field(&answer, "Retry-After"), "1");
    answer_fini(&answer);
    check_refused(503, "loading");
    close_all();
}

/* The workers of a host start side by side: the small one reports first. */
TEST(the_default_model_is_loading_and_not_unknown_until_its_worker_reports)
{
    struct gateway_options options = gateway_rig_options();
    options.default_model = "llama";
    open_with(&options);
    client_post_str(&client, "/v1/completions", "{\"prompt\":\"x\"}");
    check_refused(503, "loading");
    client_post_str(&client, "/v1/completions", "{\"model\":\"llama\",\"prompt\":\"x\"}");
    check_refused(503, "loading");
    close_all();
}

TEST(a_worker_that_fell_silent_is_forgotten)
{
    struct gateway_options options = gateway_rig_options();
    rig = gateway_rig_open(&options);
    rig_advance_ms(&rig->http, 5000);
    client_open(&client, &rig->http);
    struct job *job = ask_chat(CHAT);
    CHECK_EQ(job->submits, 1);
    job_fail(job, FAULT_DRAINING, "gone");
    check_refused(503, "draining");
    rig_advance_ms(&rig->http, 1);
    client_post_str(&client, "/v1/chat/completions", CHAT);
    check_refused(503, "loading");
    CHECK_EQ(rig->job_count, 1);
    close_all();
}

/* The worker itself says why: it knows more than the last broadcast. */
TEST(a_loading_or_failed_model_is_asked_all_the_same)
{
    static const enum node_phase phases[] = {NODE_LOADING, NODE_FAILED, NODE_DRAINING};
    for (size_t i = 0; i < ARRAY_COUNT(phases); i++) {
        open_default();
        rig->state.phase = phases[i];
        rig_report(rig);
        struct job *job = ask_chat(CHAT);
        job_fail(job, FAULT_MODEL_FAILED, "the file is truncated");
        check_refused(503, "model_failed");
        close_all();
    }
}

TEST(more_requests_than_the_hub_holds_are_429)
{
    struct gateway_options options = gateway_rig_options();
    struct client second;
    options.ask.asks_max = 1;
    open_with(&options);
    (void)ask_chat(CHAT);
    client_open(&second, &rig->http);
    client_post_str(&second, "/v1/chat/completions", CHAT);
    struct answer answer = client_answer(&second);
    CHECK_EQ(answer.status, 429);
    CHECK_SLICE(answer_field(&answer, "Retry-After"), "1");
    CHECK(slice_find(text_slice(&answer.body), SLICE("\"code\":\"queue_full\"")) != SLICE_NPOS);
    answer_fini(&answer);
    client_fini(&second);
    close_all();
}

/* --- ids --- */

static struct answer ask_with_label(const char *label)
{
    char field[256];
    snprintf(field, sizeof(field), "X-Request-Id: %s\r\n", label);
    client_post(&client, "/v1/chat/completions", field, SLICE(CHAT_WHOLE));
    client_settle(&client);
    job_fail(rig_last_job(rig), FAULT_QUEUE_FULL, "full");
    return client_answer(&client);
}

TEST(the_clients_own_id_comes_back_as_a_label)
{
    static const char label64[] =
        "0123456789abcdef0123456789abcdef0123456789abcdef!#$%&'()*+,-./~@";
    open_default();
    struct answer answer = ask_with_label(label64);
    CHECK_EQ(sizeof(label64) - 1, 64);
    CHECK_SLICES(answer_field(&answer, "X-Client-Request-Id"), slice_str(label64));
    CHECK_SLICES(rig_last_job(rig)->request.label, slice_str(label64));
    CHECK_EQ(answer_field(&answer, "X-Request-Id").len, 32);
    answer_fini(&answer);
    close_all();
}

TEST(a_label_that_is_too_long_or_not_visible_ascii_is_ignored)
{
    static const char *const labels[] = {
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef5", /* 65 */
        "two words", "tab\there", "caf\xc3\xa9", ""};
    open_default();
    for (size_t i = 0; i < ARRAY_COUNT(labels); i++) {
        struct answer answer = ask_with_label(labels[i]);
        CHECK_EQ(answer.status, 429);
        CHECK(answer_field(&answer, "X-Client-Request-Id").data == NULL);
        CHECK_EQ(rig_last_job(rig)->request.label.len, 0);
        client_forget(&client, &answer);
    }
    close_all();
}

TEST(every_request_has_an_id_of_its_own)
{
    char seen[3][33];
    open_default();
    for (int i = 0; i < 3; i++) {
        struct answer answer = ask_with_label("same");
        snprintf(seen[i], sizeof(seen[i]), SLICE_FMT,
                 SLICE_ARG(answer_field(&answer, "X-Request-Id")));
        client_forget(&client, &answer);
    }
    CHECK(strcmp(seen[0], seen[1]) != 0 && strcmp(seen[1], seen[2]) != 0);
    close_all();
}

TEST(a_session_is_named_by_body_or_field_and_its_length_is_checked_here)
{
    char field[512], name[300];
    open_default();
    client_post(&client, "/v1/completions", "X-Session-Id: from-field\r\n",
                SLICE("{\"prompt\":\"x\"}"));
    client_settle(&client);
    CHECK_SLICE(rig_last_job(rig)->request.session, "from-field");
    job_fail(rig_last_job(rig), FAULT_QUEUE_FULL, "full");
    check_refused(429, "queue_full");
    client_post(&client, "/v1/completions", "X-Session-Id: from-field\r\n",
                SLICE("{\"prompt\":\"x\",\"session_id\":\"from-body\"}"));
    client_settle(&client);
    CHECK_SLICE(rig_last_job(rig)->request.session, "from-body");
    job_fail(rig_last_job(rig), FAULT_QUEUE_FULL, "full");
    check_refused(429, "queue_full");
    memset(name, 'n', sizeof(name));
    snprintf(field, sizeof(field), "X-Session-Id: %.*s\r\n", REQUEST_NAME_MAX_BYTES + 1, name);
    client_post(&client, "/v1/completions", field, SLICE("{\"prompt\":\"x\"}"));
    check_refused(400, "invalid_value");
    CHECK_EQ(rig->job_count, 2);
    close_all();
}

/* --- who may ask --- */

TEST(a_foreign_origin_is_refused_before_any_work)
{
    open_default();
    client_post(&client, "/v1/chat/completions", "Origin: http://evil.example\r\n", SLICE(CHAT));
    check_refused(403, "forbidden");
    CHECK_EQ(rig->job_count, 0);
    client_fini(&client);
    client_open(&client, &rig->http);
    client_get(&client, "/v1/infer?prompt=x&stream=true", "Origin: http://evil.example\r\n");
    struct answer answer = client_answer(&client);
    CHECK_EQ(answer.status, 403);
    CHECK(answer_field(&answer, "Access-Control-Allow-Origin").data == NULL);
    answer_fini(&answer);
    CHECK_EQ(rig->job_count, 0);
    close_all();
}

TEST(another_host_is_421)
{
    open_default();
    client_send_str(&client, "GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    check_refused(421, "wrong_host");
    close_all();
}

TEST(every_kind_of_answer_names_an_origin_that_may_ask)
{
    static const char origin[] = "Origin: http://localhost:3000\r\n";
    open_default();
    client_get(&client, "/health", origin);
    struct answer answer = client_answer(&client);
    CHECK_SLICE(answer_field(&answer, "Access-Control-Allow-Origin"), "http://localhost:3000");
    CHECK_SLICE(answer_field(&answer, "Vary"), "Origin");
    client_forget(&client, &answer);
    client_get(&client, "/nothing", origin);
    answer = client_answer(&client);
    CHECK_EQ(answer.status, 404);
    CHECK_SLICE(answer_field(&answer, "Access-Control-Allow-Origin"), "http://localhost:3000");
    client_forget(&client, &answer);
    client_get(&client, "/health", ""); /* the word of the last request is not this one's */
    answer = client_answer(&client);
    CHECK(answer_field(&answer, "Access-Control-Allow-Origin").data == NULL);
    client_forget(&client, &answer);
    client_post(&client, "/v1/chat/completions", origin, SLICE(CHAT));
    client_settle(&client);
    job_start(rig_last_job(rig));
    job_delta(rig_last_job(rig), SLICE("x"));
    answer = client_answer(&client);
    CHECK_EQ(answer.status, 200);
    CHECK_SLICE(answer_field(&answer, "Access-Control-Allow-Origin"), "http://localhost:3000");
    answer_fini(&answer);
    close_all();
}

/* --- routes and methods --- */

static void check_options(const char *target, const char *allow)
{
    char head[256];
    snprintf(head, sizeof(head),
             "OPTIONS %s HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:1\r\n\r\n",
             target);
    client_send_str(&client, head);
    struct answer answer = client_answer(&client);
    CHECK_EQ(answer.status, 204);
    CHECK_SLICES(answer_field(&answer, "Allow"), slice_str(allow));
    CHECK_SLICES(answer_field(&answer, "Access-Control-Allow-Methods"), slice_str(allow));
    CHECK_SLICE(answer_field(&answer, "Access-Control-Max-Age"), "86400");
    CHECK_SLICE(answer_field(&answer, "Access-Control-Allow-Origin"), "http://localhost:1");
    client_forget(&client, &answer);
}

TEST(options_says_what_a_path_takes)
{
    open_default();
    check_options("/v1/chat/completions", "POST, OPTIONS");
    check_options("/v1/infer?prompt=x", "GET, HEAD, POST, OPTIONS");
    check_options("/health", "GET, HEAD, OPTIONS");
    close_all();
}

/* A browser that may not even ask never learns that the answer would have been 404. */
TEST(options_of_the_server_or_of_no_path_says_what_any_path_takes)
{
    open_default();
    check_options("*", "GET, HEAD, POST, OPTIONS");
    check_options("/nothing", "GET, HEAD, POST, OPTIONS");
    close_all();
}

TEST(a_wrong_method_is_405_with_allow)
{
    open_default();
    client_get(&client, "/v1/chat/completions", "");
    struct answer answer = client_answer(&client);
    CHECK_SLICE(answer_field(&answer, "Allow"), "POST, OPTIONS");
    answer_fini(&answer);
    check_refused(405, "method_not_allowed");
    client_get(&client, "/v1/nothing", "");
    check_refused(404, "not_found");
    close_all();
}

TEST(head_on_health_is_its_get_without_the_body)
{
    open_default();
    client_send_str(&client, "HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_settle(&client);
    struct answer answer = client_answer(&client);
    CHECK_EQ(answer.status, 200);
    CHECK(answer_field(&answer, "Content-Length").len > 0);
    CHECK_EQ(client.in.len, answer.head.len); /* and nothing behind it */
    answer_fini(&answer);
    close_all();
}

TEST(head_never_makes_a_model_work)
{
    open_default();
    client_send_str(&client, "HEAD /v1/infer?prompt=x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct answer answer = client_answer(&client);
    CHECK_EQ(answer.status, 200);
    CHECK_SLICE(answer_field(&answer, "Content-Type"), "text/event-stream");
    CHECK_EQ(client.in.len, answer.head.len);
    CHECK_EQ(rig->job_count, 0);
    answer_fini(&answer);
    close_all();
}

TEST(a_body_we_cannot_read_is_415)
{
    static const struct {
        const char *fields, *code;
    } cases[] = {
        {"Content-Encoding: gzip\r\n", "unsupported_encoding"},
        {"Content-Type: application/json; charset=latin1\r\n", "unsupported_charset"},
        {"Content-Type: application/json;charset=\"UTF-16\"\r\n", "unsupported_charset"},
        {"Content-Type: application/json; Charset=koi8-r; x=y\r\n", "unsupported_charset"},
        {"Content-Type: application/json; x=\"charset=utf-8\"; CHARSET=koi8-r\r\n",
         "unsupported_charset"},
    };
    open_default();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        client_post(&client, "/v1/chat/completions", cases[i].fields, SLICE(CHAT));
        check_refused(415, cases[i].code);
        client_fini(&client);
        client_open(&client, &rig->http);
    }
    CHECK_EQ(rig->job_count, 0);
    close_all();
}

TEST(a_body_in_utf8_is_read_whatever_its_media_type)
{
    static const char *const fields[] = {
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: application/json; charset=UTF-8\r\n",
        "Content-Type: text/plain; x=charset=latin1; charset=\"utf-8\" \r\n",
        "Content-Type: text/plain; mycharset=latin1\r\n",
        "Content-Encoding: identity\r\n",
        ""};
    open_default();
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        client_post(&client, "/v1/chat/completions", fields[i], SLICE(CHAT_WHOLE));
        client_settle(&client);
        CHECK_EQ(rig->job_count, i + 1);
        job_fail(rig_last_job(rig), FAULT_QUEUE_FULL, "full");
        check_refused(429, "queue_full");
    }
    close_all();
}

TEST(what_the_server_refuses_itself_looks_like_every_other_error)
{
    open_default();
    client_send_str(&client, "GET /health HTTP/1.1\r\n\r\n");
    check_refused(400, "bad_request");
    client_fini(&client);
    client_open(&client, &rig->http);
    client_send_str(&client, "POST /v1/infer HTTP/1.1\r\nHost: localhost\r\n"
                             "Content-Length: 1048577\r\n\r\n");
    check_refused(413, "body_too_large");
    client_fini(&client);
    client_open(&client, &rig->http);
    rig_advance_ms(&rig->http, 1000);
    check_refused(408, "request_timeout");
    close_all();
}

TEST(a_bad_body_is_400_and_the_connection_goes_on)
{
    static const struct {
        const char *body, *code;
    } cases[] = {{"", "invalid_json"},
                 {"{", "invalid_json"},
                 {"{\"prompt\":\"\xff\"}", "invalid_json"},
                 {"{\"prompt\":\"a\",\"prompt\":\"b\"}", "invalid_json"},
                 {"[]", "invalid_type"},
                 {"7", "invalid_type"},
                 {"{\"model\":7,\"prompt\":\"x\"}", "invalid_type"},
                 {"{}", "missing_parameter"}};
    open_default();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        client_post_str(&client, "/v1/completions", cases[i].body);
        check_refused(400, cases[i].code);
    }
    CHECK_EQ(rig->job_count, 0);
    CHECK_EQ(gateway_stats(rig->gateway).connections, 1);
    close_all();
}

TEST(a_format_that_is_not_raw_is_refused_by_name)
{
    open_default();
    client_post_str(&client, "/v1/completions?format=xml", "{\"prompt\":\"x\"}");
    check_refused(400, "invalid_value");
    client_post_str(&client, "/v1/completions?format=raw", "{\"prompt\":[\"x\",\"y\"]}");
    check_refused(400, "unsupported_parameter"); /* raw has no word for which prompt */
    CHECK_EQ(rig->job_count, 0);
    close_all();
}

TEST(a_whole_answer_is_made_of_the_models_page_and_of_one_model)
{
    open_default();
    client_get(&client, "/v1/models", "");
    struct answer answer = client_answer(&client);
    CHECK_EQ(answer.status, 200);
    CHECK(slice_starts_with(text_slice(&answer.body),
                            SLICE("{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":"
                                  "\"model\",\"created\":0,\"owned_by\":\"millrace\",\"state\":"
                                  "\"ready\"")));
    client_forget(&client, &answer);
    client_get(&client, "/v1/models/m", "");
    answer = client_answer(&client);
    CHECK_EQ(answer.status, 200);
    CHECK(slice_starts_with(text_slice(&answer.body), SLICE("{\"id\":\"m\",")));
    client_forget(&client, &answer);
    client_get(&client, "/v1/models/other", "");
    check_refused(404, "model_not_found");
    close_all();
}
