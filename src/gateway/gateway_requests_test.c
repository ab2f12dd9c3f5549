/* gateway_requests_test - what is in flight and its cancelling: what the manager is asked, what
 * becomes of its answer, and that nobody waits for one that does not come. */
#include "ask/call.h"
#include "gateway/gateway_rig.h"
#include "gateway/requests_page.h"
#include "testing/test.h"
#include "wire/call.h"

#include <stdio.h>

#define ID "0123456789abcdef0123456789abcdef"

static struct gateway_rig *rig;

/* The manager: writes down what it is asked, and answers with what the test says. */
static struct manager {
    struct bus_subscription *calls;
    const char *answer; /* NULL: silence */
    char question[512]; /* the last one */
    int count;
} manager;

static void answer_call(uint64_t number, struct slice to)
{
    struct text frame;
    text_init(&frame, 64 * 1024);
    CHECK_OK(wire_write_answer(&frame, number, slice_str(manager.answer)));
    CHECK_OK(bus_publish(rig->back, to, SLICE(""), text_slice(&frame)));
    text_fini(&frame);
}

static void on_call(void *ctx, const struct bus_message *message)
{
    struct wire_reader reader;
    struct wire_record record;
    (void)ctx;
    CHECK_OK(wire_open(message->frame, &reader));
    CHECK_OK(wire_next(&reader, &record));
    CHECK_EQ(record.type, WIRE_CALL);
    manager.count++;
    snprintf(manager.question, sizeof(manager.question), SLICE_FMT, SLICE_ARG(record.payload));
    if (manager.answer)
        answer_call(record.stream, message->reply);
}

static void open_with_manager(const struct gateway_options *options, const char *answer)
{
    rig = gateway_rig_open(options);
    manager = (struct manager){.answer = answer};
    CHECK_OK(
        bus_subscribe(rig->back, SLICE("manager.calls"), SLICE(""), on_call, NULL, &manager.calls));
}

static void close_all(void)
{
    bus_unsubscribe(&manager.calls);
    gateway_rig_close(rig);
}

static void send_delete(struct client *client, const char *path, const char *fields)
{
    char head[512];
    snprintf(head, sizeof(head), "DELETE %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path, fields);
    client_send_str(client, head);
}

/* --- the list --- */

TEST(the_list_is_what_the_manager_says_in_the_form_of_the_surface)
{
    open_with_manager(
        NULL, "{\"requests\":[{\"id\":\"" ID "\",\"model\":\"m\",\"tenant\":\"\",\"session\":\"s\","
              "\"label\":\"\",\"state\":\"queued\",\"position\":3,\"eta_ms\":450,\"tokens\":0,"
              "\"age_ms\":12,"
              "\"worker\":\"\"},{\"id\":\"" ID "\",\"model\":\"m\",\"tenant\":\"a\",\"session\":"
              "\"\",\"label\":\"l\\n\",\"state\":\"running\",\"position\":0,\"tokens\":7,"
              "\"age_ms\":99,\"worker\":\"w1\",\"newer\":true}],\"is_cut\":true}");
    client_get(&rig->client, "/v1/requests", "");
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    CHECK_SLICE(answer_field(&answer, "Cache-Control"), "no-store");
    CHECK_SLICE(text_slice(&answer.body),
                "{\"object\":\"list\",\"data\":[{\"id\":\"" ID "\",\"object\":\"request\","
                "\"model\":\"m\",\"tenant\":null,\"session\":\"s\",\"label\":null,\"state\":"
                "\"queued\",\"queue_position\":3,\"eta_ms\":450,\"tokens\":0,\"age_ms\":12,"
                "\"worker\":null},"
                "{\"id\":\"" ID "\",\"object\":\"request\",\"model\":\"m\",\"tenant\":\"a\","
                "\"session\":null,\"label\":\"l\\n\",\"state\":\"running\",\"tokens\":7,"
                "\"age_ms\":99,\"worker\":\"w1\"}],\"has_more\":true}");
    CHECK_STR(manager.question, "{\"call\":\"requests\",\"tenant\":\"\",\"limit\":1000}");
    client_forget(&rig->client, &answer);
    close_all();
}

TEST(a_limit_is_passed_on_or_refused_by_name)
{
    static const char *const good[] = {"1", "1000"};
    static const char *const bad[] = {"0", "1001", "-1", "x", "", "1e2", "99999999999999999999"};
    char target[64];
    open_with_manager(NULL, "{\"requests\":[],\"is_cut\":false}");
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        snprintf(target, sizeof(target), "/v1/requests?limit=%s", good[i]);
        client_get(&rig->client, target, "");
        struct answer answer = client_answer(&rig->client);
        CHECK_SLICE(text_slice(&answer.body),
                    "{\"object\":\"list\",\"data\":[],\"has_more\":false}");
        client_forget(&rig->client, &answer);
        snprintf(target, sizeof(target), "\"limit\":%s}", good[i]);
        CHECK(strstr(manager.question, target) != NULL);
    }
    manager.count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        snprintf(target, sizeof(target), "/v1/requests?limit=%s", bad[i]);
        client_get(&rig->client, target, "");
        CHECK(client_was_refused(&rig->client, 400, "invalid_value"));
    }
    CHECK_EQ(manager.count, 0);
    close_all();
}

