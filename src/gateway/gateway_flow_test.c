/* gateway_flow_test - clients that leave, do not read, or send much; workers that say too much; and
 * the end of the gateway itself. */
#include "base/mem.h"
#include "gateway/gateway_rig.h"
#include "testing/test.h"

#define STREAM "{\"prompt\":\"x\",\"stream\":true}"
#define WHOLE  "{\"prompt\":\"x\"}"

enum { NARROW_BYTES = 4096 };

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

static struct job *ask_by(struct client *asker, const char *body)
{
    client_post_str(asker, "/v1/infer", body);
    client_settle(asker);
    return rig_last_job(rig);
}

static struct job *ask(const char *body)
{
    return ask_by(&client, body);
}

static void check_bodies(struct client *reader, const char *needle, size_t count)
{
    struct answer answer = client_answer(reader);
    CHECK(answer.is_whole);
    CHECK_EQ(client_count(reader, needle), count);
    answer_fini(&answer);
}

/* --- clients that leave --- */

enum way { BY_FIN, BY_RESET, WAYS };

static void leave(struct client *leaver, enum way way)
{
    if (way == BY_FIN)
        peer_close(leaver->fd);
    else
        peer_reset(leaver->fd);
    leaver->fd = -1;
    rig_settle(&rig->http);
}

/* The worker hears of it within this turn, the reply is gone, and the hub sees the end through. */
static void check_cancelled(struct job *job)
{
    CHECK(job->cancels > 0);
    CHECK_EQ(gateway_stats(rig->gateway).in_flight, 0);
    CHECK_EQ(gateway_stats(rig->gateway).cancelled, 1);
    job_done(job, DONE_CANCELLED);
    CHECK(rig_is_idle(rig));
}

TEST(a_client_that_leaves_before_a_worker_took_it_is_cancelled)
{
    for (enum way way = 0; way < WAYS; way++)
        for (int streaming = 0; streaming < 2; streaming++) {
            open_default();
            struct job *job = ask(streaming ? STREAM : WHOLE);
            leave(&client, way);
            check_cancelled(job);
            close_all();
        }
}

TEST(a_client_that_leaves_while_it_is_queued_or_in_prefill_is_cancelled)
{
    for (enum way way = 0; way < WAYS; way++)
        for (int streaming = 0; streaming < 2; streaming++) {
            open_default();
            struct job *job = ask(streaming ? STREAM : WHOLE);
            job_accept(job);
            leave(&client, way);
            check_cancelled(job);
            close_all();
        }
}

TEST(a_client_that_leaves_after_the_head_is_cancelled)
{
    for (enum way way = 0; way < WAYS; way++)
        for (int delta = 0; delta < 2; delta++) {
            open_default();
            struct job *job = ask(STREAM);
            job_start(job);
            if (delta)
                job_delta(job, SLICE("x"));
            else
                rig_live_ms(rig, 3000);
            client_settle(&client);
            CHECK(client.in.len > 0);
            leave(&client, way);
            check_cancelled(job);
            close_all();
        }
}

TEST(a_client_of_a_whole_answer_that_leaves_in_decode_is_cancelled)
{
    for (enum way way = 0; way < WAYS; way++) {
        open_default();
        struct job *job = ask(WHOLE);
        job_start(job);
        job_delta(job, SLICE("x"));
        leave(&client, way);
        check_cancelled(job);
        close_all();
    }
}

TEST(a_client_of_several_prompts_that_leaves_cancels_all_of_them)
{
    open_default();
    client_post_str(&client, "/v1/completions", "{\"prompt\":[\"a\",\"b\"],\"stream\":true}");
    client_settle(&client);
    CHECK_EQ(rig->job_count, 2);
    job_start(&rig->jobs[0]);
    leave(&client, BY_FIN);
    CHECK(rig->jobs[0].cancels > 0 && rig->jobs[1].cancels > 0);
    job_done(&rig->jobs[0], DONE_CANCELLED);
    job_done(&rig->jobs[1], DONE_CANCELLED);
    CHECK(rig_is_idle(rig));
    close_all();
}

