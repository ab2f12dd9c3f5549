/* gateway_routes_test - who may ask, for what, how: hosts and origins, paths and methods, bodies
 * that cannot be read. */
#include "gateway/gateway_rig.h"
#include "testing/test.h"

#define CHAT       "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define CHAT_WHOLE "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"

static struct gateway_rig *rig;

/* --- who may ask --- */

TEST(a_foreign_origin_is_refused_before_any_work)
{
    rig = gateway_rig_open(NULL);
    client_post(&rig->client, "/v1/chat/completions", "Origin: http://evil.example\r\n",
                SLICE(CHAT));
    CHECK(client_was_refused(&rig->client, 403, "forbidden"));
    CHECK_EQ(rig->job_count, 0);
    client_fini(&rig->client);
    client_open(&rig->client, &rig->http);
    client_get(&rig->client, "/v1/infer?prompt=x&stream=true", "Origin: http://evil.example\r\n");
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 403);
    CHECK(answer_field(&answer, "Access-Control-Allow-Origin").data == NULL);
    answer_fini(&answer);
    CHECK_EQ(rig->job_count, 0);
    gateway_rig_close(rig);
}

TEST(another_host_is_421)
{
    rig = gateway_rig_open(NULL);
    client_send_str(&rig->client, "GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    CHECK(client_was_refused(&rig->client, 421, "wrong_host"));
    gateway_rig_close(rig);
}

TEST(every_kind_of_answer_names_an_origin_that_may_ask)
{
    static const char origin[] = "Origin: http://localhost:3000\r\n";
    rig = gateway_rig_open(NULL);
    client_get(&rig->client, "/health", origin);
    struct answer answer = client_answer(&rig->client);
    CHECK_SLICE(answer_field(&answer, "Access-Control-Allow-Origin"), "http://localhost:3000");
    CHECK_SLICE(answer_field(&answer, "Vary"), "Origin");
    client_forget(&rig->client, &answer);
    client_get(&rig->client, "/nothing", origin);
    answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 404);
    CHECK_SLICE(answer_field(&answer, "Access-Control-Allow-Origin"), "http://localhost:3000");
    client_forget(&rig->client, &answer);
    client_get(&rig->client, "/health", ""); /* the word of the last request is not this one's */
    answer = client_answer(&rig->client);
    CHECK(answer_field(&answer, "Access-Control-Allow-Origin").data == NULL);
    client_forget(&rig->client, &answer);
    client_post(&rig->client, "/v1/chat/completions", origin, SLICE(CHAT));
    client_settle(&rig->client);
    job_start(rig_last_job(rig));
    job_delta(rig_last_job(rig), SLICE("x"));
    answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    CHECK_SLICE(answer_field(&answer, "Access-Control-Allow-Origin"), "http://localhost:3000");
    answer_fini(&answer);
    gateway_rig_close(rig);
}

/* --- paths and methods --- */

static void check_options(const char *target, const char *allow)
{
    char head[256];
    snprintf(head, sizeof(head),
             "OPTIONS %s HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:1\r\n\r\n",
             target);
    client_send_str(&rig->client, head);
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 204);
    CHECK_SLICES(answer_field(&answer, "Allow"), slice_str(allow));
    CHECK_SLICES(answer_field(&answer, "Access-Control-Allow-Methods"), slice_str(allow));
    CHECK_SLICE(answer_field(&answer, "Access-Control-Max-Age"), "86400");
    CHECK_SLICE(answer_field(&answer, "Access-Control-Allow-Origin"), "http://localhost:1");
    client_forget(&rig->client, &answer);
}

TEST(options_says_what_a_path_takes)
{
    rig = gateway_rig_open(NULL);
    check_options("/v1/chat/completions", "POST, OPTIONS");
    check_options("/v1/infer?prompt=x", "GET, HEAD, POST, OPTIONS");
    check_options("/health", "GET, HEAD, OPTIONS");
    gateway_rig_close(rig);
}

