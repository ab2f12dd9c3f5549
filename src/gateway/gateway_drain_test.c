/* gateway_drain_test - the end of a gateway: what still runs, what comes too late, who does not go.
 */
#include "gateway/gateway_rig.h"
#include "testing/test.h"

#include <unistd.h>

#define STREAM "{\"prompt\":\"x\",\"stream\":true}"
#define WHOLE  "{\"prompt\":\"x\"}"

enum { NARROW_BYTES = 4096 }; /* of the receive buffer of a client that is slow */

static struct gateway_rig *rig;

static struct job *ask(const char *body)
{
    return client_ask(&rig->client, "/v1/infer", body);
}

/* Streams until the client's side is full and the worker out of credit. */
static void fill(struct job *job)
{
    char piece[500];
    memset(piece, 'n', sizeof(piece));
    while (job_fill(job, slice_of(piece, sizeof(piece))) > 0)
        continue;
}

TEST(a_drain_lets_a_stream_end_by_itself)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask(STREAM);
    job_start(job);
    job_delta(job, SLICE("x"));
    rig_drain(rig, 5000);
    rig_live_ms(rig, 4000);
    job_delta(job, SLICE("y"));
    job_done(job, DONE_EOS);
    struct answer answer = client_answer(&rig->client);
    CHECK_SLICE(text_slice(&answer.body),
                "data: {\"token\":\"x\"}\n\ndata: {\"token\":\"y\"}\n\ndata: [DONE]\n\n");
    CHECK_EQ(rig->drained, 0); /* the client has not said goodbye */
    CHECK(rig->client.eof);
    client_leave(&rig->client, BY_FIN);
    CHECK_EQ(rig->drained, 1);
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(after_drain_ms_streams_end_with_an_error_and_their_terminator)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask(STREAM);
    job_start(job);
    job_delta(job, SLICE("x"));
    rig_drain(rig, 5000);
    rig_live_ms(rig, 4999);
    CHECK_EQ(job->cancels, 0);
    rig_live_ms(rig, 1);
    CHECK(job->cancels > 0);
    struct answer answer = client_answer(&rig->client);
    CHECK(answer.is_whole);
    CHECK_EQ(client_count(&rig->client, "\"code\":\"draining\""), 1);
    CHECK(slice_ends_with(text_slice(&answer.body), SLICE("}}\n\ndata: [DONE]\n\n")));
    answer_fini(&answer);
    client_leave(&rig->client, BY_FIN);
    CHECK_EQ(rig->drained, 1);
    gateway_rig_close(rig);
}

TEST(after_drain_ms_what_has_no_head_yet_gets_a_real_503)
{
    for (int streaming = 0; streaming < 2; streaming++) {
        rig = gateway_rig_open(NULL);
        struct job *job = ask(streaming ? STREAM : WHOLE);
        rig_drain(rig, 1000);
        rig_live_ms(rig, 1000);
        struct answer answer = client_answer(&rig->client);
        CHECK_EQ(answer.status, 503);
        CHECK_SLICE(answer_field(&answer, "Retry-After"), "1");
        CHECK_SLICE(answer_field(&answer, "Connection"), "close");
        CHECK(job->cancels > 0);
        answer_fini(&answer);
        client_leave(&rig->client, BY_FIN);
        CHECK_EQ(rig->drained, 1);
        gateway_rig_close(rig);
    }
}

TEST(a_request_whose_head_comes_during_a_drain_is_503)
{
    rig = gateway_rig_open(NULL);
    client_send_str(&rig->client, "POST /v1/infer HTTP/1.1\r\nHost: localhost\r\n");
    client_settle(&rig->client);
    rig_drain(rig, 5000);
    client_send_str(&rig->client, "Content-Length: 28\r\n\r\n");
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 503);
    CHECK_SLICE(answer_field(&answer, "Retry-After"), "1");
    CHECK_EQ(client_count(&rig->client, "\"code\":\"draining\""), 1);
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(health_is_answered_during_a_drain_and_ready_is_no)
{
    static const char *const paths[] = {"/health", "/ready"};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        rig = gateway_rig_open(NULL);
        client_send_str(&rig->client, "GET ");
        client_settle(&rig->client);
        rig_drain(rig, 5000);
        client_send_str(&rig->client, paths[i]);
        client_send_str(&rig->client, " HTTP/1.1\r\nHost: localhost\r\n\r\n");
        struct answer answer = client_answer(&rig->client);
        CHECK_EQ(answer.status, i == 0 ? 200 : 503);
        CHECK_EQ(answer_count(&answer, "{\"status\":\"degraded\","), 1);
        CHECK_EQ(answer_count(&answer, "\"draining\":true"), i == 0);
        answer_fini(&answer);
        gateway_rig_close(rig);
    }
}

/* Else nobody would end it: drain_ms may have passed before it begins. */
TEST(a_request_whose_body_comes_during_a_drain_is_503)
{
    rig = gateway_rig_open(NULL);
    client_send_str(&rig->client, "POST /v1/infer HTTP/1.1\r\nHost: localhost\r\n"
                                  "Content-Length: 28\r\n\r\n{\"prompt\":");
    client_settle(&rig->client);
    rig_drain(rig, 100);
    rig_live_ms(rig, 200);
    client_send_str(&rig->client, "\"x\",\"stream\":true}");
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 503);
    CHECK_EQ(client_count(&rig->client, "\"code\":\"draining\""), 1);
    CHECK_EQ(rig->job_count, 0);
    answer_fini(&answer);
    client_leave(&rig->client, BY_FIN);
    CHECK_EQ(rig->drained, 1);
    gateway_rig_close(rig);
}

