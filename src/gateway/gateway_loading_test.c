/* gateway_loading_test - /v1/loading/progress: who is told what of models that load, and that one
 * who does not read keeps nobody up and is told the present at last. */
#include "gateway/gateway_rig.h"
#include "gateway/loading_page.h"
#include "testing/test.h"

#define PATH  "/v1/loading/progress"
#define DONE  "data: [DONE]\n\n"
#define READY "data: {\"stage\":\"ready\",\"model\":\"m\"}\n\n"

static struct gateway_rig *rig;

static void report(enum node_phase phase, float fraction)
{
    rig->state.phase = phase;
    rig->state.load_fraction = fraction;
    rig_report(rig);
}

/* A quarter of the model is there: 32 layers, 4 GiB. */
static void open_while_loading(void)
{
    rig = gateway_rig_open_alone(NULL);
    rig->state.layers = 32;
    rig->state.size_bytes = (uint64_t)4 << 30;
    report(NODE_LOADING, 0.25f);
}

static void check_body(struct client *client, const char *wanted, bool is_whole)
{
    struct answer answer = client_answer(client);
    CHECK_EQ(answer.status, 200);
    CHECK_SLICE(answer_field(&answer, "Content-Type"), "text/event-stream");
    CHECK_SLICE(answer_field(&answer, "Cache-Control"), "no-cache");
    CHECK_SLICES(text_slice(&answer.body), slice_str(wanted));
    CHECK_EQ(answer.is_whole, is_whole);
    answer_fini(&answer);
}

static size_t count_in_body(struct client *client, const char *needle)
{
    struct answer answer = client_answer(client);
    size_t count = answer_count(&answer, needle);
    answer_fini(&answer);
    return count;
}

/* Its last event. */
static bool ends_with(struct client *client, const char *end)
{
    struct answer answer = client_answer(client);
    bool does = slice_ends_with(text_slice(&answer.body), slice_str(end));
    answer_fini(&answer);
    return does;
}

#define QUARTER                                                                                    \
    "data: {\"stage\":\"loading_to_vram\",\"model\":\"m\",\"layers_loaded\":8,\"layers_total\":"   \
    "32,\"vram_mb\":1024,\"device\":0,\"fraction\":0.25}\n\n"
#define HALF                                                                                       \
    "data: {\"stage\":\"loading_to_vram\",\"model\":\"m\",\"layers_loaded\":16,\"layers_total\":"  \
    "32,\"vram_mb\":2048,\"device\":0,\"fraction\":0.5}\n\n"

TEST(a_load_is_told_from_where_it_is_until_it_is_over)
{
    static const char *const targets[] = {PATH, PATH "?model=m"};
    for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
        open_while_loading();
        client_get(&rig->client, targets[i], "");
        check_body(&rig->client, QUARTER, false);
        CHECK_EQ(loading_subscribers(rig->gateway->loading), 1);
        report(NODE_LOADING, 0.25f); /* once a second, news or not */
        report(NODE_LOADING, 0.5f);
        check_body(&rig->client, QUARTER HALF, false);
        report(NODE_READY, 1);
        check_body(&rig->client, QUARTER HALF READY DONE, true);
        CHECK_EQ(loading_subscribers(rig->gateway->loading), 0);
        gateway_rig_close(rig);
    }
}

TEST(a_model_that_is_ready_is_told_as_that_at_once_if_it_is_named)
{
    rig = gateway_rig_open(NULL);
    client_get(&rig->client, PATH "?model=m", "");
    check_body(&rig->client, READY DONE, true);
    gateway_rig_close(rig);
}

TEST(when_nothing_loads_there_is_nothing_to_follow)
{
    rig = gateway_rig_open(NULL);
    rig_live_ms(rig, GATEWAY_GREETING_MS);
    client_get(&rig->client, PATH, "");
    struct answer answer = client_answer(&rig->client);
    CHECK(answer_field(&answer, "Retry-After").data == NULL);
    answer_fini(&answer);
    CHECK(client_was_refused(&rig->client, 503, "not_loading"));
    client_get(&rig->client, PATH "?model=none", "");
    CHECK(client_was_refused(&rig->client, 404, "model_not_found"));
    client_get(&rig->client, PATH "?model=%ff", "");
    CHECK(client_was_refused(&rig->client, 400, "invalid_value"));
    gateway_rig_close(rig);
}