/* Whatever comes first, there is at most one terminator, and nothing is left behind. */
TEST(an_end_and_a_client_that_leaves_may_cross_anywhere)
{
    for (enum way way = 0; way < WAYS; way++)
        for (int turns = 0; turns < 6; turns++)
            for (int fault = 0; fault < 2; fault++) {
                open_default();
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
                    client_shut(&client); /* it can still read */
                    client_settle(&client);
                    CHECK(client_count(&client, "[DONE]") <= 1);
                    CHECK_EQ(client_count(&client, "[DONE]"), turns > 0);
                } else {
                    leave(&client, way);
                }
                CHECK(rig_is_idle(rig));
                close_all();
            }
}

TEST(a_client_that_leaves_with_the_terminator_still_unsent_is_let_go)
{
    open_default();
    struct client narrow;
    client_open_narrow(&narrow, &rig->http, NARROW_BYTES);
    struct job *job = ask_by(&narrow, STREAM);
    char piece[1000];
    memset(piece, 'x', sizeof(piece));
    job_start(job);
    while (job_fill(job, slice_of(piece, sizeof(piece))) > 0)
        continue;
    job_done(job, DONE_EOS);
    leave(&narrow, BY_RESET);
    CHECK_EQ(job->cancels, 0); /* it had ended */
    CHECK(rig_is_idle(rig));
    client_fini(&narrow);
    close_all();
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

/* Turns until the gateway has the request. */
static void turn_until_in_flight(void)
{
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    while (gateway_stats(rig->gateway).in_flight == 0 && rig_turn(&rig->http.net, until_us))
        continue;
    CHECK_EQ(gateway_stats(rig->gateway).in_flight, 1);
}

TEST(a_body_above_64_kib_is_parsed_on_the_pool)
{
    static const size_t sizes[] = {PARSE_ON_POOL_BYTES - 1, PARSE_ON_POOL_BYTES,
                                   PARSE_ON_POOL_BYTES + 1};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct text body = padded(sizes[i]);
        open_default();
        client_post(&client, "/v1/infer", "", text_slice(&body));
        turn_until_in_flight();
        CHECK_EQ(rig_reply(rig)->state == REPLY_PARSING, sizes[i] > PARSE_ON_POOL_BYTES);
        client_settle(&client);
        job_start(rig_last_job(rig));
        job_delta(rig_last_job(rig), SLICE("x"));
        job_done(rig_last_job(rig), DONE_EOS);
        check_bodies(&client, "[DONE]", 1);
        text_fini(&body);
        close_all();
    }
}

TEST(a_client_may_leave_while_the_pool_parses)
{
    struct text body = padded(PARSE_ON_POOL_BYTES + 1);
    open_default();
    client_post(&client, "/v1/infer", "", text_slice(&body));
    turn_until_in_flight();
    CHECK_EQ(rig_reply(rig)->state, REPLY_PARSING);
    leave(&client, BY_RESET);
    CHECK_EQ(rig->job_count, 0);
    CHECK(rig_is_idle(rig));
    CHECK_EQ(gateway_stats(rig->gateway).cancelled, 1);
    text_fini(&body);
    close_all();
}

TEST(a_drain_may_end_while_the_pool_parses)
{
    struct text body = padded(PARSE_ON_POOL_BYTES + 1);
    open_default();
    client_post(&client, "/v1/infer", "", text_slice(&body));
    turn_until_in_flight();
    reply_end_all(rig->gateway, FAULT_DRAINING, "this server is stopping");
    struct answer answer = client_answer(&client);
    CHECK_EQ(answer.status, 503);
    CHECK_EQ(rig->job_count, 0);
    CHECK(rig_is_idle(rig));
    answer_fini(&answer);
    text_fini(&body);
    close_all();
}

