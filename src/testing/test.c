/* test - TESTs are collected before main() and handed to cmocka as one group. */
#include "testing/test.h"

#include "base/mem.h"
#include "base/splitmix.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { TESTS_MAX = 1024, SHOWN_BYTES_MAX = 200, CHILD_LIMIT_S = 30, SEEDS_MAX = 1000000000 };

struct test {
    const char *name;
    void (*run)(void);
};

static struct test tests[TESTS_MAX];
static size_t test_count;

void test_register(const char *name, void (*run)(void))
{
    ASSERT_MSG(test_count < TESTS_MAX, "more than %d tests in one file", TESTS_MAX);
    tests[test_count++] = (struct test){name, run};
}

static void run_one(void **state)
{
    const struct test *test = *state;
    mem_test_fail_nth(0); /* a test that failed before may have left it armed */
    test->run();
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int main(int argc, char **argv)
{
    static struct CMUnitTest chosen[TESTS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < test_count; i++)
        if (argc < 2 || strstr(tests[i].name, argv[1]))
            chosen[count++] = (struct CMUnitTest){tests[i].name, run_one, NULL, NULL, &tests[i]};
    if (count == 0) {
        fprintf(stderr, "no test's name contains \"%s\"\n", argc < 2 ? "" : argv[1]);
        return 2;
    }
    return _cmocka_run_group_tests(base_name(argv[0]), chosen, count, NULL, NULL) == 0 ? 0 : 1;
}

PRINTF_LIKE(3, 4)
_Noreturn static void fail_at(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprint_error(format, args);
    va_end(args);
    print_error("\n");
    _fail(file, line); /* leaves the test by longjmp */
    __builtin_unreachable();
}

void test_check(bool ok, const char *text, const char *file, int line)
{
    if (!ok)
        fail_at(file, line, "CHECK(%s) is false", text);
}

void test_check_err(enum err actual, enum err expected, const char *text, const char *file,
                    int line)
{
    if (actual != expected)
        fail_at(file, line, "%s is %s, expected %s", text, err_name(actual), err_name(expected));
}

void test_check_eq(long long actual, long long expected, const char *text, const char *file,
                   int line)
{
    if (actual != expected)
        fail_at(file, line, "%s is %lld (0x%llx), expected %lld (0x%llx)", text, actual,
                (unsigned long long)actual, expected, (unsigned long long)expected);
}

void test_check_near(double actual, double expected, double tolerance, const char *text,
                     const char *file, int line)
{
    if (!(fabs(actual - expected) <= tolerance)) /* so that NaN fails */
        fail_at(file, line, "%s is %.17g, expected %.17g within %g", text, actual, expected,
                tolerance);
}

/* Up to SHOWN_BYTES_MAX bytes around `at`, quoted, what does not print as \xNN. */
static const char *show(struct slice bytes, size_t at, char *out_text, size_t text_bytes)
{
    size_t first = at > SHOWN_BYTES_MAX / 2 ? at - SHOWN_BYTES_MAX / 2 : 0;
    struct slice part = slice_first(slice_after(bytes, first), SHOWN_BYTES_MAX);
    size_t len = (size_t)snprintf(out_text, text_bytes, "%s\"", first ? "..." : "");
    for (size_t i = 0; i < part.len; i++) {
        unsigned char c = (unsigned char)part.data[i];
        const char *format = c >= 0x20 && c < 0x7F ? "%c" : c == '\n' ? "\\n" : "\\x%02x";
        len += (size_t)snprintf(out_text + len, text_bytes - len, format, c);
    }
    snprintf(out_text + len, text_bytes - len, "\"%s", first + part.len < bytes.len ? "..." : "");
    return out_text;
}

void test_check_slice(struct slice actual, struct slice expected, const char *text,
                      const char *file, int line)
{
    if (slice_eq(actual, expected))
        return;
    size_t at = 0;
    while (at < actual.len && at < expected.len && actual.data[at] == expected.data[at])
        at++;
    char shown[2][4 * SHOWN_BYTES_MAX + 16];
    fail_at(file, line, "%s differs from byte %zu on\n  is (%zu bytes) %s\n  expected (%zu) %s",
            text, at, actual.len, show(actual, at, shown[0], sizeof(shown[0])), expected.len,
            show(expected, at, shown[1], sizeof(shown[1])));
}

void test_check_str(const char *actual, const char *expected, const char *text, const char *file,
                    int line)
{
    if (!actual || !expected) {
        if (actual != expected)
            fail_at(file, line, "%s is %s, expected %s", text, actual ? actual : "NULL",
                    expected ? expected : "NULL");
        return;
    }
    test_check_slice(slice_str(actual), slice_str(expected), text, file, line);
}

static pid_t abort_child;
static int abort_stderr; /* what the child says, our end */

bool test_abort_begin(void)
{
    int ends[2];
    ASSERT(pipe(ends) == 0);
    fflush(NULL); /* or the child would print it again */
    abort_child = fork();
    ASSERT_MSG(abort_child >= 0, "fork: %s", strerror(errno));
    if (abort_child == 0) {
        ASSERT(dup2(ends[1], STDERR_FILENO) >= 0);
        struct rlimit no_core = {0, 0};
        ASSERT(setrlimit(RLIMIT_CORE, &no_core) == 0);
        alarm(CHILD_LIMIT_S);
        return true;
    }
    close(ends[1]);
    abort_stderr = ends[0];
    return false;
}

void test_abort_survived(void)
{
    _exit(0);
}

void test_abort_end(const char *message_part, const char *text, const char *file, int line)
{
    char message[2048];
    size_t len = 0;
    for (ssize_t got; len < sizeof(message) - 1; len += (size_t)got) {
        got = read(abort_stderr, message + len, sizeof(message) - 1 - len);
        if (got <= 0)
            break;
    }
    message[len] = '\0';
    close(abort_stderr);
    int status;
    ASSERT(waitpid(abort_child, &status, 0) == abort_child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        fail_at(file, line, "%s did not abort (wait status 0x%x): %s", text, (unsigned)status,
                message);
    if (!strstr(message, message_part))
        fail_at(file, line, "%s aborted without \"%s\": %s", text, message_part, message);
}

void test_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprint_message(format, args);
    va_end(args);
    print_message("\n");
    _skip(__FILE__, __LINE__); /* leaves the test by longjmp */
}

uint64_t test_random(uint64_t *state)
{
    return splitmix_next(state);
}

uint64_t test_seeds(uint64_t usual)
{
    const char *wanted = getenv("MILLRACE_SIM_SEEDS");
    uint64_t seeds = 0;
    if (wanted)
        CHECK_OK(slice_parse_u64(slice_str(wanted), SEEDS_MAX, &seeds));
    return seeds > usual ? seeds : usual;
}
