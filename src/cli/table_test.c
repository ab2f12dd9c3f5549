/* table_test - columns line up, whatever is in them. */
#include "cli/table.h"
#include "testing/test.h"

#include <stdio.h>

static void check_table(const struct table *table, const char *expected)
{
    struct text out;
    text_init(&out, 1 << 20);
    table_write(table, &out);
    CHECK_OK(text_status(&out));
    CHECK_SLICES(text_slice(&out), slice_str(expected));
    text_fini(&out);
}

TEST(columns_are_as_wide_as_their_widest_cell)
{
    static const char *const columns[] = {"role", "pid", "note", NULL};
    struct table *table = table_new(columns);
    check_table(table, "role  pid  note\n");
    table_add(table, SLICE("gateway"));
    table_add_f(table, "%d", 12345);
    table_add(table, SLICE(""));
    table_add(table, SLICE(""));
    table_add(table, SLICE("\xC3\xA4"));
    table_add(table, SLICE("two\nlines\x1b[2J"));
    check_table(table, "role     pid    note\n"
                       "gateway  12345  \n"
                       "-        \xC3\xA4      two lines [2J\n");
    table_free(table);
}

TEST(a_long_cell_is_cut_and_too_many_rows_are_dropped)
{
    static const char *const columns[] = {"a", NULL};
    static char cell[TABLE_CELL_MAX_BYTES + 10];
    struct text out;
    struct table *table = table_new(columns);
    memset(cell, 'x', sizeof(cell));
    for (int i = 0; i < TABLE_ROWS_MAX + 5; i++)
        table_add(table, slice_of(cell, sizeof(cell)));
    text_init(&out, 1 << 21);
    table_write(table, &out);
    CHECK_EQ(out.len, 2 + TABLE_ROWS_MAX * (TABLE_CELL_MAX_BYTES + 1));
    text_fini(&out);
    table_free(table);
}

TEST(durations_and_sizes_read_as_a_person_says_them)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } durations[] = {{0, "0 ms"},       {999, "999 ms"},
                     {1000, "1 s"},     {59999, "59 s"},
                     {60000, "1 min"},  {3599999, "59 min"},
                     {3600000, "1 h"},  {86399999, "23 h"},
                     {86400000, "1 d"}, {UINT64_MAX, "213503982334 d"}};
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1 KiB"},
                 {1536 * 1024, "2 MiB"},
                 {3ull << 29, "1.5 GiB"},
                 {UINT64_MAX, "16777216.0 TiB"}};
    char text[24];
    for (size_t i = 0; i < ARRAY_COUNT(durations); i++) {
        table_duration(durations[i].ms, text);
        CHECK_STR(text, durations[i].text);
    }
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        table_bytes(sizes[i].bytes, text);
        CHECK_STR(text, sizes[i].text);
    }
}
