/* bus_unix - the bus between processes of one machine: endpoints that meet at a switch
 * (bus_switch.h) over a unix socket, on the loops themselves. What the contract of bus.h means
 * here:
 *
 * 1. bus_subscribe() waits until the switch has confirmed, at most its dead_ms: ERR_TIMEOUT after
 *    that. It is meant for starting up; what arrives meanwhile is kept for the loop. (Why it
 *    waits: docs/design/007-bus-zmq.md.)
 * 2. A frame leaves at the end of the turn of its endpoint's loop. ERR_FULL: too much of what was
 *    sent is not passed on or has come back and was not looked at (BUS_OUT_WINDOWS x
 *    peer_bytes_max), or there is no switch at the moment.
 * 3. An endpoint whose loop stood still for nearly dead_ms was taken for dead, or is about to be.
 *    It begins anew by itself, with its subscriptions; what was under way to it has bounced
 *    (ERR_CLOSED, or ERR_AGAIN if the switch had not given it up), what it had sent last may be
 *    lost. The same when the switch was restarted. A switch that stood still itself takes nobody
 *    for dead: what was under way is late, and nothing else.
 * 4. What was handled is acknowledged with whatever the endpoint sends next, before it: nobody
 *    hears of a frame's effect whose acknowledgement could still be lost. A frame that bounces
 *    with ERR_CLOSED from a process that died may have been handled by it if it said nothing
 *    since.
 * 5. Of what was handled up to BUS_LAZY_BYTES, or a quarter of the cap if that is less, may still
 *    count as waiting until the next beat (some dead_ms / 4) or the next thing it sends.
 * 6. Real loops only: on a virtual one time does not pass for the heartbeats, and an endpoint
 *    there would be taken for dead. The simulator uses bus_mem. */
#pragma once

#include "bus/bus.h"

struct bus_unix;

enum { BUS_LAZY_BYTES = 64 * 1024 };

/* What a process has of it: where the switch is. `directory` is that of the switch. ERR_LIMIT: path
 * too long. */
MUST_USE enum err bus_unix_new(const char *directory, struct bus_unix **out_bus_unix);
/* Every endpoint must be closed. NULL is fine. */
void bus_unix_free(struct bus_unix *bus_unix);

/* An endpoint for this loop, opened on its thread or before it runs; waits for the switch at most
 * wait_ms. ERR_TIMEOUT: no switch answers (not there, or not for us: it takes only its own uid);
 * ERR_FULL: it has 1024 endpoints; ERR_SYSTEM: no descriptors. Close it on its thread too: that
 * waits for what was sent last to leave, which takes a switch that runs no time, and at most a
 * second. */
MUST_USE enum err bus_unix_open(struct bus_unix *bus_unix, struct loop *loop, uint32_t wait_ms,
                                struct bus **out_bus);
/* Waits until everything published here has been passed on or bounced by the switch, at most
 * dead_ms (ERR_TIMEOUT): before a process ends, and in tests. Not from a callback of the bus. */
MUST_USE enum err bus_unix_sync(struct bus *bus);
