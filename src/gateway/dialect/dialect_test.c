/* dialect_test - what each surface reads and the exact bytes it writes. */
#include "gateway/dialect/dialects.h"

#include "base/mem.h"
#include "testing/test.h"

#include <stdio.h>

/* A call with fixed names, so that the bytes can be written down. */
struct fixture {
    struct call call;
    struct api_error error;
    struct text out;
};

static enum err parse_in(struct fixture *fixture, const struct dialect *dialect, const char *body,
                         const char *query, size_t arena_bytes)
{
    struct dialect_input input = {.query = slice_str(query)};
    *fixture = (struct fixture){
        .call = {.dialect = dialect, .choices = 1, .per_prompt = 1, .created_s = 7}};
    fixture->call.arena = arena_new(arena_bytes);
    fixture->call.request.sampling = sampling_default();
    fixture->call.request.model = SLICE("m");
    strcpy(fixture->call.id_text, "ab");
    fixture->call.choice = mem_array(CALL_CHOICES_MAX, sizeof(*fixture->call.choice));
    for (int i = 0; i < CALL_CHOICES_MAX; i++)
        text_init(&fixture->call.choice[i].whole, 65536);
    text_init(&fixture->out, 65536);
    json_t *value = NULL;
    if (body)
        CHECK_OK(json_read(slice_str(body), JSON_DEPTH_MAX, &value, NULL));
    input.body = value;
    enum err err = dialect->parse(&fixture->call, &input, &fixture->error);
    json_decref(value);
    return err;
}

static enum err parse(struct fixture *fixture, const struct dialect *dialect, const char *body,
                      const char *query)
{
    return parse_in(fixture, dialect, body, query, 1 << 20);
}

static void done(struct fixture *fixture)
{
    for (int i = 0; i < CALL_CHOICES_MAX; i++)
        text_fini(&fixture->call.choice[i].whole);
    mem_free(fixture->call.choice);
    text_fini(&fixture->out);
    arena_free(fixture->call.arena);
}

static void start(struct fixture *fixture)
{
    struct call *call = &fixture->call;
    call->started_ms = 5000;
    call->choice[0].is_started = true;
    call->choice[0].seed = 42;
    call->choice[0].prompt_tokens = 3;
    if (call->dialect->stream_begin)
        call->dialect->stream_begin(call, 0, &fixture->out);
}

static void delta(struct fixture *fixture, const char *text)
{
    struct event event = {.type = EVENT_DELTA, .delta.text = slice_str(text)};
    fixture->call.dialect->stream_event(&fixture->call, 0, &event, &fixture->out);
    fixture->call.choice[0].pieces++;
    fixture->call.choice[0].completion_tokens++;
}

static void finish(struct fixture *fixture, enum done_reason reason)
{
    struct call *call = &fixture->call;
    struct event event = {.type = EVENT_DONE, .done.reason = reason};
    call->choice[0].done = true;
    call->choice[0].reason = reason;
    call->choice[0].decode_us = 9000;
    call->dialect->stream_event(call, 0, &event, &fixture->out);
    call->dialect->stream_end(call, &fixture->out);
}

static void check_refused(const struct dialect *dialect, const char *body, const char *code,
                          const char *param, const char *message)
{
    struct fixture fixture;
    CHECK_ERR(parse(&fixture, dialect, body, ""), ERR_REFUSED);
    CHECK_EQ(fixture.error.status, 400);
    CHECK_STR(fixture.error.code, code);
    CHECK_STR(fixture.error.param, param);
    CHECK_STR(fixture.error.message, message);
    done(&fixture);
}

static void check_stream(const struct dialect *dialect, const char *body, const char *query,
                         const char *expected)
{
    struct fixture fixture;
    CHECK_OK(parse(&fixture, dialect, body, query));
    CHECK(fixture.call.stream);
    start(&fixture);
    delta(&fixture, "He\"y");
    delta(&fixture, "\n");
    finish(&fixture, DONE_EOS);
    CHECK_SLICES(text_slice(&fixture.out), slice_str(expected));
    done(&fixture);
}

