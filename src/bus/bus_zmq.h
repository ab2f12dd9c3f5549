/* bus_zmq - the bus between processes of one machine: endpoints that meet at a switch
 * (zmq_switch.h) over a unix socket. What the contract of bus.h means here:
 *
 * 1. bus_subscribe() waits until the switch has confirmed, at most its dead_ms: ERR_TIMEOUT after
 *    that. It is meant for starting up; what arrives meanwhile is kept for the loop. (Why it waits:
 *    docs/design/007-bus-zmq.md.)
 * 2. ERR_FULL from bus_publish(): too much of what was sent is not passed on or has come back and
 *    was not looked at (ZLINK_OUT_WINDOWS x peer_bytes_max), or there is no switch at the moment.
 * 3. An endpoint whose loop stood still for longer than dead_ms was taken for dead. It joins again
 *    by itself, with its subscriptions; what was under way to it has bounced (ERR_CLOSED), what it
 *    had sent last may be lost. The same when the switch was restarted. A switch that stood still
 *    itself takes nobody for dead: the endpoints join again, what was under way bounces as
 *    ERR_AGAIN, and their subscriptions hold all the while.
 * 4. A frame that bounces with ERR_CLOSED from a process that died may have been handled by it just
 *    before.
 * 5. Real loops only: on a virtual one time does not pass for the heartbeats, and an endpoint there
 *    would be taken for dead. The simulator uses bus_mem. */
#pragma once

#include "bus/bus.h"

struct bus_zmq;

/* What a process has of it: a ZeroMQ context. `directory` is that of the switch. ERR_LIMIT: path
 * too long; ERR_SYSTEM: no descriptors. */
MUST_USE enum err bus_zmq_new(const char *directory, struct bus_zmq **out_bus_zmq);
/* Every endpoint must be closed. Waits at most a second for what they sent last. NULL is fine. */
void bus_zmq_free(struct bus_zmq *bus_zmq);

/* An endpoint for this loop, opened on its thread or before it runs; waits for the switch at most
 * wait_ms. ERR_TIMEOUT: no switch answers (not there, or not for us: it takes only its own uid);
 * ERR_FULL: it has 1024 endpoints; ERR_SYSTEM: no descriptors. Close it on its thread too. */
MUST_USE enum err bus_zmq_open(struct bus_zmq *bus_zmq, struct loop *loop, uint32_t wait_ms,
                               struct bus **out_bus);
/* Waits until everything published here has been passed on or bounced by the switch, at most
 * dead_ms (ERR_TIMEOUT): before a process ends, and in tests. */
MUST_USE enum err bus_zmq_sync(struct bus *bus);
