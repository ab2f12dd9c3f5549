/* child - one role process. See child.h. */
#include "host/child.h"

#include "base/log.h"
#include "base/mem.h"
#include "host/pace.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum { LAST_READ_BYTES = 1024 * 1024 };
enum { KILL_WAIT_MS = 1000, KILL_LOOK_MS = 5 }; /* until a killed process has ended */

/* One of the two pipes from a child, on our side. */
struct tap {
    uv_poll_t poll;
    struct child *child;
    int fd;
    bool ended;
    void (*take)(struct child *child, struct slice bytes);
};

struct child {
    struct loop *loop;
    struct child_handler handler;
    void *ctx;
    pid_t pid; /* 0: ended */
    struct tap reports, errors;
    unsigned open_taps;
    char report_line[REPORT_LINE_MAX_BYTES];
    size_t report_len; /* REPORT_LINE_MAX_BYTES: too long, its rest is skipped */
    bool told_bad_report;
    struct log_lines lines;
    struct deadline resume; /* armed while stderr is not listened to */
    struct pace pace;       /* of its stderr */
};

/* --- what it says --- */

static void on_bad_report(struct child *child)
{
    if (!child->told_bad_report)
        log_event(LOG_WARN, "bad_report", "pid=%d", (int)child->pid);
    child->told_bad_report = true;
}

static void take_report_line(struct child *child)
{
    struct report report;
    struct slice line = slice_of(child->report_line, child->report_len);
    if (report_read(line, &report) == ERR_OK) /* a line that is too long is none either */
        child->handler.on_report(child->ctx, &report);
    else
        on_bad_report(child);
    child->report_len = 0;
}

static void take_reports(struct child *child, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i] == '\n')
            take_report_line(child);
        else if (child->report_len < sizeof(child->report_line))
            child->report_line[child->report_len++] = bytes.data[i];
    }
}

static void on_tap(uv_poll_t *poll, int status, int events);

static void listen_to(struct tap *tap)
{
    ASSERT(uv_poll_start(&tap->poll, UV_READABLE, on_tap) == 0);
}

static void on_resume(void *ctx)
{
    struct child *child = ctx;
    if (!child->errors.ended)
        listen_to(&child->errors);
}

static void take_errors(struct child *child, struct slice bytes)
{
    log_lines_feed(&child->lines, bytes, child->handler.on_line, child->ctx);
}

/* How much was read; 0: nothing now, or never again. */
static size_t read_tap(struct tap *tap)
{
    char bytes[16 * 1024];
    ssize_t got;
    do
        got = read(tap->fd, bytes, sizeof(bytes));
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        tap->take(tap->child, slice_of(bytes, (size_t)got));
        return (size_t)got;
    }
    if (got == 0 && !tap->ended) { /* closed by all who had it: epoll would say so for ever */
        tap->ended = true;
        (void)uv_poll_stop(&tap->poll); /* always 0 */
    }
    return 0;
}

static void pause_errors(struct child *child, uint64_t until_us)
{
    (void)uv_poll_stop(&child->errors.poll); /* always 0 */
    deadline_at(&child->resume, until_us);
}

static void on_tap(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events; /* whatever it is, read() will say it */
    struct tap *tap = CONTAINER_OF(poll, struct tap, poll);
    struct child *child = tap->child;
    size_t total = 0;
    for (size_t got; total < CHILD_BYTES_PER_TURN && (got = read_tap(tap)) > 0;)
        total += got;
    if (tap != &child->errors || tap->ended || total == 0)
        return;
    uint64_t until_us =
        pace_step(&child->pace, loop_now_us(child->loop), total, total >= CHILD_BYTES_PER_TURN);
    if (until_us > 0)
        pause_errors(child, until_us);
}

/* --- start --- */

static enum err open_tap(struct child *child, struct tap *tap,
                         void (*take)(struct child *child, struct slice bytes), int *out_writer)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return ERR_SYSTEM;
    tap->child = child;
    tap->take = take;
    tap->fd = ends[0];
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0 ||
        uv_poll_init(loop_uv(child->loop), &tap->poll, ends[0]) != 0) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        return ERR_SYSTEM;
    }
    child->open_taps++;
    *out_writer = ends[1];
    return ERR_OK;
}

