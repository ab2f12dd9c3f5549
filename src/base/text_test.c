/* text_test - caps to the byte, the sticky overflow, numbers. */
#include "base/mem.h"
#include "base/text.h"
#include "testing/test.h"

TEST(append_fits_up_to_the_cap_and_not_one_more)
{
    char bytes[1001];
    memset(bytes, 'x', sizeof(bytes));
    for (size_t len = 999; len <= 1001; len++) {
        struct text text;
        text_init(&text, 1000);
        text_add(&text, slice_of(bytes, len));
        CHECK_ERR(text_status(&text), len <= 1000 ? ERR_OK : ERR_LIMIT);
        CHECK_EQ(text.len, len <= 1000 ? len : 0);
        text_fini(&text);
    }
}

TEST(overflow_keeps_what_was_there_and_ignores_the_rest)
{
    struct text text;
    text_init(&text, 6);
    text_add_str(&text, "abcd");
    text_add_str(&text, "efg");
    text_add_byte(&text, 'h');
    text_add_u64(&text, 1);
    text_add_f(&text, "%d", 2);
    text_add(&text, (struct slice){0});
    CHECK(!text_reserve(&text, 0));
    CHECK_SLICE(text_slice(&text), "abcd");
    CHECK_ERR(text_status(&text), ERR_LIMIT);
    text_clear(&text);
    CHECK_OK(text_status(&text));
    text_add_str(&text, "123456");
    CHECK_SLICE(text_slice(&text), "123456");
    CHECK_OK(text_status(&text));
    text_fini(&text);
}

TEST(byte_by_byte_equals_all_at_once)
{
    struct text text;
    text_init(&text, 100000);
    for (int i = 0; i < 100000; i++)
        text_add_byte(&text, (char)i);
    CHECK_OK(text_status(&text));
    for (int i = 0; i < 100000; i++)
        CHECK_EQ(text.data[i], (char)i);
    text_add_byte(&text, 'x');
    CHECK_ERR(text_status(&text), ERR_LIMIT);
    text_fini(&text);
}

TEST(numbers_print_like_printf)
{
    static const int64_t values[] = {0,  1,   -1,        9,         10,       -10,
                                     99, 100, INT32_MIN, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        struct text ours, theirs;
        text_init(&ours, 64);
        text_init(&theirs, 64);
        text_add_i64(&ours, values[i]);
        text_add_byte(&ours, ' ');
        text_add_u64(&ours, (uint64_t)values[i]);
        text_add_f(&theirs, "%lld %llu", (long long)values[i], (unsigned long long)values[i]);
        CHECK_SLICES(text_slice(&ours), text_slice(&theirs));
        text_fini(&ours);
        text_fini(&theirs);
    }
}

/* Around the first capacity and around the cap, where vsnprintf's NUL has no room of its own. */
TEST(formatted_text_fits_to_the_last_byte)
{
    for (int width = 1; width <= 600; width++) {
        struct text text;
        text_init(&text, 500);
        text_add_str(&text, "ab");
        text_add_f(&text, "%0*d", width, 7);
        CHECK_ERR(text_status(&text), width <= 498 ? ERR_OK : ERR_LIMIT);
        CHECK_EQ(text.len, width <= 498 ? 2 + width : 2);
        CHECK(width > 498 || text.data[text.len - 1] == '7');
        text_fini(&text);
    }
}

TEST(reserved_room_is_ours_to_write)
{
    struct text text;
    text_init(&text, 300);
    char *room = text_reserve(&text, 300);
    CHECK(room);
    memset(room, 'z', 300);
    text.len += 300;
    CHECK(text_reserve(&text, 0));
    CHECK(!text_reserve(&text, 1));
    CHECK_ERR(text_status(&text), ERR_LIMIT);
    text_fini(&text);
}

TEST(shrink_goes_back_and_never_forward)
{
    struct text text;
    text_init(&text, 100);
    text_add_str(&text, "keep,drop");
    text_shrink(&text, 4);
    text_add_str(&text, "!");
    CHECK_SLICE(text_slice(&text), "keep!");
    CHECK_ABORTS(text_shrink(&text, 6), "6 of 5");
    text_fini(&text);
}

TEST(cap_of_zero_holds_nothing_without_an_error)
{
    struct text text;
    text_init(&text, 0);
    text_add(&text, SLICE(""));
    text_add_f(&text, "%s", "");
    CHECK_OK(text_status(&text));
    text_add_byte(&text, 'x');
    CHECK_ERR(text_status(&text), ERR_LIMIT);
    text_fini(&text);
}

TEST(no_memory_is_an_overflow)
{
    struct text text;
    text_init(&text, 1000);
    mem_test_fail_nth(1);
    text_add_str(&text, "a");
    CHECK_ERR(text_status(&text), ERR_LIMIT);
    text_clear(&text);
    text_add_str(&text, "abc");
    mem_test_fail_nth(1);
    text_add_f(&text, "%0500d", 1);
    CHECK_ERR(text_status(&text), ERR_LIMIT);
    CHECK_SLICE(text_slice(&text), "abc");
    text_fini(&text);
}