TEST(on_a_real_pool_bodies_are_parsed_beside_the_loop_and_may_be_given_up)
{
    struct text body = padded(1000 * 1000);
    struct gateway_options options = gateway_rig_options();
    rig = gateway_rig_open_on(loop_new(), &options);
    rig_report(rig);
    for (int i = 0; i < 20; i++) {
        client_open(&client, &rig->http);
        client_post(&client, "/v1/infer", "", text_slice(&body));
        turn_until_in_flight();
        if (i % 2) {
            leave(&client, i % 4 == 1 ? BY_FIN : BY_RESET);
            TURN_UNTIL(&rig->http.net, gateway_stats(rig->gateway).in_flight == 0);
        } else {
            TURN_UNTIL(&rig->http.net, rig->job_count > 0 && rig_last_job(rig)->seq == 0);
            job_fail(rig_last_job(rig), FAULT_QUEUE_FULL, "full");
            READ_UNTIL(&client, client_count(&client, "queue_full") == 1);
        }
        for (int k = 0; k < rig->job_count; k++)
            if (!rig->jobs[k].ended)
                job_done(&rig->jobs[k], DONE_CANCELLED);
        client_fini(&client);
    }
    text_fini(&body);
    gateway_rig_close(rig);
}

/* --- clients that do not read --- */

/* Streams until the client's side is full and the worker out of credit; returns how many deltas. */
static int block(struct job *job, struct slice piece)
{
    int count = 0, more;
    while ((more = job_fill(job, piece)) > 0)
        count += more;
    return count;
}

TEST(credit_comes_back_when_bytes_have_left_and_not_before)
{
    struct client narrow;
    char piece[500];
    memset(piece, 'n', sizeof(piece));
    open_default();
    client_open_narrow(&narrow, &rig->http, NARROW_BYTES);
    struct job *job = ask_by(&narrow, STREAM);
    job_start(job);
    int blocked_at = block(job, slice_of(piece, sizeof(piece)));
    struct wire_credit credit = job->credit;
    rig_live_ms(rig, 2000);
    CHECK_EQ(job->credit.seq_limit, credit.seq_limit);
    CHECK_EQ(job->credit.byte_limit, credit.byte_limit);
    /* What waits here is what the credit allows: 64 events, framed. */
    CHECK(rig_reply(rig)->mark_count <= 64);
    CHECK(blocked_at > 64); /* the kernel did take some */
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
    close_all();
}

TEST(byte_credit_counts_as_the_worker_counts_it)
{
    static char piece[40000];
    memset(piece, 'b', sizeof(piece));
    open_default();
    struct job *job = ask(STREAM);
    job_start(job);
    for (int i = 0; i < 100; i++) {
        CHECK(job_fill(job, slice_of(piece, sizeof(piece))) > 0);
        client_settle(&client);
    }
    job_done(job, DONE_EOS);
    check_bodies(&client, "[DONE]", 1);
    close_all();
}

TEST(a_client_that_does_not_read_slows_nobody)
{
    struct client narrow;
    char piece[500];
    memset(piece, 'n', sizeof(piece));
    open_default();
    client_open_narrow(&narrow, &rig->http, NARROW_BYTES);
    struct job *slow = ask_by(&narrow, STREAM);
    job_start(slow);
    (void)block(slow, slice_of(piece, sizeof(piece)));
    struct job *quick = ask(STREAM);
    job_start(quick);
    for (int i = 0; i < 500; i++) {
        CHECK(job_fill(quick, SLICE("q")) > 0);
        client_settle(&client);
    }
    job_done(quick, DONE_EOS);
    check_bodies(&client, "[DONE]", 1);
    client_fini(&narrow);
    close_all();
}