/* What is ours alone: readiness is the host's to tell, and the names of life.h are given anew. */
static bool is_inherited(const char *entry)
{
    static const char *const ours[] = {"NOTIFY_SOCKET=", "MILLRACE_LIFE_FD=", "MILLRACE_REPORT_FD=",
                                       "MILLRACE_CONFIG_FD=", "MILLRACE_LISTEN_FDS="};
    for (size_t i = 0; i < ARRAY_COUNT(ours); i++)
        if (strncmp(entry, ours[i], strlen(ours[i])) == 0)
            return false;
    return true;
}

struct environment {
    char **entries;
    char names[3][48];
    char listen_fds[32 + CHILD_LISTEN_MAX * 12];
};

static void make_environment(const struct child_options *options, int report_fd,
                             struct environment *out)
{
    size_t count = 0;
    while (environ[count])
        count++;
    out->entries = mem_array(count + 5, sizeof(*out->entries)); /* the names of life.h, and NULL */
    count = 0;
    for (char **entry = environ; *entry; entry++)
        if (is_inherited(*entry))
            out->entries[count++] = *entry;
    snprintf(out->names[0], sizeof(out->names[0]), "MILLRACE_LIFE_FD=%d", options->life_fd);
    snprintf(out->names[1], sizeof(out->names[1]), "MILLRACE_REPORT_FD=%d", report_fd);
    snprintf(out->names[2], sizeof(out->names[2]), "MILLRACE_CONFIG_FD=%d", options->config_fd);
    for (size_t i = 0; i < (options->config_fd >= 0 ? 3 : 2); i++)
        out->entries[count++] = out->names[i];
    int len = snprintf(out->listen_fds, sizeof(out->listen_fds), "MILLRACE_LISTEN_FDS=");
    for (size_t i = 0; i < options->listen_count && i < CHILD_LISTEN_MAX; i++)
        len += snprintf(out->listen_fds + len, sizeof(out->listen_fds) - (size_t)len, "%s%d",
                        i ? "," : "", options->listen_fds[i]);
    if (options->listen_count)
        out->entries[count++] = out->listen_fds;
    out->entries[count] = NULL;
}

/* A descriptor given to itself loses its close-on-exec flag in the child alone (glibc 2.29). */
static int list_descriptors(const struct child_options *options, int report_fd, int error_fd,
                            posix_spawn_file_actions_t *actions)
{
    int error = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    const int given[][2] = {{error_fd, STDOUT_FILENO},
                            {error_fd, STDERR_FILENO},
                            {options->life_fd, options->life_fd},
                            {report_fd, report_fd},
                            {options->config_fd, options->config_fd}};
    for (size_t i = 0; i < ARRAY_COUNT(given) && !error; i++)
        if (given[i][0] >= 0)
            error = posix_spawn_file_actions_adddup2(actions, given[i][0], given[i][1]);
    for (size_t i = 0; i < options->listen_count && !error; i++)
        error = posix_spawn_file_actions_adddup2(actions, options->listen_fds[i],
                                                 options->listen_fds[i]);
    return error;
}

/* Signals as a program finds them that was started by hand, but for SIGHUP, which waits until the
 * role can hear it (role_process.c): a reload must not end who has just been started. */
static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t all, held;
    sigfillset(&all);
    sigemptyset(&held);
    sigaddset(&held, SIGHUP);
    int error = posix_spawnattr_setsigdefault(attributes, &all);
    if (!error)
        error = posix_spawnattr_setsigmask(attributes, &held);
    return error ? error
                 : posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF |
                                                            POSIX_SPAWN_SETSIGMASK);
}

static int spawn(const struct child_options *options, int report_fd, int error_fd, pid_t *out_pid)
{
    struct environment *environment = mem_alloc(sizeof(*environment));
    const char *argv[CHILD_ARGUMENTS_MAX + 2] = {"millrace"};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    for (size_t i = 0; i < CHILD_ARGUMENTS_MAX && options->arguments[i]; i++)
        argv[i + 1] = options->arguments[i];
    make_environment(options, report_fd, environment);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int error = list_descriptors(options, report_fd, error_fd, &actions);
    if (!error)
        error = set_attributes(&attributes);
    if (!error) /* it does not write to the strings */
        error = posix_spawn(out_pid, options->program, &actions, &attributes, (char **)argv,
                            environment->entries);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    mem_free(environment->entries);
    mem_free(environment);
    return error;
}

