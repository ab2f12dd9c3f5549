/* bus_sim - a bus in one thread and in virtual time, whose network and processes go wrong on
 * demand. It keeps the contract of bus.h as bus_unix does, unless the weather says otherwise.
 *
 * 1. A frame takes a random time on its way. Frames of one sender on one subject to one receiver
 *    keep their order; all others may overtake each other.
 * 2. What is on its way to an endpoint, or arrived and was not handled, comes back when the
 * endpoint dies (ERR_CLOSED), when nobody subscribed (ERR_NOT_FOUND), or when more than
 * peer_bytes_max would wait (ERR_FULL).
 * 3. A killed endpoint is noticed a while later (BUS_SIM_NOTICE_US at most); until then frames to
 * it wait. Of what it had under way, the last part is lost.
 * 4. A frozen endpoint handles nothing. After BUS_SIM_DEAD_US it is taken for dead; once it goes on
 *    it joins again with its inbox and subscriptions, and can say nothing until it has.
 * 5. Everything random is drawn from the seed: the same calls give the same run.
 * Only drop, repeat and disorder of the weather break bus.h (rule 2 there). */
#pragma once

#include "bus/bus.h"

enum { BUS_SIM_DEAD_US = 1000000, BUS_SIM_NOTICE_US = 400000, BUS_SIM_NAME_BYTES = 16 };

struct bus_sim_weather {
    uint32_t delay_min_us, delay_max_us;
    uint32_t lose_per_1000; /* comes back with ERR_AGAIN */
    uint32_t drop_per_1000, repeat_per_1000, disorder_per_1000;
};

enum bus_sim_what {
    BUS_SIM_SENT,
    BUS_SIM_HANDLED, /* about to be given to the receiver */
    BUS_SIM_BOUNCED, /* about to be given back to the sender */
    BUS_SIM_DROPPED,
    BUS_SIM_REPEATED,
};

struct bus_sim_sight { /* of one frame; borrowed */
    enum bus_sim_what what;
    const char *from, *to; /* names of endpoints; to: "" while nobody has it */
    const struct bus_message *message;
    enum err why; /* of a bounce */
};
typedef void bus_sim_watch_fn(void *ctx, const struct bus_sim_sight *sight);

struct bus_sim;
/* Never NULL. watch sees every frame. */
struct bus_sim *bus_sim_new(uint64_t seed, uint64_t now_us, size_t peer_bytes_max,
                            bus_sim_watch_fn *watch, void *ctx);
/* Every endpoint must be closed. */
void bus_sim_free(struct bus_sim *bus_sim);
void bus_sim_set_weather(struct bus_sim *bus_sim, const struct bus_sim_weather *weather);

/* When something happens next; UINT64_MAX: nothing is under way. */
uint64_t bus_sim_next_us(const struct bus_sim *bus_sim);
/* Moves its time; what has arrived waits in the mailboxes of the loops. */
void bus_sim_run(struct bus_sim *bus_sim, uint64_t now_us);

/* An endpoint for this loop, subscribed and reachable at once. Never NULL. */
struct bus *bus_sim_open(struct bus_sim *bus_sim, struct loop *loop, const char *name);
/* Something waits for a turn of its loop. */
bool bus_sim_has_arrived(const struct bus *bus);
/* The process dies (rule 3). The endpoint is cut off: what is still published on it is lost,
 * nothing comes any more; close it when its owner has been taken down. */
void bus_sim_kill(struct bus *bus);
void bus_sim_freeze(struct bus *bus);
void bus_sim_thaw(struct bus *bus);
/* While set: frames to it bounce with ERR_FULL; what it publishes is refused with ERR_FULL. */
void bus_sim_set_full(struct bus *bus, bool in_is_full, bool out_is_full);