/* A browser that may not even ask never learns that the answer would have been 404. */
TEST(options_of_the_server_or_of_no_path_says_what_any_path_takes)
{
    rig = gateway_rig_open(NULL);
    check_options("*", "GET, HEAD, POST, DELETE, OPTIONS");
    check_options("/nothing", "GET, HEAD, POST, DELETE, OPTIONS");
    gateway_rig_close(rig);
}

TEST(a_wrong_method_is_405_with_allow)
{
    rig = gateway_rig_open(NULL);
    client_get(&rig->client, "/v1/chat/completions", "");
    struct answer answer = client_answer(&rig->client);
    CHECK_SLICE(answer_field(&answer, "Allow"), "POST, OPTIONS");
    answer_fini(&answer);
    CHECK(client_was_refused(&rig->client, 405, "method_not_allowed"));
    client_get(&rig->client, "/v1/nothing", "");
    CHECK(client_was_refused(&rig->client, 404, "not_found"));
    gateway_rig_close(rig);
}

TEST(head_on_health_is_its_get_without_the_body)
{
    rig = gateway_rig_open(NULL);
    client_send_str(&rig->client, "HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_settle(&rig->client);
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    CHECK(answer_field(&answer, "Content-Length").len > 0);
    CHECK_EQ(rig->client.in.len, answer.head.len); /* and nothing behind it */
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(head_never_makes_a_model_work)
{
    rig = gateway_rig_open(NULL);
    client_send_str(&rig->client, "HEAD /v1/infer?prompt=x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    CHECK_SLICE(answer_field(&answer, "Content-Type"), "text/event-stream");
    CHECK_EQ(rig->client.in.len, answer.head.len);
    CHECK_EQ(rig->job_count, 0);
    answer_fini(&answer);
    gateway_rig_close(rig);
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
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        client_post(&rig->client, "/v1/chat/completions", cases[i].fields, SLICE(CHAT));
        CHECK(client_was_refused(&rig->client, 415, cases[i].code));
        client_fini(&rig->client);
        client_open(&rig->client, &rig->http);
    }
    CHECK_EQ(rig->job_count, 0);
    gateway_rig_close(rig);
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
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        client_post(&rig->client, "/v1/chat/completions", fields[i], SLICE(CHAT_WHOLE));
        client_settle(&rig->client);
        CHECK_EQ(rig->job_count, i + 1);
        job_fail(rig_last_job(rig), FAULT_QUEUE_FULL, "full");
        CHECK(client_was_refused(&rig->client, 429, "queue_full"));
    }
    gateway_rig_close(rig);
}

TEST(what_the_server_refuses_itself_looks_like_every_other_error)
{
    struct gateway_options options = gateway_rig_options();
    options.http.head_ms = 1000;
    rig = gateway_rig_open(&options);
    client_send_str(&rig->client, "GET /health HTTP/1.1\r\n\r\n");
    CHECK(client_was_refused(&rig->client, 400, "bad_request"));
    client_fini(&rig->client);
    client_open(&rig->client, &rig->http);
    client_send_str(&rig->client, "POST /v1/infer HTTP/1.1\r\nHost: localhost\r\n"
                                  "Content-Length: 1048577\r\n\r\n");
    CHECK(client_was_refused(&rig->client, 413, "body_too_large"));
    client_fini(&rig->client);
    client_open(&rig->client, &rig->http);
    client_send_str(&rig->client, "GET /heal");
    rig_settle(&rig->http);
    rig_advance_ms(&rig->http, 1000);
    CHECK(client_was_refused(&rig->client, 408, "request_timeout"));
    gateway_rig_close(rig);
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
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        client_post_str(&rig->client, "/v1/completions", cases[i].body);
        CHECK(client_was_refused(&rig->client, 400, cases[i].code));
    }
    CHECK_EQ(rig->job_count, 0);
    CHECK_EQ(gateway_stats(rig->gateway).connections, 1);
    gateway_rig_close(rig);
}

