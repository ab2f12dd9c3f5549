/* gateway_keys_test - what the gateway does with API keys: whom it refuses and when, whose the
 * request is that it sends on, how many one key may have, and what a reload changes. */
#include "gateway/gateway_rig.h"
#include "testing/test.h"

#include <stdio.h>

#define STREAM "{\"prompt\":\"x\",\"stream\":true}"
#define ALICE  "Authorization: Bearer alice-secret\r\n"
#define BOB    "x-api-key: bob-secret\r\n"

static struct gateway_rig *rig;

/* alice and her notebook share a tenant. */
static struct gateway_key *three_keys(void)
{
    static struct gateway_key keys[] = {{.name = "alice", .tenant = "a"},
                                        {.name = "bob", .tenant = "b"},
                                        {.name = "notebook", .tenant = "a"}};
    sha256_of(SLICE("alice-secret"), keys[0].sha256);
    sha256_of(SLICE("bob-secret"), keys[1].sha256);
    sha256_of(SLICE("notebook-secret"), keys[2].sha256);
    return keys;
}

static void open_with_keys(uint32_t streams_per_key)
{
    struct gateway_options options = gateway_rig_options();
    options.live.keys = three_keys();
    options.live.key_count = 3;
    options.live.streams_per_key = streams_per_key;
    rig = gateway_rig_open(&options);
}

static void post(struct client *client, const char *fields)
{
    client_post(client, "/v1/infer", fields, SLICE(STREAM));
    client_settle(client);
}

static void send_line(struct client *client, const char *line, const char *fields)
{
    char head[1024];
    snprintf(head, sizeof(head), "%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", line, fields);
    client_send_str(client, head);
}

/* --- who is let in --- */

TEST(without_a_key_the_head_is_refused_before_the_body)
{
    open_with_keys(256);
    client_send_str(&rig->client, "POST /v1/infer HTTP/1.1\r\nHost: localhost\r\n"
                                  "Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n");
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 401);
    CHECK_SLICE(answer_field(&answer, "WWW-Authenticate"), "Bearer");
    CHECK_SLICE(answer_field(&answer, "Connection"), "close");
    CHECK_EQ(answer_count(&answer, "\"type\":\"authentication_error\""), 1);
    answer_fini(&answer);
    CHECK(client_was_refused(&rig->client, 401, "missing_api_key"));
    CHECK_EQ(rig->job_count, 0);
    CHECK_EQ(gateway_stats(rig->gateway).errors, 1);
    gateway_rig_close(rig);
}

TEST(an_unknown_key_is_refused_and_not_said_again)
{
    open_with_keys(256);
    client_get(&rig->client, "/v1/models", "Authorization: Bearer alice-secreT\r\n");
    struct answer answer = client_answer(&rig->client);
    CHECK_SLICE(answer_field(&answer, "WWW-Authenticate"), "Bearer error=\"invalid_token\"");
    CHECK_EQ(answer_count(&answer, "secre"), 0);
    answer_fini(&answer);
    CHECK(client_was_refused(&rig->client, 401, "invalid_api_key"));
    client_get(&rig->client, "/v1/models", BOB); /* the connection is still good */
    CHECK_EQ(client_status(&rig->client), 200);
    gateway_rig_close(rig);
}

TEST(everything_but_health_and_preflight_needs_a_key)
{
    static const char *const closed[] = {"GET /v1/models",
                                         "GET /v1/models/m",
                                         "POST /v1/chat/completions",
                                         "HEAD /v1/infer",
                                         "GET /metrics",
                                         "GET /metrics.json",
                                         "GET /v1/requests",
                                         "GET /",
                                         "GET /nothing",
                                         "DELETE /health",
                                         "PUT /v1/models",
                                         "GET //health",
                                         "GET /v1/infer?x",
                                         "GET /health/../metrics",
                                         "GET /v1/infer?prompt=x&api_key=bob-secret"};
    static const char *const open[] = {"GET /health",        "HEAD /health", "GET /health/live",
                                       "GET /live",          "GET /ready",   "GET /health/ready",
                                       "GET /health?verbose"};
    open_with_keys(256);
    for (size_t i = 0; i < ARRAY_COUNT(closed); i++) {
        struct client client;
        client_open(&client, &rig->http);
        send_line(&client, closed[i], "");
        if (client_status(&client) != 401)
            CHECK_STR(closed[i], "a request that is answered 401");
        client_fini(&client);
    }
    for (size_t i = 0; i < ARRAY_COUNT(open); i++) {
        struct client client;
        client_open(&client, &rig->http);
        send_line(&client, open[i], "");
        if (client_status(&client) != 200)
            CHECK_STR(open[i], "a request that is answered 200");
        client_fini(&client);
    }
    send_line(&rig->client, "OPTIONS /v1/infer",
              "Origin: http://localhost:3000\r\nAccess-Control-Request-Method: POST\r\n");
    CHECK_EQ(client_status(&rig->client), 204);
    CHECK_EQ(rig->job_count, 0);
    gateway_rig_close(rig);
}

