/* bus_unix_life_test - endpoints and switches that die, stop, or stand still, as processes and as
 * loops. */
#include "base/clock.h"
#include "bus/bus_unix_rig.h"
#include "testing/test.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CAP = 64 * 1024 };

/* --- other processes --- */

/* A child that subscribes to "work" and runs its loop. It is forked before any thread is there. */
struct child {
    pid_t pid;
    int ready_fd; /* a byte: subscribed; then one for each message */
};

struct worker {
    int fd;
};

static void on_work(void *ctx, const struct bus_message *message)
{
    struct worker *worker = ctx;
    (void)message; /* that it came is all */
    if (write(worker->fd, "m", 1) != 1)
        _exit(3);
}

static _Noreturn void be_worker(const struct bus_rig *rig, struct worker *worker)
{
    struct bus_unix *bus_unix;
    struct bus *bus;
    struct bus_subscription *subscription;
    struct loop *loop = loop_new();
    alarm(120); /* never an orphan */
    if (bus_unix_new(rig->directory, &bus_unix) != ERR_OK ||
        bus_unix_open(bus_unix, loop, RIG_NEVER_MS, &bus) != ERR_OK ||
        bus_subscribe(bus, SLICE("work"), (struct slice){0}, on_work, worker, &subscription) !=
            ERR_OK ||
        write(worker->fd, "r", 1) != 1)
        _exit(2);
    loop_run(loop);
    _exit(0);
}

static void child_start(struct child *child, const struct bus_rig *rig)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    child->pid = fork();
    CHECK(child->pid >= 0);
    if (child->pid == 0) {
        struct worker worker = {fds[1]};
        close(fds[0]);
        be_worker(rig, &worker);
    }
    close(fds[1]);
    child->ready_fd = fds[0];
}

static void child_says(struct child *child, char expected)
{
    char byte = 0;
    CHECK_EQ(read(child->ready_fd, &byte, 1), 1);
    CHECK_EQ(byte, expected);
}

static void child_end(struct child *child)
{
    kill(child->pid, SIGKILL);
    CHECK_EQ(waitpid(child->pid, NULL, 0), child->pid);
    close(child->ready_fd);
}

TEST(what_waits_for_a_killed_process_comes_back_at_once)
{
    struct bus_rig rig;
    struct child child;
    struct end a;
    bus_rig_make_directory(&rig);
    child_start(&child, &rig);
    bus_rig_start_in(&rig, CAP, RIG_NEVER_MS); /* its silence is not what tells */
    end_open(&a, &rig);
    child_says(&child, 'r');
    kill(child.pid, SIGSTOP); /* so that all three wait for it */
    for (int i = 0; i < 3; i++)
        end_publish(&a, "work", 10);
    CHECK_OK(bus_unix_sync(a.bus));
    kill(child.pid, SIGKILL);
    end_wait(&a, &a.bounced, 3);
    CHECK_EQ(a.bounced, 3);
    CHECK_EQ(a.why, ERR_CLOSED);
    bus_rig_wait_for_peers(&rig, 1);
    end_publish(&a, "work", 10);
    end_wait(&a, &a.bounced, 4);
    CHECK_EQ(a.why, ERR_NOT_FOUND);
    child_end(&child);
    end_close(&a);
    bus_rig_stop(&rig);
}

TEST(a_stopped_process_is_dead_and_joins_again_when_it_goes_on)
{
    struct bus_rig rig;
    struct child child;
    struct end a;
    bus_rig_make_directory(&rig);
    child_start(&child, &rig);
    bus_rig_start_in(&rig, CAP, 2000);
    end_open(&a, &rig);
    child_says(&child, 'r');
    end_publish(&a, "work", 10);
    child_says(&child, 'm');
    kill(child.pid, SIGSTOP);
    for (int i = 0; i < 3; i++)
        end_publish(&a, "work", 10);
    end_wait(&a, &a.bounced, 3);
    CHECK_EQ(a.why, ERR_CLOSED);
    kill(child.pid, SIGCONT);
    size_t refused = a.bounced, lost = 0;
    do { /* until it has joined again nobody listens */
        size_t before = a.bounced;
        end_publish(&a, "work", 10);
        CHECK_OK(bus_unix_sync(a.bus));
        (void)loop_turn(a.loop, false);
        refused += a.bounced > before;
        lost += a.bounced > before && a.why != ERR_NOT_FOUND; /* busy machine: not there for long */
        CHECK(refused < 3000);
        if (a.bounced == before)
            break;
        deadline_after(&a.alarm, 10000);
        (void)loop_turn(a.loop, true);
    } while (true);
    child_says(&child, 'm'); /* the new one: what had come back is not handled too */
    struct bus_switch_counts counts = bus_switch_count(rig.bus_switch);
    CHECK_EQ(counts.delivered, 1 + 3 + lost + 1);
    CHECK_EQ(counts.peers, 2);
    end_close(&a);
    child_end(&child);
    bus_rig_stop(&rig);
}

/* --- a switch that stands still --- */

static _Noreturn void be_switch(const struct bus_rig *rig, int ready_fd, uint32_t dead_ms)
{
    const struct bus_switch_config config = {rig->directory, CAP, dead_ms};
    struct bus_switch *bus_switch;
    struct err_note note;
    struct loop *loop = loop_new();
    alarm(120); /* never an orphan */
    if (bus_switch_new(loop, &config, &note, &bus_switch) != ERR_OK || write(ready_fd, "r", 1) != 1)
        _exit(2);
    loop_run(loop);
    _exit(0);
}