TEST(an_answer_that_is_none_is_our_error)
{
    static const char *const answers[] = {"{\"error\":\"no such call\"}", "{}",
                                          "{\"requests\":{}}"};
    open_with_manager(NULL, "");
    for (size_t i = 0; i < ARRAY_COUNT(answers); i++) {
        manager.answer = answers[i];
        client_get(&rig->client, "/v1/requests", "");
        CHECK(client_was_refused(&rig->client, 500, "internal_error"));
    }
    close_all();
}

/* --- cancelling --- */

TEST(a_cancel_is_204_whether_there_was_something_or_not)
{
    static const char *const paths[] = {"/v1/requests/" ID, "/v1/inference/" ID,
                                        "/v1/requests/0123456789ABCDEF0123456789abcdef"};
    static const char *const answers[] = {"{\"found\":true}", "{\"found\":false}"};
    open_with_manager(NULL, "");
    for (size_t i = 0; i < ARRAY_COUNT(paths) * 2; i++) {
        manager.answer = answers[i % 2];
        manager.question[0] = '\0';
        send_delete(&rig->client, paths[i / 2], "");
        struct answer answer = client_answer(&rig->client);
        CHECK_EQ(answer.status, 204);
        CHECK_EQ(answer.body.len, 0);
        client_forget(&rig->client, &answer);
        CHECK_STR(manager.question, "{\"call\":\"cancel\",\"tenant\":\"\",\"id\":\"" ID "\"}");
    }
    close_all();
}

TEST(what_is_not_an_id_is_refused_and_nobody_asked)
{
    static const char *const paths[] = {
        "/v1/requests/1", "/v1/requests/" ID "0", "/v1/requests/0123456789abcdef0123456789abcdeg",
        "/v1/inference/job-1", "/v1/requests/00000000000000000000000000000000"};
    open_with_manager(NULL, "{\"found\":true}");
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        send_delete(&rig->client, paths[i], "");
        CHECK(client_was_refused(&rig->client, 400, "invalid_value"));
    }
    send_delete(&rig->client, "/v1/requests", "");
    CHECK(client_was_refused(&rig->client, 405, "method_not_allowed"));
    CHECK_EQ(manager.count, 0);
    close_all();
}

TEST(a_key_asks_for_its_tenant_alone)
{
    struct gateway_key key = {.name = "alice", .tenant = "team \"a\""};
    struct gateway_options options = gateway_rig_options();
    sha256_of(SLICE("secret"), key.sha256);
    options.live.keys = &key;
    options.live.key_count = 1;
    open_with_manager(&options, "{\"found\":false,\"requests\":[]}");
    send_delete(&rig->client, "/v1/requests/" ID, "");
    CHECK(client_was_refused(&rig->client, 401, "missing_api_key"));
    client_get(&rig->client, "/v1/requests", "");
    CHECK(client_was_refused(&rig->client, 401, "missing_api_key"));
    CHECK_EQ(manager.count, 0);
    send_delete(&rig->client, "/v1/requests/" ID, "x-api-key: secret\r\n");
    CHECK_EQ(client_status(&rig->client), 204);
    CHECK(strstr(manager.question, "\"tenant\":\"team \\\"a\\\"\"") != NULL);
    manager.question[0] = '\0';
    client_get(&rig->client, "/v1/requests", "x-api-key: secret\r\n");
    rig_settle(&rig->http);
    CHECK(strstr(manager.question, "\"tenant\":\"team \\\"a\\\"\"") != NULL);
    close_all();
}

