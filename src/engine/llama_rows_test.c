#include "engine/llama_rows.h"

#include "testing/test.h"

enum { SLOTS = 8, ROWS_MAX = 64 };

/* Rows of slot 2, then 0, ..: a letter each, small ones of the same slot in order. */
static void arrange(struct llama_rows *arranged, struct engine_row *rows, const char *slots)
{
    uint32_t count = 0;
    for (; slots[count]; count++)
        rows[count] = (struct engine_row){.slot = (uint32_t)(slots[count] - '0')};
    llama_rows_arrange(arranged, rows, count);
}

/* "0 1|222": the slots of each call. */
static void check(const char *slots, const char *expected)
{
    struct llama_rows arranged;
    struct engine_row rows[ROWS_MAX];
    char found[2 * ROWS_MAX];
    size_t len = 0;
    llama_rows_init(&arranged, SLOTS, ROWS_MAX);
    arrange(&arranged, rows, slots);
    for (uint32_t call = 0, i = 0; call < arranged.call_count; call++) {
        if (call > 0)
            found[len++] = '|';
        for (; i < arranged.call_ends[call]; i++)
            found[len++] = (char)('0' + rows[arranged.order[i]].slot);
    }
    found[len] = 0;
    CHECK_STR(found, expected);
    llama_rows_fini(&arranged);
}

TEST(slots_are_put_in_order)
{
    check("0", "0");
    check("2301", "0123");
    check("7", "7");
    check("73", "37");
}

TEST(a_call_has_slots_with_as_many_rows)
{
    check("20111", "111|02");
    check("3222000", "000222|3");
    check("22211555", "222555|11");
    check("66666554443210", "66666|444|55|0123");
}

TEST(random_rows_are_all_there_in_calls_that_keep_the_rules)
{
    uint64_t random = 1;
    struct llama_rows arranged;
    llama_rows_init(&arranged, SLOTS, ROWS_MAX);
    for (int round = 0; round < 20000; round++) {
        struct engine_row rows[ROWS_MAX];
        uint32_t position[SLOTS] = {0}, length[SLOTS] = {0};
        uint32_t count = 1 + (uint32_t)(test_random(&random) % ROWS_MAX);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t slot = (uint32_t)(test_random(&random) % SLOTS);
            rows[i] = (struct engine_row){.slot = slot, .position = length[slot]++};
        }
        llama_rows_arrange(&arranged, rows, count);
        uint32_t longest = UINT32_MAX;
        CHECK_EQ(arranged.call_ends[arranged.call_count - 1], count);
        for (uint32_t call = 0, i = 0; call < arranged.call_count; call++) {
            uint32_t slot = 0, calls_length = length[rows[arranged.order[i]].slot];
            CHECK(calls_length < longest && i < arranged.call_ends[call]);
            longest = calls_length;
            for (; i < arranged.call_ends[call]; i++) {
                const struct engine_row *row = &rows[arranged.order[i]];
                CHECK(row->slot >= slot && length[row->slot] == calls_length);
                CHECK_EQ(row->position, position[row->slot]++);
                slot = row->slot;
            }
        }
    }
    llama_rows_fini(&arranged);
}

TEST(what_shares_a_cache_stays_as_it_is)
{
    struct llama_rows arranged;
    llama_rows_init(&arranged, SLOTS, ROWS_MAX);
    llama_rows_keep(&arranged, 3);
    CHECK_EQ(arranged.call_count, 1);
    CHECK_EQ(arranged.call_ends[0], 3);
    for (uint32_t i = 0; i < 3; i++)
        CHECK_EQ(arranged.order[i], i);
    llama_rows_fini(&arranged);
}