TEST(chat_streams_role_first_then_deltas_finish_and_done)
{
#define HEAD                                                                                       \
    "data: {\"id\":\"chatcmpl-ab\",\"object\":\"chat.completion.chunk\",\"created\":7,"            \
    "\"model\":\"m\",\"system_fingerprint\":\"seed_42\",\"choices\":["
    check_stream(
        &dialect_chat, "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
        "",
        HEAD "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,"
             "\"finish_reason\":null}]}\n\n" HEAD
             "{\"index\":0,\"delta\":{\"content\":\"He\\\"y\"},\"logprobs\":null,"
             "\"finish_reason\":null}]}\n\n" HEAD
             "{\"index\":0,\"delta\":{\"content\":\"\\n\"},\"logprobs\":null,"
             "\"finish_reason\":null}]}\n\n" HEAD
             "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n"
             "data: [DONE]\n\n");
}

TEST(chat_usage_comes_in_a_chunk_of_its_own_before_done)
{
    struct fixture fixture;
    CHECK_OK(parse(&fixture, &dialect_chat,
                   "{\"stream\":true,\"stream_options\":{\"include_usage\":true},"
                   "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
                   ""));
    start(&fixture);
    delta(&fixture, "x");
    finish(&fixture, DONE_LENGTH);
    CHECK(slice_ends_with(
        text_slice(&fixture.out),
        SLICE(HEAD "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"length\"}],"
                   "\"usage\":null}\n\n" HEAD
                   "],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1,\"total_tokens\":4,"
                   "\"prompt_tokens_details\":{\"cached_tokens\":0}}}\n\ndata: [DONE]\n\n")));
    done(&fixture);
#undef HEAD
}

TEST(completions_chosen_by_the_query_carry_delta_and_done)
{
#define HEAD                                                                                       \
    "data: {\"id\":\"cmpl-ab\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\","      \
    "\"system_fingerprint\":\"seed_42\",\"choices\":["
    check_stream(&dialect_completions, "{\"prompt\":\"Tell me a joke\"}", "stream=true",
                 HEAD
                 "{\"text\":\"He\\\"y\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}],"
                 "\"delta\":\"He\\\"y\"}\n\n" HEAD
                 "{\"text\":\"\\n\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}],"
                 "\"delta\":\"\\n\"}\n\n" HEAD
                 "{\"text\":\"\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"stop\"}],"
                 "\"delta\":\"\",\"done\":true}\n\ndata: [DONE]\n\n");
    check_stream(&dialect_completions, "{\"prompt\":\"x\",\"stream\":true}", "",
                 HEAD "{\"text\":\"He\\\"y\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}]"
                      "}\n\n" HEAD
                      "{\"text\":\"\\n\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}]"
                      "}\n\n" HEAD
                      "{\"text\":\"\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"stop\"}]"
                      "}\n\ndata: [DONE]\n\n");
#undef HEAD
}

TEST(infer_streams_tokens_for_post_and_get)
{
    const char *expected = "data: {\"token\":\"He\\\"y\"}\n\ndata: {\"token\":\"\\n\"}\n\n"
                           "data: [DONE]\n\n";
    check_stream(&dialect_infer, "{\"prompt\":\"x\",\"stream\":true}", "", expected);
    check_stream(&dialect_infer, NULL, "prompt=Hello%20world&stream=true&max_tokens=5", expected);

    struct fixture fixture;
    CHECK_OK(parse(&fixture, &dialect_infer, NULL, "prompt=a+%C3%A9&temperature=0.5&seed=9"));
    CHECK_SLICE(fixture.call.request.prompt, "a \xc3\xa9");
    CHECK_NEAR(fixture.call.request.sampling.temperature, 0.5, 1e-6);
    CHECK_EQ(fixture.call.request.sampling.seed, 9);
    CHECK(!fixture.call.stream);
    done(&fixture);
}

TEST(inference_streams_started_tokens_end_done)
{
    check_stream(&dialect_inference, "{\"prompt\":\"x\"}", "",
                 "data: {\"event\":\"started\",\"job_id\":\"ab\",\"model\":\"m\",\"started_at\":"
                 "\"5000\"}\n\n"
                 "data: {\"event\":\"token\",\"t\":\"He\\\"y\",\"i\":0}\n\n"
                 "data: {\"event\":\"token\",\"t\":\"\\n\",\"i\":1}\n\n"
                 "data: {\"event\":\"end\",\"tokens_out\":2,\"decode_time_ms\":9,\"stop_reason\":"
                 "\"eos\"}\n\ndata: [DONE]\n\n");
}

