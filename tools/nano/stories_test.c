#include "testing/test.h"

#include "nano/family_check.h"

enum { SAMPLES = 3000 };

TEST(stories_are_the_same_for_the_same_choice)
{
    check_deterministic(&family_stories, 200);
}

TEST(stories_keep_their_length)
{
    check_bounds(&family_stories, SAMPLES, 1700, 3072);
}

TEST(what_stories_say_themselves_is_right)
{
    struct score score = judged(&family_stories, SAMPLES, NULL);
    CHECK_EQ(score.asked[GATE_STORIES], SAMPLES);
    CHECK_EQ(score.right[GATE_STORIES], SAMPLES);
}

/* In the middle of a character, if it has one of several bytes. */
static bool cut_it_short(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    text_add(out, slice_first(answer, 100));
    return answer.len > 110;
}

static bool go_round(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    (void)answer;
    for (int i = 0; i < 40; i++)
        text_add_str(out, "The fox went on and on. ");
    return true;
}

static bool break_a_character(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    text_add(out, answer);
    text_add_str(out, "\xf0\x9f");
    return true;
}

TEST(a_story_that_ends_early_or_goes_round_or_breaks_a_character_is_wrong)
{
    CHECK_EQ(judged(&family_stories, SAMPLES, cut_it_short).right[GATE_STORIES], 0);
    CHECK_EQ(judged(&family_stories, SAMPLES, go_round).right[GATE_STORIES], 0);
    CHECK_EQ(judged(&family_stories, SAMPLES, break_a_character).right[GATE_STORIES], 0);
}

TEST(no_two_stories_are_the_same)
{
    struct sample a, b;
    sample_init(&a);
    sample_init(&b);
    check_make(&family_stories, &a, 0, SPLIT_TRAIN);
    for (uint64_t seed = 1; seed < 500; seed++) {
        check_make(&family_stories, &b, seed, SPLIT_TRAIN);
        if (sample_answer(&a).len > 600)
            CHECK(!slice_eq(sample_answer(&a), sample_answer(&b)));
        struct sample swapped = a;
        a = b;
        b = swapped;
    }
    sample_fini(&a);
    sample_fini(&b);
}
