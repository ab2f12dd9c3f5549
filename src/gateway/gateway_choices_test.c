/* gateway_choices_test - several prompts in one request, and several choices of each: side by side
 * in one stream, in order in one whole answer, and all of them at an end when one fails. */
#include "base/sha256.h"
#include "gateway/gateway_rig.h"
#include "sse/sse.h"
#include "testing/test.h"

#include <stdio.h>

#define THREE       "{\"prompt\":[\"a\",\"b\",\"c\"],\"stream\":true}"
#define THREE_WHOLE "{\"prompt\":[\"a\",\"b\",\"c\"]}"
#define N_THREE     "{\"prompt\":\"p\",\"n\":3,\"stream\":true,\"seed\":7}"

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

/* --- n --- */

static void start_all(int count)
{
    CHECK_EQ(rig->job_count, count);
    for (int i = 0; i < count; i++)
        job_start(&rig->jobs[i]);
}

static void end_all(void)
{
    for (int i = 0; i < rig->job_count; i++)
        if (!rig->jobs[i].ended)
            job_done(&rig->jobs[i], DONE_CANCELLED);
    CHECK(rig_is_idle(rig));
}

TEST(choices_of_one_prompt_differ_in_their_seed_and_in_the_last_digit_of_their_id)
{
    rig = gateway_rig_open(NULL);
    client_ask(&rig->client, "/v1/completions", N_THREE);
    CHECK_EQ(rig->job_count, 3);
    struct id id = rig->jobs[0].request.id;
    CHECK_EQ(id.low % 16, 0);
    for (uint64_t i = 0; i < 3; i++) {
        const struct request *request = &rig->jobs[i].request;
        CHECK_SLICE(request->prompt, "p");
        CHECK(request->prompt_is_shared);
        CHECK_EQ(request->sampling.seed, 7 + i);
        CHECK(id_eq(request->id, (struct id){id.high, id.low + i}));
    }
    rig->obliges = true;
    client_leave(&rig->client, BY_FIN);
    for (int i = 0; i < 3; i++)
        CHECK(rig->jobs[i].cancels > 0);
    rig_live_ms(rig, 3000);
    CHECK(rig_is_idle(rig));
    gateway_rig_close(rig);
}

TEST(choices_without_a_seed_get_one_drawn_for_all_of_them)
{
    rig = gateway_rig_open(NULL);
    client_ask(&rig->client, "/v1/completions",
               "{\"prompt\":[\"a\",\"b\"],\"n\":3,\"stream\":true}");
    CHECK_EQ(rig->job_count, 6);
    uint64_t seed = rig->jobs[0].request.sampling.seed;
    for (uint64_t i = 0; i < 6; i++) {
        CHECK_SLICES(rig->jobs[i].request.prompt, i < 3 ? SLICE("a") : SLICE("b"));
        CHECK_EQ(rig->jobs[i].request.sampling.seed, seed + i);
        CHECK(seed + i < UINT64_C(1) << 53);
    }
    gateway_rig_close(rig);
}

/* With a seed, choice i of every prompt is what that prompt alone says with the seed and i. */
TEST(a_seed_is_that_of_the_first_choice_of_every_prompt)
{
    rig = gateway_rig_open(NULL);
    client_ask(&rig->client, "/v1/completions",
               "{\"prompt\":[\"a\",\"b\"],\"n\":2,\"stream\":true,\"seed\":7}");
    CHECK_EQ(rig->job_count, 4);
    for (uint64_t i = 0; i < 4; i++)
        CHECK_EQ(rig->jobs[i].request.sampling.seed, 7 + i % 2);
    gateway_rig_close(rig);
}

/* A long body is parsed and encoded on the pool, each choice with its own seed. */
TEST(choices_that_the_pool_encodes_are_no_others)
{
    struct text body;
    rig = gateway_rig_open(NULL);
    text_init(&body, 1 << 20);
    text_add(&body, SLICE("{\"n\":4,\"stream\":true,\"prompt\":\""));
    for (int i = 0; i < 4 * PARSE_PER_TURN_BYTES; i++)
        text_add_byte(&body, 'x');
    text_add(&body, SLICE("\"}"));
    client_post(&rig->client, "/v1/completions", "", text_slice(&body));
    while (rig->job_count < 4)
        rig_settle(&rig->http);
    uint64_t seed = rig->jobs[0].request.sampling.seed;
    for (uint64_t i = 0; i < 4; i++) {
        CHECK_EQ(rig->jobs[i].request.sampling.seed, seed + i);
        CHECK_EQ(rig->jobs[i].request.prompt.len, 4 * PARSE_PER_TURN_BYTES);
    }
    text_fini(&body);
    gateway_rig_close(rig);
}

