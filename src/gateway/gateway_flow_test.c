/* gateway_flow_test - clients that leave, clients that send much, and clients that do not read. */
#include "gateway/gateway_rig.h"
#include "testing/test.h"

#define STREAM "{\"prompt\":\"x\",\"stream\":true}"
#define WHOLE  "{\"prompt\":\"x\"}"

enum { NARROW_BYTES = 4096 }; /* of the receive buffer of a client that is slow */

/* A delta of half a KiB, so that the credit of 64 events ends before that of 64 KiB. */
#define SIXTEEN "nnnnnnnnnnnnnnnn"
#define QUARTER SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN
static const struct slice piece = {QUARTER QUARTER QUARTER QUARTER, 512};

static struct gateway_rig *rig;

static struct job *ask(const char *body)
{
    return client_ask(&rig->client, "/v1/infer", body);
}

/* The client has an answer with its terminator. */
static void check_ended(void)
{
    struct answer answer = client_answer(&rig->client);
    CHECK(answer.is_whole);
    CHECK_EQ(answer_count(&answer, "[DONE]"), 1);
    answer_fini(&answer);
}

/* Streams until the client's side is full and the worker out of credit; returns how many deltas. */
static int block(struct job *job)
{
    int count = 0, more;
    while ((more = job_fill(job, piece)) > 0)
        count += more;
    return count;
}

/* --- clients that leave --- */

/* The worker hears of it within this turn, the reply is gone, and the hub sees the end through. */
static void check_cancelled(struct job *job)
{
    CHECK(job->cancels > 0);
    CHECK_EQ(gateway_stats(rig->gateway).in_flight, 0);
    CHECK_EQ(gateway_stats(rig->gateway).cancelled, 1);
    job_done(job, DONE_CANCELLED);
    CHECK(rig_is_idle(rig));
}

static void nothing(struct job *job)
{
    (void)job; /* it lies with the worker, untouched */
}

static void make_delta(struct job *job)
{
    job_start(job);
    job_delta(job, SLICE("x"));
}

static void hold_head(struct job *job)
{
    job_accept(job);
    rig_live_ms(rig, 3000);
}

TEST(a_client_that_leaves_cancels_its_generation_in_every_state)
{
    static const struct {
        const char *body;
        void (*get_there)(struct job *job);
        int status; /* of what the client has by then */
    } cases[] = {{STREAM, nothing, 0},      {WHOLE, nothing, 0},    {STREAM, job_accept, 0},
                 {WHOLE, job_accept, 0},    {STREAM, job_start, 0}, {STREAM, hold_head, 200},
                 {STREAM, make_delta, 200}, {WHOLE, make_delta, 0}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        for (enum way way = 0; way < WAYS; way++) {
            rig = gateway_rig_open(NULL);
            struct job *job = ask(cases[i].body);
            cases[i].get_there(job);
            CHECK_EQ(client_status(&rig->client), cases[i].status);
            client_leave(&rig->client, way);
            check_cancelled(job);
            gateway_rig_close(rig);
        }
}

TEST(a_client_of_several_prompts_that_leaves_cancels_all_of_them)
{
    rig = gateway_rig_open(NULL);
    client_post_str(&rig->client, "/v1/completions", "{\"prompt\":[\"a\",\"b\"],\"stream\":true}");
    client_settle(&rig->client);
    CHECK_EQ(rig->job_count, 2);
    job_start(&rig->jobs[0]);
    client_leave(&rig->client, BY_FIN);
    CHECK(rig->jobs[0].cancels > 0 && rig->jobs[1].cancels > 0);
    job_done(&rig->jobs[0], DONE_CANCELLED);
    job_done(&rig->jobs[1], DONE_CANCELLED);
    CHECK(rig_is_idle(rig));
    gateway_rig_close(rig);
}

/* Whatever comes first, there is at most one terminator, and nothing is left behind. */
TEST(an_end_and_a_client_that_leaves_may_cross_anywhere)
{
    for (enum way way = 0; way < WAYS; way++)
        for (int turns = 0; turns < 6; turns++)
            for (int fault = 0; fault < 2; fault++) {
                rig = gateway_rig_open(NULL);
                struct job *job = ask(STREAM);
                job_start(job);
                job_delta(job, SLICE("x"));
                struct event end = {.type = EVENT_DONE, .done.reason = DONE_EOS};
                if (fault)
                    end = (struct event){.type = EVENT_ERROR, .error.message = SLICE("no")};
                job_post(job, &end);
                for (int i = 0; i < turns; i++)
                    (void)loop_turn(rig->http.net.loop, false); /* however far it gets */
                if (way == BY_FIN) {
                    client_shut(&rig->client); /* it can still read */
                    client_settle(&rig->client);
                    CHECK(client_count(&rig->client, "[DONE]") <= 1);
                    CHECK_EQ(client_count(&rig->client, "[DONE]"), turns > 0);
                } else {
                    client_leave(&rig->client, way);
                }
                CHECK(rig_is_idle(rig));
                gateway_rig_close(rig);
            }
}

TEST(a_client_that_leaves_with_the_terminator_still_unsent_is_let_go)
{
    rig = gateway_rig_open(NULL);
    struct client narrow;
    client_open_narrow(&narrow, &rig->http, NARROW_BYTES);
    struct job *job = client_ask(&narrow, "/v1/infer", STREAM);
    job_start(job);
    (void)block(job);
    job_done(job, DONE_EOS);
    client_leave(&narrow, BY_RESET);
    CHECK_EQ(job->cancels, 0); /* it had ended */
    CHECK(rig_is_idle(rig));
    client_fini(&narrow);
    gateway_rig_close(rig);
}

TEST(requests_are_counted_by_how_they_end)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask(STREAM);
    make_delta(job);
    job_done(job, DONE_EOS);
    check_ended();
    rig->client.in.len = 0;
    job_fail(ask(WHOLE), FAULT_QUEUE_FULL, "full");
    CHECK(client_was_refused(&rig->client, 429, "queue_full"));
    client_get(&rig->client, "/nothing", ""); /* refused, and no request to a model */
    CHECK(client_was_refused(&rig->client, 404, "not_found"));
    job = ask(WHOLE);
    CHECK_EQ(gateway_stats(rig->gateway).in_flight, 1);
    CHECK_EQ(gateway_stats(rig->gateway).connections, 1);
    client_leave(&rig->client, BY_FIN);
    struct gateway_stats stats = gateway_stats(rig->gateway);
    CHECK_EQ(stats.requests, 3);
    CHECK_EQ(stats.streams, 1);
    CHECK_EQ(stats.errors, 2);
    CHECK_EQ(stats.cancelled, 1);
    CHECK_EQ(stats.in_flight, 0);
    CHECK_EQ(stats.connections, 0);
    gateway_rig_close(rig);
}