TEST(a_client_that_does_not_read_for_stall_ms_is_closed_and_cancelled)
{
    struct client narrow;
    char piece[500];
    memset(piece, 'n', sizeof(piece));
    open_default();
    client_open_narrow(&narrow, &rig->http, NARROW_BYTES);
    struct job *job = ask_by(&narrow, STREAM);
    job_start(job);
    (void)block(job, slice_of(piece, sizeof(piece)));
    rig_live_ms(rig, 2999);
    CHECK_EQ(job->cancels, 0);
    rig_live_ms(rig, 1);
    check_cancelled(job);
    client_settle(&narrow);
    CHECK(narrow.reset);
    client_fini(&narrow);
    close_all();
}

TEST(no_ping_comes_into_what_a_slow_client_has_not_read)
{
    struct gateway_options options = gateway_rig_options();
    struct client narrow;
    static char piece[30000];
    memset(piece, 'n', sizeof(piece));
    options.ping_ms = 500;
    open_with(&options);
    client_open_narrow(&narrow, &rig->http, NARROW_BYTES);
    struct job *job = ask_by(&narrow, STREAM);
    job_start(job);
    int count = block(job, slice_of(piece, sizeof(piece)));
    rig_live_ms(rig, 2500);
    client_settle(&narrow);
    job_done(job, DONE_EOS);
    client_settle(&narrow);
    struct answer answer = client_answer(&narrow);
    CHECK(answer.is_whole);
    /* Nothing but whole events. */
    struct slice rest = text_slice(&answer.body), line;
    for (int i = 0; i < count; i++) {
        (void)slice_cut(rest, '\n', &line, &rest);
        CHECK_EQ(line.len, strlen("data: {\"token\":\"\"}") + sizeof(piece));
        rest = slice_after(rest, 1);
        while (slice_starts_with(rest, SLICE(": ping\n")))
            rest = slice_after(rest, strlen(": ping\n"));
    }
    CHECK_SLICE(rest, "data: [DONE]\n\n");
    answer_fini(&answer);
    client_fini(&narrow);
    close_all();
}

/* --- workers that say too much --- */

/* A stream that ended by our own doing: an error in it, then the terminator. */
static void check_broken(struct job *job)
{
    struct answer answer = client_answer(&client);
    CHECK_EQ(answer.status, 200);
    CHECK(answer.is_whole);
    CHECK_EQ(client_count(&client, "\"code\":\"internal_error\""), 1);
    CHECK(slice_ends_with(text_slice(&answer.body), SLICE("}}\n\ndata: [DONE]\n\n")));
    CHECK(job->cancels > 0);
    answer_fini(&answer);
    job->ended = true;
    rig_live_ms(rig, 5000);
    CHECK(rig_is_idle(rig));
}

TEST(a_worker_that_exceeds_its_events_is_cut_and_the_client_told)
{
    open_default();
    struct job *job = ask(STREAM);
    job_start(job);
    job_delta(job, SLICE("x"));
    job_burst(job, SLICE("x"), 200);
    check_broken(job);
    close_all();
}

TEST(a_worker_that_exceeds_its_bytes_is_cut_and_the_client_told)
{
    static char piece[2000 * 1000];
    memset(piece, 'b', sizeof(piece));
    open_default();
    struct job *job = ask(STREAM);
    job_start(job);
    job_burst(job, slice_of(piece, sizeof(piece)), 7); /* fewer events than may come */
    check_broken(job);
    close_all();
}

TEST(a_worker_that_exceeds_its_bytes_in_one_event_is_cut_and_the_client_told)
{
    static char piece[9 * 1000 * 1000];
    memset(piece, 1, sizeof(piece));
    open_default();
    struct job *job = ask(STREAM);
    job_start(job);
    job_delta(job, SLICE("x"));
    job_burst(job, slice_of(piece, sizeof(piece)), 1);
    check_broken(job);
    close_all();
}

/* Gathers pieces of 4 MiB in all, and `more` bytes. */
static void gather_whole(struct job *job, size_t more)
{
    static char piece[32 * 1024];
    memset(piece, 'w', sizeof(piece));
    job_start(job);
    for (int i = 0; i < 128; i++)
        job_delta(job, slice_of(piece, sizeof(piece)));
    if (more > 0)
        job_delta(job, slice_of(piece, more));
}

