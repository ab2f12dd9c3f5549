/* gateway_tasks_test - /tokenize and /detokenize: what becomes of the body, what of the results,
 * and every way in which it can go wrong. */
#include "gateway/gateway_rig.h"
#include "testing/test.h"

static struct gateway_rig *rig;

static void say_tokens(struct job *job, const int32_t *tokens, size_t count)
{
    struct text data;
    text_init(&data, 1 << 16);
    for (size_t i = 0; i < count; i++)
        result_add_token(&data, tokens[i]);
    job_say(job, &(struct event){.type = EVENT_RESULT,
                                 .result = {.kind = RESULT_TOKENS, .data = text_slice(&data)}});
    text_fini(&data);
}

static void say_text(struct job *job, struct slice text)
{
    job_say(job,
            &(struct event){.type = EVENT_RESULT, .result = {.kind = RESULT_TEXT, .data = text}});
}

static void check_body(const char *body)
{
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    CHECK(answer.is_whole);
    CHECK_SLICES(answer_field(&answer, "Content-Type"), SLICE("application/json"));
    CHECK_SLICES(text_slice(&answer.body), slice_str(body));
    client_forget(&rig->client, &answer);
    answer_fini(&answer);
}

/* --- /tokenize --- */

TEST(a_text_becomes_its_token_ids)
{
    static const int32_t tokens[] = {1, 29, INT32_MAX};
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(&rig->client, "/tokenize",
                                 "{\"model\":\"m\",\"content\":\"h\\u00e9\",\"add_special\":true}");
    CHECK_EQ(job->request.task.kind, TASK_TOKENIZE);
    CHECK_EQ(job->request.task.input_count, 1);
    CHECK_SLICE(job->request.task.inputs[0].text, "h\xc3\xa9");
    CHECK(job->request.task.add_special);
    CHECK(job->request.task.parse_special); /* llama-server's default */
    CHECK(!job->request.task.with_pieces);
    job_start(job);
    say_tokens(job, tokens, 2); /* two parts of one list */
    say_tokens(job, tokens + 2, 1);
    job_done(job, DONE_STOP);
    check_body("{\"tokens\":[1,29,2147483647]}");
    CHECK(rig_is_idle(rig));
    gateway_rig_close(rig);
}

TEST(no_text_has_no_tokens)
{
    rig = gateway_rig_open(NULL);
    struct job *job =
        client_ask(&rig->client, "/tokenize", "{\"content\":\"\",\"parse_special\":false}");
    CHECK_EQ(job->request.task.inputs[0].text.len, 0);
    CHECK(!job->request.task.parse_special);
    job_start(job);
    say_tokens(job, NULL, 0);
    job_done(job, DONE_STOP);
    check_body("{\"tokens\":[]}");
    gateway_rig_close(rig);
}

/* What is no whole character is a list of bytes, as llama-server gives it. */
TEST(pieces_are_strings_or_bytes)
{
    struct text data;
    rig = gateway_rig_open(NULL);
    struct job *job =
        client_ask(&rig->client, "/tokenize", "{\"content\":\"x\",\"with_pieces\":true}");
    CHECK(job->request.task.with_pieces);
    job_start(job);
    text_init(&data, 4096);
    result_add_piece(&data, 198, SLICE("\n"));
    result_add_piece(&data, 7, SLICE("\xc3"));
    result_add_piece(&data, 8, SLICE("\xff\xa9"));
    result_add_piece(&data, 2, SLICE(""));
    job_say(job, &(struct event){.type = EVENT_RESULT,
                                 .result = {.kind = RESULT_PIECES, .data = text_slice(&data)}});
    text_fini(&data);
    job_done(job, DONE_STOP);
    check_body("{\"tokens\":[{\"id\":198,\"piece\":\"\\n\"},{\"id\":7,\"piece\":[195]},"
               "{\"id\":8,\"piece\":[255,169]},{\"id\":2,\"piece\":\"\"}]}");
    gateway_rig_close(rig);
}

/* --- /detokenize --- */

TEST(token_ids_become_their_text)
{
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(&rig->client, "/detokenize", "{\"tokens\":[5,0,2147483647]}");
    CHECK_EQ(job->request.task.kind, TASK_DETOKENIZE);
    CHECK_EQ(job->request.task.inputs[0].token_count, 3);
    CHECK_EQ(job->request.task.inputs[0].tokens[2], INT32_MAX);
    job_start(job);
    say_text(job, SLICE("h\xc3")); /* a character that is cut between two parts */
    say_text(job, SLICE("\xa9\"\n"));
    job_done(job, DONE_STOP);
    check_body("{\"content\":\"h\xc3\xa9\\\"\\n\"}");
    gateway_rig_close(rig);
}

TEST(bytes_that_are_no_text_are_replaced)
{
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(&rig->client, "/detokenize", "{\"tokens\":[5]}");
    job_start(job);
    say_text(job, SLICE("a\xff\xc3"));
    job_done(job, DONE_STOP);
    check_body("{\"content\":\"a\xef\xbf\xbd\xef\xbf\xbd\"}");
    gateway_rig_close(rig);
}

/* --- what is refused --- */