TEST(with_a_key_what_is_not_there_is_404_and_405_again)
{
    open_with_keys(256);
    client_get(&rig->client, "/nothing", ALICE);
    CHECK(client_was_refused(&rig->client, 404, "not_found"));
    send_line(&rig->client, "PUT /v1/models", ALICE);
    CHECK(client_was_refused(&rig->client, 405, "method_not_allowed"));
    gateway_rig_close(rig);
}

TEST(two_keys_that_differ_are_refused)
{
    open_with_keys(256);
    client_get(&rig->client, "/v1/models", ALICE BOB);
    CHECK(client_was_refused(&rig->client, 400, "ambiguous_api_key"));
    client_get(&rig->client, "/v1/models", ALICE "x-api-key: alice-secret\r\n");
    CHECK_EQ(client_status(&rig->client), 200);
    gateway_rig_close(rig);
}

TEST(a_browser_is_told_the_401_too)
{
    open_with_keys(256);
    client_get(&rig->client, "/v1/models", "Origin: http://localhost:3000\r\n");
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 401);
    CHECK_SLICE(answer_field(&answer, "Access-Control-Allow-Origin"), "http://localhost:3000");
    answer_fini(&answer);
    gateway_rig_close(rig);
}

/* --- whose it is --- */

TEST(the_tenant_of_the_key_goes_with_the_request)
{
    open_with_keys(256);
    post(&rig->client, BOB);
    struct job *job = rig_last_job(rig);
    CHECK_SLICE(job->request.tenant, "b");
    CHECK_STR(rig_reply(rig)->key->name, "bob");
    job_start(job);
    job_done(job, DONE_EOS);
    struct answer answer = client_answer(&rig->client);
    client_forget(&rig->client, &answer);
    post(&rig->client, "authorization: bearer notebook-secret\r\n");
    CHECK_SLICE(rig_last_job(rig)->request.tenant, "a");
    gateway_rig_close(rig);
}

TEST(without_keys_everybody_may_and_is_nobody)
{
    rig = gateway_rig_open(NULL);
    post(&rig->client, "Authorization: Bearer not-needed\r\nx-api-key: other\r\n");
    CHECK_SLICE(rig_last_job(rig)->request.tenant, "");
    CHECK(rig_reply(rig)->key == NULL);
    gateway_rig_close(rig);
}

/* --- how many --- */

TEST(a_key_has_at_most_so_many_requests_in_flight)
{
    enum { MAX = 3 };
    struct client clients[MAX];
    open_with_keys(MAX);
    for (int i = 0; i < MAX; i++) {
        client_open(&clients[i], &rig->http);
        post(&clients[i], ALICE);
    }
    CHECK_EQ(rig->job_count, MAX);
    post(&rig->client, ALICE);
    struct answer answer = client_answer(&rig->client);
    CHECK_SLICE(answer_field(&answer, "Retry-After"), "1");
    CHECK_EQ(answer_count(&answer, "\"type\":\"rate_limit_error\""), 1);
    answer_fini(&answer);
    CHECK(client_was_refused(&rig->client, 429, "rate_limited"));
    CHECK_EQ(rig->job_count, MAX);
    struct client other;
    client_open(&other, &rig->http);
    client_get(&other, "/v1/models", ALICE); /* what asks no model is not counted */
    CHECK_EQ(client_status(&other), 200);
    client_fini(&other);
    client_open(&other, &rig->http);
    post(&other, BOB); /* nor is another key */
    CHECK_EQ(rig->job_count, MAX + 1);
    client_leave(&clients[0], BY_FIN);
    client_fini(&rig->client);
    client_open(&rig->client, &rig->http);
    post(&rig->client, ALICE);
    CHECK_EQ(rig->job_count, MAX + 2);
    client_fini(&other);
    for (int i = 0; i < MAX; i++)
        client_fini(&clients[i]);
    gateway_rig_close(rig);
}

