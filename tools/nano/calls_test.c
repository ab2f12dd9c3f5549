#include "testing/test.h"

#include "nano/family_check.h"
#include "nano/offer.h"

#include "base/json.h"

enum { SAMPLES = 4000 };

TEST(calls_are_the_same_for_the_same_choice)
{
    check_deterministic(&family_calls, 300);
}

TEST(calls_keep_their_length)
{
    check_bounds(&family_calls, SAMPLES, 1900, 4096);
}

TEST(what_calls_say_themselves_is_right)
{
    struct score score = judged(&family_calls, SAMPLES, NULL);
    CHECK_EQ(score.right[GATE_CALL_TOOL], SAMPLES);
    CHECK_EQ(score.asked[GATE_CALL_TOOL], SAMPLES);
    CHECK_EQ(score.right[GATE_CALL_JSON], score.asked[GATE_CALL_JSON]);
    CHECK_EQ(score.right[GATE_CALL_ARGUMENTS], score.asked[GATE_CALL_ARGUMENTS]);
    CHECK(score.asked[GATE_CALL_ARGUMENTS] > SAMPLES / 2);
}

static bool is_call(struct slice answer)
{
    return slice_find(answer, SLICE("<tool_call>")) != SLICE_NPOS;
}

/* A call instead of none, none instead of a call. */
static bool say_the_opposite(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    text_add_str(out, is_call(answer) ? "I have no tool for that."
                                      : "<tool_call>\n{\"name\": \"x\", \"arguments\": {}}\n"
                                        "</tool_call>");
    return true;
}

TEST(a_call_where_none_is_due_is_wrong_and_none_where_one_is)
{
    struct score score = judged(&family_calls, SAMPLES, say_the_opposite);
    CHECK_EQ(score.asked[GATE_CALL_TOOL], SAMPLES);
    CHECK_EQ(score.right[GATE_CALL_TOOL], 0);
    CHECK_EQ(score.right[GATE_CALL_ARGUMENTS], 0);
}

static bool break_json(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    size_t at = slice_find(answer, SLICE("\"arguments\""));
    text_add(out, slice_first(answer, at == SLICE_NPOS ? 0 : at));
    text_add(out, slice_after(answer, at + 1));
    return at != SLICE_NPOS;
}

TEST(a_call_that_is_not_json_is_wrong)
{
    struct score score = judged(&family_calls, SAMPLES, break_json);
    CHECK(score.asked[GATE_CALL_JSON] > SAMPLES / 2);
    CHECK_EQ(score.right[GATE_CALL_JSON], 0);
    CHECK_EQ(score.right[GATE_CALL_TOOL], 0);
}

/* {"a": 1} -> {"ax": 1}. */
static bool rename_argument(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    size_t at = slice_find(answer, SLICE("\"arguments\": {\""));
    if (at == SLICE_NPOS)
        return false;
    at += sizeof("\"arguments\": {\"") - 1;
    text_add(out, slice_first(answer, at));
    text_add_str(out, "x");
    text_add(out, slice_after(answer, at));
    return true;
}

TEST(an_argument_of_another_name_is_wrong)
{
    struct score score = judged(&family_calls, SAMPLES, rename_argument);
    CHECK_EQ(score.right[GATE_CALL_JSON], score.asked[GATE_CALL_JSON]);
    CHECK_EQ(score.right[GATE_CALL_TOOL], score.asked[GATE_CALL_TOOL]);
    CHECK_EQ(score.right[GATE_CALL_ARGUMENTS], 0);
}

static bool cut_the_end(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    text_add(out, slice_first(answer, answer.len - 1));
    return is_call(answer);
}

TEST(a_call_without_its_end_is_wrong)
{
    struct score score = judged(&family_calls, SAMPLES, cut_the_end);
    CHECK_EQ(score.right[GATE_CALL_JSON], 0);
}

/* The line before "</tools>" names every tool that may be called. */
static bool offers(const struct sample *sample, struct slice name)
{
    struct slice tools = slice_of(sample->bytes.data + sample->tools_begin, sample->tools_bytes);
    struct text quoted;
    text_init(&quoted, 256);
    text_add_f(&quoted, "\"" SLICE_FMT "\"", SLICE_ARG(name));
    bool is_there = slice_find(tools, text_slice(&quoted)) != SLICE_NPOS;
    text_fini(&quoted);
    return is_there;
}

TEST(only_tools_of_the_offer_are_called_and_every_schema_is_json)
{
    struct sample sample;
    sample_init(&sample);
    for (uint64_t i = 0; i < SAMPLES; i++) {
        check_make(&family_calls, &sample, i, i % 2 ? SPLIT_TEST : SPLIT_TRAIN);
        struct slice rest = slice_of(sample.bytes.data + sample.tools_begin, sample.tools_bytes),
                     line;
        for (bool more = true; more;) {
            more = slice_cut(rest, '\n', &line, &rest);
            json_t *schema;
            CHECK_OK(json_read(line, JSON_DEPTH_MAX, &schema, NULL));
            CHECK(json_is_object(schema));
            json_decref(schema);
        }
        struct slice answer = sample_answer(&sample), name;
        if (is_call(answer)) {
            rest = slice_after(answer, sizeof("<tool_call>\n{\"name\": \"") - 1);
            CHECK(slice_cut(rest, '"', &name, &rest));
            CHECK(offers(&sample, name));
        }
    }
    sample_fini(&sample);
}

/* What the user said is in the call as it was said (copying), unless it was only meant. */
static bool is_said(const struct parameter *parameter, struct slice value, struct slice words)
{
    return strcmp(parameter->type, "boolean") == 0 || slice_find(words, value) != SLICE_NPOS;
}

TEST(every_wording_of_every_tool_gives_what_the_schema_requires)
{
    struct wish wish;
    wish_init(&wish);
    struct choice choice = {7};
    for (size_t i = 0; i < toolbox_count * 60; i++) {
        const struct tool *tool = &toolbox[i % toolbox_count];
        wish_make(&wish, tool, &choice, i % 2 ? SPLIT_TEST : SPLIT_TRAIN);
        for (size_t p = 0; p < tool_parameter_count(tool); p++) {
            CHECK(wish.values[p].is_given || tool->parameters[p].is_optional);
            if (wish.values[p].is_given)
                CHECK(is_said(&tool->parameters[p], wish_value(&wish, p), text_slice(&wish.words)));
        }
        struct slice words = text_slice(&wish.words);
        CHECK_EQ(slice_find_byte(words, '<'), SLICE_NPOS);
        CHECK_EQ(slice_find(words, SLICE("  ")), SLICE_NPOS);
    }
    wish_fini(&wish);
}

TEST(no_two_tools_of_the_box_have_a_name_in_common)
{
    for (size_t i = 0; i < toolbox_count; i++) {
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(toolbox[i].name, toolbox[j].name) != 0);
    }
}

/* Tools of the test, hand-written or invented, are never offered in training. */
TEST(tools_of_the_test_are_not_in_training)
{
    struct sample sample;
    sample_init(&sample);
    for (uint64_t i = 0; i < SAMPLES; i++) {
        check_make(&family_calls, &sample, i, SPLIT_TRAIN);
        for (size_t held = 4; held < toolbox_count; held += 5)
            CHECK(!offers(&sample, slice_str(toolbox[held].name)));
    }
    sample_fini(&sample);
}