TEST(a_whole_answer_may_be_4_mib_long)
{
    open_default();
    struct job *job = ask(WHOLE);
    gather_whole(job, 0);
    job_done(job, DONE_EOS);
    struct answer answer = client_answer(&client);
    CHECK_EQ(answer.status, 200);
    CHECK(answer.is_whole && answer.body.len > 4 * 1024 * 1024);
    answer_fini(&answer);
    close_all();
}

TEST(a_whole_answer_that_grows_beyond_4_mib_is_an_error_and_cancelled)
{
    open_default();
    struct job *job = ask(WHOLE);
    gather_whole(job, 1);
    struct answer answer = client_answer(&client);
    CHECK_EQ(answer.status, 500);
    CHECK_EQ(client_count(&client, "ask for it as a stream"), 1);
    CHECK(job->cancels > 0);
    answer_fini(&answer);
    job_done(job, DONE_CANCELLED);
    CHECK(rig_is_idle(rig));
    close_all();
}

/* One request while the nth allocation fails. True: there were not so many. */
static bool survive(const char *body, uint64_t nth)
{
    open_default();
    CHECK(text_reserve(&client.in, 1 << 16)); /* the client's own memory does not count */
    client_post_str(&client, "/v1/infer", body);
    uint64_t before = mem_peer_count();
    mem_test_fail_nth(nth);
    rig_settle(&rig->http);
    if (rig->job_count == 1) {
        job_start(rig_last_job(rig));
        job_delta(rig_last_job(rig), SLICE("x"));
        job_delta(rig_last_job(rig), SLICE("y"));
        job_done(rig_last_job(rig), DONE_EOS);
    }
    mem_test_fail_nth(0);
    bool had_fewer = mem_peer_count() - before < nth;
    struct answer answer = client_answer(&client);
    CHECK(client_count(&client, "[DONE]") <= 1);
    CHECK(!had_fewer || (answer.status == 200 && answer.is_whole));
    bool has_text = client_count(&client, "\"x\"") + client_count(&client, "\"xy\"") > 0;
    bool has_error = client_count(&client, "\"error\"") > 0;
    CHECK(answer.status != 200 || !answer.is_whole || has_text || has_error);
    answer_fini(&answer);
    leave(&client, BY_FIN);
    CHECK_EQ(gateway_stats(rig->gateway).in_flight, 0);
    close_all();
    return had_fewer;
}

/* Whoever it hits gets an error or a closed connection, never half an answer that looks whole; and
 * nothing is left behind. */
TEST(any_allocation_may_fail)
{
    uint64_t nth = 1;
    while (!survive(STREAM, nth))
        nth++;
    CHECK(nth > 20);
    nth = 1;
    while (!survive(WHOLE, nth))
        nth++;
    CHECK(nth > 20);
}

/* --- the end --- */

TEST(a_drain_lets_a_stream_end_by_itself)
{
    open_default();
    struct job *job = ask(STREAM);
    job_start(job);
    job_delta(job, SLICE("x"));
    rig_drain(rig, 5000);
    rig_live_ms(rig, 4000);
    job_delta(job, SLICE("y"));
    job_done(job, DONE_EOS);
    struct answer answer = client_answer(&client);
    CHECK_SLICE(text_slice(&answer.body),
                "data: {\"token\":\"x\"}\n\ndata: {\"token\":\"y\"}\n\ndata: [DONE]\n\n");
    CHECK_EQ(rig->drained, 0); /* the client has not said goodbye */
    CHECK(client.eof);
    leave(&client, BY_FIN);
    CHECK_EQ(rig->drained, 1);
    answer_fini(&answer);
    close_all();
}

