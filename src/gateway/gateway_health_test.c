/* gateway_health_test - what /health says, and when /health/ready says yes: by the last token, or
 * by a probe that whoever asks waits for. */
#include "gateway/gateway_rig.h"
#include "gateway/ready.h"
#include "testing/test.h"

static struct gateway_rig *rig;

/* The model is ready and idle; its last token is that old. INT64_MAX: it made none yet. */
static void open_with_token(int64_t age_ms)
{
    rig = gateway_rig_open(NULL);
    rig->state.last_token_ms = age_ms < INT64_MAX ? clock_wall_ms() - age_ms : 0;
    rig_report(rig);
}

static bool body_has(const struct answer *answer, const char *needle)
{
    return slice_find(text_slice(&answer->body), slice_str(needle)) != SLICE_NPOS;
}

/* The answer that has come, or 0. */
static int take_status(struct client *asker)
{
    struct answer answer = client_answer(asker);
    int status = answer.status;
    if (status == 0) {
        answer_fini(&answer);
        return 0;
    }
    if (status == 503) {
        CHECK(body_has(&answer, body_has(&answer, "\"status\":\"loading\"")
                                    ? "\"progress_url\":\"/v1/loading/progress\""
                                    : "\"progress_url\":\"/health\""));
        CHECK_SLICE(answer_field(&answer, "Retry-After"), "1");
    }
    CHECK_SLICE(answer_field(&answer, "Cache-Control"), "no-store");
    client_forget(asker, &answer);
    return status;
}

static int ask_ready(void)
{
    client_get(&rig->client, "/health/ready", "");
    return take_status(&rig->client);
}

static void check_health(const char *status)
{
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "{\"status\":\"%s\",", status);
    client_get(&rig->client, "/health", "");
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    CHECK(slice_starts_with(text_slice(&answer.body), slice_str(wanted)));
    client_forget(&rig->client, &answer);
}

/* --- /health --- */

TEST(health_tells_how_the_default_model_is)
{
    static const struct {
        enum node_phase phase;
        const char *status;
    } cases[] = {{NODE_LOADING, "loading"},
                 {NODE_READY, "ok"},
                 {NODE_DRAINING, "degraded"},
                 {NODE_FAILED, "degraded"}};
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        rig->state.phase = cases[i].phase;
        rig_report(rig);
        check_health(cases[i].status);
        CHECK_EQ(ask_ready(), cases[i].phase == NODE_READY ? 200 : 503);
    }
    gateway_rig_close(rig);
}

TEST(health_is_loading_when_no_worker_of_the_default_model_has_reported)
{
    rig = gateway_rig_open(NULL);
    rig_advance_ms(&rig->http, 5001);
    check_health("loading");
    CHECK_EQ(ask_ready(), 503);
    rig->state.model = SLICE("other");
    rig_report(rig);
    check_health("loading");
    CHECK_EQ(ask_ready(), 503);
    gateway_rig_close(rig);
}

TEST(one_ready_node_is_enough)
{
    rig = gateway_rig_open(NULL);
    rig->state.node = SLICE("w2");
    rig->state.phase = NODE_FAILED;
    rig_report(rig);
    check_health("ok");
    CHECK_EQ(ask_ready(), 200);
    gateway_rig_close(rig);
}

/* --- /health of several workers, and of what waits at the manager --- */

static void manager_says(const struct manager_queue *queues, size_t count)
{
    struct manager_state state = {.manager = SLICE("manager-1"),
                                  .control = SLICE("inbox.m"),
                                  .queues = queues,
                                  .queue_count = count};
    struct text frame;
    struct wire_writer writer;
    text_init(&frame, 64 * 1024);
    wire_begin(&writer, &frame, WIRE_STATE);
    wire_open_record(&writer, &(struct wire_record){.type = WIRE_MANAGER_STATE});
    manager_state_encode(&state, &frame);
    wire_close_record(&writer);
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(bus_publish(rig->back, SLICE("state.manager"), SLICE(""), text_slice(&frame)));
    text_fini(&frame);
    rig_settle(&rig->http);
}

/* A number of the entry at `index` of /health. */
static int64_t health_number(size_t index, const char *name)
{
    json_t *body;
    client_get(&rig->client, "/health", "");
    struct answer answer = client_answer(&rig->client);
    CHECK_OK(json_read(text_slice(&answer.body), JSON_DEPTH_MAX, &body, NULL));
    const json_t *number =
        json_object_get(json_array_get(json_object_get(body, "models"), index), name);
    CHECK(json_is_integer(number));
    int64_t value = json_integer_value(number);
    json_decref(body);
    client_forget(&rig->client, &answer);
    return value;
}