/* Nobody has spoken yet: what is asked for by name may be there. */
TEST(a_new_gateway_waits_for_the_first_word_of_workers)
{
    struct client other;
    rig = gateway_rig_open_alone(NULL);
    client_get(&rig->client, PATH, "");
    struct answer answer = client_answer(&rig->client);
    CHECK_SLICE(answer_field(&answer, "Retry-After"), "1");
    client_forget(&rig->client, &answer);
    client_open(&other, &rig->http);
    client_get(&other, PATH "?model=none", "");
    client_get(&rig->client, PATH "?model=m", "");
    check_body(&rig->client, "", false);
    report(NODE_READY, 1);
    check_body(&rig->client, READY DONE, true);
    check_body(&other, "", false);
    rig_live_ms(rig, 2 * GATEWAY_GREETING_MS);
    check_body(&other,
               "data: {\"stage\":\"error\",\"model\":\"none\",\"message\":\"no worker serves this "
               "model\"}\n\n" DONE,
               true);
    client_fini(&other);
    gateway_rig_close(rig);
}

static void report_of(struct slice model, enum node_phase phase, struct slice detail)
{
    struct node_state mine = rig->state;
    rig->state.node = rig->state.model = model;
    rig->state.detail = detail;
    rig->state.phase = phase;
    rig_report(rig);
    rig->state = mine;
}

TEST(without_a_name_all_that_load_are_followed_to_the_last)
{
    open_while_loading();
    report_of(SLICE("there"), NODE_READY, SLICE(""));
    client_get(&rig->client, PATH, "");
    check_body(&rig->client, QUARTER, false);
    report_of(SLICE("late"), NODE_LOADING, SLICE(""));
    CHECK_EQ(count_in_body(&rig->client, "\"model\":\"late\""), 1);
    report(NODE_READY, 1);
    CHECK(ends_with(&rig->client, READY));
    report_of(SLICE("late"), NODE_FAILED, SLICE("no \"memory\""));
    CHECK(ends_with(&rig->client, "data: {\"stage\":\"error\",\"model\":\"late\",\"message\":\"no "
                                  "\\\"memory\\\"\"}\n\n" DONE));
    CHECK_EQ(count_in_body(&rig->client, "\"model\":\"there\""), 0);
    gateway_rig_close(rig);
}

/* The first review is a turn behind the question, and another frame may come before it. */
TEST(a_load_that_is_over_before_its_first_review_is_told)
{
    int turns = 0;
    open_while_loading();
    client_get(&rig->client, PATH, "");
    while (loading_subscribers(rig->gateway->loading) == 0 && turns++ < 100)
        (void)loop_turn(rig->http.net.loop, false);
    report(NODE_READY, 1);
    check_body(&rig->client, READY DONE, true);
    gateway_rig_close(rig);
}

TEST(a_reason_that_is_long_is_cut_at_a_whole_character)
{
    struct text detail;
    text_init(&detail, 4096);
    text_add_byte(&detail, 'x');
    while (detail.len < 1000)
        text_add_str(&detail, "\xc3\xa9");
    open_while_loading();
    client_get(&rig->client, PATH "?model=m", "");
    client_settle(&rig->client);
    rig->state.detail = text_slice(&detail);
    report(NODE_FAILED, 0);
    CHECK_EQ(count_in_body(&rig->client, "\xc3\xa9"), 255); /* 511 of 512 bytes */
    CHECK(ends_with(&rig->client, "\xc3\xa9\"}\n\n" DONE));
    text_fini(&detail);
    gateway_rig_close(rig);
}