TEST(generate_stream_names_its_events)
{
    check_stream(&dialect_generate_stream, "{\"prompt\":\"x\"}", "",
                 "event: token\ndata: {\"token\":\"He\\\"y\"}\n\n"
                 "event: token\ndata: {\"token\":\"\\n\"}\n\n"
                 "event: done\ndata: {\"tokens_generated\":2,\"finish_reason\":\"stop\"}\n\n");
}

TEST(a_fault_in_a_stream_keeps_the_form_and_the_terminator)
{
    static const struct {
        const struct dialect *dialect;
        const char *body, *expected;
    } cases[] = {
        {&dialect_infer, "{\"prompt\":\"x\",\"stream\":true}",
         "data: {\"error\":{\"message\":\"gone\",\"type\":\"server_error\",\"param\":null,"
         "\"code\":\"worker_lost\"}}\n\ndata: [DONE]\n\n"},
        {&dialect_inference, "{\"prompt\":\"x\"}",
         "data: {\"event\":\"error\",\"code\":\"INFERENCE_FAILED\",\"message\":\"gone\"}\n\n"
         "data: [DONE]\n\n"},
        {&dialect_generate_stream, "{\"prompt\":\"x\"}",
         "event: error\ndata: {\"error\":\"gone\"}\n\n"
         "event: done\ndata: {\"tokens_generated\":0,\"finish_reason\":\"error\"}\n\n"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture fixture;
        struct api_error error;
        CHECK_OK(parse(&fixture, cases[i].dialect, cases[i].body, ""));
        CHECK_ERR(api_error_set(&error, 502, "worker_lost", NULL, "gone"), ERR_REFUSED);
        cases[i].dialect->stream_fault(&fixture.call, &error, &fixture.out);
        cases[i].dialect->stream_end(&fixture.call, &fixture.out);
        CHECK_SLICES(text_slice(&fixture.out), slice_str(cases[i].expected));
        done(&fixture);
    }
}

TEST(whole_answers_tell_the_true_finish_reason)
{
    struct fixture fixture;
    CHECK_OK(parse(&fixture, &dialect_generate, "{\"prompt\":\"p\"}", ""));
    text_add(&fixture.call.choice[0].whole, SLICE("a\"b"));
    fixture.call.choice[0].completion_tokens = 2;
    fixture.call.choice[0].done = true;
    fixture.call.choice[0].reason = DONE_LENGTH;
    dialect_generate.whole(&fixture.call, &fixture.out);
    CHECK_SLICE(text_slice(&fixture.out), "{\"text\":\"a\\\"b\",\"prompt\":\"p\","
                                          "\"tokens_generated\":2,\"finish_reason\":\"length\"}");
    done(&fixture);
}

TEST(chat_messages_are_checked_one_by_one)
{
    check_refused(&dialect_chat, "{\"messages\":1}", "invalid_messages", "messages",
                  "messages must be array");
    check_refused(&dialect_chat, "{}", "invalid_messages", "messages", "messages must be array");
    check_refused(&dialect_chat, "{\"messages\":[]}", "invalid_messages", "messages",
                  "messages has 0 entries: allowed are 1..4096");
    check_refused(&dialect_chat, "{\"messages\":[1]}", "invalid_messages", "messages",
                  "messages[0] must be an object");
    check_refused(&dialect_chat, "{\"messages\":[{\"role\":\"king\",\"content\":\"\"}]}",
                  "invalid_messages", "messages",
                  "messages[0].role must be system, developer, user, assistant or tool");
    check_refused(&dialect_chat, "{\"messages\":[{\"role\":\"user\"}]}", "invalid_messages",
                  "messages", "messages[0].content must be a string or a list of parts");
    char named[400], name[REQUEST_NAME_MAX_BYTES + 2] = "";
    memset(name, 'n', REQUEST_NAME_MAX_BYTES + 1);
    snprintf(named, sizeof(named),
             "{\"messages\":[{\"role\":\"user\",\"content\":\"\",\"name\":\"%s\"}]}", name);
    check_refused(&dialect_chat, named, "invalid_messages", "messages",
                  "messages[0].name is too long: allowed are 256 bytes");
    check_refused(&dialect_chat,
                  "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
                  "unsupported_content", "messages",
                  "the model 'm' does not take parts of type 'image_url'");
}

TEST(chat_joins_text_parts)
{
    struct fixture fixture;
    CHECK_OK(parse(&fixture, &dialect_chat,
                   "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
                   "\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}],\"max_tokens\":5,"
                   "\"max_completion_tokens\":6}",
                   ""));
    CHECK_SLICE(fixture.call.request.messages[0].content, "ab");
    CHECK_EQ(fixture.call.request.max_tokens, 6);
    done(&fixture);
}

TEST(what_is_not_there_yet_is_refused_by_name)
{
    static const char *const members[][2] = {{"best_of", "2"},
                                             {"logprobs", "true"},
                                             {"top_logprobs", "3"},
                                             {"tools", "[{}]"},
                                             {"tool_choice", "\"required\""},
                                             {"resumable", "true"},
                                             {"session", "{\"id\":\"s\",\"append\":true}"}};
    for (size_t i = 0; i < ARRAY_COUNT(members); i++) {
        char body[256], message[128];
        snprintf(body, sizeof(body), "{\"%s\":%s,\"messages\":[]}", members[i][0], members[i][1]);
        snprintf(message, sizeof(message), "%s is not supported", members[i][0]);
        check_refused(&dialect_chat, body, "unsupported_parameter", members[i][0], message);
    }
    struct fixture fixture; /* their harmless values are what SDKs send anyway */
    CHECK_OK(
        parse(&fixture, &dialect_chat,
              "{\"n\":1,\"logprobs\":false,\"tools\":[],\"tool_choice\":\"auto\",\"stop\":null,"
              "\"response_format\":{\"type\":\"text\"},\"user\":\"u\",\"metadata\":{},"
              "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
              ""));
    done(&fixture);
}

TEST(types_and_ranges_are_named)
{
    check_refused(&dialect_completions, "{\"model\":7,\"prompt\":\"x\"}", "invalid_type", "model",
                  "model must be a string");
    check_refused(&dialect_completions, "[]", "invalid_type", "", "the body must be a JSON object");
    check_refused(&dialect_completions, "{\"prompt\":\"x\",\"temperature\":101}", "invalid_value",
                  "temperature", "temperature is 101: allowed is 0..100");
    check_refused(&dialect_completions, "{\"prompt\":\"x\",\"max_tokens\":0}", "invalid_value",
                  "max_tokens", "max_tokens is 0: allowed is 1..1048576");
    check_refused(&dialect_completions, "{\"prompt\":\"x\",\"stop\":[\"\"]}", "invalid_value",
                  "stop", "a string of stop has 0 bytes: allowed are 1..256");
    check_refused(&dialect_completions, "{\"prompt\":\"x\",\"logit_bias\":{\"a\":1}}",
                  "invalid_value", "logit_bias", "logit_bias has the key 'a': keys are token ids");
    check_refused(&dialect_completions, "{\"prompt\":\"x\",\"stream\":\"yes\"}", "invalid_type",
                  "stream", "stream must be true or false");
    check_refused(&dialect_completions, "{}", "missing_parameter", "prompt", "prompt is missing");
    check_refused(&dialect_completions, "{\"prompt\":[\"a\",1]}", "invalid_type", "prompt",
                  "prompt[1] must be a string, as the ones before it");
    check_refused(&dialect_completions, "{\"prompt\":[1,-1]}", "invalid_type", "prompt",
                  "prompt[1] must be a token id, as the ones before it");
    check_refused(&dialect_completions, "{\"prompt\":[]}", "invalid_type", "prompt",
                  "prompt must be a string, a list of 1..16 strings, or a list of token ids");
}

TEST(a_list_of_strings_is_a_choice_each)
{
    struct fixture fixture;
    CHECK_OK(parse(&fixture, &dialect_completions, "{\"prompt\":[\"a\",\"b\",\"c\"]}", ""));
    CHECK_EQ(fixture.call.choices, 3);
    CHECK_SLICE(fixture.call.request.prompt, "a");
    CHECK_SLICE(fixture.call.more_prompts[1], "c");
    done(&fixture);
    CHECK_OK(parse(&fixture, &dialect_completions, "{\"prompt\":[[5,6]]}", ""));
    CHECK_EQ(fixture.call.request.token_count, 2);
    CHECK_EQ(fixture.call.request.tokens[1], 6);
    done(&fixture);
}

/* --- n --- */

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

TEST(n_is_a_number_of_choices_of_each_prompt)
{
    struct fixture fixture;
    CHECK_OK(parse(&fixture, &dialect_chat, "{\"n\":16," HI "}", ""));
    CHECK_EQ(fixture.call.choices, 16);
    CHECK_EQ(fixture.call.per_prompt, 16);
    done(&fixture);
    CHECK_OK(parse(&fixture, &dialect_chat, "{\"n\":null," HI "}", ""));
    CHECK_EQ(fixture.call.choices, 1);
    done(&fixture);
    CHECK_OK(parse(&fixture, &dialect_completions, "{\"n\":2,\"prompt\":[\"a\",\"b\",\"c\"]}", ""));
    CHECK_EQ(fixture.call.choices, 6);
    CHECK_SLICE(call_prompt(&fixture.call, 1), "a");
    CHECK_SLICE(call_prompt(&fixture.call, 2), "b");
    CHECK_SLICE(call_prompt(&fixture.call, 5), "c");
    done(&fixture);
    CHECK_OK(parse(&fixture, &dialect_completions, "{\"n\":3,\"prompt\":[5,6]}", ""));
    CHECK_EQ(fixture.call.choices, 3);
    done(&fixture);
    check_refused(&dialect_chat, "{\"n\":0," HI "}", "invalid_value", "n",
                  "n is 0: allowed is 1..16");
    check_refused(&dialect_chat, "{\"n\":17," HI "}", "invalid_value", "n",
                  "n is 17: allowed is 1..16");
    check_refused(&dialect_chat, "{\"n\":\"2\"," HI "}", "invalid_type", "n",
                  "n must be an integer");
    check_refused(&dialect_completions, "{\"n\":6,\"prompt\":[\"a\",\"b\",\"c\"]}", "invalid_value",
                  "n", "n is 6: allowed is 1..5");
}

/* The last one's must be a seed that a request of its own can name. */
TEST(a_seed_leaves_room_for_those_of_all_choices)
{
    struct fixture fixture;
    CHECK_OK(parse(&fixture, &dialect_chat, "{\"n\":3,\"seed\":9223372036854775805," HI "}", ""));
    done(&fixture);
    check_refused(&dialect_chat, "{\"n\":3,\"seed\":9223372036854775806," HI "}", "invalid_value",
                  "seed",
                  "seed is 9223372036854775806: with n = 3 allowed is 0..9223372036854775805");
}

/* The second one came first: two tokens of the prompt were there then, and the first found more. */
static void two_choices(struct fixture *fixture)
{
    struct call *call = &fixture->call;
    for (uint32_t i = 0; i < 2; i++) {
        call->choice[i].is_started = true;
        call->choice[i].seed = 42 + i;
        call->choice[i].prompt_tokens = 7;
        call->choice[i].cached_tokens = i == 0 ? 6 : 2;
        call->choice[i].completion_tokens = 1 + i;
        call->choice[i].reason = i == 0 ? DONE_EOS : DONE_LENGTH;
    }
}

static void say_of(struct fixture *fixture, uint32_t choice, const struct event *event)
{
    if (event->type == EVENT_DONE)
        fixture->call.choice[choice].done = true;
    fixture->call.dialect->stream_event(&fixture->call, choice, event, &fixture->out);
}

static void expect_chunk(struct text *expected, int seed, const char *choice, const char *rest)
{
    text_add_f(expected,
               "data: {\"id\":\"chatcmpl-ab\",\"object\":\"chat.completion.chunk\",\"created\":7,"
               "\"model\":\"m\",\"system_fingerprint\":\"seed_%d\",\"choices\":[%s],%s}\n\n",
               seed, choice, rest);
}

static void expect_choice(struct text *expected, int index, const char *delta, const char *finish)
{
    char choice[256];
    snprintf(choice, sizeof(choice),
             "{\"index\":%d,\"delta\":{%s},\"logprobs\":null,\"finish_reason\":%s}", index, delta,
             finish);
    expect_chunk(expected, 42 + index, choice, "\"usage\":null");
}

TEST(choices_are_streamed_each_with_its_index_its_seed_and_its_end)
{
    struct fixture fixture;
    struct text expected;
    text_init(&expected, 65536);
    CHECK_OK(parse(&fixture, &dialect_chat,
                   "{\"n\":2,\"stream\":true,\"stream_options\":{\"include_usage\":true}," HI "}",
                   ""));
    two_choices(&fixture);
    dialect_chat.stream_begin(&fixture.call, 1, &fixture.out);
    say_of(&fixture, 1, &(struct event){.type = EVENT_DELTA, .delta.text = SLICE("b")});
    dialect_chat.stream_begin(&fixture.call, 0, &fixture.out);
    say_of(&fixture, 1, &(struct event){.type = EVENT_DONE, .done.reason = DONE_LENGTH});
    say_of(&fixture, 0, &(struct event){.type = EVENT_DELTA, .delta.text = SLICE("a")});
    say_of(&fixture, 0, &(struct event){.type = EVENT_DONE, .done.reason = DONE_EOS});
    dialect_chat.stream_end(&fixture.call, &fixture.out);
    expect_choice(&expected, 1, "\"role\":\"assistant\",\"content\":\"\"", "null");
    expect_choice(&expected, 1, "\"content\":\"b\"", "null");
    expect_choice(&expected, 0, "\"role\":\"assistant\",\"content\":\"\"", "null");
    expect_choice(&expected, 1, "", "\"length\"");
    expect_choice(&expected, 0, "\"content\":\"a\"", "null");
    expect_choice(&expected, 0, "", "\"stop\"");
    expect_chunk(&expected, 42, "",
                 "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\"total_tokens\":10,"
                 "\"prompt_tokens_details\":{\"cached_tokens\":2}}");
    text_add(&expected, SLICE("data: [DONE]\n\n"));
    CHECK_SLICES(text_slice(&fixture.out), text_slice(&expected));
    text_fini(&expected);
    done(&fixture);
}

TEST(choices_of_a_whole_answer_are_in_order)
{
    struct fixture fixture;
    CHECK_OK(parse(&fixture, &dialect_chat, "{\"n\":2," HI "}", ""));
    two_choices(&fixture);
    text_add(&fixture.call.choice[0].whole, SLICE("a\"1"));
    text_add(&fixture.call.choice[1].whole, SLICE("b1"));
    dialect_chat.whole(&fixture.call, &fixture.out);
    CHECK_SLICE(text_slice(&fixture.out),
                "{\"id\":\"chatcmpl-ab\",\"object\":\"chat.completion\",\"created\":7,"
                "\"model\":\"m\",\"system_fingerprint\":\"seed_42\",\"choices\":["
                "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\\\"1\","
                "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"},"
                "{\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":\"b1\","
                "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"length\"}],"
                "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\"total_tokens\":10,"
                "\"prompt_tokens_details\":{\"cached_tokens\":2}}}");
    done(&fixture);
}