TEST(health_sums_the_workers_of_a_model)
{
    rig = gateway_rig_open(NULL);
    rig->state.slots_busy = 3;
    rig->state.tokens_total = 100;
    rig_report(rig);
    rig->state.node = SLICE("w2");
    rig->state.slots = 4;
    rig->state.slots_busy = 1;
    rig->state.queued = 2;
    rig->state.parked = 1;
    rig_report(rig);
    rig->state.node = SLICE("w3");
    rig->state.model = SLICE("other");
    rig_report(rig);
    rig->state.node = SLICE("w4");
    rig->state.model = SLICE("m");
    rig->state.phase = NODE_LOADING;
    rig->state.slots = rig->state.slots_busy = rig->state.queued = rig->state.parked = 0;
    rig_report(rig);
    CHECK_EQ(health_number(0, "workers"), 2);
    CHECK_EQ(health_number(0, "slots"), 12);
    CHECK_EQ(health_number(0, "slots_busy"), 4);
    CHECK_EQ(health_number(0, "queued"), 2);
    CHECK_EQ(health_number(0, "parked"), 1);
    CHECK_EQ(health_number(0, "tokens_total"), 300);
    CHECK_EQ(health_number(1, "slots"), 4);
    check_health("ok");
    gateway_rig_close(rig);
}

static void manager_says_gone(struct slice node)
{
    struct text frame;
    struct wire_writer writer;
    text_init(&frame, 4096);
    wire_begin(&writer, &frame, WIRE_STATE);
    wire_add(&writer, &(struct wire_record){.type = WIRE_NODE_GONE, .payload = node});
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(bus_publish(rig->back, SLICE("state.nodes"), SLICE(""), text_slice(&frame)));
    text_fini(&frame);
    rig_settle(&rig->http);
}

TEST(a_worker_that_the_manager_says_is_gone_is_not_counted_and_may_come_back)
{
    rig = gateway_rig_open(NULL);
    rig->state.slots_busy = 3;
    rig_report(rig);
    struct slice node = rig->state.node;
    rig->state.node = SLICE("w2");
    rig->state.slots_busy = 1;
    rig_report(rig);
    manager_says_gone(SLICE("w3"));
    CHECK_EQ(health_number(0, "slots_busy"), 4);
    manager_says_gone(node);
    CHECK_EQ(health_number(0, "workers"), 1);
    CHECK_EQ(health_number(0, "slots_busy"), 1);
    rig->state.node = node;
    rig_report(rig);
    CHECK_EQ(health_number(0, "workers"), 2);
    gateway_rig_close(rig);
}

/* Its successor has not spoken yet; who asks meanwhile is not told that the model does not exist.
 */
TEST(the_model_of_a_worker_that_is_gone_is_known_until_it_would_be_dead)
{
    rig = gateway_rig_open(NULL);
    rig_advance_ms(&rig->http, GATEWAY_GREETING_MS);
    rig_report(rig);
    manager_says_gone(rig->state.node);
    rig_advance_ms(&rig->http, NODE_STATE_DEAD_MS);
    struct job *job = client_ask(&rig->client, "/v1/completions", "{\"prompt\":\"x\"}");
    job_fail(job, FAULT_MODEL_FAILED, "it is held back");
    CHECK(client_was_refused(&rig->client, 503, "model_failed"));
    rig_advance_ms(&rig->http, 1);
    client_post_str(&rig->client, "/v1/completions", "{\"prompt\":\"x\"}");
    CHECK(client_was_refused(&rig->client, 503, "loading"));
    gateway_rig_close(rig);
}

TEST(what_waits_at_the_manager_is_counted_while_it_speaks)
{
    const struct manager_queue queues[] = {{SLICE("other"), 9}, {SLICE("m"), 5}};
    rig = gateway_rig_open(NULL);
    rig->state.queued = 2;
    rig_report(rig);
    CHECK_EQ(health_number(0, "queued"), 2);
    manager_says(queues, 2);
    CHECK_EQ(health_number(0, "queued"), 7);
    rig_advance_ms(&rig->http, MANAGER_SILENT_MS);
    CHECK_EQ(health_number(0, "queued"), 7);
    rig_advance_ms(&rig->http, 1);
    CHECK_EQ(health_number(0, "queued"), 2);
    manager_says(queues, 1); /* the next one has none for this model */
    CHECK_EQ(health_number(0, "queued"), 2);
    gateway_rig_close(rig);
}