/* Two heads are let in together; the body that comes second finds no room any more. */
TEST(the_count_is_looked_at_again_with_the_body)
{
    static const char head[] =
        "POST /v1/infer HTTP/1.1\r\nHost: localhost\r\n" ALICE "Content-Length: 28\r\n\r\n";
    struct client second;
    open_with_keys(1);
    client_open(&second, &rig->http);
    client_send_str(&rig->client, head);
    client_send_str(&second, head);
    rig_settle(&rig->http);
    client_send_str(&rig->client, STREAM);
    rig_settle(&rig->http);
    CHECK_EQ(rig->job_count, 1);
    client_send_str(&second, STREAM);
    CHECK(client_was_refused(&second, 429, "rate_limited"));
    CHECK_EQ(rig->job_count, 1);
    client_fini(&second);
    gateway_rig_close(rig);
}

/* --- reload --- */

static void reload(const struct gateway_key *keys, size_t count, const char *hosts)
{
    char volatile_hosts[64]; /* gone when the gateway uses them */
    snprintf(volatile_hosts, sizeof(volatile_hosts), "%s", hosts);
    gateway_reload(rig->gateway, &(struct gateway_live){.keys = keys,
                                                        .key_count = count,
                                                        .allowed_hosts = volatile_hosts,
                                                        .allowed_origins = "",
                                                        .streams_per_key = 1});
    memset(volatile_hosts, 'x', sizeof(volatile_hosts));
}

TEST(a_reload_lets_in_and_shuts_out_and_what_runs_goes_on)
{
    struct gateway_key carol = {.name = "carol", .tenant = "c"};
    sha256_of(SLICE("carol-secret"), carol.sha256);
    open_with_keys(256);
    post(&rig->client, BOB);
    struct job *job = rig_last_job(rig);
    job_start(job);
    job_delta(job, SLICE("x"));
    reload(&carol, 1, "");
    memset(&carol, 0, sizeof(carol)); /* it was copied */
    struct client client;
    client_open(&client, &rig->http);
    client_get(&client, "/v1/models", BOB);
    CHECK(client_was_refused(&client, 401, "invalid_api_key"));
    client_get(&client, "/v1/models", "x-api-key: carol-secret\r\n");
    CHECK_EQ(client_status(&client), 200);
    client_fini(&client);
    job_delta(job, SLICE("y"));
    job_done(job, DONE_EOS);
    struct answer answer = client_answer(&rig->client);
    CHECK_SLICE(text_slice(&answer.body),
                "data: {\"token\":\"x\"}\n\ndata: {\"token\":\"y\"}\n\ndata: [DONE]\n\n");
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(a_key_that_goes_between_head_and_body_is_refused)
{
    open_with_keys(256);
    client_send_str(&rig->client, "POST /v1/infer HTTP/1.1\r\nHost: localhost\r\n" BOB
                                  "Content-Length: 28\r\n\r\n");
    rig_settle(&rig->http);
    reload(three_keys(), 1, "");
    client_send_str(&rig->client, STREAM);
    CHECK(client_was_refused(&rig->client, 401, "invalid_api_key"));
    CHECK_EQ(rig->job_count, 0);
    gateway_rig_close(rig);
}

TEST(a_reload_keeps_the_count_of_a_key_and_takes_the_new_bound)
{
    struct client client;
    open_with_keys(256);
    post(&rig->client, ALICE);
    reload(three_keys(), 3, "");
    client_open(&client, &rig->http);
    post(&client, ALICE);
    CHECK(client_was_refused(&client, 429, "rate_limited"));
    client_fini(&client);
    gateway_rig_close(rig);
}

TEST(a_reload_changes_the_hosts_that_are_answered_for)
{
    static const char question[] = "GET /live HTTP/1.1\r\nHost: box.example\r\n\r\n";
    open_with_keys(256);
    client_send_str(&rig->client, question);
    CHECK(client_was_refused(&rig->client, 421, "wrong_host"));
    reload(NULL, 0, "box.example");
    client_send_str(&rig->client, question);
    CHECK_EQ(client_status(&rig->client), 200);
    gateway_rig_close(rig);
}