static void start_switch_process(struct child *child, const struct bus_rig *rig, uint32_t dead_ms)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    child->pid = fork();
    CHECK(child->pid >= 0);
    if (child->pid == 0)
        be_switch(rig, fds[1], dead_ms);
    close(fds[1]);
    child->ready_fd = fds[0];
    child_says(child, 'r');
}

/* Both loops turn: it is not they who stand still. */
static void let_time_pass(struct end *a, struct end *b, uint32_t ms)
{
    uint64_t until_us = clock_monotonic_us() + ms * 1000ull;
    while (clock_monotonic_us() < until_us) {
        deadline_after(&a->alarm, 1000);
        (void)loop_turn(a->loop, true); /* what comes to a, or a millisecond */
        (void)loop_turn(b->loop, false);
    }
}

/* Publishes until one arrives. Nobody is said to be gone: if a busy machine holds one of us up too,
 * what comes back was lost on the way. */
static void publish_until_one_arrives(struct end *from, struct end *to, const char *subject)
{
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    for (size_t before = to->count; to->count == before;) {
        CHECK(clock_monotonic_us() < until_us);
        enum err err = bus_publish(from->bus, slice_str(subject), (struct slice){0}, SLICE("x"));
        CHECK(err == ERR_OK || err == ERR_FULL); /* full: not joined again yet */
        let_time_pass(from, to, 2);
        CHECK(from->bounced == 0 || from->why == ERR_AGAIN);
    }
}

TEST(a_switch_that_was_stopped_takes_nobody_for_dead)
{
    enum { DEAD_MS = 400 };
    struct bus_rig rig;
    struct child child;
    struct end a, b;
    bus_rig_make_directory(&rig);
    start_switch_process(&child, &rig, DEAD_MS);
    end_open(&a, &rig);
    end_open(&b, &rig);
    end_subscribe(&b, "b");
    end_publish(&a, "b", 10);
    end_wait(&b, &b.count, 1);
    for (int round = 0; round < 3; round++) {
        int status;
        kill(child.pid, SIGSTOP);
        CHECK_EQ(waitpid(child.pid, &status, WUNTRACED), child.pid);
        enum err err = bus_publish(a.bus, SLICE("b"), (struct slice){0}, SLICE("x"));
        CHECK(err == ERR_OK || err == ERR_FULL); /* full: a busy machine made it join anew */
        let_time_pass(&a, &b, 3 * DEAD_MS);
        kill(child.pid, SIGCONT);
        publish_until_one_arrives(&a, &b, "b");
    }
    end_close(&b);
    end_close(&a);
    child_end(&child);
    char path[96];
    snprintf(path, sizeof(path), "%s/bus", rig.directory);
    CHECK(unlink(path) == 0 && rmdir(rig.directory) == 0);
}

/* --- a loop that stands still --- */

enum { HELD_UP_DEAD_MS = 1000 };

static void publish_until_it_arrives(struct end *from, struct end *to, const char *subject)
{
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    while (to->count == 0 && clock_monotonic_us() < until_us) {
        enum err err = bus_publish(from->bus, slice_str(subject), (struct slice){0}, SLICE("x"));
        CHECK(err == ERR_OK || err == ERR_FULL); /* full: not joined again yet */
        let_time_pass(from, to, 2);
    }
    CHECK_EQ(to->bytes, to->count); /* none of those that had come back */
    CHECK(to->count > 0);
}

TEST(who_stood_still_is_dead_and_handles_nothing_that_came_back)
{
    struct bus_rig rig;
    struct end a, b;
    bus_rig_start(&rig, CAP, HELD_UP_DEAD_MS);
    end_open(&a, &rig);
    end_open(&b, &rig);
    end_subscribe(&b, "b");
    for (int i = 0; i < 3; i++)
        end_publish(&a, "b", 10);
    end_wait(&a, &a.bounced, 3); /* b does not turn meanwhile */
    CHECK_EQ(a.why, ERR_CLOSED);
    publish_until_it_arrives(&a, &b, "b");
    end_close(&b);
    end_close(&a);
    bus_rig_stop(&rig);
}

/* The switch lets it off, for it could hear nobody itself; the endpoint cannot know. */
TEST(who_stood_still_with_the_switch_begins_anew_and_nobody_is_said_to_be_gone)
{
    struct bus_rig rig;
    struct end a, b;
    bus_rig_start(&rig, CAP, HELD_UP_DEAD_MS);
    end_open(&a, &rig);
    end_open(&b, &rig);
    end_subscribe(&b, "b");
    end_publish(&a, "b", 10);
    CHECK_OK(bus_unix_sync(a.bus));
    bus_rig_hold(&rig);
    let_time_pass(&a, &a, HELD_UP_DEAD_MS);
    bus_rig_go_on(&rig);
    publish_until_it_arrives(&a, &b, "b");
    end_wait(&a, &a.bounced, 1);
    CHECK_EQ(a.why, ERR_AGAIN);
    end_close(&b);
    end_close(&a);
    bus_rig_stop(&rig);
}