TEST(a_format_that_is_not_raw_is_refused_by_name)
{
    rig = gateway_rig_open(NULL);
    client_post_str(&rig->client, "/v1/completions?format=xml", "{\"prompt\":\"x\"}");
    CHECK(client_was_refused(&rig->client, 400, "invalid_value"));
    client_post_str(&rig->client, "/v1/completions?format=raw", "{\"prompt\":[\"x\",\"y\"]}");
    CHECK(client_was_refused(&rig->client, 400,
                             "unsupported_parameter")); /* raw has no word for which prompt */
    CHECK_EQ(rig->job_count, 0);
    gateway_rig_close(rig);
}

TEST(a_whole_answer_is_made_of_the_models_page_and_of_one_model)
{
    rig = gateway_rig_open(NULL);
    client_get(&rig->client, "/v1/models", "");
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    CHECK(slice_starts_with(text_slice(&answer.body),
                            SLICE("{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":"
                                  "\"model\",\"created\":0,\"owned_by\":\"millrace\",\"state\":"
                                  "\"ready\"")));
    client_forget(&rig->client, &answer);
    client_get(&rig->client, "/v1/models/m", "");
    answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    CHECK(slice_starts_with(text_slice(&answer.body), SLICE("{\"id\":\"m\",")));
    client_forget(&rig->client, &answer);
    client_get(&rig->client, "/v1/models/other", "");
    CHECK(client_was_refused(&rig->client, 404, "model_not_found"));
    gateway_rig_close(rig);
}

/* Of a model whose worker says it; a fingerprint that is not known yet is null. */
TEST(a_models_page_says_what_answers_depend_on)
{
    static const struct slice known =
        SLICE(",\"numerics\":{\"profile\":\"exact\",\"determinism\":\"exact\",\"width_max\":8,"
              "\"fingerprint\":\"0123\"}}");
    static const struct slice unknown =
        SLICE(",\"numerics\":{\"profile\":\"exact\",\"determinism\":\"unknown\",\"width_max\":0,"
              "\"fingerprint\":null}}");
    rig = gateway_rig_open(NULL);
    client_get(&rig->client, "/v1/models/m", "");
    struct answer answer = client_answer(&rig->client);
    CHECK(slice_find(text_slice(&answer.body), SLICE("numerics")) == SLICE_NPOS);
    client_forget(&rig->client, &answer);
    rig->state.numerics = (struct node_numerics){.profile = SLICE("exact")};
    rig_report(rig);
    client_get(&rig->client, "/v1/models/m", "");
    answer = client_answer(&rig->client);
    CHECK(slice_find(text_slice(&answer.body), unknown) != SLICE_NPOS);
    client_forget(&rig->client, &answer);
    rig->state.numerics.determinism = NODE_EXACT;
    rig->state.numerics.width_max = 8;
    rig->state.numerics.fingerprint = SLICE("0123");
    rig_report(rig);
    client_get(&rig->client, "/v1/models/m", "");
    answer = client_answer(&rig->client);
    CHECK(slice_find(text_slice(&answer.body), known) != SLICE_NPOS);
    client_forget(&rig->client, &answer);
    gateway_rig_close(rig);
}

static struct node_numerics exact_numerics(void)
{
    return (struct node_numerics){.profile = SLICE("exact"),
                                  .determinism = NODE_EXACT,
                                  .width_max = 8,
                                  .fingerprint = SLICE("0123")};
}

/* What /v1/models says when a worker that is exact, of width 8 and "0123" is joined by another. */
static void check_two(enum node_phase phase, struct node_numerics other, const char *expected)
{
    struct text page;
    rig = gateway_rig_open(NULL);
    rig->state.numerics = exact_numerics();
    rig_report(rig);
    rig->state.node = SLICE("w2");
    rig->state.phase = phase;
    rig->state.numerics = other;
    rig_report(rig);
    client_get(&rig->client, "/v1/models/m", "");
    struct answer answer = client_answer(&rig->client);
    text_init(&page, 4096);
    text_add_f(&page, ",\"numerics\":%s}", expected);
    CHECK(slice_ends_with(text_slice(&answer.body), text_slice(&page)));
    text_fini(&page);
    client_forget(&rig->client, &answer);
    gateway_rig_close(rig);
}

