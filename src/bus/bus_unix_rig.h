/* bus_unix_rig - a switch for tests: on a thread of its own, in a folder of its own; and an
 * endpoint that counts what comes to it. */
#pragma once

#include "bus/bus_switch.h"
#include "bus/bus_unix.h"
#include "loop/thread.h"

struct bus_rig {
    char directory[64];
    struct loop *loop;
    struct bus_switch *bus_switch;
    struct thread *thread;
};

void bus_rig_make_directory(struct bus_rig *rig); /* alone: a folder without a switch */
void bus_rig_start_in(struct bus_rig *rig, size_t peer_bytes_max, uint32_t dead_ms);
void bus_rig_start(struct bus_rig *rig, size_t peer_bytes_max, uint32_t dead_ms); /* both */
void bus_rig_stop_switch(struct bus_rig *rig); /* keeps the folder */
void bus_rig_stop(struct bus_rig *rig);
/* The switch stands still, and what comes to it waits; then it goes on. */
void bus_rig_hold(struct bus_rig *rig);
void bus_rig_go_on(struct bus_rig *rig);
/* Waits, within the tests' patience. */
void bus_rig_wait_for_peers(const struct bus_rig *rig, size_t count);

struct end {
    struct bus_unix *bus_unix;
    struct loop *loop;
    struct bus *bus;
    size_t count, bytes, bounced;
    enum err why;
    struct bus_subscription *subscription;
    struct deadline alarm;
};

enum { RIG_NEVER_MS = 60 * 1000, RIG_PATIENCE_US = 30 * 1000 * 1000 };

void end_open(struct end *end, const struct bus_rig *rig);
void end_close(struct end *end);
void end_subscribe(struct end *end, const char *subject);
void end_publish(struct end *end, const char *subject, size_t bytes);
/* Turns, sleeping, until *value is at least `least`. */
void end_wait(struct end *end, const size_t *value, size_t least);