/* --- big bodies --- */

/* STREAM with spaces in front, `bytes` long. */
static struct text padded(size_t bytes)
{
    struct text body;
    text_init(&body, bytes);
    char *room = text_reserve(&body, bytes);
    memset(room, ' ', bytes);
    memcpy(room + bytes - strlen(STREAM), STREAM, strlen(STREAM));
    body.len = bytes;
    return body;
}

/* And not a turn longer. */
static void turn_until_in_flight(void)
{
    TURN_UNTIL(&rig->http.net, gateway_stats(rig->gateway).in_flight == 1);
}

TEST(a_body_above_8_kib_is_parsed_on_the_pool)
{
    static const size_t sizes[] = {PARSE_PER_TURN_BYTES - 1, PARSE_PER_TURN_BYTES,
                                   PARSE_PER_TURN_BYTES + 1};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct text body = padded(sizes[i]);
        rig = gateway_rig_open(NULL);
        client_post(&rig->client, "/v1/infer", "", text_slice(&body));
        turn_until_in_flight();
        CHECK_EQ(rig_reply(rig)->state == REPLY_PARSING, sizes[i] > PARSE_PER_TURN_BYTES);
        client_settle(&rig->client);
        make_delta(rig_last_job(rig));
        job_done(rig_last_job(rig), DONE_EOS);
        check_ended();
        text_fini(&body);
        gateway_rig_close(rig);
    }
}

static size_t count_parsing(void)
{
    size_t count = 0;
    LIST_FOREACH (node, &rig->gateway->replies)
        count += CONTAINER_OF(node, struct reply, link)->state == REPLY_PARSING;
    return count;
}

TEST(the_bodies_of_a_turn_share_what_it_parses_itself)
{
    for (size_t more = 0; more <= 1; more++) {
        struct text bodies[] = {padded(PARSE_PER_TURN_BYTES - 100), padded(100 + more)};
        struct client clients[2];
        rig = gateway_rig_open(NULL);
        rig->obliges = true;
        for (size_t round = 0; round < 2; round++) { /* the next turn has a share of its own */
            for (size_t i = 0; i < 2; i++) {
                client_open(&clients[i], &rig->http);
                client_settle(&clients[i]); /* accepted: what both say now comes in one turn */
            }
            for (size_t i = 0; i < 2; i++)
                client_post(&clients[i], "/v1/infer", "", text_slice(&bodies[i]));
            TURN_UNTIL(&rig->http.net, gateway_stats(rig->gateway).in_flight > 0);
            CHECK_EQ(gateway_stats(rig->gateway).in_flight, 2);
            CHECK_EQ(count_parsing(), more);
            client_settle(&clients[0]);
            CHECK_EQ(rig->job_count, 2);
            for (size_t i = 0; i < 2; i++) {
                client_leave(&clients[i], BY_RESET);
                client_fini(&clients[i]);
            }
            rig_forget_jobs(rig);
        }
        for (size_t i = 0; i < 2; i++)
            text_fini(&bodies[i]);
        gateway_rig_close(rig);
    }
}

