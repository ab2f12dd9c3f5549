/* child_test - how what a child writes is read: a real one, a shell, and a loop whose time stands
 * still, so that it does not matter how fast it writes. Its life is shown by supervisor_test. */
#include "host/child.h"
#include "host/pace.h"
#include "testing/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    START_US = 1000 * 1000,
    PATIENCE_MS = 60 * 1000,
    OVERSHOOT_BYTES = CHILD_BYTES_PER_TURN + 16 * 1024, /* the last turn, and its last read */
};

static struct loop *loop;
static struct child *child;
static size_t heard_bytes;

static void on_report(void *ctx, const struct report *report)
{
    (void)ctx, (void)report; /* a shell reports nothing */
}

static void on_line(void *ctx, struct slice lines)
{
    (void)ctx;
    heard_bytes += lines.len;
}

static void start(const char *script)
{
    static const struct child_handler handler = {.on_report = on_report, .on_line = on_line};
    struct child_options options = {
        .program = "/bin/sh", .arguments = {"-c", script}, .life_fd = -1, .config_fd = -1};
    heard_bytes = 0;
    loop = loop_new_virtual(START_US);
    CHECK_OK(child_start(loop, &options, &handler, NULL, &child, NULL));
}

static void end(void)
{
    child_free(&child);
    loop_free(loop);
}

/* Waits until it has written so much that a turn cannot read it all. Asked again and again: poll()
 * tells of a first byte, and nothing of the 65536th. */
static void await_a_turns_worth(void)
{
    char path[64];
    int waiting = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd/2", (int)child_pid(child));
    int pipe = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    CHECK(pipe >= 0);
    for (int i = 0; waiting < CHILD_BYTES_PER_TURN && i < PATIENCE_MS; i++) {
        CHECK_EQ(ioctl(pipe, FIONREAD, &waiting), 0);
        if (waiting < CHILD_BYTES_PER_TURN)
            usleep(1000);
    }
    (void)close(pipe); /* nothing was written to it */
    CHECK(waiting >= CHILD_BYTES_PER_TURN);
}

/* Turns, each with enough to read, until one reads nothing or `bytes` have come. */
static void hear(size_t bytes)
{
    for (size_t before = SIZE_MAX; heard_bytes != before && heard_bytes < bytes;) {
        before = heard_bytes;
        await_a_turns_worth();
        (void)loop_turn(loop, false);
    }
}

TEST(a_flood_waits_for_the_end_of_its_window)
{
    start("exec 3>&2; yes x | head -c 8388608 >&3");
    for (size_t windows = 1; windows <= 3; windows++) {
        hear(SIZE_MAX);
        CHECK(heard_bytes >= windows * PACE_WINDOW_BYTES);
        CHECK(heard_bytes < windows * (PACE_WINDOW_BYTES + OVERSHOOT_BYTES));
        size_t heard_by_now = heard_bytes;
        loop_skip(loop, PACE_WINDOW_MS * 1000 - 1);
        (void)loop_turn(loop, false);
        (void)loop_turn(loop, false);
        CHECK_EQ(heard_bytes, heard_by_now);
        loop_skip(loop, 1);
        (void)loop_turn(loop, false); /* listens again */
    }
    end();
}

TEST(who_writes_much_but_less_than_that_is_not_held_up)
{
    const size_t bytes = 512 * 1024;
    start("exec 3>&2; yes x | head -c 524288 >&3; sleep 600");
    hear(bytes);
    CHECK_EQ(heard_bytes, bytes);
    end();
}
