#include "testing/test.h"

#include "nano/family_check.h"

enum { SAMPLES = 4000 };

TEST(values_are_the_same_for_the_same_choice)
{
    check_deterministic(&family_values, 400);
}

TEST(values_keep_their_length)
{
    check_bounds(&family_values, SAMPLES, 500, 3072);
}

/* That every answer is JSON shows here: else it would not be right. */
TEST(what_values_say_themselves_is_right)
{
    struct score score = judged(&family_values, SAMPLES, NULL);
    CHECK_EQ(score.right[GATE_VALUES_JSON], SAMPLES);
    CHECK_EQ(score.right[GATE_VALUES], SAMPLES);
}

static bool leave_the_end_off(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    text_add(out, slice_first(answer, answer.len - 1));
    return true;
}

/* As a number, a string, a key: whatever stands before the last bracket. */
static bool change_a_value(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    for (size_t i = answer.len; i-- > 0;) {
        char byte = answer.data[i];
        if ((byte >= 'a' && byte <= 'y') || (byte >= '1' && byte <= '8')) {
            text_add(out, answer);
            out->data[i]++;
            return true;
        }
    }
    return false;
}

static bool space_it_out(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    text_add_str(out, "\n  ");
    text_add(out, answer);
    text_add_str(out, "\n");
    return true;
}

TEST(what_is_cut_is_no_json_and_a_changed_value_is_not_right)
{
    struct score score = judged(&family_values, SAMPLES, leave_the_end_off);
    CHECK_EQ(score.right[GATE_VALUES_JSON], 0);
    CHECK_EQ(score.right[GATE_VALUES], 0);
    score = judged(&family_values, SAMPLES, change_a_value);
    CHECK(score.asked[GATE_VALUES] > SAMPLES * 9 / 10);
    CHECK_EQ(score.right[GATE_VALUES], 0);
}

TEST(white_space_is_not_judged)
{
    struct score score = judged(&family_values, SAMPLES, space_it_out);
    CHECK_EQ(score.right[GATE_VALUES], SAMPLES);
}
