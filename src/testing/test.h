/* test - our few words on top of cmocka. Included by *_test.c only.
 *
 *     TEST(decoder_result_does_not_depend_on_where_reads_end)
 *     {
 *         CHECK_OK(thing_feed(thing, SLICE("x")));
 *         CHECK_EQ(thing_count(thing), 1);
 *     }
 *
 * A TEST registers itself; the program's main() (in the testing library) runs all of its file's
 * tests in order, or those whose name contains argv[1]. A name is a claim. */
#pragma once

#include "base/slice.h"

void test_register(const char *name, void (*run)(void));

#define TEST(name)                                                                                 \
    static void name(void);                                                                        \
    __attribute__((constructor)) static void name##_register(void)                                 \
    {                                                                                              \
        test_register(#name, name);                                                                \
    }                                                                                              \
    static void name(void)

/* On failure: prints place, both values, and ends the test (only the test). */
#define CHECK(cond)               test_check((cond), #cond, __FILE__, __LINE__)
#define CHECK_OK(expr)            test_check_err((expr), ERR_OK, #expr, __FILE__, __LINE__)
#define CHECK_ERR(expr, expected) test_check_err((expr), (expected), #expr, __FILE__, __LINE__)
#define CHECK_EQ(actual, expected)                                                                 \
    test_check_eq((long long)(actual), (long long)(expected), #actual, __FILE__, __LINE__)
#define CHECK_NEAR(actual, expected, tolerance)                                                    \
    test_check_near((actual), (expected), (tolerance), #actual, __FILE__, __LINE__)
#define CHECK_STR(actual, expected)                                                                \
    test_check_str((actual), (expected), #actual, __FILE__, __LINE__)
#define CHECK_SLICE(actual, expected_literal)                                                      \
    test_check_slice((actual), SLICE(expected_literal), #actual, __FILE__, __LINE__)
#define CHECK_SLICES(actual, expected)                                                             \
    test_check_slice((actual), (expected), #actual, __FILE__, __LINE__)
/* The statement must abort (a broken ASSERT) and say `message_part` on stderr. It runs in a child
 * process: what it changes is not seen here. */
#define CHECK_ABORTS(statement, message_part)                                                      \
    do {                                                                                           \
        if (test_abort_begin()) {                                                                  \
            statement;                                                                             \
            test_abort_survived();                                                                 \
        }                                                                                          \
        test_abort_end((message_part), #statement, __FILE__, __LINE__);                            \
    } while (0)
/* Ends the test as skipped, with the reason printed. */
#define SKIP(...) test_skip(__VA_ARGS__)

void test_check(bool ok, const char *text, const char *file, int line);
void test_check_err(enum err actual, enum err expected, const char *text, const char *file,
                    int line);
void test_check_eq(long long actual, long long expected, const char *text, const char *file,
                   int line);
void test_check_near(double actual, double expected, double tolerance, const char *text,
                     const char *file, int line);
void test_check_str(const char *actual, const char *expected, const char *text, const char *file,
                    int line);
void test_check_slice(struct slice actual, struct slice expected, const char *text,
                      const char *file, int line);
bool test_abort_begin(void); /* true in the child */
_Noreturn void test_abort_survived(void);
void test_abort_end(const char *message_part, const char *text, const char *file, int line);
void test_skip(const char *format, ...) PRINTF_LIKE(1, 2);

/* A seeded generator for randomised tests: the same seed, the same run. splitmix64. */
uint64_t test_random(uint64_t *state);
/* With how many seeds to run: `usual`, or MILLRACE_SIM_SEEDS=N where N is more (./check --all).
 * What is no number up to 10^9 fails the test. */
uint64_t test_seeds(uint64_t usual);
