/* life - the role's side of what ties it to its host. See life.h.
 *
 * What the environment gave is process-wide and read once, so it stands in one static: the
 * configuration is needed before there is a loop, the rest with it. */
#include "life/life.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

enum { LISTEN_FDS_MAX = 64, FD_NUMBER_MAX = 1 << 20 };

struct life {
    uv_poll_t host_gone;
    struct loop *loop;
    struct deadline beat;
    life_pulse_fn *on_pulse;
    void *ctx;
};

static struct {
    bool read_once;
    enum err err; /* what was wrong; told by life_start() */
    struct err_note note;
    int life_fd, report_fd, config_fd; /* -1: not given */
    int listen_fds[LISTEN_FDS_MAX];
    size_t listen_count;
} given;

/* --- the environment --- */

typedef bool is_right_fn(int fd);

static bool is_pipe(int fd)
{
    struct stat stat;
    return fstat(fd, &stat) == 0 && S_ISFIFO(stat.st_mode);
}

static bool is_file(int fd)
{
    struct stat stat;
    return fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode);
}

static bool is_listening(int fd)
{
    int yes = 0;
    socklen_t len = sizeof(yes);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &len) == 0 && yes;
}

static enum err wrong(const char *name, struct slice text, const char *what)
{
    return err_note_fail(&given.note, ERR_REFUSED,
                         "%s is '" SLICE_FMT "': expected is the number of %s, as a host gives it",
                         name, SLICE_ARG(slice_first(text, 64)), what);
}

static enum err take_fd(const char *name, struct slice text, is_right_fn *is_right,
                        const char *what, int *out_fd)
{
    uint64_t number;
    if (slice_parse_u64(text, FD_NUMBER_MAX, &number) != ERR_OK || number <= STDERR_FILENO ||
        !is_right((int)number))
        return wrong(name, text, what);
    if (fcntl((int)number, F_SETFD, FD_CLOEXEC) != 0)
        return wrong(name, text, what);
    *out_fd = (int)number;
    return ERR_OK;
}

static enum err take_one(const char *name, is_right_fn *is_right, const char *what, int *out_fd)
{
    const char *text = getenv(name);
    return text ? take_fd(name, slice_str(text), is_right, what, out_fd) : ERR_OK;
}

static enum err take_listen_fds(void)
{
    static const char name[] = "MILLRACE_LISTEN_FDS", what[] = "listening sockets (\"5,6\")";
    struct slice rest = slice_str(getenv(name)), one;
    if (!getenv(name))
        return ERR_OK;
    for (bool more = true; more;) {
        more = slice_cut(rest, ',', &one, &rest);
        if (given.listen_count == LISTEN_FDS_MAX)
            return err_note_fail(&given.note, ERR_REFUSED, "%s has more than %d numbers", name,
                                 LISTEN_FDS_MAX);
        TRY(take_fd(name, one, is_listening, what, &given.listen_fds[given.listen_count]));
        given.listen_count++;
    }
    return ERR_OK;
}

static enum err take_all(void)
{
    TRY(take_one("MILLRACE_LIFE_FD", is_pipe, "a pipe", &given.life_fd));
    TRY(take_one("MILLRACE_REPORT_FD", is_pipe, "a pipe", &given.report_fd));
    TRY(take_one("MILLRACE_CONFIG_FD", is_file, "a file", &given.config_fd));
    if ((given.life_fd < 0) != (given.report_fd < 0))
        return err_note_fail(&given.note, ERR_REFUSED,
                             "MILLRACE_LIFE_FD and MILLRACE_REPORT_FD: one of them is missing");
    return take_listen_fds();
}

/* What we start ourselves must not take them for its own. */
static void read_environment(void)
{
    static const char *const names[] = {"MILLRACE_LIFE_FD", "MILLRACE_REPORT_FD",
                                        "MILLRACE_CONFIG_FD", "MILLRACE_LISTEN_FDS"};
    if (given.read_once)
        return;
    given.read_once = true;
    given.life_fd = given.report_fd = given.config_fd = -1;
    given.err = take_all();
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        (void)unsetenv(names[i]); /* fails for names with '=' only */
}

int life_config_fd(void)
{
    read_environment();
    return given.config_fd;
}

