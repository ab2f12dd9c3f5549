/* gateway_choices_test - several prompts in one request: side by side in one stream, in order in
 * one whole answer, and all of them at an end when one fails. */
#include "gateway/gateway_rig.h"
#include "sse/sse.h"
#include "testing/test.h"

#define THREE       "{\"prompt\":[\"a\",\"b\",\"c\"],\"stream\":true}"
#define THREE_WHOLE "{\"prompt\":[\"a\",\"b\",\"c\"]}"

static struct gateway_rig *rig;

/* The text of choice `index`, and how often it finished. */
struct choice_text {
    int index;
    struct text text;
    int finishes;
};

static const json_t *first_choice(const json_t *chunk)
{
    return json_array_get(json_object_get(chunk, "choices"), 0);
}

static void gather_choice(void *ctx, const struct sse_event *event)
{
    struct choice_text *wanted = ctx;
    json_t *value;
    if (slice_eq_str(event->data, "[DONE]"))
        return;
    CHECK_OK(json_read(event->data, JSON_DEPTH_MAX, &value, NULL));
    const json_t *choice = first_choice(value);
    if (choice && json_integer_value(json_object_get(choice, "index")) == wanted->index) {
        text_add(&wanted->text, json_slice(json_object_get(choice, "text")));
        wanted->finishes += json_is_string(json_object_get(choice, "finish_reason"));
    }
    json_decref(value);
}

static void check_choice(const struct answer *answer, int index, const char *text, int finishes)
{
    struct choice_text wanted = {.index = index};
    struct sse_decoder *decoder;
    text_init(&wanted.text, 4096);
    CHECK_OK(sse_decoder_new(16 << 20, &decoder));
    CHECK_OK(sse_decoder_feed(decoder, text_slice(&answer->body), gather_choice, &wanted));
    CHECK_SLICES(text_slice(&wanted.text), slice_str(text));
    CHECK_EQ(wanted.finishes, finishes);
    sse_decoder_free(decoder);
    text_fini(&wanted.text);
}

static void check_ended(size_t error_count)
{
    struct answer answer = client_answer(&rig->client);
    CHECK(answer.is_whole);
    CHECK_EQ(answer_count(&answer, "[DONE]"), 1);
    CHECK_EQ(answer_count(&answer, "\"code\":\"internal_error\""), error_count);
    CHECK(slice_ends_with(text_slice(&answer.body), SLICE("\n\ndata: [DONE]\n\n")));
    answer_fini(&answer);
}

static void ask_three(const char *body)
{
    client_post_str(&rig->client, "/v1/completions", body);
    client_settle(&rig->client);
    CHECK_EQ(rig->job_count, 3);
    for (int i = 0; i < 3; i++)
        job_start(&rig->jobs[i]);
}

TEST(prompts_of_a_list_are_streamed_side_by_side)
{
    rig = gateway_rig_open(NULL);
    ask_three(THREE);
    CHECK_SLICE(rig->jobs[2].request.prompt, "c");
    CHECK(!id_eq(rig->jobs[0].request.id, rig->jobs[1].request.id));
    job_delta(&rig->jobs[2], SLICE("c1"));
    job_delta(&rig->jobs[0], SLICE("a1"));
    job_delta(&rig->jobs[2], SLICE("c2"));
    job_done(&rig->jobs[2], DONE_LENGTH);
    job_delta(&rig->jobs[1], SLICE("b1"));
    job_delta(&rig->jobs[0], SLICE("a2"));
    job_done(&rig->jobs[0], DONE_EOS);
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer_count(&answer, "[DONE]"), 0);
    check_choice(&answer, 0, "a1a2", 1);
    check_choice(&answer, 1, "b1", 0);
    check_choice(&answer, 2, "c1c2", 1);
    answer_fini(&answer);
    job_done(&rig->jobs[1], DONE_EOS);
    answer = client_answer(&rig->client);
    check_choice(&answer, 1, "b1", 1);
    answer_fini(&answer);
    check_ended(0);
    CHECK(rig_is_idle(rig));
    gateway_rig_close(rig);
}

TEST(the_head_is_held_from_the_first_one_that_was_taken)
{
    rig = gateway_rig_open(NULL);
    client_post_str(&rig->client, "/v1/completions", THREE);
    client_settle(&rig->client);
    job_accept(&rig->jobs[1]);
    rig_live_ms(rig, 2000);
    job_accept(&rig->jobs[0]);
    rig_live_ms(rig, 999);
    CHECK_EQ(client_status(&rig->client), 0);
    rig_live_ms(rig, 1);
    CHECK_EQ(client_status(&rig->client), 200);
    gateway_rig_close(rig);
}

