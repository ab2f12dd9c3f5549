/* gateway_head_test - when the head of an answer leaves, that a refusal before it is a real status,
 * and what it says: which model, whose id. */
#include "gateway/gateway_rig.h"
#include "testing/test.h"

#define CHAT "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define CHAT_PROGRESS                                                                              \
    "{\"stream\":true,\"stream_options\":{\"include_progress\":true},"                             \
    "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define CHAT_WHOLE "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"

static struct gateway_rig *rig;

/* --- when the head leaves (architecture.md) --- */

TEST(the_head_leaves_with_the_first_delta_and_not_before)
{
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(&rig->client, "/v1/chat/completions", CHAT);
    CHECK_EQ(client_status(&rig->client), 0);
    job_start(job);
    rig_live_ms(rig, 2999);
    CHECK_EQ(client_status(&rig->client), 0);
    job_delta(job, SLICE("x"));
    CHECK_EQ(client_status(&rig->client), 200);
    gateway_rig_close(rig);
}

TEST(a_delta_without_text_yet_does_not_send_the_head)
{
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(&rig->client, "/v1/chat/completions", CHAT);
    job_start(job);
    job_delta(job, SLICE(""));
    CHECK_EQ(client_status(&rig->client), 0);
    job_delta(job, SLICE("\xf0\x9f\x98\x80"));
    CHECK_EQ(client_status(&rig->client), 200);
    gateway_rig_close(rig);
}

TEST(the_head_leaves_head_hold_after_a_worker_took_the_request)
{
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(&rig->client, "/v1/chat/completions", CHAT);
    rig_live_ms(rig, 4000); /* nobody took it yet */
    CHECK_EQ(client_status(&rig->client), 0);
    job_accept(job);
    rig_live_ms(rig, 2999);
    CHECK_EQ(client_status(&rig->client), 0);
    rig_live_ms(rig, 1);
    CHECK_EQ(client_status(&rig->client), 200);
    gateway_rig_close(rig);
}

TEST(the_head_leaves_with_a_progress_event_that_was_wished)
{
    static const struct event progress[] = {
        {.type = EVENT_QUEUED, .queued = {.position = 2}},
        {.type = EVENT_LOADING, .loading = {.fraction = 0.5f}},
        {.type = EVENT_PREFILL, .prefill = {.done_tokens = 1, .total_tokens = 9}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(progress); i++) {
        rig = gateway_rig_open(NULL);
        struct job *job = client_ask(&rig->client, "/v1/chat/completions", CHAT_PROGRESS);
        CHECK(job->request.want_progress);
        job_accept(job);
        CHECK_EQ(client_status(&rig->client), 0);
        job_say(job, &progress[i]);
        CHECK_EQ(client_status(&rig->client), 200);
        CHECK_EQ(client_count(&rig->client, "\"progress\":{\"state\":"), 1);
        gateway_rig_close(rig);
    }
}

TEST(a_progress_event_that_nobody_wished_changes_nothing)
{
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(&rig->client, "/v1/chat/completions", CHAT);
    CHECK(!job->request.want_progress);
    job_accept(job);
    job_say(job, &(struct event){.type = EVENT_QUEUED, .queued = {.position = 2}});
    CHECK_EQ(client_status(&rig->client), 0);
    gateway_rig_close(rig);
}

/* A worker that gives up is asked for again elsewhere (ask.h rule 6): there it is the same. Returns
 * how often it was told. */
static int fail_wherever_it_runs(struct job *job, enum fault fault)
{
    for (int told = 1;; told++) {
        uint32_t epoch = job->request.epoch;
        job_accept(job);
        job_fail(job, fault, "no");
        if (job->request.epoch == epoch)
            return told;
    }
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
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct job *job =
            client_ask(&rig->client, "/v1/chat/completions", i % 2 ? CHAT : CHAT_WHOLE);
        bool is_given_up = cases[i].fault == FAULT_DRAINING || cases[i].fault == FAULT_WORKER_LOST;
        CHECK_EQ(fail_wherever_it_runs(job, cases[i].fault), is_given_up ? 4 : 1);
        struct answer answer = client_answer(&rig->client);
        CHECK_EQ(answer.status, cases[i].status);
        CHECK_SLICES(answer_field(&answer, "Retry-After"), slice_str(cases[i].retry_after));
        CHECK_EQ(answer_field(&answer, "X-Request-Id").len, 32);
        answer_fini(&answer);
        CHECK(client_was_refused(&rig->client, cases[i].status, cases[i].code));
        CHECK(rig_is_idle(rig));
    }
    gateway_rig_close(rig);
}