size_t life_listen_fds(int *out_fds, size_t max)
{
    read_environment();
    size_t count = given.listen_count < max ? given.listen_count : max;
    memcpy(out_fds, given.listen_fds, count * sizeof(*out_fds));
    for (size_t i = count; i < given.listen_count; i++)
        (void)close(given.listen_fds[i]); /* nobody else would: a queue that no one serves */
    given.listen_count = 0;
    return count;
}

/* --- to the host --- */

/* One write of less than PIPE_BUF: whole or not at all. EAGAIN: the host does not read now, and a
 * report is a matter of now. EPIPE: it is gone, as the other pipe says too. */
static void say(const struct report *report)
{
    struct text line;
    text_init(&line, 2 * REPORT_LINE_MAX_BYTES);
    report_write(report, &line);
    (void)!write(given.report_fd, line.data, line.len);
    text_fini(&line);
}

static void beat(struct life *life)
{
    struct life_pulse pulse = {.is_alive = true};
    life->on_pulse(life->ctx, &pulse);
    if (pulse.is_alive)
        say(&(struct report){
            .kind = REPORT_BEAT, .stuck_ms = pulse.stuck_ms, .streams = pulse.streams});
}

static void on_beat(void *ctx)
{
    struct life *life = ctx;
    beat(life);
    deadline_round(&life->beat, LIFE_BEAT_MS * 1000);
}

void life_beat(struct life *life)
{
    if (life)
        beat(life);
}

void life_say_ready(struct life *life, const char *text)
{
    if (life)
        say(&(struct report){.kind = REPORT_READY, .text = slice_str(text)});
}

void life_say_draining(struct life *life)
{
    if (life)
        say(&(struct report){.kind = REPORT_DRAINING});
}

void life_say_failed(struct life *life, const char *note)
{
    if (life)
        say(&(struct report){.kind = REPORT_FAILED, .text = slice_str(note)});
}

/* --- from the host --- */

/* At once, without a drain: what we could still finish would travel over the host's switch. */
static void on_host_gone(uv_poll_t *poll, int status, int events)
{
    (void)poll, (void)status, (void)events;
    log_event(LOG_ERROR, "host_gone", NULL);
    _exit(1);
}

/* The host reads stderr from a pipe. One that is stopped must not stop us too: a line that does not
 * fit is dropped, and log.c counts it. The pipe is ours alone, so nobody else is changed by this.
 */
static void never_wait_for_stderr(void)
{
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    if (is_pipe(STDERR_FILENO) && flags >= 0)
        (void)fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK); /* a pipe takes it */
}

static enum err watch_host(struct life *life, struct err_note *out_note)
{
    int flags = fcntl(given.report_fd, F_GETFL);
    if (flags < 0 || fcntl(given.report_fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return err_note_fail(out_note, ERR_SYSTEM, "life: %s", strerror(errno));
    int status = uv_poll_init(loop_uv(life->loop), &life->host_gone, given.life_fd);
    if (status != 0)
        return err_note_fail(out_note, ERR_SYSTEM, "life: cannot watch the host: %s",
                             uv_strerror(status));
    ASSERT(uv_poll_start(&life->host_gone, UV_READABLE | UV_DISCONNECT, on_host_gone) == 0);
    return ERR_OK;
}

enum err life_start(struct loop *loop, life_pulse_fn *on_pulse, void *ctx, struct life **out_life,
                    struct err_note *out_note)
{
    read_environment();
    if (given.err != ERR_OK) {
        *out_note = given.note;
        return given.err;
    }
    *out_life = NULL;
    if (given.life_fd < 0)
        return ERR_OK;
    struct life *life = mem_alloc(sizeof(*life));
    *life = (struct life){.loop = loop, .on_pulse = on_pulse, .ctx = ctx};
    enum err err = watch_host(life, out_note);
    if (err != ERR_OK) {
        mem_free(life);
        return err;
    }
    never_wait_for_stderr();
    deadline_init(&life->beat, loop, on_beat, life);
    deadline_after(&life->beat, 0);
    *out_life = life;
    return ERR_OK;
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(CONTAINER_OF((uv_poll_t *)handle, struct life, host_gone));
}

void life_stop(struct life **life)
{
    if (!*life)
        return;
    deadline_clear(&(*life)->beat);
    uv_close((uv_handle_t *)&(*life)->host_gone, on_closed);
    *life = NULL;
}