/* The pool encodes, too: each choice's own prompt, and each with a seed of its own. */
TEST(what_the_pool_has_encoded_is_what_was_asked_for)
{
    struct text body, prompt;
    text_init(&prompt, PARSE_PER_TURN_BYTES);
    for (size_t i = 0; i < 1000; i++)
        text_add(&prompt, SLICE("\"\n\x01\xc3\xa9"));
    text_init(&body, 8 * PARSE_PER_TURN_BYTES);
    text_add(&body, SLICE("{\"model\":\"dummy\",\"stream\":true,\"prompt\":[\"one\","));
    json_add_string(&body, text_slice(&prompt));
    text_add(&body, SLICE(",\"three\"]}"));
    rig = gateway_rig_open(NULL);
    rig->obliges = true;
    client_post(&rig->client, "/v1/completions", "", text_slice(&body));
    client_settle(&rig->client);
    CHECK_EQ(rig->job_count, 3);
    CHECK_SLICE(rig->jobs[0].request.prompt, "one");
    CHECK_SLICES(rig->jobs[1].request.prompt, text_slice(&prompt));
    CHECK_SLICE(rig->jobs[2].request.prompt, "three");
    for (size_t i = 0; i < 3; i++) {
        CHECK(rig->jobs[i].request.sampling.has_seed);
        CHECK(rig->jobs[i].request.sampling.seed != rig->jobs[(i + 1) % 3].request.sampling.seed);
    }
    client_leave(&rig->client, BY_RESET);
    text_fini(&prompt);
    text_fini(&body);
    gateway_rig_close(rig);
}

TEST(a_client_may_leave_while_the_pool_parses)
{
    struct text body = padded(PARSE_PER_TURN_BYTES + 1);
    rig = gateway_rig_open(NULL);
    client_post(&rig->client, "/v1/infer", "", text_slice(&body));
    turn_until_in_flight();
    CHECK_EQ(rig_reply(rig)->state, REPLY_PARSING);
    client_leave(&rig->client, BY_RESET);
    CHECK_EQ(rig->job_count, 0);
    CHECK(rig_is_idle(rig));
    CHECK_EQ(gateway_stats(rig->gateway).cancelled, 1);
    text_fini(&body);
    gateway_rig_close(rig);
}

TEST(a_drain_may_end_while_the_pool_parses)
{
    struct text body = padded(PARSE_PER_TURN_BYTES + 1);
    rig = gateway_rig_open(NULL);
    client_post(&rig->client, "/v1/infer", "", text_slice(&body));
    turn_until_in_flight();
    reply_end_all(rig->gateway, FAULT_DRAINING, "this server is stopping");
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 503);
    CHECK_EQ(rig->job_count, 0);
    CHECK(rig_is_idle(rig));
    answer_fini(&answer);
    text_fini(&body);
    gateway_rig_close(rig);
}

TEST(on_a_real_pool_bodies_are_parsed_beside_the_loop_and_may_be_given_up)
{
    struct text body = padded(1000 * 1000);
    rig = gateway_rig_open_on(loop_new(), NULL);
    rig->obliges = true;
    rig_report(rig);
    for (int i = 0; i < 20; i++) {
        struct client client;
        client_open(&client, &rig->http);
        client_post(&client, "/v1/infer", "", text_slice(&body));
        turn_until_in_flight();
        if (i % 2) {
            client_leave(&client, i % 4 == 1 ? BY_FIN : BY_RESET);
            TURN_UNTIL(&rig->http.net, rig_is_idle(rig));
        } else {
            TURN_UNTIL(&rig->http.net, rig->job_count > 0);
            job_fail(rig_last_job(rig), FAULT_QUEUE_FULL, "full");
            READ_UNTIL(&client, client_count(&client, "queue_full") == 1);
        }
        rig_forget_jobs(rig);
        client_fini(&client);
    }
    text_fini(&body);
    gateway_rig_close(rig);
}

/* --- clients that do not read --- */

