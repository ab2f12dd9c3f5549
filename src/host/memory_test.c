/* memory_test - the kernel's text as it is, and as it is not. */
#include "host/memory.h"
#include "testing/test.h"

#include <stdlib.h>
#include <unistd.h>

TEST(the_line_of_pss_is_found)
{
    CHECK_EQ(memory_parse_pss(SLICE("55d0-7ffe ---p 00000000 00:00 0   [rollup]\n"
                                    "Rss:     4000 kB\nPss:                 123 kB\n"
                                    "Pss_Dirty:  7 kB\n")),
             123 * 1024);
}

TEST(any_other_text_is_none)
{
    static const char *const texts[] = {"",
                                        "Pss:",
                                        "Pss: kB",
                                        "Pss: 12",
                                        "Pss: -1 kB",
                                        "Pss: 1 MB",
                                        "Pss: x kB",
                                        "xPss: 1 kB",
                                        "Rss: 1 kB",
                                        "Pss_Anon: 1 kB",
                                        "Pss: 99999999999999999999 kB"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
        CHECK_EQ(memory_parse_pss(slice_str(texts[i])), 0);
}

TEST(a_process_has_memory_until_it_is_gone)
{
    CHECK(memory_pss_bytes(getpid()) > 100 * 1024);
    CHECK_EQ(memory_pss_bytes(0), 0);
    CHECK_EQ(memory_pss_bytes(-1), 0);
    CHECK_EQ(memory_pss_bytes(1 << 30), 0);
}
