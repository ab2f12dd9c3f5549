/* log_pump - a stuck stderr holds nobody up. See log_pump.h. */
#include "host/log_pump.h"

#include "base/mem.h"
#include "loop/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

struct log_pump {
    int real;    /* the stderr that we were given */
    int reader;  /* of the pipe that descriptor 2 is now */
    int done[2]; /* closed by the thread at its end */
    struct thread *thread;
    struct sigaction aborted_before;
};

static int abort_reader = -1;        /* for the handler, which has no context */
static struct log_pump *left_behind; /* its thread hangs in a write: the end of the process frees */

static void write_on(int fd, const char *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t wrote = write(fd, bytes + done, len - done);
        if (wrote > 0) {
            done += (size_t)wrote;
        } else if (wrote < 0 && errno == EAGAIN) { /* somebody made it non-blocking */
            struct pollfd room = {.fd = fd, .events = POLLOUT};
            (void)poll(&room, 1, -1);
        } else if (wrote == 0 || errno != EINTR) {
            return; /* closed, or the disk is full: the line is lost, as without us */
        }
    }
}

static void run(void *ctx)
{
    struct log_pump *pump = ctx;
    char packet[PIPE_BUF];
    ssize_t got;
    while ((got = read(pump->reader, packet, sizeof(packet))) > 0 || (got < 0 && errno == EINTR))
        if (got > 0)
            write_on(pump->real, packet, (size_t)got);
    (void)close(pump->done[1]);
}

/* Also when somebody else sent it: so it is raised again, for the default action (SA_RESETHAND). */
static void on_abort(int number)
{
    const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    int waiting = 0;
    for (int i = 0; i < LOG_PUMP_ABORT_MS / 5; i++) {
        if (ioctl(abort_reader, FIONREAD, &waiting) != 0 || waiting == 0)
            break;
        nanosleep(&pause, NULL);
    }
    nanosleep(&pause, NULL); /* the last packet is on its way out of the pipe */
    (void)raise(number);     /* taken when we return; abort() would do it itself */
}

static enum err open_pipes(struct log_pump *pump)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_DIRECT) != 0)
        return ERR_SYSTEM;
    pump->reader = ends[0];
    pump->real = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (pump->real < 0 || pipe2(pump->done, O_CLOEXEC) != 0 ||
        fcntl(ends[1], F_SETFL, O_DIRECT | O_NONBLOCK) != 0 || dup2(ends[1], STDERR_FILENO) < 0) {
        (void)close(ends[1]);
        return ERR_SYSTEM;
    }
    (void)close(ends[1]);
    /* One page for each packet. Refused (a limit of this user): the kernel's 16 have to do. */
    (void)fcntl(pump->reader, F_SETPIPE_SZ, LOG_PUMP_LINES * 4096);
    return ERR_OK;
}

static void close_all(struct log_pump *pump)
{
    const int fds[] = {pump->real, pump->reader, pump->done[0]};
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    mem_free(pump);
}

enum err log_pump_start(struct log_pump **out_pump, struct err_note *out_note)
{
    struct log_pump *pump = mem_alloc(sizeof(*pump));
    *pump = (struct log_pump){.real = -1, .reader = -1, .done = {-1, -1}};
    enum err err = open_pipes(pump);
    if (err == ERR_OK)
        err = thread_start("host-stderr", run, pump, &pump->thread);
    if (err != ERR_OK) {
        err = err_note_fail(out_note, ERR_SYSTEM, "no thread for the log: %s", strerror(errno));
        if (pump->real >= 0)
            (void)dup2(pump->real, STDERR_FILENO);
        if (pump->done[1] >= 0)
            (void)close(pump->done[1]);
        close_all(pump);
        return err;
    }
    abort_reader = pump->reader;
    struct sigaction wait_a_little = {.sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND};
    (void)sigaction(SIGABRT, &wait_a_little, &pump->aborted_before); /* a valid signal */
    *out_pump = pump;
    return ERR_OK;
}

void log_pump_stop(struct log_pump **pump_place)
{
    struct log_pump *pump = *pump_place;
    if (!pump)
        return;
    *pump_place = NULL;
    (void)sigaction(SIGABRT, &pump->aborted_before, NULL);
    abort_reader = -1;
    (void)dup2(pump->real, STDERR_FILENO); /* closes the only writer: the thread sees the end */
    struct pollfd done = {.fd = pump->done[0]};
    if (poll(&done, 1, LOG_PUMP_STOP_MS) == 1) {
        thread_join(&pump->thread);
        close_all(pump);
    } else {
        left_behind = pump;
    }
}

bool log_pump_write(struct slice lines)
{
    ssize_t wrote;
    do
        wrote = write(STDERR_FILENO, lines.data, lines.len);
    while (wrote < 0 && errno == EINTR);
    return wrote >= 0 || errno != EAGAIN;
}