/* Between the death of a worker and the first word of the next one nothing is known. */
TEST(a_worker_that_goes_silent_is_no_end_until_its_model_is_gone)
{
    open_while_loading();
    client_get(&rig->client, PATH, "");
    check_body(&rig->client, QUARTER, false);
    rig_advance_ms(&rig->http, NODE_STATE_DEAD_MS);
    check_body(&rig->client, QUARTER, false);
    rig_advance_ms(&rig->http, 2000);
    CHECK(ends_with(&rig->client, "\"no worker serves this model\"}\n\n" DONE));
    gateway_rig_close(rig);
}

TEST(a_worker_that_stops_ends_its_load)
{
    open_while_loading();
    client_get(&rig->client, PATH, "");
    check_body(&rig->client, QUARTER, false);
    report(NODE_DRAINING, 0.25f);
    CHECK(ends_with(&rig->client, "\"the model's worker is stopping\"}\n\n" DONE));
    gateway_rig_close(rig);
}

/* --- those who do not read, and those who leave --- */

/* With a name of so many bytes, each 6 in JSON, the kernel's buffers are full after some hundreds
 * of events. */
TEST(who_does_not_read_misses_the_middle_and_nobody_else_does)
{
    enum { EVENTS = 500 };
    char name[250];
    struct client slow;
    memset(name, '\x01', sizeof(name));
    rig = gateway_rig_open_alone(NULL);
    rig->state.model = slice_of(name, sizeof(name));
    report(NODE_LOADING, 0);
    client_open_narrow(&slow, &rig->http, 4096);
    client_get(&slow, PATH, "");
    client_get(&rig->client, PATH, "");
    rig_settle(&rig->http);
    for (int i = 1; i <= EVENTS; i++) {
        report(NODE_LOADING, (float)i / (EVENTS + 1));
        client_read(&rig->client);
    }
    report(NODE_READY, 1);
    CHECK_EQ(count_in_body(&rig->client, "loading_to_vram"), EVENTS + 1);
    CHECK(ends_with(&rig->client, DONE));
    CHECK_EQ(loading_subscribers(rig->gateway->loading), 1);
    size_t seen = count_in_body(&slow, "loading_to_vram");
    CHECK(seen > 0 && seen < EVENTS);
    CHECK(ends_with(&slow, DONE));
    CHECK_EQ(loading_subscribers(rig->gateway->loading), 0);
    client_fini(&slow);
    gateway_rig_close(rig);
}

TEST(those_that_leave_are_forgotten)
{
    struct client leaving;
    open_while_loading();
    client_get(&rig->client, PATH, "");
    for (int way = 0; way < WAYS; way++) {
        client_open(&leaving, &rig->http);
        client_get(&leaving, PATH, "");
        client_settle(&leaving);
        CHECK_EQ(loading_subscribers(rig->gateway->loading), 2);
        client_leave(&leaving, (enum way)way);
        CHECK_EQ(loading_subscribers(rig->gateway->loading), 1);
        client_fini(&leaving);
    }
    report(NODE_READY, 1);
    check_body(&rig->client, QUARTER READY DONE, true);
    gateway_rig_close(rig);
}

TEST(one_more_than_may_follow_is_refused)
{
    struct gateway_options options = gateway_rig_options();
    static struct client clients[LOADING_SUBSCRIBERS_MAX];
    options.http.connections_max = LOADING_SUBSCRIBERS_MAX + 2;
    rig = gateway_rig_open_alone(&options);
    report(NODE_LOADING, 0);
    for (int i = 0; i < LOADING_SUBSCRIBERS_MAX; i++) {
        client_open(&clients[i], &rig->http);
        client_get(&clients[i], PATH, "");
    }
    rig_settle(&rig->http);
    CHECK_EQ(loading_subscribers(rig->gateway->loading), LOADING_SUBSCRIBERS_MAX);
    client_get(&rig->client, PATH, "");
    CHECK(client_was_refused(&rig->client, 503, "overloaded"));
    client_leave(&clients[0], BY_FIN);
    client_get(&rig->client, PATH "?model=m", "");
    CHECK_EQ(count_in_body(&rig->client, "loading_to_vram"), 1);
    for (int i = 0; i < LOADING_SUBSCRIBERS_MAX; i++)
        client_fini(&clients[i]);
    gateway_rig_close(rig);
}

