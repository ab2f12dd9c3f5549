/* life_test - each test is a role of its own: a child process that reads its own environment. */
#include "life/life.h"
#include "testing/test.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000 };

/* What a host holds of a role. */
struct host {
    int life_writer, reports, config, listening[2];
    int life_reader, report_writer; /* the child's ends */
    char line[REPORT_LINE_MAX_BYTES];
    size_t len;
};

static void set_fd(const char *name, int fd)
{
    char number[16];
    snprintf(number, sizeof(number), "%d", fd);
    setenv(name, number, 1);
}

static int new_listener(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0 && listen(fd, 1) == 0);
    return fd;
}

static struct host host_new(void)
{
    struct host host = {.config = memfd_create("config", 0)};
    int life[2], report[2];
    CHECK(pipe2(life, O_CLOEXEC) == 0 && pipe2(report, O_CLOEXEC) == 0 && host.config >= 0);
    host.life_reader = life[0], host.life_writer = life[1];
    host.reports = report[0], host.report_writer = report[1];
    host.listening[0] = new_listener(), host.listening[1] = new_listener();
    return host;
}

static void host_free(struct host *host)
{
    const int fds[] = {host->life_writer,   host->life_reader, host->reports,
                       host->report_writer, host->config,      host->listening[0],
                       host->listening[1]};
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* In the child: status 0 when `role` returns. A child that hangs is ended by alarm(). */
static pid_t start(struct host *host, void (*role)(struct host *host))
{
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(PATIENCE_MS / 1000);
        close(host->life_writer);
        close(host->reports);
        set_fd("MILLRACE_LIFE_FD", host->life_reader);
        set_fd("MILLRACE_REPORT_FD", host->report_writer);
        role(host);
        _exit(0);
    }
    close(host->life_reader), close(host->report_writer);
    host->life_reader = host->report_writer = -1;
    return pid;
}

