#include "testing/test.h"

#include "nano/family_check.h"

#include "base/json.h"

enum { SAMPLES = 4000 };

TEST(results_are_the_same_for_the_same_choice)
{
    check_deterministic(&family_results, 300);
}

TEST(results_keep_their_length)
{
    check_bounds(&family_results, SAMPLES, 1600, 4096);
}

TEST(what_results_say_themselves_is_right)
{
    struct score score = judged(&family_results, SAMPLES, NULL);
    CHECK_EQ(score.asked[GATE_RESULTS], SAMPLES);
    CHECK_EQ(score.right[GATE_RESULTS], SAMPLES);
}

static bool drop_a_value(const struct sample *sample, struct slice answer, struct text *out)
{
    struct slice needle = sample_needle(sample, sample->needle_count - 1);
    for (size_t at; (at = slice_find(answer, needle)) != SLICE_NPOS;
         answer = slice_after(answer, at + needle.len))
        text_add(out, slice_first(answer, at));
    text_add(out, answer);
    return slice_find(text_slice(out), needle) == SLICE_NPOS;
}

TEST(an_answer_without_one_of_the_values_is_wrong)
{
    struct score score = judged(&family_results, SAMPLES, drop_a_value);
    CHECK(score.asked[GATE_RESULTS] > SAMPLES * 9 / 10);
    CHECK_EQ(score.right[GATE_RESULTS], 0);
}

static bool call_again(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    text_add(out, answer);
    text_add_str(out, "<tool_call>\n{\"name\": \"x\", \"arguments\": {}}\n</tool_call>");
    return true;
}

TEST(calling_once_more_is_wrong)
{
    struct score score = judged(&family_results, SAMPLES, call_again);
    CHECK_EQ(score.asked[GATE_RESULTS], SAMPLES);
    CHECK_EQ(score.right[GATE_RESULTS], 0);
}

TEST(what_looks_like_json_is_json)
{
    struct sample sample;
    sample_init(&sample);
    for (uint64_t i = 0; i < SAMPLES; i++) {
        check_make(&family_results, &sample, i, i % 2 ? SPLIT_TEST : SPLIT_TRAIN);
        struct slice answer = sample_text(&sample, sample.turn_count - 2);
        CHECK_EQ(sample.turns[sample.turn_count - 2].speaker, SPEAKER_TOOL);
        if (answer.data[0] == '{' || answer.data[0] == '[') {
            json_t *value;
            CHECK_OK(json_read(answer, JSON_DEPTH_MAX, &value, NULL));
            json_decref(value);
        }
    }
    sample_fini(&sample);
}
