/* slice_test - looking at bytes, also at none. */
#include "base/slice.h"
#include "testing/test.h"

static const struct slice NONE = {0};

TEST(nothing_is_a_slice_too)
{
    CHECK(slice_eq(NONE, SLICE("")));
    CHECK(slice_eq_ci(NONE, SLICE("")));
    CHECK(slice_eq(slice_str(NULL), NONE));
    CHECK(slice_starts_with(NONE, NONE) && slice_ends_with(NONE, NONE));
    CHECK(slice_starts_with(SLICE("a"), NONE) && slice_ends_with(SLICE("a"), NONE));
    CHECK(slice_is_empty(slice_trim(NONE)));
    CHECK(slice_is_empty(slice_first(NONE, 5)) && slice_is_empty(slice_after(NONE, 5)));
    CHECK_EQ(slice_find_byte(NONE, 'x'), SLICE_NPOS);
    CHECK_EQ(slice_find(NONE, SLICE("x")), SLICE_NPOS);
    CHECK_EQ(slice_find(NONE, NONE), 0);
}

TEST(first_and_after_stay_inside)
{
    struct slice word = SLICE("hello");
    CHECK_SLICE(slice_first(word, 2), "he");
    CHECK_SLICE(slice_first(word, 5), "hello");
    CHECK_SLICE(slice_first(word, 6), "hello");
    CHECK_SLICE(slice_after(word, 2), "llo");
    CHECK_SLICE(slice_after(word, 5), "");
    CHECK_SLICE(slice_after(word, SIZE_MAX), "");
}

TEST(case_is_ignored_for_ascii_letters_only)
{
    CHECK(slice_eq_ci(SLICE("Content-TYPE"), SLICE("cOnTENT-type")));
    CHECK(!slice_eq_ci(SLICE("@"), SLICE("`")));
    CHECK(!slice_eq_ci(SLICE("["), SLICE("{")));
    CHECK(!slice_eq_ci(SLICE("\xC4"), SLICE("\xE4")));
    CHECK(!slice_eq_ci(SLICE("a"), SLICE("ab")));
}

TEST(starts_and_ends)
{
    CHECK(slice_starts_with(SLICE("/v1/models"), SLICE("/v1")));
    CHECK(!slice_starts_with(SLICE("/v"), SLICE("/v1")));
    CHECK(slice_ends_with(SLICE("a.gguf"), SLICE(".gguf")));
    CHECK(!slice_ends_with(SLICE("gguf"), SLICE(".gguf")));
}

TEST(trim_takes_spaces_and_tabs_and_nothing_else)
{
    CHECK_SLICE(slice_trim(SLICE(" \t a b\t ")), "a b");
    CHECK_SLICE(slice_trim(SLICE("\t \t")), "");
    CHECK_SLICE(slice_trim(SLICE("\r\na\v")), "\r\na\v");
}

TEST(find_gives_the_first_place)
{
    CHECK_EQ(slice_find_byte(SLICE("a=b=c"), '='), 1);
    CHECK_EQ(slice_find_byte(SLICE("\xff\x80"), (char)0x80), 1);
    CHECK_EQ(slice_find(SLICE("data: x\n\n"), SLICE("\n\n")), 7);
    CHECK_EQ(slice_find(SLICE("aab"), SLICE("ab")), 1);
    CHECK_EQ(slice_find(SLICE("ab"), SLICE("abc")), SLICE_NPOS);
}

TEST(cut_leaves_all_in_the_head_when_the_byte_is_missing)
{
    struct slice head, tail;
    CHECK(slice_cut(SLICE("key=a=b"), '=', &head, &tail));
    CHECK_SLICE(head, "key");
    CHECK_SLICE(tail, "a=b");
    CHECK(slice_cut(SLICE("="), '=', &head, &tail));
    CHECK(slice_is_empty(head) && slice_is_empty(tail));
    CHECK(!slice_cut(SLICE("key"), '=', &head, &tail));
    CHECK_SLICE(head, "key");
    CHECK_SLICE(tail, "");
}

/* The classic loop over "a,b,": head and rest may be the same variable. */
TEST(cut_may_write_its_tail_over_its_input)
{
    struct slice rest = SLICE("a,b,"), head;
    CHECK(slice_cut(rest, ',', &head, &rest));
    CHECK_SLICE(head, "a");
    CHECK(slice_cut(rest, ',', &head, &rest));
    CHECK_SLICE(head, "b");
    CHECK(!slice_cut(rest, ',', &head, &rest));
}

TEST(number_is_digits_only_and_at_most_max)
{
    static const struct {
        const char *text;
        uint64_t max;
        enum err err;
        uint64_t value;
    } rows[] = {
        {"0", 0, ERR_OK, 0},
        {"007", 9, ERR_OK, 7},
        {"9", 10, ERR_OK, 9},
        {"10", 10, ERR_OK, 10},
        {"11", 10, ERR_LIMIT, 0},
        {"1", 0, ERR_LIMIT, 0},
        {"110", 10, ERR_LIMIT, 0}, /* above at "11", and the 0 must not bring it back */
        {"65535", 65535, ERR_OK, 65535},
        {"65536", 65535, ERR_LIMIT, 0},
        {"18446744073709551614", UINT64_MAX, ERR_OK, UINT64_MAX - 1},
        {"18446744073709551615", UINT64_MAX, ERR_OK, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, ERR_LIMIT, 0},
        {"99999999999999999999999999", UINT64_MAX, ERR_LIMIT, 0},
        {"99999999999999999999999999x", UINT64_MAX, ERR_PROTOCOL, 0},
        {"", 9, ERR_PROTOCOL, 0},
        {"+1", 9, ERR_PROTOCOL, 0},
        {"-1", 9, ERR_PROTOCOL, 0},
        {" 1", 9, ERR_PROTOCOL, 0},
        {"1 ", 9, ERR_PROTOCOL, 0},
        {"0x1", 9, ERR_PROTOCOL, 0},
        {"1.0", 9, ERR_PROTOCOL, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint64_t value = 4711;
        CHECK_ERR(slice_parse_u64(slice_str(rows[i].text), rows[i].max, &value), rows[i].err);
        CHECK(value == (rows[i].err == ERR_OK ? rows[i].value : 4711));
    }
}