static void check_refused(const char *path, const char *body, const char *code)
{
    client_post_str(&rig->client, path, body);
    if (!client_was_refused(&rig->client, 400, code))
        printf("%s %s\n", path, body);
    CHECK_EQ(rig->job_count, 0);
}

TEST(what_is_wrong_in_a_body_is_refused_by_name)
{
    rig = gateway_rig_open(NULL);
    check_refused("/tokenize", "{}", "missing_parameter");
    check_refused("/tokenize", "{\"content\":null}", "missing_parameter");
    check_refused("/tokenize", "{\"content\":7}", "invalid_type");
    check_refused("/tokenize", "{\"content\":[\"a\"]}", "invalid_type");
    check_refused("/tokenize", "{\"content\":\"a\",\"add_special\":1}", "invalid_type");
    check_refused("/tokenize", "{\"content\":\"a\",\"with_pieces\":\"yes\"}", "invalid_type");
    check_refused("/tokenize", "{\"content\":\"a\",\"stream\":true}", "unsupported_parameter");
    check_refused("/tokenize", "{\"content\":\"a\",\"priority\":\"top\"}", "invalid_value");
    check_refused("/tokenize", "[]", "invalid_type");
    check_refused("/tokenize", "{", "invalid_json");
    check_refused("/tokenize?format=raw", "{\"content\":\"a\"}", "unsupported_parameter");
    check_refused("/detokenize", "{}", "missing_parameter");
    check_refused("/detokenize", "{\"tokens\":\"1\"}", "invalid_type");
    check_refused("/detokenize", "{\"tokens\":[\"1\"]}", "invalid_type");
    check_refused("/detokenize", "{\"tokens\":[1,-1]}", "invalid_type");
    check_refused("/detokenize", "{\"tokens\":[1.5]}", "invalid_type");
    check_refused("/detokenize", "{\"tokens\":[2147483648]}", "invalid_type");
    gateway_rig_close(rig);
}

TEST(a_model_that_is_not_there_is_not_found)
{
    rig = gateway_rig_open(NULL);
    rig_live_ms(rig, 10000); /* long enough to have heard of every model */
    client_post_str(&rig->client, "/tokenize", "{\"model\":\"other\",\"content\":\"a\"}");
    CHECK(client_was_refused(&rig->client, 404, "model_not_found"));
    gateway_rig_close(rig);
}

/* --- what goes wrong later --- */

static struct job *ask_for_text(void)
{
    return client_ask(&rig->client, "/detokenize", "{\"tokens\":[5]}");
}

TEST(what_the_worker_refuses_is_refused)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask_for_text();
    job_accept(job);
    job_fail(job, FAULT_INVALID_REQUEST, "tokens[0] is 5: the model's vocabulary is 0..4");
    CHECK(client_was_refused(&rig->client, 400, "invalid_request"));
    gateway_rig_close(rig);
}

TEST(a_failure_after_half_the_answer_is_a_failure)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask_for_text();
    job_start(job);
    say_text(job, SLICE("half"));
    job_fail(job, FAULT_WORKER_LOST, "gone");
    CHECK(client_was_refused(&rig->client, 502, "worker_lost"));
    gateway_rig_close(rig);
}

TEST(a_task_that_was_cancelled_is_no_answer)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask_for_text();
    job_start(job);
    job_done(job, DONE_CANCELLED);
    CHECK(client_was_refused(&rig->client, 503, "cancelled"));
    gateway_rig_close(rig);
}

TEST(a_client_that_leaves_cancels_its_task)
{
    rig = gateway_rig_open(NULL);
    rig->obliges = true;
    struct job *job = ask_for_text();
    job_start(job);
    client_leave(&rig->client, BY_RESET);
    rig_live_ms(rig, 1000);
    CHECK(job->cancels > 0);
    CHECK(rig_is_idle(rig));
    gateway_rig_close(rig);
}

/* Not of our making: such a worker is broken, and must not break what we write. */
TEST(an_answer_that_was_not_asked_for_is_an_error)
{
    rig = gateway_rig_open(NULL);
    rig->obliges = true;
    struct job *job = ask_for_text();
    job_start(job);
    job_delta(job, SLICE("hi"));
    CHECK(client_was_refused(&rig->client, 500, "internal_error"));
    job = client_ask(&rig->client, "/v1/completions", "{\"prompt\":\"a\"}");
    job_start(job);
    say_text(job, SLICE("hi"));
    CHECK(client_was_refused(&rig->client, 500, "internal_error"));
    rig_live_ms(rig, 1000);
    gateway_rig_close(rig);
}

/* Credit comes back as results are taken in: an answer may be longer than all of it. */
TEST(a_long_answer_is_taken_in_at_once)
{
    static char many[16000];
    memset(many, 'a', sizeof(many));
    rig = gateway_rig_open(NULL);
    struct job *job = ask_for_text();
    job_start(job);
    for (int i = 0; i < 64; i++) { /* a MiB, where the credit is 64 KiB */
        CHECK(job->bytes < job->credit.byte_limit);
        say_text(job, slice_of(many, sizeof(many)));
    }
    job_done(job, DONE_STOP);
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    answer_fini(&answer);
    rig_forget_jobs(rig);
    gateway_rig_close(rig);
}
