#include "nano/phrase.h"
#include "testing/test.h"

static const char *wording(const char *pattern, uint64_t seed)
{
    static char bytes[256];
    struct choice choice = {seed};
    struct text text;
    text_init(&text, sizeof(bytes) - 1);
    PHRASE(&text, &choice, pattern, {"x", SLICE("[it]")});
    memcpy(bytes, text.data, text.len);
    bytes[text.len] = '\0';
    text_fini(&text);
    return bytes;
}

TEST(a_pattern_without_marks_is_itself_and_a_slot_is_not_read_again)
{
    CHECK_STR(wording("Repeat: {x}.", 1), "Repeat: [it].");
    CHECK_STR(wording("a\\[b\\|c\\]\\n\\\\", 1), "a[b|c]\n\\");
}

TEST(each_choice_comes_about_as_often)
{
    size_t counts[3] = {0};
    for (uint64_t seed = 0; seed < 3000; seed++) {
        const char *drawn = wording("[a|[b|b]|c[|]]", seed * 7919);
        CHECK(drawn[0] >= 'a' && drawn[0] <= 'c' && drawn[1] == '\0');
        counts[drawn[0] - 'a']++;
    }
    for (size_t i = 0; i < 3; i++)
        CHECK(counts[i] > 850 && counts[i] < 1150);
}

TEST(wordings_are_counted)
{
    CHECK_EQ(phrase_count(SLICE("plain \\[text\\] {x}")), 1);
    CHECK_EQ(phrase_count(SLICE("[a|b] and [c|d|]")), 6);
    CHECK_EQ(phrase_count(SLICE("[a|b[c|d]]")), 3);
}

TEST(a_wrong_pattern_is_told)
{
    static const char *const keys[] = {"x", NULL};
    static const struct {
        const char *pattern, *complaint;
    } wrong[] = {
        {"[a", "a [ without its ]"},
        {"a]", "a ] without its ["},
        {"a|b", "a | outside of brackets"},
        {"{x", "a { without its }"},
        {"{y}", "there is no slot {y}"},
        {"a\\", "a \\ with nothing behind it"},
        {"[[[[[[[[[a]]]]]]]]]", "brackets more than 8 deep"},
    };
    struct err_note note;
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        CHECK_ERR(phrase_check(slice_str(wrong[i].pattern), keys, &note), ERR_PROTOCOL);
        CHECK_STR(note.text, wrong[i].complaint);
    }
    CHECK_OK(phrase_check(SLICE("[[[[[[[[a]]]]]]]] {x} \\["), keys, &note));
    CHECK_ABORTS(wording("{y}", 1), "no slot {y}");
}