/* The others may be silent for long. */
TEST(the_end_of_one_answer_leaves_at_once)
{
    rig = gateway_rig_open(NULL);
    ask_three(THREE);
    job_delta(&rig->jobs[0], SLICE("a1"));
    job_done(&rig->jobs[0], DONE_EOS);
    struct answer answer = client_answer(&rig->client);
    check_choice(&answer, 0, "a1", 1);
    answer_fini(&answer);
    rig_live_ms(rig, 10000);
    CHECK_EQ(client_count(&rig->client, ": ping"), 0); /* read below */
    client_settle(&rig->client);
    CHECK_EQ(client_count(&rig->client, ": ping"), 1);
    gateway_rig_close(rig);
}

TEST(a_fault_in_one_answer_ends_all_of_a_stream)
{
    rig = gateway_rig_open(NULL);
    ask_three(THREE);
    job_delta(&rig->jobs[0], SLICE("a1"));
    job_fail(&rig->jobs[1], FAULT_INTERNAL_ERROR, "boom");
    check_ended(1);
    CHECK(rig->jobs[0].cancels > 0 && rig->jobs[2].cancels > 0);
    CHECK_EQ(rig->jobs[1].cancels, 0);
    job_done(&rig->jobs[0], DONE_CANCELLED);
    job_done(&rig->jobs[2], DONE_CANCELLED);
    CHECK(rig_is_idle(rig));
    gateway_rig_close(rig);
}

TEST(a_whole_answer_of_several_prompts_keeps_their_order)
{
    rig = gateway_rig_open(NULL);
    ask_three(THREE_WHOLE);
    job_delta(&rig->jobs[2], SLICE("c1"));
    job_done(&rig->jobs[2], DONE_LENGTH);
    job_delta(&rig->jobs[0], SLICE("a1"));
    job_done(&rig->jobs[0], DONE_EOS);
    job_delta(&rig->jobs[1], SLICE("b1"));
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 0);
    answer_fini(&answer);
    job_done(&rig->jobs[1], DONE_EOS);
    answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    CHECK(slice_find(text_slice(&answer.body),
                     SLICE("\"choices\":[{\"text\":\"a1\",\"index\":0,\"logprobs\":null,"
                           "\"finish_reason\":\"stop\"},{\"text\":\"b1\",\"index\":1,"
                           "\"logprobs\":null,\"finish_reason\":\"stop\"},{\"text\":\"c1\","
                           "\"index\":2,\"logprobs\":null,\"finish_reason\":\"length\"}],"
                           "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,"
                           "\"total_tokens\":12,")) != SLICE_NPOS);
    answer_fini(&answer);
    CHECK(rig_is_idle(rig));
    gateway_rig_close(rig);
}

TEST(a_fault_in_one_of_several_whole_answers_is_the_status_of_all)
{
    rig = gateway_rig_open(NULL);
    ask_three(THREE_WHOLE);
    job_delta(&rig->jobs[0], SLICE("a1"));
    job_done(&rig->jobs[0], DONE_EOS);
    job_fail(&rig->jobs[1], FAULT_CONTEXT_LENGTH_EXCEEDED, "too long");
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 400);
    CHECK_EQ(answer_count(&answer, "context_length_exceeded"), 1);
    answer_fini(&answer);
    CHECK(rig->jobs[2].cancels > 0);
    job_done(&rig->jobs[2], DONE_CANCELLED);
    CHECK(rig_is_idle(rig));
    gateway_rig_close(rig);
}

/* --- seeds --- */

/* So that a request that is run again elsewhere says the same again. */
TEST(a_request_without_a_seed_gets_one_here_and_each_prompt_its_own)
{
    uint64_t seen = 0;
    rig = gateway_rig_open(NULL);
    client_ask(&rig->client, "/v1/completions", THREE);
    for (int i = 0; i < 3; i++) {
        const struct sampling *sampling = &rig->jobs[i].request.sampling;
        CHECK(sampling->has_seed);
        CHECK(sampling->seed < UINT64_C(1) << 53); /* a number that JavaScript keeps */
        CHECK(sampling->seed != seen);             /* the same twice: once in 2^53 */
        seen = sampling->seed;
    }
    gateway_rig_close(rig);
}

TEST(a_seed_that_was_asked_for_is_every_prompts)
{
    rig = gateway_rig_open(NULL);
    client_ask(&rig->client, "/v1/completions",
               "{\"prompt\":[\"a\",\"b\"],\"stream\":true,\"seed\":7}");
    for (int i = 0; i < 2; i++) {
        CHECK(rig->jobs[i].request.sampling.has_seed);
        CHECK_EQ(rig->jobs[i].request.sampling.seed, 7);
    }
    gateway_rig_close(rig);
}
