#include "testing/test.h"

#include "nano/invent.h"

#include "base/json_number.h"

#include <stdio.h>

enum { DRAWS = 2000 };

/* Things are put into quotes, brackets, JSON and patterns: nothing in them needs an escape there.
 */
TEST(no_thing_is_empty_or_needs_an_escape)
{
    struct text text;
    text_init(&text, 1024);
    for (unsigned thing = 0; thing < THING_KINDS; thing++) {
        for (uint64_t i = 0; i < DRAWS; i++) {
            struct choice choice = {i * THING_KINDS + thing};
            text_clear(&text);
            invent(&text, thing, &choice, i % 2 ? SPLIT_TEST : SPLIT_TRAIN);
            struct slice bytes = text_slice(&text);
            CHECK(bytes.len > 0 && bytes.len < 128);
            CHECK_SLICES(slice_trim(bytes), bytes);
            for (const char *bad = "\"\\<>{}[]|\n\t"; *bad; bad++)
                CHECK_EQ(slice_find_byte(bytes, *bad), SLICE_NPOS);
        }
    }
    text_fini(&text);
}

/* A call is right when its numbers are: so they must come back from a reader as they were said. */
TEST(numbers_are_numbers_of_json_and_have_no_idle_zeros)
{
    static const enum thing kinds[] = {THING_INTEGER, THING_COUNT, THING_NUMBER, THING_DECIMAL};
    struct text text;
    text_init(&text, 1024);
    for (uint64_t i = 0; i < DRAWS; i++) {
        struct choice choice = {i};
        text_clear(&text);
        invent(&text, kinds[i % ARRAY_COUNT(kinds)], &choice, SPLIT_TRAIN);
        struct json_number number;
        CHECK_OK(json_number_read(text_slice(&text), &number));
        CHECK_EQ(number.bytes, text.len);
        char again[64];
        if (number.is_real)
            snprintf(again, sizeof(again), "%.15g", number.real);
        else
            snprintf(again, sizeof(again), "%lld", (long long)number.integer);
        CHECK_SLICES(text_slice(&text), slice_str(again));
    }
    text_fini(&text);
}
