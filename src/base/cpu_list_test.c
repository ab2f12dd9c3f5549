/* Tests of sets of processors as text. */
#include "base/cpu_list.h"

#include "testing/test.h"

static void check_written(const cpu_set_t *cpus, const char *expected)
{
    struct text text;
    text_init(&text, 8192);
    cpu_list_write(cpus, &text);
    CHECK_OK(text_status(&text));
    CHECK_SLICES(text_slice(&text), slice_str(expected));
    text_fini(&text);
}

TEST(a_list_is_read_and_written)
{
    static const struct {
        const char *text;
        int count;
        const char *written;
    } cases[] = {
        {"0", 1, "0"},         {"0-0", 1, "0"},      {"3,1", 2, "1,3"}, {"0-3,8", 5, "0-3,8"},
        {"8,0-3", 5, "0-3,8"}, {"1,2,0", 3, "0-2"},  {"007", 1, "7"},   {"0-1023", 1024, "0-1023"},
        {"1023", 1, "1023"},   {"63-64", 2, "63-64"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cpu_set_t cpus;
        CHECK_OK(cpu_list_parse(slice_str(cases[i].text), &cpus, NULL));
        CHECK_EQ(CPU_COUNT(&cpus), cases[i].count);
        check_written(&cpus, cases[i].written);
    }
}

TEST(an_empty_set_is_written_as_nothing)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    check_written(&cpus, "");
}

TEST(what_is_not_a_list_is_refused_in_words)
{
    static const struct {
        const char *text, *why;
    } cases[] = {{"", "'' is neither a CPU nor a range of them"},
                 {"0,", "'' is neither"},
                 {",0", "'' is neither"},
                 {"0,,1", "'' is neither"},
                 {"-1", "'-1' is neither"},
                 {"1-", "'1-' is neither"},
                 {"1-2-3", "'1-2-3' is neither"},
                 {"0 ,1", "'0 ' is neither"},
                 {" 0", "' 0' is neither"},
                 {"0x3", "'0x3' is neither"},
                 {"all", "'all' is neither"},
                 {"0-3:2", "'0-3:2' is neither"},
                 {"1024", "'1024' is beyond the last CPU there can be"},
                 {"0-1024", "'0-1024' is beyond"},
                 {"18446744073709551616", "is beyond"},
                 {"3-1", "'3-1' goes down"},
                 {"0-3,2", "'2' names a CPU once more"},
                 {"5,5", "'5' names a CPU once more"},
                 {"4,0-7", "'0-7' names a CPU once more"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cpu_set_t cpus;
        struct err_note note = {{0}};
        CHECK_ERR(cpu_list_parse(slice_str(cases[i].text), &cpus, &note), ERR_PROTOCOL);
        CHECK(strstr(note.text, cases[i].why));
    }
}