static int end_of(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static struct report next_report(struct host *host)
{
    struct report report;
    for (host->len = 0; host->len < sizeof(host->line); host->len++) {
        struct pollfd ready = {.fd = host->reports, .events = POLLIN};
        CHECK(poll(&ready, 1, PATIENCE_MS) == 1);
        CHECK(read(host->reports, &host->line[host->len], 1) == 1);
        if (host->line[host->len] == '\n')
            break;
    }
    CHECK_OK(report_read(slice_of(host->line, host->len), &report));
    return report;
}

/* In a child nothing may unwind into the test program: what is wrong ends it with this status. */
#define DEMAND(cond) ((cond) ? (void)0 : _exit(99))

static void on_pulse(void *ctx, struct life_pulse *out_pulse)
{
    unsigned *beats = ctx;
    ++*beats;
    out_pulse->is_alive = *beats != 2; /* the second one is held back */
    out_pulse->stuck_ms = *beats;
    out_pulse->streams = 7;
}

static void speak(struct host *host)
{
    struct loop *loop = loop_new();
    struct life *life = NULL;
    struct err_note note;
    unsigned beats = 0;
    (void)host;
    DEMAND(life_start(loop, on_pulse, &beats, &life, &note) == ERR_OK && life);
    DEMAND(!getenv("MILLRACE_LIFE_FD") && !getenv("MILLRACE_REPORT_FD"));
    life_say_ready(life, "127.0.0.1:8080");
    while (beats < 3)
        loop_turn(loop, true);
    life_say_draining(life);
    life_say_failed(life, "two\nlines");
    life_stop(&life);
    DEMAND(!life);
    loop_free(loop);
}

TEST(a_role_beats_and_says_how_it_is)
{
    struct host host = host_new();
    pid_t pid = start(&host, speak);
    CHECK_SLICE(next_report(&host).text, "127.0.0.1:8080");
    struct report first = next_report(&host);
    CHECK_EQ(first.kind, REPORT_BEAT);
    CHECK_EQ(first.stuck_ms, 1);
    CHECK_EQ(first.streams, 7);
    CHECK_EQ(next_report(&host).stuck_ms, 3); /* not alive: no beat */
    CHECK_EQ(next_report(&host).kind, REPORT_DRAINING);
    CHECK_SLICE(next_report(&host).text, "two lines");
    CHECK_EQ(end_of(pid), 0);
    host_free(&host);
}

static void beat_for_ever(struct host *host)
{
    struct loop *loop = loop_new();
    struct life *life = NULL;
    struct err_note note;
    unsigned beats = 2;
    (void)host;
    DEMAND(life_start(loop, on_pulse, &beats, &life, &note) == ERR_OK);
    loop_run(loop);
}

TEST(a_role_ends_when_its_host_is_gone)
{
    struct host host = host_new();
    pid_t pid = start(&host, beat_for_ever);
    CHECK_EQ(next_report(&host).kind, REPORT_BEAT);
    close(host.life_writer);
    host.life_writer = -1;
    CHECK_EQ(end_of(pid), 1);
    host_free(&host);
}

/* Nobody reads the reports: the pipe is full after a while, and the role runs on. */
static void report_into_a_full_pipe(struct host *host)
{
    struct loop *loop = loop_new();
    struct life *life = NULL;
    struct err_note note;
    unsigned beats = 2;
    (void)host;
    DEMAND(life_start(loop, on_pulse, &beats, &life, &note) == ERR_OK);
    for (int i = 0; i < 20000; i++)
        life_say_ready(life, "much");
    life_stop(&life);
    loop_free(loop);
}

TEST(a_host_that_does_not_read_holds_nobody_up)
{
    struct host host = host_new();
    pid_t pid = start(&host, report_into_a_full_pipe);
    CHECK_EQ(end_of(pid), 0);
    CHECK_EQ(next_report(&host).kind, REPORT_READY);
    host_free(&host);
}

static void take_descriptors(struct host *host)
{
    char list[64];
    int fds[4] = {-1, -1, -1, -1};
    set_fd("MILLRACE_CONFIG_FD", host->config);
    snprintf(list, sizeof(list), "%d,%d", host->listening[0], host->listening[1]);
    setenv("MILLRACE_LISTEN_FDS", list, 1);
    DEMAND(life_config_fd() == host->config);
    DEMAND(fcntl(host->config, F_GETFD) == FD_CLOEXEC);
    DEMAND(!getenv("MILLRACE_CONFIG_FD") && !getenv("MILLRACE_LISTEN_FDS"));
    DEMAND(life_listen_fds(fds, 1) == 1);
    DEMAND(fds[0] == host->listening[0] && fds[1] == -1);
    DEMAND(fcntl(fds[0], F_GETFD) == FD_CLOEXEC);
    DEMAND(fcntl(host->listening[1], F_GETFD) < 0); /* no place for it: closed */
    DEMAND(life_listen_fds(fds, 4) == 0);
    DEMAND(life_config_fd() == host->config);
}

TEST(descriptors_are_taken_once_and_are_close_on_exec)
{
    struct host host = host_new();
    CHECK_EQ(end_of(start(&host, take_descriptors)), 0);
    host_free(&host);
}

static void alone(struct host *host)
{
    struct loop *loop = loop_new();
    struct life *life = (struct life *)1;
    struct err_note note;
    int fds[1];
    unsigned beats = 0;
    (void)host;
    unsetenv("MILLRACE_LIFE_FD");
    unsetenv("MILLRACE_REPORT_FD");
    DEMAND(life_config_fd() == -1 && life_listen_fds(fds, 1) == 0);
    DEMAND(life_start(loop, on_pulse, &beats, &life, &note) == ERR_OK && life == NULL);
    life_say_ready(life, "x");
    life_say_draining(life);
    life_say_failed(life, "x");
    life_stop(&life);
    while (loop_turn(loop, false))
        ;
    DEMAND(beats == 0);
    loop_free(loop);
}

TEST(without_a_host_all_of_it_is_harmless)
{
    struct host host = host_new();
    CHECK_EQ(end_of(start(&host, alone)), 0);
    host_free(&host);
}

/* name=value, and a part of the sentence that refuses it. */
static void refuse(const char *name, const char *value, const char *part)
{
    struct loop *loop = loop_new();
    struct life *life = NULL;
    struct err_note note;
    unsigned beats = 0;
    setenv(name, value, 1);
    DEMAND(life_start(loop, on_pulse, &beats, &life, &note) == ERR_REFUSED);
    DEMAND(strstr(note.text, name) && strstr(note.text, part));
    DEMAND(!life && !getenv(name));
    loop_free(loop);
}

static const char *wrong_name, *wrong_value;

static void be_refused(struct host *host)
{
    (void)host;
    refuse(wrong_name, wrong_value, "expected is the number of");
}

TEST(a_name_that_is_wrong_is_refused_by_name)
{
    static const char *const names[] = {"MILLRACE_LIFE_FD", "MILLRACE_REPORT_FD",
                                        "MILLRACE_CONFIG_FD", "MILLRACE_LISTEN_FDS"};
    static const char *const values[] = {"", "x", "-1", "2", "99999999999", "7777", "3,", " 3"};
    for (size_t n = 0; n < ARRAY_COUNT(names); n++)
        for (size_t v = 0; v < ARRAY_COUNT(values); v++) {
            struct host host = host_new();
            wrong_name = names[n];
            wrong_value = values[v];
            CHECK_EQ(end_of(start(&host, be_refused)), 0);
            host_free(&host);
        }
}

static void be_half_given(struct host *host)
{
    struct loop *loop = loop_new();
    struct life *life = NULL;
    struct err_note note;
    unsigned beats = 0;
    (void)host;
    unsetenv("MILLRACE_REPORT_FD");
    DEMAND(life_start(loop, on_pulse, &beats, &life, &note) == ERR_REFUSED);
    DEMAND(strstr(note.text, "one of them is missing"));
    loop_free(loop);
}

TEST(a_report_pipe_without_a_life_pipe_is_refused)
{
    struct host host = host_new();
    CHECK_EQ(end_of(start(&host, be_half_given)), 0);
    host_free(&host);
}