TEST(nonsense_from_a_manager_leaves_what_was_known)
{
    const struct manager_queue queue = {SLICE("m"), 5};
    struct text frame;
    struct wire_writer writer;
    rig = gateway_rig_open(NULL);
    manager_says(&queue, 1);
    text_init(&frame, 1024);
    wire_begin(&writer, &frame, WIRE_STATE);
    wire_open_record(&writer, &(struct wire_record){.type = WIRE_MANAGER_STATE});
    text_add(&frame, SLICE("{\"manager\":1}"));
    wire_close_record(&writer);
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(bus_publish(rig->back, SLICE("state.manager"), SLICE(""), text_slice(&frame)));
    CHECK_OK(bus_publish(rig->back, SLICE("state.manager"), SLICE(""), SLICE("noise")));
    rig_settle(&rig->http);
    CHECK_EQ(health_number(0, "queued"), 5);
    text_fini(&frame);
    gateway_rig_close(rig);
}

TEST(health_lists_every_model_in_whole_json_however_many_there_are)
{
    char name[32], detail[1365];
    rig = gateway_rig_open(NULL);
    memset(detail, 1, sizeof(detail)); /* six bytes each */
    rig->state.detail = slice_of(detail, sizeof(detail));
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "node-%d", i);
        rig->state.node = rig->state.model = slice_str(name);
        rig_report(rig);
    }
    client_get(&rig->client, "/health", "");
    struct answer answer = client_answer(&rig->client);
    struct err_note note = {""};
    json_t *body;
    CHECK_EQ(answer.status, 200);
    CHECK_OK(json_read(text_slice(&answer.body), JSON_DEPTH_MAX, &body, &note));
    CHECK_EQ(json_array_size(json_object_get(body, "models")), MODEL_TABLE_NODES_MAX);
    json_decref(body);
    client_forget(&rig->client, &answer);
    gateway_rig_close(rig);
}

TEST(live_is_200_whatever_the_models_do)
{
    static const char *const paths[] = {"/health/live", "/live"};
    rig = gateway_rig_open_alone(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        client_get(&rig->client, paths[i], "");
        struct answer answer = client_answer(&rig->client);
        CHECK_EQ(answer.status, 200);
        CHECK_SLICE(text_slice(&answer.body), "{\"status\":\"ok\"}");
        client_forget(&rig->client, &answer);
    }
    gateway_rig_close(rig);
}

/* --- /health/ready by the last token --- */

TEST(a_model_whose_last_token_is_younger_than_30_s_is_ready_without_a_probe)
{
    open_with_token(20000);
    CHECK_EQ(ask_ready(), 200);
    CHECK_EQ(rig->job_count, 0);
    client_get(&rig->client, "/ready", "");
    CHECK_EQ(take_status(&rig->client), 200);
    gateway_rig_close(rig);
}

/* --- /health/ready by a probe --- */

TEST(an_idle_model_whose_last_token_is_old_is_asked_for_one_and_the_answer_waits)
{
    static const int64_t ages_ms[] = {30000, 100000, INT64_MAX};
    for (size_t i = 0; i < ARRAY_COUNT(ages_ms); i++) {
        open_with_token(ages_ms[i]);
        CHECK_EQ(ask_ready(), 0);
        struct job *job = rig_last_job(rig);
        CHECK_EQ(job->request.max_tokens, 1);
        CHECK_SLICE(job->request.model, "m");
        CHECK_SLICE(job->request.label, "ready-probe");
        rig_live_ms(rig, 1999);
        CHECK_EQ(take_status(&rig->client), 0);
        job_start(job);
        job_delta(job, SLICE("x"));
        CHECK_EQ(take_status(&rig->client), 0);
        job_done(job, DONE_LENGTH);
        CHECK_EQ(take_status(&rig->client), 200);
        check_health("ok");
        gateway_rig_close(rig);
    }
}

TEST(a_good_probe_counts_as_a_token_for_30_s)
{
    open_with_token(INT64_MAX);
    CHECK_EQ(ask_ready(), 0);
    job_start(rig_last_job(rig));
    job_done(rig_last_job(rig), DONE_EOS); /* its end is a token too */
    CHECK_EQ(take_status(&rig->client), 200);
    rig_live_ms(rig, 29999);
    CHECK_EQ(ask_ready(), 200);
    check_health("ok");
    CHECK_EQ(rig->job_count, 1);
    rig_live_ms(rig, 1);
    CHECK_EQ(ask_ready(), 0);
    CHECK_EQ(rig->job_count, 2);
    gateway_rig_close(rig);
}