TEST(retry_after_is_what_the_worker_computed_in_whole_seconds_rounded_up)
{
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(&rig->client, "/v1/chat/completions", CHAT);
    job_say(job, &(struct event){.type = EVENT_ERROR,
                                 .error = {.fault = FAULT_QUEUE_FULL,
                                           .message = SLICE("full"),
                                           .retry_after_ms = 2001}});
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 429);
    CHECK_SLICE(answer_field(&answer, "Retry-After"), "3");
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(nobody_takes_the_request_and_that_is_a_503_with_a_time_to_come_back)
{
    rig = gateway_rig_open(NULL);
    (void)client_ask(&rig->client, "/v1/chat/completions", CHAT);
    rig_live_ms(rig, 5000);
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 503);
    CHECK(slice_find(text_slice(&answer.body), SLICE("\"code\":\"loading\"")) != SLICE_NPOS);
    CHECK_SLICE(answer_field(&answer, "Retry-After"), "1");
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(the_head_of_a_stream_tells_proxies_and_caches_to_keep_off)
{
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(&rig->client, "/v1/chat/completions", CHAT);
    job_start(job);
    job_delta(job, SLICE("x"));
    struct answer answer = client_answer(&rig->client);
    CHECK_SLICE(answer_field(&answer, "Content-Type"), "text/event-stream");
    CHECK_SLICE(answer_field(&answer, "Cache-Control"), "no-cache");
    CHECK_SLICE(answer_field(&answer, "X-Accel-Buffering"), "no");
    CHECK_SLICE(answer_field(&answer, "Connection"), "keep-alive");
    CHECK_SLICE(answer_field(&answer, "Transfer-Encoding"), "chunked");
    answer_fini(&answer);
    gateway_rig_close(rig);
}

/* --- which model --- */

TEST(a_request_that_names_no_model_gets_the_default_one)
{
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(&rig->client, "/v1/chat/completions", CHAT);
    CHECK_SLICE(job->request.model, "m");
    gateway_rig_close(rig);
}

TEST(an_unknown_model_is_404_while_another_is_there)
{
    rig = gateway_rig_open(NULL);
    rig_advance_ms(&rig->http, GATEWAY_GREETING_MS);
    client_post_str(&rig->client, "/v1/completions", "{\"model\":\"gpt-9\",\"prompt\":\"x\"}");
    CHECK(client_was_refused(&rig->client, 404, "model_not_found"));
    CHECK_EQ(rig->job_count, 0);
    gateway_rig_close(rig);
}

/* One that takes the place of another knows nobody yet, and its clients shall not notice. */
TEST(a_gateway_that_has_just_come_leaves_the_model_to_the_manager)
{
    rig = gateway_rig_open_alone(NULL);
    rig_advance_ms(&rig->http, GATEWAY_GREETING_MS - 1);
    struct job *job = client_ask(&rig->client, "/v1/chat/completions", CHAT);
    job_fail(job, FAULT_MODEL_NOT_FOUND, "there is no such model");
    CHECK(client_was_refused(&rig->client, 404, "model_not_found"));
    gateway_rig_close(rig);
}

TEST(before_any_worker_has_reported_a_model_is_loading)
{
    rig = gateway_rig_open_alone(NULL);
    rig_advance_ms(&rig->http, GATEWAY_GREETING_MS);
    client_post_str(&rig->client, "/v1/chat/completions", CHAT);
    struct answer answer = client_answer(&rig->client);
    CHECK_SLICE(answer_field(&answer, "Retry-After"), "1");
    answer_fini(&answer);
    CHECK(client_was_refused(&rig->client, 503, "loading"));
    gateway_rig_close(rig);
}