TEST(choices_are_streamed_side_by_side_with_one_end)
{
    rig = gateway_rig_open(NULL);
    client_ask(&rig->client, "/v1/completions", N_THREE);
    start_all(3);
    job_delta(&rig->jobs[2], SLICE("c1"));
    job_delta(&rig->jobs[0], SLICE("a1"));
    job_done(&rig->jobs[2], DONE_LENGTH);
    job_delta(&rig->jobs[1], SLICE("b1"));
    job_delta(&rig->jobs[0], SLICE("a2"));
    job_done(&rig->jobs[0], DONE_EOS);
    job_done(&rig->jobs[1], DONE_STOP);
    struct answer answer = client_answer(&rig->client);
    check_choice(&answer, 0, "a1a2", 1);
    check_choice(&answer, 1, "b1", 1);
    check_choice(&answer, 2, "c1", 1);
    answer_fini(&answer);
    check_ended(0);
    CHECK(rig_is_idle(rig));
    gateway_rig_close(rig);
}

/* Whether nothing was said yet or much was: one error, and the others are told to stop. */
TEST(a_choice_that_fails_ends_all_exactly_once)
{
    for (int said = 0; said < 3; said++) {
        rig = gateway_rig_open(NULL);
        client_ask(&rig->client, "/v1/completions", N_THREE);
        if (said > 0)
            start_all(3);
        for (int i = 0; i < said; i++)
            job_delta(&rig->jobs[i], SLICE("t"));
        job_fail(&rig->jobs[1], said ? FAULT_INTERNAL_ERROR : FAULT_QUEUE_FULL, "no");
        if (said == 0)
            CHECK(client_was_refused(&rig->client, 429, "queue_full"));
        else
            check_ended(1);
        CHECK(rig->jobs[0].cancels > 0 && rig->jobs[2].cancels > 0);
        CHECK_EQ(rig->jobs[1].cancels, 0);
        end_all();
        gateway_rig_close(rig);
    }
}

/* As the manager's cancel by id shows here: the first may be over, and any other ends all. */
TEST(a_choice_that_was_cancelled_ends_all)
{
    rig = gateway_rig_open(NULL);
    client_ask(&rig->client, "/v1/completions", N_THREE);
    start_all(3);
    job_delta(&rig->jobs[0], SLICE("a1"));
    job_done(&rig->jobs[0], DONE_EOS);
    job_done(&rig->jobs[1], DONE_CANCELLED);
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer_count(&answer, "\"code\":\"cancelled\""), 1);
    CHECK_EQ(answer_count(&answer, "[DONE]"), 1);
    answer_fini(&answer);
    CHECK(rig->jobs[2].cancels > 0);
    end_all();
    gateway_rig_close(rig);
}

TEST(n_is_at_most_the_slots_of_the_largest_worker)
{
    rig = gateway_rig_open(NULL); /* 8 slots */
    client_post_str(&rig->client, "/v1/completions", "{\"prompt\":\"p\",\"n\":9}");
    CHECK(client_was_refused(&rig->client, 400, "invalid_value"));
    client_post_str(&rig->client, "/v1/completions", "{\"prompt\":[\"a\",\"b\"],\"n\":8}");
    client_settle(&rig->client);
    CHECK_EQ(rig->job_count, 16); /* more than slots, as any list of prompts may be */
    gateway_rig_close(rig);

    rig = gateway_rig_open(NULL);
    rig->state.node = SLICE("w2");
    rig->state.slots = 9;
    rig_report(rig);
    client_ask(&rig->client, "/v1/completions", "{\"prompt\":\"p\",\"n\":9}");
    CHECK_EQ(rig->job_count, 9);
    gateway_rig_close(rig);

    rig = gateway_rig_open_alone(NULL); /* nobody has said what it has: the queue is the bound */
    client_ask(&rig->client, "/v1/completions", "{\"prompt\":\"p\",\"n\":16}");
    CHECK_EQ(rig->job_count, 16);
    gateway_rig_close(rig);
}