/* Its clients stop reading there. */
TEST(done_of_serving_v2_is_in_the_last_chunk_of_all_choices)
{
    struct fixture fixture;
    CHECK_OK(parse(&fixture, &dialect_completions, "{\"n\":2,\"prompt\":\"x\"}", "stream=true"));
    two_choices(&fixture);
    say_of(&fixture, 0, &(struct event){.type = EVENT_DONE, .done.reason = DONE_EOS});
    CHECK(slice_ends_with(text_slice(&fixture.out), SLICE("],\"delta\":\"\"}\n\n")));
    say_of(&fixture, 1, &(struct event){.type = EVENT_DONE, .done.reason = DONE_EOS});
    CHECK(slice_ends_with(text_slice(&fixture.out), SLICE("],\"delta\":\"\",\"done\":true}\n\n")));
    done(&fixture);
}

/* A choice that has not started has no seed to tell, and none is remembered for it. */
TEST(progress_says_of_which_choice_it_is)
{
    struct fixture fixture;
    struct event queued = {.type = EVENT_QUEUED, .queued = {.position = 2}};
    CHECK_OK(parse(&fixture, &dialect_chat, "{\"n\":2,\"stream\":true," HI "}", ""));
    fixture.call.choice[1].is_started = true;
    fixture.call.choice[1].seed = 8;
    say_of(&fixture, 0, &queued);
    CHECK(slice_ends_with(text_slice(&fixture.out),
                          SLICE("\"seed_0\",\"choices\":[],\"progress\":{\"state\":\"queued\","
                                "\"index\":0,\"position\":2,\"eta_ms\":0}}\n\n")));
    fixture.call.choice[0].is_started = true;
    fixture.call.choice[0].seed = 7;
    say_of(&fixture, 0, &(struct event){.type = EVENT_DELTA, .delta.text = SLICE("a")});
    CHECK(slice_find(text_slice(&fixture.out), SLICE("seed_7")) != SLICE_NPOS);
    done(&fixture);
}
#undef HI

