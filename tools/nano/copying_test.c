#include "testing/test.h"

#include "nano/coin.h"
#include "nano/family_check.h"
#include "nano/words.h"

enum { SAMPLES = 4000 };

TEST(copying_is_the_same_for_the_same_choice)
{
    check_deterministic(&family_copying, 400);
}

TEST(copying_keeps_its_length)
{
    check_bounds(&family_copying, SAMPLES, 600, 3072);
}

TEST(what_copying_says_itself_is_right)
{
    struct score score = judged(&family_copying, SAMPLES, NULL);
    CHECK_EQ(score.asked[GATE_COPYING], SAMPLES);
    CHECK_EQ(score.right[GATE_COPYING], SAMPLES);
}

static bool change_a_byte(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    text_add(out, answer);
    out->data[out->len / 2] ^= 1;
    return true;
}

static bool leave_the_last_off(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    text_add(out, slice_first(answer, answer.len - 1));
    return true;
}

TEST(a_copy_with_one_byte_changed_or_missing_is_wrong)
{
    CHECK_EQ(judged(&family_copying, SAMPLES, change_a_byte).right[GATE_COPYING], 0);
    CHECK_EQ(judged(&family_copying, SAMPLES, leave_the_last_off).right[GATE_COPYING], 0);
}

/* The words of a split: those that the other cannot draw. */
TEST(what_is_made_up_belongs_to_one_split)
{
    struct text text;
    text_init(&text, 256);
    for (uint64_t i = 0; i < 4000; i++) {
        struct choice choice = {i};
        enum split split = i % 2 ? SPLIT_TEST : SPLIT_TRAIN;
        text_clear(&text);
        if (i % 6 < 2)
            word_add_syllables(&text, &choice, split, 2, 4);
        else if (i % 6 < 4)
            word_add_id(&text, &choice, split);
        else
            coin_add_word(&text, &choice, split);
        CHECK(word_is_of(text_slice(&text), split));
        if (text.len >= WORD_HELD_BYTES)
            CHECK(!word_is_of(text_slice(&text), split == SPLIT_TEST ? SPLIT_TRAIN : SPLIT_TEST));
    }
    text_fini(&text);
}

TEST(a_log_uniform_number_is_in_its_range_and_small_as_often_as_large)
{
    struct choice choice = {3};
    size_t small = 0, large = 0;
    for (size_t i = 0; i < 10000; i++) {
        size_t drawn = word_log_uniform(&choice, 1, 40);
        CHECK(drawn >= 1 && drawn <= 40);
        small += drawn <= 2;
        large += drawn >= 20;
    }
    CHECK(small > 1500 && large > 1500);
    CHECK_EQ(word_log_uniform(&choice, 7, 7), 7);
}

TEST(a_slip_changes_a_word_by_a_letter_and_keeps_the_rest)
{
    struct text text;
    text_init(&text, 256);
    for (uint64_t i = 0; i < 2000; i++) {
        struct choice choice = {i};
        text_clear(&text);
        text_add_str(&text, "see /metrics or the worker at 8080");
        word_typo(&text, 0, &choice);
        CHECK(text.len >= 33 && text.len <= 35);
        CHECK(slice_find(text_slice(&text), SLICE("see /metrics or the w")) == 0);
        CHECK(slice_find(text_slice(&text), SLICE(" at 8080")) != SLICE_NPOS);
    }
    text_fini(&text);
}