/* A tenant must not shut the feed for the others. */
TEST(one_key_follows_so_many_times_and_others_go_on)
{
    static struct client clients[LOADING_PER_KEY_MAX];
    static const char alice[] = "x-api-key: alice\r\n", bob[] = "x-api-key: bob\r\n";
    struct gateway_options options = gateway_rig_options();
    struct gateway_key keys[] = {{.name = "alice", .tenant = "a"}, {.name = "bob", .tenant = "b"}};
    sha256_of(SLICE("alice"), keys[0].sha256);
    sha256_of(SLICE("bob"), keys[1].sha256);
    options.live.keys = keys;
    options.live.key_count = ARRAY_COUNT(keys);
    rig = gateway_rig_open_alone(&options);
    report(NODE_LOADING, 0);
    for (int i = 0; i < LOADING_PER_KEY_MAX; i++) {
        client_open(&clients[i], &rig->http);
        client_get(&clients[i], PATH, alice);
    }
    rig_settle(&rig->http);
    CHECK_EQ(loading_subscribers(rig->gateway->loading), LOADING_PER_KEY_MAX);
    client_get(&rig->client, PATH "?model=m", alice);
    CHECK(client_was_refused(&rig->client, 429, "rate_limited"));
    client_leave(&clients[0], BY_FIN);
    client_get(&rig->client, PATH, alice);
    CHECK_EQ(count_in_body(&rig->client, "loading_to_vram"), 1);
    client_fini(&clients[0]);
    client_open(&clients[0], &rig->http);
    client_get(&clients[0], PATH, bob);
    CHECK_EQ(count_in_body(&clients[0], "loading_to_vram"), 1);
    for (int i = 0; i < LOADING_PER_KEY_MAX; i++)
        client_fini(&clients[i]);
    gateway_rig_close(rig);
}

/* --- time, and the end of the gateway --- */

TEST(silence_is_filled_with_pings_and_ends_without_done)
{
    open_while_loading();
    client_get(&rig->client, PATH, "");
    check_body(&rig->client, QUARTER, false);
    rig_live_ms(rig, 10 * 1000);
    check_body(&rig->client, QUARTER ": ping\n", false);
    report(NODE_LOADING, 0.5f); /* news: it begins anew */
    rig_live_ms(rig, LOADING_IDLE_MS - 1000);
    CHECK_EQ(loading_subscribers(rig->gateway->loading), 1);
    rig_live_ms(rig, 2000);
    CHECK_EQ(loading_subscribers(rig->gateway->loading), 0);
    struct answer answer = client_answer(&rig->client);
    CHECK(answer.is_whole);
    CHECK_EQ(answer_count(&answer, "[DONE]"), 0);
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(a_gateway_that_drains_ends_what_is_followed_without_done)
{
    struct client late;
    open_while_loading();
    client_open(&late, &rig->http);
    client_get(&rig->client, PATH, "");
    client_settle(&rig->client);
    client_send_str(&late, "GET " PATH " HTTP/1.1\r\n");
    client_settle(&late);
    rig_drain(rig, 5000);
    check_body(&rig->client, QUARTER, true);
    client_send_str(&late, "Host: localhost\r\n\r\n");
    CHECK(client_was_refused(&late, 503, "draining"));
    client_fini(&late);
    gateway_rig_close(rig);
}

TEST(a_gateway_that_closes_takes_no_leave)
{
    open_while_loading();
    client_get(&rig->client, PATH, "");
    client_settle(&rig->client);
    gateway_rig_close(rig);
}

TEST(head_is_answered_with_what_get_would_begin_with)
{
    open_while_loading();
    client_send_str(&rig->client, "HEAD " PATH " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_settle(&rig->client);
    CHECK_EQ(client_count(&rig->client, "Content-Type: text/event-stream"), 1);
    CHECK_EQ(client_count(&rig->client, "data:"), 0);
    CHECK_EQ(loading_subscribers(rig->gateway->loading), 0);
    gateway_rig_close(rig);
}
