/* bus_zmq_rig - a switch for tests: on a thread of its own, in a folder of its own; and an endpoint
 * that counts what comes to it. */
#pragma once

#include "bus/bus_zmq.h"
#include "bus/zmq_switch.h"
#include "loop/thread.h"

struct zmq_rig {
    char directory[64];
    struct loop *loop;
    struct zmq_switch *zmq_switch;
    struct thread *thread;
};

void zmq_rig_make_directory(struct zmq_rig *rig); /* alone: a folder without a switch */
void zmq_rig_start_in(struct zmq_rig *rig, size_t peer_bytes_max, uint32_t dead_ms);
void zmq_rig_start(struct zmq_rig *rig, size_t peer_bytes_max, uint32_t dead_ms); /* both */
void zmq_rig_stop_switch(struct zmq_rig *rig); /* keeps the folder */
void zmq_rig_stop(struct zmq_rig *rig);
/* The switch stands still, and what comes to it waits; then it goes on. */
void zmq_rig_hold(struct zmq_rig *rig);
void zmq_rig_go_on(struct zmq_rig *rig);
/* Waits, within the tests' patience. */
void zmq_rig_wait_for_peers(const struct zmq_rig *rig, size_t count);

struct end {
    struct bus_zmq *bus_zmq;
    struct loop *loop;
    struct bus *bus;
    size_t count, bounced;
    enum err why;
    struct bus_subscription *subscription;
    struct deadline alarm;
};

enum { RIG_NEVER_MS = 60 * 1000, RIG_PATIENCE_US = 30 * 1000 * 1000 };

void end_open(struct end *end, const struct zmq_rig *rig);
void end_close(struct end *end);
void end_subscribe(struct end *end, const char *subject);
void end_publish(struct end *end, const char *subject, size_t bytes);
/* Turns, sleeping, until *value is at least `least`. */
void end_wait(struct end *end, const size_t *value, size_t least);
