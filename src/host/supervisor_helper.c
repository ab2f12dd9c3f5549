/* supervisor_helper - a role for supervisor_test: `helper ROLE HOW`. It speaks life.h and does what
 * HOW says, which no real role should. */
#include "base/log.h"
#include "life/life.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>
#include <uv.h>

static struct loop *loop;
static struct life *life;
static const char *how;
static bool hangs, is_stuck;
static uint64_t started_us;

static bool is(const char *name)
{
    return strcmp(how, name) == 0;
}

static void on_pulse(void *ctx, struct life_pulse *out_pulse)
{
    static unsigned beats;
    (void)ctx;
    out_pulse->is_alive = !(hangs && beats++ > 0);
    out_pulse->streams = 7;
    if (is_stuck)
        out_pulse->stuck_ms = (uint32_t)((loop_now_us(loop) - started_us) / 1000);
}

static void on_term(uv_signal_t *handle, int number)
{
    (void)handle, (void)number;
    if (is("stubborn"))
        return;
    life_say_draining(life);
    if (!is("drains_long"))
        loop_stop(loop);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    (void)handle, (void)number;
    log_event(LOG_INFO, "helper_reloaded", NULL);
    life_say_failed(life, "reloaded");
}

static void flood(void *ctx)
{
    struct deferred *again = ctx;
    char line[512];
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\n';
    for (int i = 0; i < 1000; i++)
        (void)!write(STDERR_FILENO, line, sizeof(line)); /* full: lost */
    loop_defer(loop, again);
}

/* It keeps our pipes open, and is in our group. */
static void leave_a_grandchild(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGTERM, SIG_IGN);
        for (;;)
            pause();
    }
    fprintf(stderr, "grandchild=%d\n", (int)pid);
}

/* Of all that are named alike one gets it, until it ends. */
static bool has_room(void)
{
    int fd = open(getenv("HELPER_ROOM"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* A role that cannot start: before it is ready. */
static void fail_early(void)
{
    if (is("room_for_one") && !has_room()) {
        life_say_failed(life, "no room for another one");
        exit(1);
    }
    if (is("crash")) {
        fprintf(stderr, "boom: no reason\n");
        exit(3);
    }
    if (is("abort"))
        abort();
    if (is("fails")) {
        life_say_failed(life, "no such file: model.gguf");
        exit(1);
    }
}

/* The host spawns with SIGHUP blocked: what came earlier is heard now. */
static void hear_hangups(void)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGHUP);
    sigprocmask(SIG_UNBLOCK, &held, NULL);
}

int main(int argc, char **argv)
{
    struct err_note note;
    uv_signal_t term, hangup;
    struct deferred again;
    how = argc > 2 ? argv[2] : "good";
    signal(SIGPIPE, SIG_IGN);
    loop = loop_new();
    started_us = loop_now_us(loop);
    if (life_start(loop, on_pulse, NULL, &life, &note) != ERR_OK) {
        fprintf(stderr, "%s\n", note.text);
        return 2;
    }
    fail_early();
    uv_signal_init(loop_uv(loop), &term);
    uv_signal_start(&term, on_term, SIGTERM);
    uv_signal_init(loop_uv(loop), &hangup);
    uv_signal_start(&hangup, on_hangup, SIGHUP);
    hear_hangups();
    if (is("grandchild"))
        leave_a_grandchild();
    life_say_ready(life, "127.0.0.1:1");
    hangs = is("hangs");
    is_stuck = is("stuck");
    if (is("poisoned")) { /* its first request crashes it */
        life_beat(life);
        abort();
    }
    deferred_init(&again, flood, &again);
    if (is("floods"))
        loop_defer(loop, &again);
    loop_run(loop);
    life_stop(&life);
    uv_close((uv_handle_t *)&term, NULL);
    uv_close((uv_handle_t *)&hangup, NULL);
    loop_free(loop);
    return 0;
}
