/* test_test - the words that judge all others must be able to say no. */
#include "testing/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* These fail only when asked to, by a run of this same program from below. */
static bool is_asked_to_fail(void)
{
    return getenv("TEST_FAIL_ON_PURPOSE") != NULL;
}

#define FAILS_ON_PURPOSE(name, check)                                                              \
    TEST(on_purpose_##name)                                                                        \
    {                                                                                              \
        if (is_asked_to_fail())                                                                    \
            check;                                                                                 \
    }

static uint64_t count_seeds(const char *wanted)
{
    setenv("MILLRACE_SIM_SEEDS", wanted, 1);
    uint64_t seeds = test_seeds(8);
    unsetenv("MILLRACE_SIM_SEEDS");
    return seeds;
}

FAILS_ON_PURPOSE(check, CHECK(1 > 2))
FAILS_ON_PURPOSE(ok, CHECK_OK(ERR_FULL))
FAILS_ON_PURPOSE(err, CHECK_ERR(ERR_OK, ERR_LIMIT))
FAILS_ON_PURPOSE(eq, CHECK_EQ(6 * 7, 41))
FAILS_ON_PURPOSE(near, CHECK_NEAR(1.0, 1.5, 0.25))
FAILS_ON_PURPOSE(nan, CHECK_NEAR(__builtin_nan(""), 0.0, 1e300))
FAILS_ON_PURPOSE(str, CHECK_STR("abc", "abd"))
FAILS_ON_PURPOSE(null, CHECK_STR(NULL, "something"))
FAILS_ON_PURPOSE(slice, CHECK_SLICE(SLICE("a\n\x80"), "a\n\x81"))
FAILS_ON_PURPOSE(length, CHECK_SLICE(SLICE("ab"), "a"))
FAILS_ON_PURPOSE(survivor, CHECK_ABORTS((void)0, ""))
FAILS_ON_PURPOSE(seeds, count_seeds("many"))
FAILS_ON_PURPOSE(wrong_words, CHECK_ABORTS(ASSERT(1 > 2), "two is less"))

/* Runs the tests whose name contains `filter`; what they print is left in out_text. */
static int run_self(const char *filter, char *out_text, size_t text_bytes)
{
    char self[512], command[1024];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    CHECK(len > 0);
    self[len] = '\0';
    snprintf(command, sizeof(command), "TEST_FAIL_ON_PURPOSE=1 '%s' '%s' 2>&1", self, filter);
    FILE *output = popen(command, "r");
    CHECK(output);
    size_t got = fread(out_text, 1, text_bytes - 1, output);
    out_text[got] = '\0';
    return WEXITSTATUS(pclose(output));
}

static void check_fails(const char *name, const char *words)
{
    char text[8192];
    int status = run_self(name, text, sizeof(text));
    CHECK_EQ(status, 1);
    CHECK(strstr(text, words));
    CHECK(strstr(text, "test_test.c"));
    CHECK(strstr(text, "1 FAILED TEST(S)"));
}

TEST(every_check_word_can_fail_and_says_what_it_saw)
{
    check_fails("on_purpose_check", "CHECK(1 > 2) is false");
    check_fails("on_purpose_ok", "ERR_FULL is ERR_FULL, expected ERR_OK");
    check_fails("on_purpose_err", "ERR_OK is ERR_OK, expected ERR_LIMIT");
    check_fails("on_purpose_eq", "6 * 7 is 42 (0x2a), expected 41");
    check_fails("on_purpose_near", "1.0 is 1, expected 1.5 within 0.25");
    check_fails("on_purpose_nan", "expected 0 within 1e+300");
    check_fails("on_purpose_str", "differs from byte 2 on");
    check_fails("on_purpose_null", "is NULL, expected something");
    check_fails("on_purpose_slice", "is (3 bytes) \"a\\n\\x80\"");
    check_fails("on_purpose_length", "differs from byte 1 on");
    check_fails("on_purpose_survivor", "did not abort");
    check_fails("on_purpose_wrong_words", "aborted without \"two is less\"");
}

TEST(filter_that_matches_nothing_is_a_failure)
{
    char text[1024];
    CHECK_EQ(run_self("no_such_test", text, sizeof(text)), 2);
    CHECK_STR(text, "no test's name contains \"no_such_test\"\n");
}

TEST(on_purpose_skip)
{
    if (is_asked_to_fail()) {
        SKIP("no %s here", "moon");
        CHECK(!"reached");
    }
}

TEST(skip_ends_the_test_and_prints_the_reason)
{
    char text[2048];
    CHECK_EQ(run_self("on_purpose_skip", text, sizeof(text)), 0);
    CHECK(strstr(text, "no moon here"));
    CHECK(strstr(text, "[  SKIPPED ]"));
}

TEST(random_is_splitmix64)
{
    uint64_t state = 1234567; /* the published vector of splitmix64.c with this seed */
    CHECK(test_random(&state) == UINT64_C(6457827717110365317));
    CHECK(test_random(&state) == UINT64_C(3203168211198807973));
}

TEST(seeds_are_as_many_as_usual_or_more)
{
    char text[8192];
    CHECK_EQ(count_seeds("7"), 8);
    CHECK_EQ(count_seeds("9"), 9);
    CHECK_EQ(count_seeds("1000000000"), 1000000000);
    CHECK_EQ(test_seeds(8), 8);
    CHECK_EQ(run_self("on_purpose_seeds", text, sizeof(text)), 1);
    CHECK(strstr(text, "slice_parse_u64"));
}