TEST(a_failed_probe_is_no_and_the_verdict_holds_for_10_s)
{
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        open_with_token(INT64_MAX);
        CHECK_EQ(ask_ready(), 0);
        if (cancelled)
            job_done(rig_last_job(rig), DONE_CANCELLED);
        else
            job_fail(rig_last_job(rig), FAULT_INTERNAL_ERROR, "the engine failed");
        CHECK_EQ(take_status(&rig->client), 503);
        check_health("degraded");
        rig_live_ms(rig, 9999);
        CHECK_EQ(ask_ready(), 503);
        CHECK_EQ(rig->job_count, 1);
        rig_live_ms(rig, 1);
        CHECK_EQ(ask_ready(), 0);
        CHECK_EQ(rig->job_count, 2);
        job_done(rig_last_job(rig), DONE_LENGTH);
        CHECK_EQ(take_status(&rig->client), 200);
        check_health("ok");
        gateway_rig_close(rig);
    }
}

TEST(nobody_waits_for_a_probe_longer_than_2_s_and_it_goes_on)
{
    open_with_token(INT64_MAX);
    CHECK_EQ(ask_ready(), 0);
    rig_live_ms(rig, 2000);
    CHECK_EQ(take_status(&rig->client), 503);
    CHECK_EQ(ask_ready(), 0); /* waits for the same one */
    CHECK_EQ(rig->job_count, 1);
    CHECK_EQ(rig_last_job(rig)->cancels, 0);
    rig_live_ms(rig, 1000);
    job_done(rig_last_job(rig), DONE_LENGTH); /* slow, but there */
    CHECK_EQ(take_status(&rig->client), 200);
    CHECK_EQ(ask_ready(), 200);
    gateway_rig_close(rig);
}

TEST(a_probe_is_given_up_after_10_s)
{
    open_with_token(INT64_MAX);
    CHECK_EQ(ask_ready(), 0);
    struct job *job = rig_last_job(rig);
    job_start(job); /* it beats, and makes nothing */
    rig_live_ms(rig, 9000);
    CHECK_EQ(take_status(&rig->client), 503);
    CHECK_EQ(ask_ready(), 0);
    rig_live_ms(rig, 1000);
    CHECK_EQ(take_status(&rig->client), 503);
    CHECK(job->cancels > 0);
    check_health("degraded");
    job_done(job, DONE_CANCELLED);
    CHECK_EQ(ask_ready(), 0); /* 10 s have passed since it began */
    CHECK_EQ(rig->job_count, 2);
    gateway_rig_close(rig);
}

TEST(a_busy_model_is_not_probed)
{
    static const struct {
        int64_t age_ms;
        int status;
    } cases[] = {{31000, 200}, {110000, 200}, {120000, 503}, {INT64_MAX, 200}};
    for (size_t i = 0; i < ARRAY_COUNT(cases) * 3; i++) {
        open_with_token(cases[i / 3].age_ms);
        uint32_t *loads[] = {&rig->state.slots_busy, &rig->state.queued, &rig->state.parked};
        *loads[i % 3] = 1;
        rig_report(rig);
        CHECK_EQ(ask_ready(), cases[i / 3].status);
        CHECK_EQ(rig->job_count, 0);
        gateway_rig_close(rig);
    }
}

TEST(a_model_that_requests_wait_for_is_not_probed)
{
    open_with_token(31000);
    manager_says(&(struct manager_queue){SLICE("m"), 1}, 1);
    CHECK_EQ(ask_ready(), 200);
    CHECK_EQ(rig->job_count, 0);
    gateway_rig_close(rig);
}

/* It may be another gateway's probe that it is busy with, or its first prompt, a long one. */
TEST(a_busy_model_that_never_made_a_token_is_trusted_for_2_min)
{
    open_with_token(INT64_MAX);
    rig->state.slots_busy = 1;
    rig_report(rig);
    CHECK_EQ(ask_ready(), 200);
    rig_live_ms(rig, 119999);
    CHECK_EQ(ask_ready(), 200);
    rig_live_ms(rig, 1);
    CHECK_EQ(ask_ready(), 503);
    rig->state.phase = NODE_LOADING; /* a new start, a new two minutes */
    rig_report(rig);
    CHECK_EQ(ask_ready(), 503);
    rig->state.phase = NODE_READY;
    rig_report(rig);
    CHECK_EQ(ask_ready(), 200);
    gateway_rig_close(rig);
}