/* The workers of a host start side by side: the small one reports first. */
TEST(the_default_model_is_loading_and_not_unknown_until_its_worker_reports)
{
    struct gateway_options options = gateway_rig_options();
    options.default_model = "llama";
    rig = gateway_rig_open(&options);
    rig_advance_ms(&rig->http, GATEWAY_GREETING_MS);
    client_post_str(&rig->client, "/v1/completions", "{\"prompt\":\"x\"}");
    CHECK(client_was_refused(&rig->client, 503, "loading"));
    client_post_str(&rig->client, "/v1/completions", "{\"model\":\"llama\",\"prompt\":\"x\"}");
    CHECK(client_was_refused(&rig->client, 503, "loading"));
    gateway_rig_close(rig);
}

TEST(a_worker_that_fell_silent_is_forgotten)
{
    rig = gateway_rig_open(NULL);
    rig_advance_ms(&rig->http, 5000);
    struct job *job = client_ask(&rig->client, "/v1/chat/completions", CHAT);
    CHECK_EQ(job->submits, 1);
    job_fail(job, FAULT_DRAINING, "gone");
    CHECK(client_was_refused(&rig->client, 503, "draining"));
    rig_advance_ms(&rig->http, 1);
    client_post_str(&rig->client, "/v1/chat/completions", CHAT);
    CHECK(client_was_refused(&rig->client, 503, "loading"));
    CHECK_EQ(rig->job_count, 1);
    gateway_rig_close(rig);
}

/* The worker itself says why: it knows more than the last broadcast. */
TEST(a_loading_or_failed_model_is_asked_all_the_same)
{
    static const enum node_phase phases[] = {NODE_LOADING, NODE_FAILED, NODE_DRAINING};
    for (size_t i = 0; i < ARRAY_COUNT(phases); i++) {
        rig = gateway_rig_open(NULL);
        rig->state.phase = phases[i];
        rig_report(rig);
        struct job *job = client_ask(&rig->client, "/v1/chat/completions", CHAT);
        job_fail(job, FAULT_MODEL_FAILED, "the file is truncated");
        CHECK(client_was_refused(&rig->client, 503, "model_failed"));
        gateway_rig_close(rig);
    }
}

/* Frames that are none, of another kind, or hold no state of a node. */
TEST(nonsense_on_the_subject_of_node_states_changes_nothing)
{
    struct text frame;
    struct wire_writer writer;
    rig = gateway_rig_open(NULL);
    text_init(&frame, 4096);
    for (int i = 0; i < 4; i++) {
        text_clear(&frame);
        wire_begin(&writer, &frame, i == 0 ? WIRE_EVENTS : WIRE_STATE);
        wire_add(&writer, &(struct wire_record){.type = i == 1 ? WIRE_CANCEL : WIRE_NODE_STATE,
                                                .payload = SLICE("{\"node\":7}")});
        CHECK_OK(wire_finish(&writer));
        size_t bytes = i == 3 ? frame.len - 1 : frame.len;
        CHECK_OK(bus_publish(rig->back, SLICE("state.nodes"), SLICE(""),
                             slice_first(text_slice(&frame), bytes)));
    }
    rig_settle(&rig->http);
    CHECK_EQ(client_ask(&rig->client, "/v1/chat/completions", CHAT)->submits, 1);
    text_fini(&frame);
    gateway_rig_close(rig);
}

TEST(more_requests_than_the_hub_holds_are_429)
{
    struct gateway_options options = gateway_rig_options();
    struct client second;
    options.ask.asks_max = 1;
    rig = gateway_rig_open(&options);
    (void)client_ask(&rig->client, "/v1/chat/completions", CHAT);
    client_open(&second, &rig->http);
    client_post_str(&second, "/v1/chat/completions", CHAT);
    struct answer answer = client_answer(&second);
    CHECK_EQ(answer.status, 429);
    CHECK_SLICE(answer_field(&answer, "Retry-After"), "1");
    CHECK(slice_find(text_slice(&answer.body), SLICE("\"code\":\"queue_full\"")) != SLICE_NPOS);
    answer_fini(&answer);
    client_fini(&second);
    gateway_rig_close(rig);
}