/* --- no answer --- */

TEST(a_silent_manager_is_asked_again_and_after_2_s_it_is_503)
{
    open_with_manager(NULL, NULL);
    client_get(&rig->client, "/v1/requests", "");
    rig_settle(&rig->http);
    CHECK_EQ(manager.count, 1);
    rig_live_ms(rig, REQUESTS_WAIT_MS - 1);
    CHECK(manager.count > 1);
    CHECK_EQ(client_status(&rig->client), 0);
    rig_live_ms(rig, 1);
    struct answer answer = client_answer(&rig->client);
    CHECK_SLICE(answer_field(&answer, "Retry-After"), "1");
    answer_fini(&answer);
    CHECK(client_was_refused(&rig->client, 503, "manager_unavailable"));
    close_all();
}

TEST(without_a_manager_it_is_503_and_with_a_late_one_an_answer)
{
    open_with_manager(NULL, "{\"found\":true}");
    bus_unsubscribe(&manager.calls);
    send_delete(&rig->client, "/v1/requests/" ID, "");
    rig_live_ms(rig, REQUESTS_WAIT_MS);
    CHECK(client_was_refused(&rig->client, 503, "manager_unavailable"));
    send_delete(&rig->client, "/v1/requests/" ID, "");
    rig_live_ms(rig, 1000);
    CHECK_EQ(client_status(&rig->client), 0);
    CHECK_OK(
        bus_subscribe(rig->back, SLICE("manager.calls"), SLICE(""), on_call, NULL, &manager.calls));
    rig_live_ms(rig, 500);
    CHECK_EQ(client_status(&rig->client), 204);
    close_all();
}

TEST(a_client_that_leaves_is_forgotten)
{
    open_with_manager(NULL, NULL);
    client_get(&rig->client, "/v1/requests", "");
    rig_settle(&rig->http);
    client_leave(&rig->client, BY_FIN);
    CHECK_EQ(gateway_stats(rig->gateway).connections, 0);
    int asked = manager.count;
    manager.answer = "{\"requests\":[]}";
    rig_live_ms(rig, REQUESTS_WAIT_MS);
    CHECK_EQ(manager.count, asked); /* nor is the question repeated */
    close_all();
}

TEST(a_gateway_may_be_closed_while_somebody_waits_for_the_manager)
{
    open_with_manager(NULL, NULL);
    client_get(&rig->client, "/v1/requests", "");
    rig_settle(&rig->http);
    close_all();
}

TEST(a_drain_lets_who_waits_for_the_manager_wait)
{
    open_with_manager(NULL, NULL);
    client_get(&rig->client, "/v1/requests", "");
    rig_settle(&rig->http);
    rig_drain(rig, 5000);
    CHECK_EQ(rig->drained, 0);
    manager.answer = "{\"requests\":[]}";
    rig_live_ms(rig, 500);
    CHECK_EQ(client_status(&rig->client), 200);
    client_leave(&rig->client, BY_FIN);
    CHECK_EQ(rig->drained, 1);
    close_all();
}

TEST(one_more_than_may_wait_is_refused_at_once)
{
    static struct client clients[CALLS_MAX];
    struct gateway_options options = gateway_rig_options();
    options.http.connections_max = CALLS_MAX + 1;
    open_with_manager(&options, NULL);
    for (int i = 0; i < CALLS_MAX; i++) {
        client_open(&clients[i], &rig->http);
        client_get(&clients[i], "/v1/requests", "");
        rig_settle(&rig->http);
    }
    client_get(&rig->client, "/v1/requests", "");
    CHECK(client_was_refused(&rig->client, 503, "overloaded"));
    for (int i = 0; i < CALLS_MAX; i++)
        client_fini(&clients[i]);
    rig_settle(&rig->http);
    client_get(&rig->client, "/v1/requests", "");
    rig_settle(&rig->http);
    CHECK_EQ(client_status(&rig->client), 0); /* there is room again */
    close_all();
}