TEST(after_drain_ms_streams_end_with_an_error_and_their_terminator)
{
    open_default();
    struct job *job = ask(STREAM);
    job_start(job);
    job_delta(job, SLICE("x"));
    rig_drain(rig, 5000);
    rig_live_ms(rig, 4999);
    CHECK_EQ(job->cancels, 0);
    rig_live_ms(rig, 1);
    CHECK(job->cancels > 0);
    struct answer answer = client_answer(&client);
    CHECK(answer.is_whole);
    CHECK_EQ(client_count(&client, "\"code\":\"draining\""), 1);
    CHECK(slice_ends_with(text_slice(&answer.body), SLICE("}}\n\ndata: [DONE]\n\n")));
    answer_fini(&answer);
    leave(&client, BY_FIN);
    CHECK_EQ(rig->drained, 1);
    close_all();
}

TEST(after_drain_ms_what_has_no_head_yet_gets_a_real_503)
{
    for (int streaming = 0; streaming < 2; streaming++) {
        open_default();
        struct job *job = ask(streaming ? STREAM : WHOLE);
        rig_drain(rig, 1000);
        rig_live_ms(rig, 1000);
        struct answer answer = client_answer(&client);
        CHECK_EQ(answer.status, 503);
        CHECK_SLICE(answer_field(&answer, "Retry-After"), "1");
        CHECK_SLICE(answer_field(&answer, "Connection"), "close");
        CHECK(job->cancels > 0);
        answer_fini(&answer);
        leave(&client, BY_FIN);
        CHECK_EQ(rig->drained, 1);
        close_all();
    }
}

TEST(a_request_whose_head_comes_during_a_drain_is_503)
{
    open_default();
    client_send_str(&client, "POST /v1/infer HTTP/1.1\r\nHost: localhost\r\n");
    client_settle(&client);
    rig_drain(rig, 5000);
    client_send_str(&client, "Content-Length: 28\r\n\r\n");
    struct answer answer = client_answer(&client);
    CHECK_EQ(answer.status, 503);
    CHECK_SLICE(answer_field(&answer, "Retry-After"), "1");
    CHECK_EQ(client_count(&client, "\"code\":\"draining\""), 1);
    answer_fini(&answer);
    close_all();
}

/* Else nobody would end it: drain_ms may have passed before it begins. */
TEST(a_request_whose_body_comes_during_a_drain_is_503)
{
    open_default();
    client_send_str(&client, "POST /v1/infer HTTP/1.1\r\nHost: localhost\r\n"
                             "Content-Length: 28\r\n\r\n{\"prompt\":");
    client_settle(&client);
    rig_drain(rig, 100);
    rig_live_ms(rig, 200);
    client_send_str(&client, "\"x\",\"stream\":true}");
    struct answer answer = client_answer(&client);
    CHECK_EQ(answer.status, 503);
    CHECK_EQ(client_count(&client, "\"code\":\"draining\""), 1);
    CHECK_EQ(rig->job_count, 0);
    answer_fini(&answer);
    leave(&client, BY_FIN);
    CHECK_EQ(rig->drained, 1);
    close_all();
}

TEST(a_drain_of_an_idle_gateway_is_over_at_once)
{
    struct gateway_options options = gateway_rig_options();
    rig = gateway_rig_open(&options);
    rig_drain(rig, 60000);
    CHECK_EQ(rig->drained, 1);
    gateway_rig_close(rig);
}

TEST(a_gateway_may_be_closed_in_the_middle_of_everything)
{
    struct client others[4];
    open_default();
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        client_open(&others[i], &rig->http);
    struct job *job = ask_by(&others[0], STREAM);
    job_start(job);
    job_delta(job, SLICE("x"));
    (void)ask_by(&others[1], WHOLE);
    client_send_str(&others[2], "POST /v1/infer HTTP/1.1\r\nHost: loc");
    (void)ask_by(&client, STREAM);
    close_all(); /* ASSERTs that nothing is left */
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        client_fini(&others[i]);
}