/* What the wire cannot carry is refused here, by name. */
TEST(a_prompt_has_at_most_2_mi_token_ids)
{
    for (size_t more = 0; more < 2; more++) {
        size_t count = REQUEST_TOKENS_MAX + more;
        struct text body;
        struct fixture fixture;
        text_init(&body, 2 * count + 64);
        text_add(&body, SLICE("{\"prompt\":["));
        for (size_t i = 0; i < count; i++)
            text_add(&body, i ? SLICE(",1") : SLICE("1"));
        text_add(&body, SLICE("]}"));
        text_add_byte(&body, '\0');
        enum err err = parse_in(&fixture, &dialect_completions, body.data, "", 16 << 20);
        CHECK_EQ(err, more ? ERR_REFUSED : ERR_OK);
        CHECK_EQ(fixture.call.request.token_count, more ? 0 : count);
        if (more)
            CHECK_STR(fixture.error.message, "prompt has 2097153 token ids: allowed are 2097152");
        done(&fixture);
        text_fini(&body);
    }
}

TEST(raw_echoes_the_prompt_as_its_first_delta)
{
    struct fixture fixture;
    CHECK_OK(parse(&fixture, &dialect_completions, "{\"prompt\":\"p\",\"echo\":true}", ""));
    fixture.call.dialect = &dialect_raw; /* as reply.c does for ?format=raw */
    start(&fixture);
    delta(&fixture, "x");
    finish(&fixture, DONE_EOS);
    CHECK_SLICE(text_slice(&fixture.out), "data: {\"delta\":\"p\"}\n\ndata: {\"delta\":\"x\"}\n\n"
                                          "data: {\"done\":true}\n\n");
    done(&fixture);
}

TEST(parsing_survives_every_failed_allocation)
{
    const char *body = "{\"stream\":true,\"stop\":[\"a\",\"b\"],\"logit_bias\":{\"1\":2},"
                       "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
                       "\"text\":\"x\"}]}]}";
    for (uint64_t nth = 1; nth < 60; nth++) {
        struct fixture fixture = {
            .call = {.dialect = &dialect_chat, .choices = 1, .per_prompt = 1}};
        json_t *value;
        CHECK_OK(json_read(slice_str(body), JSON_DEPTH_MAX, &value, NULL));
        fixture.call.arena = arena_new(1 << 20);
        fixture.call.request.sampling = sampling_default();
        struct dialect_input input = {.body = value};
        mem_test_fail_nth(nth);
        enum err err = dialect_chat.parse(&fixture.call, &input, &fixture.error);
        mem_test_fail_nth(0);
        CHECK(err == ERR_OK || fixture.error.status == 413);
        arena_free(fixture.call.arena);
        json_decref(value);
    }
}