TEST(a_drain_of_an_idle_gateway_is_over_at_once)
{
    rig = gateway_rig_open(NULL);
    client_leave(&rig->client, BY_FIN);
    rig_drain(rig, 60000);
    CHECK_EQ(rig->drained, 1);
    gateway_rig_close(rig);
}

TEST(a_terminator_that_waits_to_be_read_is_not_followed_by_another)
{
    struct gateway_options options = gateway_rig_options();
    struct client narrow;
    options.http.out_max_bytes = 8 * 1024;
    rig = gateway_rig_open(&options);
    client_open_narrow(&narrow, &rig->http, NARROW_BYTES);
    struct job *job = client_ask(&narrow, "/v1/infer", STREAM);
    job_start(job);
    fill(job);
    job_done(job, DONE_EOS);
    CHECK(rig_reply(rig)->ending);
    rig_drain(rig, 1000);
    rig_live_ms(rig, 1500);
    client_settle(&narrow);
    CHECK_EQ(client_count(&narrow, "[DONE]"), 1);
    CHECK_EQ(client_count(&narrow, "draining"), 0);
    client_fini(&narrow);
    gateway_rig_close(rig);
}

/* One has not read its last words, one has sent half a request, one said nothing yet. */
TEST(who_does_not_go_is_cut_off_a_second_after_drain_ms)
{
    struct gateway_options options = gateway_rig_options();
    struct client narrow, half;
    options.http.stall_ms = 0;
    rig = gateway_rig_open(&options);
    client_open(&half, &rig->http);
    client_send_str(&half, "POST /v1/infer HTTP/1.1\r\nHost: loc");
    client_open_narrow(&narrow, &rig->http, NARROW_BYTES);
    struct job *job = client_ask(&narrow, "/v1/infer", STREAM);
    job_start(job);
    fill(job);
    rig->obliges = true;
    rig_drain(rig, 5000);
    rig_live_ms(rig, 5999);
    CHECK(job->cancels > 0);
    CHECK_EQ(rig->drained, 0);
    rig_live_ms(rig, 1);
    CHECK_EQ(rig->drained, 1);
    CHECK_EQ(gateway_stats(rig->gateway).connections, 0);
    rig_live_ms(rig, 10000);
    CHECK_EQ(rig->drained, 1);
    client_fini(&narrow);
    client_fini(&half);
    gateway_rig_close(rig);
}

TEST(a_gateway_may_be_closed_in_the_middle_of_everything)
{
    struct client others[4];
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        client_open(&others[i], &rig->http);
    struct job *job = client_ask(&others[0], "/v1/infer", STREAM);
    job_start(job);
    job_delta(job, SLICE("x"));
    (void)client_ask(&others[1], "/v1/infer", WHOLE);
    client_send_str(&others[2], "POST /v1/infer HTTP/1.1\r\nHost: loc");
    (void)client_ask(&rig->client, "/v1/infer", STREAM);
    gateway_rig_close(rig); /* ASSERTs that nothing is left */
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        client_fini(&others[i]);
}

/* --- the socket that it leaves to the next one --- */

TEST(who_connects_between_two_gateways_on_one_socket_is_answered_by_the_second)
{
    struct gateway_options options = gateway_rig_options();
    struct err_note note = {""};
    rig = gateway_rig_open(NULL);
    gateway_close(&rig->gateway);
    rig_settle(&rig->http);
    client_fini(&rig->client);
    options.address = rig->http.address;
    CHECK_OK(net_listen(&options.address, &options.listen_fd, &note));
    int copy = dup(options.listen_fd); /* what the host keeps */
    CHECK_OK(gateway_open(rig->front, &options, &rig->gateway, &note));
    client_open(&rig->client, &rig->http);
    client_get(&rig->client, "/live", "");
    CHECK_EQ(client_status(&rig->client), 200);
    gateway_close(&rig->gateway);
    client_fini(&rig->client);
    client_open(&rig->client, &rig->http); /* nobody accepts, and nobody refuses */
    client_get(&rig->client, "/live", "");
    CHECK_EQ(client_status(&rig->client), 0);
    options.listen_fd = copy;
    CHECK_OK(gateway_open(rig->front, &options, &rig->gateway, &note));
    CHECK_EQ(client_status(&rig->client), 200);
    gateway_rig_close(rig);
}

TEST(a_gateway_refuses_a_descriptor_that_does_not_listen_and_leaves_it_open)
{
    struct gateway_options options = gateway_rig_options();
    struct err_note note = {""};
    struct gateway *gateway = NULL;
    int pair[2];
    rig = gateway_rig_open(NULL);
    CHECK_EQ(pipe(pair), 0);
    options.address = rig->http.address;
    options.listen_fd = pair[0];
    CHECK_ERR(gateway_open(rig->front, &options, &gateway, &note), ERR_REFUSED);
    CHECK(gateway == NULL);
    CHECK(strstr(note.text, "is not a TCP socket") != NULL);
    CHECK(close(pair[0]) == 0 && close(pair[1]) == 0);
    gateway_rig_close(rig);
}