/* Which worker gets a request is not the client's to know: what one of them does not promise,
 * nobody may rely on. */
TEST(a_models_page_says_what_holds_for_all_workers_that_serve)
{
    static const char same[] = "{\"profile\":\"exact\",\"determinism\":\"exact\",\"width_max\":8,"
                               "\"fingerprint\":\"0123\"}";
    struct node_numerics other = exact_numerics();
    check_two(NODE_READY, other, same);
    other.width_max = 2;
    check_two(NODE_READY, other,
              "{\"profile\":\"exact\",\"determinism\":\"exact\",\"width_max\":2,"
              "\"fingerprint\":\"0123\"}");
    other.determinism = NODE_COMPATIBLE;
    check_two(NODE_READY, other,
              "{\"profile\":\"exact\",\"determinism\":\"compatible\",\"width_max\":2,"
              "\"fingerprint\":\"0123\"}");
    check_two(NODE_LOADING, other, same);
    check_two(NODE_DRAINING, other, same);
    check_two(NODE_READY, (struct node_numerics){.profile = SLICE("exact")},
              "{\"profile\":\"exact\",\"determinism\":\"unknown\",\"width_max\":0,"
              "\"fingerprint\":null}");
    check_two(NODE_READY, (struct node_numerics){0},
              "{\"profile\":null,\"determinism\":\"unknown\",\"width_max\":0,"
              "\"fingerprint\":null}");
}

TEST(workers_whose_numbers_differ_are_not_exact_together)
{
    struct node_numerics other = exact_numerics();
    other.fingerprint = SLICE("4567");
    check_two(NODE_READY, other,
              "{\"profile\":\"exact\",\"determinism\":\"compatible\",\"width_max\":8,"
              "\"fingerprint\":null}");
    other.profile = SLICE("fast");
    other.determinism = NODE_COMPATIBLE;
    check_two(NODE_READY, other,
              "{\"profile\":null,\"determinism\":\"compatible\",\"width_max\":8,"
              "\"fingerprint\":null}");
}

TEST(a_model_with_a_slash_in_its_name_is_found_escaped_or_not)
{
    static const char *const targets[] = {"/v1/models/org/m:q4", "/v1/models/org%2Fm%3Aq4"};
    rig = gateway_rig_open_alone(NULL);
    rig->state.model = SLICE("org/m:q4");
    rig_report(rig);
    for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
        client_get(&rig->client, targets[i], "");
        struct answer answer = client_answer(&rig->client);
        CHECK_EQ(answer.status, 200);
        CHECK(slice_starts_with(text_slice(&answer.body), SLICE("{\"id\":\"org/m:q4\",")));
        client_forget(&rig->client, &answer);
    }
    client_get(&rig->client, "/v1/models/org", "");
    CHECK(client_was_refused(&rig->client, 404, "model_not_found"));
    gateway_rig_close(rig);
}

TEST(a_wish_for_a_stream_that_outlives_its_connection_is_refused_by_name)
{
    rig = gateway_rig_open(NULL);
    client_post(&rig->client, "/v1/completions", "X-Stream-Resume: 30\r\n",
                SLICE("{\"prompt\":\"x\"}"));
    client_settle(&rig->client);
    CHECK_EQ(client_count(&rig->client, "\"param\":\"X-Stream-Resume\""), 1);
    CHECK(client_was_refused(&rig->client, 400, "unsupported_parameter"));
    CHECK_EQ(rig->job_count, 0);
    client_fini(&rig->client); /* its body was not read: the connection closes */
    client_open(&rig->client, &rig->http);
    client_get(&rig->client, "/v1/models", "X-Stream-Resume: 30\r\n"); /* no stream, no wish */
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    client_forget(&rig->client, &answer);
    client_post(&rig->client, "/v1/completions", "X-Stream-Resume: 0\r\nIdempotency-Key: a\r\n",
                SLICE("{\"prompt\":\"x\"}"));
    rig_settle(&rig->http);
    CHECK_EQ(rig->job_count, 1);
    gateway_rig_close(rig);
}