/* Each choice takes the prompt along, and nothing else bounds that. */
TEST(what_n_multiplies_is_no_longer_than_a_body_may_be)
{
    char body[600];
    struct gateway_options options = gateway_rig_options();
    options.http.message.body_max_bytes = sizeof(body);
    for (size_t more = 0; more < 2; more++) {
        rig = gateway_rig_open(&options);
        int len = snprintf(body, sizeof(body), "{\"n\":3,\"stream\":true,\"prompt\":\"p\"}");
        while ((size_t)len < sizeof(body) / 3 + more)
            body[len++] = ' ';
        client_post(&rig->client, "/v1/completions", "", slice_of(body, (size_t)len));
        client_settle(&rig->client);
        if (more)
            CHECK(client_was_refused(&rig->client, 413, "body_too_large"));
        CHECK_EQ(rig->job_count, more ? 0 : 3);
        gateway_rig_close(rig);
    }
}

TEST(choices_are_streams_of_their_key_each)
{
    static const char fields[] = "x-api-key: secret\r\n";
    struct gateway_key key = {.name = "alice", .tenant = "a"};
    struct gateway_options options = gateway_rig_options();
    struct client other;
    sha256_of(SLICE("secret"), key.sha256);
    options.live.keys = &key;
    options.live.key_count = 1;
    options.live.streams_per_key = 4;
    rig = gateway_rig_open(&options);
    rig->obliges = true;
    client_open(&other, &rig->http);
    client_post(&other, "/v1/completions", fields, SLICE("{\"prompt\":\"p\",\"n\":5}"));
    CHECK(client_was_refused(&other, 400, "invalid_value")); /* it would never be let in */
    client_post(&rig->client, "/v1/completions", fields, SLICE(N_THREE));
    client_settle(&rig->client);
    CHECK_EQ(rig->job_count, 3);
    client_post(&other, "/v1/completions", fields, SLICE("{\"prompt\":\"p\",\"n\":2}"));
    CHECK(client_was_refused(&other, 429, "rate_limited"));
    client_post(&other, "/v1/completions", fields, SLICE("{\"prompt\":\"p\"}"));
    client_settle(&other);
    CHECK_EQ(rig->job_count, 4);
    client_leave(&rig->client, BY_RESET);
    client_fini(&other);
    rig_live_ms(rig, 3000);
    CHECK(rig_is_idle(rig));
    client_open(&other, &rig->http);
    client_post(&other, "/v1/completions", fields, SLICE("{\"prompt\":\"p\",\"n\":4}"));
    client_settle(&other);
    CHECK_EQ(rig->job_count, 8); /* all of them were given back */
    client_fini(&other);
    gateway_rig_close(rig);
}

/* A client that does not read stops all of them, each at its own credit. */
TEST(who_does_not_read_stops_every_choice)
{
    static char piece[4096];
    memset(piece, 'x', sizeof(piece));
    struct slice text = slice_of(piece, sizeof(piece));
    struct gateway_options options = gateway_rig_options();
    rig = gateway_rig_open(&options);
    client_ask(&rig->client, "/v1/completions", N_THREE);
    start_all(3);
    size_t filled = 0;
    for (int idle = 0; idle < 3; idle++) /* until nobody may say more */
        for (int i = 0; i < 3; i++) {
            int count = job_fill(&rig->jobs[i], text);
            filled += (size_t)count;
            idle = count > 0 ? -1 : idle;
        }
    for (int i = 0; i < 3; i++)
        CHECK(rig->jobs[i].seq >= rig->jobs[i].credit.seq_limit ||
              rig->jobs[i].bytes >= rig->jobs[i].credit.byte_limit);
    size_t held = rig_reply(rig)->out.len;
    printf("%zu deltas of %zu bytes left, %zu bytes are held for three choices\n", filled,
           sizeof(piece), held);
    CHECK(held <= 3 * (2 * (size_t)options.ask.credit_bytes + 64 * 1024));
    rig->obliges = true;
    rig_live_ms(rig, 10000); /* it is closed, and everything with it */
    CHECK(rig_is_idle(rig));
    for (int i = 0; i < 3; i++)
        CHECK(rig->jobs[i].cancels > 0);
    gateway_rig_close(rig);
}

TEST(raw_takes_one_choice)
{
    rig = gateway_rig_open(NULL);
    client_post_str(&rig->client, "/v1/completions?format=raw", "{\"prompt\":\"p\",\"n\":2}");
    CHECK(client_was_refused(&rig->client, 400, "unsupported_parameter"));
    CHECK_EQ(rig->job_count, 0);
    gateway_rig_close(rig);
}