TEST(a_busy_model_whose_probe_failed_is_not_trusted_until_it_makes_a_token)
{
    open_with_token(31000);
    CHECK_EQ(ask_ready(), 0);
    job_fail(rig_last_job(rig), FAULT_INTERNAL_ERROR, "no");
    CHECK_EQ(take_status(&rig->client), 503);
    rig->state.slots_busy = 1;
    rig_live_ms(rig, 20000);
    CHECK_EQ(ask_ready(), 503);
    CHECK_EQ(rig->job_count, 1);
    rig->state.last_token_ms = clock_wall_ms();
    rig_report(rig);
    CHECK_EQ(ask_ready(), 200);
    check_health("ok");
    gateway_rig_close(rig);
}

/* It makes no tokens and cannot be asked for one: neither its silence nor its load says anything.
 */
TEST(a_model_that_only_reads_is_ready_as_long_as_its_worker_speaks)
{
    rig = gateway_rig_open_alone(NULL);
    rig->state.reads_only = true;
    rig->state.last_token_ms = 0;
    rig->state.queued = 1; /* from the first moment that this gateway sees, and without a pause */
    rig_report(rig);
    CHECK_EQ(ask_ready(), 200);
    rig_live_ms(rig, 300000);
    CHECK_EQ(ask_ready(), 200);
    check_health("ok");
    CHECK_EQ(rig->job_count, 0);
    rig_advance_ms(&rig->http, NODE_STATE_DEAD_MS + 1);
    CHECK_EQ(ask_ready(), 503);
    gateway_rig_close(rig);
}

TEST(a_probe_that_is_refused_has_failed)
{
    open_with_token(INT64_MAX);
    CHECK_EQ(ask_ready(), 0);
    job_fail(rig_last_job(rig), FAULT_UNSUPPORTED_PARAMETER, "this model writes nothing");
    CHECK_EQ(take_status(&rig->client), 503);
    check_health("degraded");
    gateway_rig_close(rig);
}

TEST(a_client_that_leaves_while_it_waits_is_forgotten)
{
    struct client other;
    open_with_token(INT64_MAX);
    client_open(&other, &rig->http);
    client_get(&other, "/ready", "");
    CHECK_EQ(take_status(&other), 0);
    CHECK_EQ(ask_ready(), 0);
    CHECK_EQ(rig->job_count, 1);
    client_fini(&other);
    rig_settle(&rig->http);
    job_done(rig_last_job(rig), DONE_LENGTH);
    CHECK_EQ(take_status(&rig->client), 200);
    gateway_rig_close(rig);
}

TEST(one_more_than_may_wait_is_told_no_at_once)
{
    static struct client clients[READY_WAITING_MAX + 1];
    struct gateway_options options = gateway_rig_options();
    options.http.connections_max = READY_WAITING_MAX + 2;
    rig = gateway_rig_open(&options);
    rig->state.last_token_ms = 0;
    rig_report(rig);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        client_open(&clients[i], &rig->http);
        client_get(&clients[i], "/ready", "");
        CHECK_EQ(take_status(&clients[i]), i < READY_WAITING_MAX ? 0 : 503);
    }
    job_done(rig_last_job(rig), DONE_LENGTH);
    for (size_t i = 0; i < READY_WAITING_MAX; i++)
        CHECK_EQ(take_status(&clients[i]), 200);
    CHECK_EQ(rig->job_count, 1);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++)
        client_fini(&clients[i]);
    gateway_rig_close(rig);
}

TEST(a_drain_tells_those_who_wait_no)
{
    open_with_token(INT64_MAX);
    CHECK_EQ(ask_ready(), 0);
    rig_drain(rig, 1000);
    CHECK_EQ(take_status(&rig->client), 503);
    CHECK(rig_last_job(rig)->cancels > 0);
    client_fini(&rig->client);
    rig_settle(&rig->http);
    CHECK_EQ(rig->drained, 1);
    gateway_rig_close(rig);
}

TEST(a_gateway_may_be_closed_while_somebody_waits_for_a_probe)
{
    open_with_token(INT64_MAX);
    CHECK_EQ(ask_ready(), 0);
    gateway_rig_close(rig);
}

TEST(a_probe_that_cannot_be_asked_for_is_no)
{
    struct gateway_options options = gateway_rig_options();
    struct client other;
    options.ask.asks_max = 1;
    rig = gateway_rig_open(&options);
    rig->state.last_token_ms = 0;
    rig_report(rig);
    client_open(&other, &rig->http);
    client_post_str(&other, "/v1/infer", "{\"prompt\":\"x\"}");
    client_settle(&other);
    CHECK_EQ(ask_ready(), 503);
    CHECK_EQ(rig->job_count, 1);
    client_fini(&other);
    gateway_rig_close(rig);
}