TEST(credit_comes_back_when_bytes_have_left_and_not_before)
{
    struct client narrow;
    rig = gateway_rig_open(NULL);
    client_open_narrow(&narrow, &rig->http, NARROW_BYTES);
    struct job *job = client_ask(&narrow, "/v1/infer", STREAM);
    job_start(job);
    int blocked_at = block(job);
    struct wire_credit credit = job->credit;
    rig_live_ms(rig, 2000);
    CHECK_EQ(job->credit.seq_limit, credit.seq_limit);
    CHECK_EQ(job->credit.byte_limit, credit.byte_limit);
    CHECK(blocked_at > 64); /* the kernel did take some */
    const struct reply *reply = rig_reply(rig);
    size_t framed_bytes = strlen("data: {\"token\":\"\"}\n\n") + piece.len;
    CHECK(reply->marks.count > 0);
    CHECK(reply->written_bytes + reply->out.len - reply->sent_bytes <= 64 * framed_bytes);
    size_t before = narrow.in.len;
    client_settle(&narrow);
    CHECK(narrow.in.len > before);
    CHECK(job->credit.seq_limit > credit.seq_limit);
    job_done(job, DONE_EOS);
    client_settle(&narrow);
    CHECK_EQ(client_count(&narrow, "{\"token\":\"nnnn"), blocked_at);
    CHECK_EQ(client_count(&narrow, "[DONE]"), 1);
    CHECK(rig_is_idle(rig));
    client_fini(&narrow);
    gateway_rig_close(rig);
}

TEST(byte_credit_counts_as_the_worker_counts_it)
{
    static char large[40000];
    memset(large, 'b', sizeof(large));
    rig = gateway_rig_open(NULL);
    struct job *job = ask(STREAM);
    job_start(job);
    for (int i = 0; i < 100; i++) {
        CHECK(job_fill(job, slice_of(large, sizeof(large))) > 0);
        client_settle(&rig->client);
    }
    job_done(job, DONE_EOS);
    check_ended();
    gateway_rig_close(rig);
}

/* Neither text that waits for its group nor a token without text has bytes that could leave. */
TEST(what_makes_no_bytes_yet_does_not_use_up_the_credit)
{
    static const struct slice texts[] = {{"g", 1}, {"", 0}};
    struct gateway_options options = gateway_rig_options();
    options.sse_chunk_chars = 100000;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        rig = gateway_rig_open(&options);
        struct job *job = ask(STREAM);
        job_start(job);
        for (int filled = 0; filled < 1000;) {
            int more = job_fill(job, texts[i]);
            CHECK(more > 0);
            filled += more;
        }
        job_done(job, DONE_EOS);
        check_ended();
        gateway_rig_close(rig);
    }
}

TEST(a_client_that_does_not_read_slows_nobody)
{
    struct client narrow;
    rig = gateway_rig_open(NULL);
    client_open_narrow(&narrow, &rig->http, NARROW_BYTES);
    struct job *slow = client_ask(&narrow, "/v1/infer", STREAM);
    job_start(slow);
    (void)block(slow);
    struct job *quick = ask(STREAM);
    job_start(quick);
    for (int i = 0; i < 500; i++) {
        CHECK(job_fill(quick, SLICE("q")) > 0);
        client_settle(&rig->client);
    }
    job_done(quick, DONE_EOS);
    check_ended();
    client_fini(&narrow);
    gateway_rig_close(rig);
}

TEST(a_client_that_does_not_read_for_stall_ms_is_closed_and_cancelled)
{
    struct client narrow;
    rig = gateway_rig_open(NULL);
    client_open_narrow(&narrow, &rig->http, NARROW_BYTES);
    struct job *job = client_ask(&narrow, "/v1/infer", STREAM);
    job_start(job);
    (void)block(job);
    rig_live_ms(rig, 2999);
    CHECK_EQ(job->cancels, 0);
    rig_live_ms(rig, 1);
    check_cancelled(job);
    client_settle(&narrow);
    CHECK(narrow.reset);
    client_fini(&narrow);
    gateway_rig_close(rig);
}

TEST(no_ping_joins_what_a_slow_client_has_not_read)
{
    struct gateway_options options = gateway_rig_options();
    struct client narrow;
    options.ping_ms = 500;
    rig = gateway_rig_open(&options);
    client_open_narrow(&narrow, &rig->http, NARROW_BYTES);
    struct job *job = client_ask(&narrow, "/v1/infer", STREAM);
    job_start(job);
    int count = block(job);
    rig_live_ms(rig, 2500);
    client_settle(&narrow);
    job_done(job, DONE_EOS);
    client_settle(&narrow);
    struct answer answer = client_answer(&narrow);
    CHECK(answer.is_whole);
    size_t framed_bytes = strlen("data: {\"token\":\"\"}\n\n") + piece.len;
    CHECK_EQ(answer.body.len, (size_t)count * framed_bytes + strlen("data: [DONE]\n\n"));
    CHECK_EQ(answer_count(&answer, "ping"), 0);
    answer_fini(&answer);
    client_fini(&narrow);
    gateway_rig_close(rig);
}
