/* bus_zmq_rig - a switch for tests. See bus_zmq_rig.h. */
#include "bus/bus_zmq_rig.h"

#include "base/clock.h"
#include "testing/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* TSan does not see how libzmq, which is not built for it, hands memory from thread to thread. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libzmq.so\n"
           "called_from_lib:libstdc++.so\n"; /* which libzmq calls */
}

void zmq_rig_make_directory(struct zmq_rig *rig)
{
    snprintf(rig->directory, sizeof(rig->directory), "/tmp/millrace-bus-XXXXXX");
    ASSERT(mkdtemp(rig->directory));
}

static void run(void *ctx)
{
    struct zmq_rig *rig = ctx;
    loop_run(rig->loop);
}

void zmq_rig_go_on(struct zmq_rig *rig)
{
    ASSERT(thread_start("switch", run, rig, &rig->thread) == ERR_OK);
}

void zmq_rig_hold(struct zmq_rig *rig)
{
    loop_stop(rig->loop);
    thread_join(&rig->thread);
}

void zmq_rig_start_in(struct zmq_rig *rig, size_t peer_bytes_max, uint32_t dead_ms)
{
    struct err_note note = {0};
    const struct zmq_switch_config config = {rig->directory, peer_bytes_max, dead_ms};
    rig->loop = loop_new();
    enum err err = zmq_switch_new(rig->loop, &config, &note, &rig->zmq_switch);
    ASSERT_MSG(err == ERR_OK, "%s: %s", err_name(err), note.text);
    zmq_rig_go_on(rig);
}

void zmq_rig_start(struct zmq_rig *rig, size_t peer_bytes_max, uint32_t dead_ms)
{
    zmq_rig_make_directory(rig);
    zmq_rig_start_in(rig, peer_bytes_max, dead_ms);
}

void zmq_rig_stop_switch(struct zmq_rig *rig)
{
    zmq_rig_hold(rig);
    zmq_switch_free(&rig->zmq_switch);
    loop_free(rig->loop);
}

void zmq_rig_stop(struct zmq_rig *rig)
{
    zmq_rig_stop_switch(rig);
    ASSERT(rmdir(rig->directory) == 0);
}

/* --- one endpoint, and what came to it --- */

static void on_message(void *ctx, const struct bus_message *message)
{
    struct end *end = ctx;
    (void)message; /* counting is enough */
    end->count++;
}

static void on_bounce(void *ctx, const struct bus_message *message, enum err why)
{
    struct end *end = ctx;
    (void)message; /* counting is enough */
    end->bounced++;
    end->why = why;
}

static void on_alarm(void *ctx)
{
    (void)ctx; /* who waits looks at the clock */
}

void end_open(struct end *end, const struct zmq_rig *rig)
{
    *end = (struct end){0};
    CHECK_OK(bus_zmq_new(rig->directory, &end->bus_zmq));
    end->loop = loop_new();
    deadline_init(&end->alarm, end->loop, on_alarm, NULL);
    CHECK_OK(bus_zmq_open(end->bus_zmq, end->loop, RIG_NEVER_MS, &end->bus));
    bus_on_bounce(end->bus, on_bounce, end);
}

void end_close(struct end *end)
{
    bus_close(&end->bus);
    deadline_clear(&end->alarm);
    loop_free(end->loop);
    bus_zmq_free(end->bus_zmq);
}

void end_subscribe(struct end *end, const char *subject)
{
    CHECK_OK(bus_subscribe(end->bus, slice_str(subject), (struct slice){0}, on_message, end,
                           &end->subscription));
}

void end_publish(struct end *end, const char *subject, size_t bytes)
{
    static const char block[4096];
    CHECK_OK(bus_publish(end->bus, slice_str(subject), (struct slice){0}, slice_of(block, bytes)));
}

void end_wait(struct end *end, const size_t *value, size_t least)
{
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    deadline_after(&end->alarm, RIG_PATIENCE_US);
    while (*value < least && clock_monotonic_us() < until_us)
        (void)loop_turn(end->loop, true);
    CHECK(*value >= least);
}

void zmq_rig_wait_for_peers(const struct zmq_rig *rig, size_t count)
{
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    while (zmq_switch_count(rig->zmq_switch).peers != count && clock_monotonic_us() < until_us)
        usleep(1000); /* the switch runs on a thread of its own */
    CHECK_EQ(zmq_switch_count(rig->zmq_switch).peers, count);
}
