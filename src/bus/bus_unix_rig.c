/* bus_unix_rig - a switch for tests. See bus_unix_rig.h. */
#include "bus/bus_unix_rig.h"

#include "base/clock.h"
#include "testing/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void bus_rig_make_directory(struct bus_rig *rig)
{
    snprintf(rig->directory, sizeof(rig->directory), "/tmp/millrace-bus-XXXXXX");
    ASSERT(mkdtemp(rig->directory));
}

static void run(void *ctx)
{
    struct bus_rig *rig = ctx;
    loop_run(rig->loop);
}

void bus_rig_go_on(struct bus_rig *rig)
{
    ASSERT(thread_start("switch", run, rig, &rig->thread) == ERR_OK);
}

void bus_rig_hold(struct bus_rig *rig)
{
    loop_stop(rig->loop);
    thread_join(&rig->thread);
}

void bus_rig_start_in(struct bus_rig *rig, size_t peer_bytes_max, uint32_t dead_ms)
{
    struct err_note note = {0};
    const struct bus_switch_config config = {rig->directory, peer_bytes_max, dead_ms};
    rig->loop = loop_new();
    enum err err = bus_switch_new(rig->loop, &config, &note, &rig->bus_switch);
    ASSERT_MSG(err == ERR_OK, "%s: %s", err_name(err), note.text);
    bus_rig_go_on(rig);
}

void bus_rig_start(struct bus_rig *rig, size_t peer_bytes_max, uint32_t dead_ms)
{
    bus_rig_make_directory(rig);
    bus_rig_start_in(rig, peer_bytes_max, dead_ms);
}

void bus_rig_stop_switch(struct bus_rig *rig)
{
    bus_rig_hold(rig);
    bus_switch_free(&rig->bus_switch);
    loop_free(rig->loop);
}

void bus_rig_stop(struct bus_rig *rig)
{
    bus_rig_stop_switch(rig);
    ASSERT(rmdir(rig->directory) == 0);
}

/* --- one endpoint, and what came to it --- */

static void on_message(void *ctx, const struct bus_message *message)
{
    struct end *end = ctx;
    end->count++;
    end->bytes += message->frame.len;
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

void end_open(struct end *end, const struct bus_rig *rig)
{
    *end = (struct end){0};
    CHECK_OK(bus_unix_new(rig->directory, &end->bus_unix));
    end->loop = loop_new();
    deadline_init(&end->alarm, end->loop, on_alarm, NULL);
    CHECK_OK(bus_unix_open(end->bus_unix, end->loop, RIG_NEVER_MS, &end->bus));
    bus_on_bounce(end->bus, on_bounce, end);
}

void end_close(struct end *end)
{
    bus_close(&end->bus);
    deadline_clear(&end->alarm);
    loop_free(end->loop);
    bus_unix_free(end->bus_unix);
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
    (void)loop_turn(end->loop, false); /* at its end it leaves */
}

void end_wait(struct end *end, const size_t *value, size_t least)
{
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    deadline_after(&end->alarm, RIG_PATIENCE_US);
    while (*value < least && clock_monotonic_us() < until_us)
        (void)loop_turn(end->loop, true);
    CHECK(*value >= least);
}

void bus_rig_wait_for_peers(const struct bus_rig *rig, size_t count)
{
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    while (bus_switch_count(rig->bus_switch).peers != count && clock_monotonic_us() < until_us)
        usleep(1000); /* the switch runs on a thread of its own */
    CHECK_EQ(bus_switch_count(rig->bus_switch).peers, count);
}
