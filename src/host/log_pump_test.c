/* log_pump_test - lines leave whole and in order; a stderr that nobody reads holds nobody up. */
#include "base/log.h"
#include "base/text.h"
#include "host/log_pump.h"
#include "testing/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* stderr is a pipe between begin and end. */
struct capture {
    int saved, reader;
};

static struct capture capture_begin(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    struct capture capture = {.saved = dup(STDERR_FILENO), .reader = ends[0]};
    CHECK(dup2(ends[1], STDERR_FILENO) >= 0);
    close(ends[1]);
    return capture;
}

static void restore(struct capture *capture)
{
    CHECK(dup2(capture->saved, STDERR_FILENO) >= 0);
    close(capture->saved);
}

static void read_all(const struct capture *capture, struct text *out)
{
    char bytes[65536];
    for (ssize_t got; (got = read(capture->reader, bytes, sizeof(bytes))) > 0;)
        text_add(out, slice_of(bytes, (size_t)got));
    close(capture->reader);
}

TEST(lines_come_out_whole_and_in_order)
{
    struct capture capture = capture_begin();
    struct log_pump *pump = NULL;
    struct err_note note;
    struct text got, expected;
    text_init(&got, 1 << 20);
    text_init(&expected, 1 << 20);
    CHECK_OK(log_pump_start(&pump, &note));
    for (int i = 0; i < 200; i++) {
        char line[32];
        snprintf(line, sizeof(line), "line %d\n", i);
        text_add_str(&expected, line);
        CHECK(log_pump_write(slice_str(line)));
    }
    log_pump_stop(&pump);
    CHECK(pump == NULL);
    restore(&capture);
    read_all(&capture, &got);
    CHECK_SLICES(text_slice(&got), text_slice(&expected));
    text_fini(&got);
    text_fini(&expected);
}

/* The pipe behind takes 64 KiB, ours 1 MiB; nobody reads either. */
TEST(a_stderr_that_nobody_reads_holds_nobody_up)
{
    struct capture capture = capture_begin();
    struct log_pump *pump = NULL;
    struct err_note note;
    char line[1000];
    int taken = 0, refused = 0;
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    CHECK_OK(log_pump_start(&pump, &note));
    for (int i = 0; i < 5000; i++)
        *(log_pump_write(slice_of(line, sizeof(line))) ? &taken : &refused) += 1;
    CHECK(refused > 0);
    CHECK(taken >= 60);
    pid_t reader = fork(); /* so that stop() has somebody who reads */
    if (reader == 0) {
        char bytes[65536];
        size_t total = 0;
        close(STDERR_FILENO); /* its copy of the writing ends */
        for (int fd = 3; fd < 64; fd++)
            if (fd != capture.reader)
                close(fd);
        for (ssize_t n; (n = read(capture.reader, bytes, sizeof(bytes))) > 0;)
            total += (size_t)n;
        _exit(total == (size_t)taken * sizeof(line) ? 0 : 1);
    }
    log_pump_stop(&pump);
    restore(&capture);
    close(capture.reader);
    int status;
    CHECK(waitpid(reader, &status, 0) == reader);
    CHECK_EQ(status, 0);
}

/* In a process of its own: the thread that is left stays until its process ends. */
static void stop_behind_a_stuck_stderr(void)
{
    struct log_pump *pump = NULL;
    struct err_note note;
    char line[1000] = {'\n'};
    if (log_pump_start(&pump, &note) != ERR_OK)
        _exit(1);
    while (log_pump_write(slice_of(line, sizeof(line))))
        ;
    log_pump_stop(&pump); /* a second, not for ever */
    _exit(pump == NULL ? 0 : 2);
}

TEST(a_stop_behind_a_stuck_stderr_ends)
{
    struct capture capture = capture_begin();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        stop_behind_a_stuck_stderr();
    restore(&capture);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ(status, 0);
    close(capture.reader);
}

static void abort_ourselves(void)
{
    abort();
}

static void be_aborted(void)
{
    (void)kill(getpid(), SIGABRT);
    for (;;)
        pause();
}

static void check_last_words(void (*end)(void))
{
    struct capture capture = capture_begin();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct log_pump *pump = NULL;
        struct err_note note;
        close(capture.reader);
        if (log_pump_start(&pump, &note) != ERR_OK)
            _exit(1);
        (void)!write(STDERR_FILENO, "last words\n", 11);
        end();
        _exit(2);
    }
    restore(&capture);
    struct text got;
    text_init(&got, 1 << 20);
    read_all(&capture, &got);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CHECK(slice_find(text_slice(&got), SLICE("last words\n")) != SLICE_NPOS);
    text_fini(&got);
}

TEST(what_is_said_before_an_abort_comes_out)
{
    check_last_words(abort_ourselves);
}

TEST(an_abort_that_somebody_else_sent_ends_it_too)
{
    check_last_words(be_aborted);
}
