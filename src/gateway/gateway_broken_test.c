/* gateway_broken_test - workers that say too much, answers too long, memory that is not there. */
#include "base/mem.h"
#include "gateway/gateway_rig.h"
#include "testing/test.h"

#define STREAM "{\"prompt\":\"x\",\"stream\":true}"
#define WHOLE  "{\"prompt\":\"x\"}"

static struct gateway_rig *rig;

static struct job *ask(const char *body)
{
    return client_ask(&rig->client, "/v1/infer", body);
}

/* A stream that ended by our own doing: an error in it, then the terminator. */
static void check_broken(struct job *job)
{
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    CHECK(answer.is_whole);
    CHECK_EQ(client_count(&rig->client, "\"code\":\"internal_error\""), 1);
    CHECK(slice_ends_with(text_slice(&answer.body), SLICE("}}\n\ndata: [DONE]\n\n")));
    CHECK_EQ(answer_count(&answer, "}\n\ndata: {\"error\":"), 1); /* behind a whole event */
    CHECK(job->cancels > 0);
    answer_fini(&answer);
    job->ended = true;
    rig_live_ms(rig, 5000);
    CHECK(rig_is_idle(rig));
}

TEST(a_worker_that_exceeds_its_events_is_cut_and_the_client_told)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask(STREAM);
    job_start(job);
    job_delta(job, SLICE("x"));
    job_burst(job, SLICE("x"), 200);
    check_broken(job);
    gateway_rig_close(rig);
}

TEST(a_worker_that_exceeds_its_bytes_is_cut_and_the_client_told)
{
    static char piece[2000 * 1000];
    memset(piece, 'b', sizeof(piece));
    rig = gateway_rig_open(NULL);
    struct job *job = ask(STREAM);
    job_start(job);
    job_delta(job, SLICE("x"));
    job_burst(job, slice_of(piece, sizeof(piece)), 7); /* fewer events than may come */
    check_broken(job);
    gateway_rig_close(rig);
}

TEST(a_worker_that_exceeds_its_bytes_in_one_event_is_cut_and_the_client_told)
{
    static char piece[9 * 1000 * 1000];
    memset(piece, 1, sizeof(piece));
    rig = gateway_rig_open(NULL);
    struct job *job = ask(STREAM);
    job_start(job);
    job_delta(job, SLICE("x"));
    job_burst(job, slice_of(piece, sizeof(piece)), 1);
    check_broken(job);
    gateway_rig_close(rig);
}

TEST(there_is_room_for_the_last_words_however_much_was_sent)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask(STREAM);
    job_start(job);
    job_delta(job, SLICE("x"));
    size_t all_but_five = rig_reply(rig)->out.max_bytes - strlen("data: {\"token\":\"\"}\n\n") - 5;
    char *text = mem_alloc(all_but_five);
    memset(text, 'b', all_but_five);
    struct event large = {.type = EVENT_DELTA, .delta.text = slice_of(text, all_but_five)};
    job_post(job, &large);
    job_burst(job, SLICE("y"), 1); /* in the same turn */
    check_broken(job);
    CHECK_EQ(client_count(&rig->client, "{\"token\":\"y\"}"), 0);
    mem_free(text);
    gateway_rig_close(rig);
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
    rig = gateway_rig_open(NULL);
    struct job *job = ask(WHOLE);
    gather_whole(job, 0);
    job_done(job, DONE_EOS);
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    CHECK(answer.is_whole && answer.body.len > 4 * 1024 * 1024);
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(a_whole_answer_that_grows_beyond_4_mib_is_an_error_and_cancelled)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask(WHOLE);
    gather_whole(job, 1);
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 500);
    CHECK_EQ(client_count(&rig->client, "ask for it as a stream"), 1);
    CHECK(job->cancels > 0);
    answer_fini(&answer);
    job_done(job, DONE_CANCELLED);
    CHECK(rig_is_idle(rig));
    gateway_rig_close(rig);
}

/* One request while the nth allocation fails. True: there were not so many. */
static bool survive(const char *body, uint64_t nth)
{
    rig = gateway_rig_open(NULL);
    CHECK(text_reserve(&rig->client.in, 1 << 16)); /* the client's own memory does not count */
    client_post_str(&rig->client, "/v1/infer", body);
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
    struct answer answer = client_answer(&rig->client);
    CHECK(client_count(&rig->client, "[DONE]") <= 1);
    CHECK(!had_fewer || (answer.status == 200 && answer.is_whole));
    bool has_text = client_count(&rig->client, "\"x\"") + client_count(&rig->client, "\"xy\"") > 0;
    bool has_error = client_count(&rig->client, "\"error\"") > 0;
    CHECK(answer.status != 200 || !answer.is_whole || has_text || has_error);
    answer_fini(&answer);
    client_leave(&rig->client, BY_FIN);
    CHECK_EQ(gateway_stats(rig->gateway).in_flight, 0);
    gateway_rig_close(rig);
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