/* --- ids --- */

static struct answer ask_with_label(const char *label)
{
    char field[256];
    snprintf(field, sizeof(field), "X-Request-Id: %s\r\n", label);
    client_post(&rig->client, "/v1/chat/completions", field, SLICE(CHAT_WHOLE));
    client_settle(&rig->client);
    job_fail(rig_last_job(rig), FAULT_QUEUE_FULL, "full");
    return client_answer(&rig->client);
}

TEST(the_clients_own_id_comes_back_as_a_label)
{
    static const char label64[] =
        "0123456789abcdef0123456789abcdef0123456789abcdef!#$%&'()*+,-./~@";
    rig = gateway_rig_open(NULL);
    struct answer answer = ask_with_label(label64);
    CHECK_EQ(sizeof(label64) - 1, 64);
    CHECK_SLICES(answer_field(&answer, "X-Client-Request-Id"), slice_str(label64));
    CHECK_SLICES(rig_last_job(rig)->request.label, slice_str(label64));
    CHECK_EQ(answer_field(&answer, "X-Request-Id").len, 32);
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(a_label_that_is_too_long_or_not_visible_ascii_is_ignored)
{
    static const char *const labels[] = {
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef5", /* 65 */
        "two words", "tab\there", "caf\xc3\xa9", ""};
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(labels); i++) {
        struct answer answer = ask_with_label(labels[i]);
        CHECK_EQ(answer.status, 429);
        CHECK(answer_field(&answer, "X-Client-Request-Id").data == NULL);
        CHECK_EQ(rig_last_job(rig)->request.label.len, 0);
        client_forget(&rig->client, &answer);
    }
    gateway_rig_close(rig);
}

TEST(every_request_has_an_id_of_its_own)
{
    char seen[3][33];
    rig = gateway_rig_open(NULL);
    for (int i = 0; i < 3; i++) {
        struct answer answer = ask_with_label("same");
        snprintf(seen[i], sizeof(seen[i]), SLICE_FMT,
                 SLICE_ARG(answer_field(&answer, "X-Request-Id")));
        client_forget(&rig->client, &answer);
    }
    CHECK(strcmp(seen[0], seen[1]) != 0 && strcmp(seen[1], seen[2]) != 0);
    gateway_rig_close(rig);
}

TEST(a_session_is_named_by_body_or_field_and_its_length_is_checked_here)
{
    char field[512], name[300];
    rig = gateway_rig_open(NULL);
    client_post(&rig->client, "/v1/completions", "X-Session-Id: from-field\r\n",
                SLICE("{\"prompt\":\"x\"}"));
    client_settle(&rig->client);
    CHECK_SLICE(rig_last_job(rig)->request.session, "from-field");
    job_fail(rig_last_job(rig), FAULT_QUEUE_FULL, "full");
    CHECK(client_was_refused(&rig->client, 429, "queue_full"));
    client_post(&rig->client, "/v1/completions", "X-Session-Id: from-field\r\n",
                SLICE("{\"prompt\":\"x\",\"session_id\":\"from-body\"}"));
    client_settle(&rig->client);
    CHECK_SLICE(rig_last_job(rig)->request.session, "from-body");
    job_fail(rig_last_job(rig), FAULT_QUEUE_FULL, "full");
    CHECK(client_was_refused(&rig->client, 429, "queue_full"));
    memset(name, 'n', sizeof(name));
    snprintf(field, sizeof(field), "X-Session-Id: %.*s\r\n", REQUEST_NAME_MAX_BYTES + 1, name);
    client_post(&rig->client, "/v1/completions", field, SLICE("{\"prompt\":\"x\"}"));
    CHECK(client_was_refused(&rig->client, 400, "invalid_value"));
    CHECK_EQ(rig->job_count, 2);
    gateway_rig_close(rig);
}
