#include "testing/test.h"

#include "nano/chat_notes.h"
#include "nano/family_check.h"

enum { SAMPLES = 4000 };

TEST(chat_is_the_same_for_the_same_choice)
{
    check_deterministic(&family_chat, 400);
}

TEST(chat_keeps_its_length)
{
    check_bounds(&family_chat, SAMPLES, 700, 4096);
}

TEST(what_chat_says_itself_is_right)
{
    struct score score = judged(&family_chat, SAMPLES, NULL);
    CHECK_EQ(score.asked[GATE_CHAT], SAMPLES);
    CHECK_EQ(score.right[GATE_CHAT], SAMPLES);
}

static bool say_something_else(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    (void)answer;
    text_add_str(out, "Perhaps it rains.");
    return true;
}

static bool say_nothing(const struct sample *sample, struct slice answer, struct text *out)
{
    (void)sample;
    (void)answer;
    (void)out;
    return true;
}

TEST(another_answer_and_none_are_wrong)
{
    CHECK_EQ(judged(&family_chat, SAMPLES, say_something_else).right[GATE_CHAT], 0);
    CHECK_EQ(judged(&family_chat, SAMPLES, say_nothing).right[GATE_CHAT], 0);
}

TEST(a_note_holds_its_value_in_its_answer_and_not_in_its_question)
{
    struct note note;
    for (uint64_t i = 0; i < 4000; i++) {
        struct choice choice = {i};
        if (i % 2)
            note_make(&note, &choice, i % 4 < 2 ? SPLIT_TRAIN : SPLIT_TEST);
        else
            note_make_own(&note, &choice, i % 4 < 2 ? SPLIT_TRAIN : SPLIT_TEST);
        CHECK(strstr(note.told, note.value) != NULL);
        CHECK(strstr(note.answer, note.value) != NULL);
        CHECK(note_contradicts(&note, &note));
    }
}