static void on_closed(uv_handle_t *handle)
{
    struct child *child = CONTAINER_OF((uv_poll_t *)handle, struct tap, poll)->child;
    if (--child->open_taps == 0)
        mem_free(child);
}

static void close_tap(struct tap *tap)
{
    if (tap->fd < 0)
        return;
    uv_close((uv_handle_t *)&tap->poll, on_closed);
    (void)close(tap->fd);
    tap->fd = -1;
}

static void release(struct child *child)
{
    deadline_clear(&child->resume);
    if (child->open_taps == 0) {
        mem_free(child);
        return;
    }
    close_tap(&child->reports); /* memory goes with the last handle, from the loop */
    close_tap(&child->errors);
}

enum err child_start(struct loop *loop, const struct child_options *options,
                     const struct child_handler *handler, void *ctx, struct child **out_child,
                     struct err_note *out_note)
{
    struct child *child = mem_alloc(sizeof(*child));
    int report_fd = -1, error_fd = -1, error = 0;
    child->loop = loop;
    child->handler = *handler;
    child->ctx = ctx;
    child->reports.fd = child->errors.fd = -1;
    log_lines_init(&child->lines);
    deadline_init(&child->resume, loop, on_resume, child);
    if (open_tap(child, &child->reports, take_reports, &report_fd) != ERR_OK ||
        open_tap(child, &child->errors, take_errors, &error_fd) != ERR_OK)
        error = errno;
    else
        error = spawn(options, report_fd, error_fd, &child->pid);
    /* Refused (a limit of this user): the kernel's 64 KiB have to do. */
    (void)fcntl(child->errors.fd, F_SETPIPE_SZ, CHILD_LOG_PIPE_BYTES);
    if (report_fd >= 0)
        (void)close(report_fd);
    if (error_fd >= 0)
        (void)close(error_fd);
    if (error) {
        release(child);
        return err_note_fail(out_note, ERR_SYSTEM, "cannot start %s: %s", options->program,
                             strerror(error));
    }
    listen_to(&child->reports);
    listen_to(&child->errors);
    *out_child = child;
    return ERR_OK;
}

/* --- end --- */

pid_t child_pid(const struct child *child)
{
    return child->pid;
}

/* It is not reaped before child_has_ended() says so: the number is still its own. */
void child_signal(struct child *child, int number)
{
    if (child->pid <= 0)
        return;
    if (number == SIGKILL)
        (void)kill(-child->pid, SIGKILL); /* no such group: it has ended */
    (void)kill(child->pid, number);
}

static void read_last(struct tap *tap)
{
    size_t total = 0;
    for (size_t got; total < LAST_READ_BYTES && (got = read_tap(tap)) > 0;)
        total += got;
}

/* The group goes while the process is a zombie still, so that nobody else can have its number. */
static struct child_end reap(struct child *child, const siginfo_t *info)
{
    struct child_end end = {.was_signal = info->si_code != CLD_EXITED, .number = info->si_status};
    int status;
    (void)kill(-child->pid, SIGKILL); /* mostly nobody is left */
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    child->pid = 0;
    return end;
}

bool child_has_ended(struct child *child, struct child_end *out_end)
{
    siginfo_t info = {.si_pid = 0};
    if (child->pid <= 0 ||
        waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0)
        return false;
    struct child_end end = reap(child, &info);
    read_last(&child->reports);
    read_last(&child->errors);
    log_lines_end(&child->lines, child->handler.on_line, child->ctx);
    deadline_clear(&child->resume); /* what a flood still left is not waited for */
    *out_end = end;
    return true;
}

struct slice child_last_words(const struct child *child)
{
    return log_lines_last_words(&child->lines);
}

void child_free(struct child **child_place)
{
    struct child *child = *child_place;
    if (!child)
        return;
    *child_place = NULL;
    child_signal(child, SIGKILL);
    for (int i = 0; child->pid > 0 && i < KILL_WAIT_MS / KILL_LOOK_MS; i++) {
        const struct timespec pause = {.tv_nsec = KILL_LOOK_MS * 1000 * 1000};
        int status;
        if (waitpid(child->pid, &status, WNOHANG) == child->pid)
            break;
        (void)nanosleep(&pause, NULL); /* shorter: one more look */
    }
    release(child);
}
