/* bus_world - the transports, as the conformance test needs them. */
#include "bus/bus_world.h"

#include "base/mem.h"
#include "bus/bus_mem.h"
#include "bus/bus_unix.h"
#include "bus/bus_unix_rig.h"

/* --- bus_mem: virtual loops, one thread --- */

enum { ENDPOINTS = 3 };

struct mem_medium {
    struct bus_mem *bus_mem;
    struct loop *loops[ENDPOINTS];
};

static void mem_open(struct world *world)
{
    struct mem_medium *medium = mem_alloc(sizeof(*medium));
    struct bus **endpoints[ENDPOINTS] = {&world->a, &world->b, &world->c};
    medium->bus_mem = bus_mem_new(WORLD_PEER_BYTES_MAX);
    for (int i = 0; i < ENDPOINTS; i++) {
        medium->loops[i] = loop_new_virtual(1000);
        *endpoints[i] = bus_mem_open(medium->bus_mem, medium->loops[i]);
    }
    world->loop_of_a = medium->loops[0];
    world->medium = medium;
}

static void mem_close(struct world *world)
{
    struct mem_medium *medium = world->medium;
    for (int i = 0; i < ENDPOINTS; i++)
        loop_free(medium->loops[i]);
    bus_mem_free(medium->bus_mem);
    mem_free(medium);
}

static void mem_settle(struct world *world)
{
    struct mem_medium *medium = world->medium;
    for (bool any = true; any;) {
        any = false;
        for (int i = 0; i < ENDPOINTS; i++)
            any |= loop_turn(medium->loops[i], false);
    }
}

static void mem_arrive(struct world *world)
{
    (void)world; /* publishing is arriving */
}

/* --- bus_unix: real loops on this thread, the switch on its own --- */

enum { UNIX_DEAD_MS = 60 * 1000 }; /* nobody dies here, however busy the machine is */

struct unix_medium {
    struct bus_rig rig;
    struct bus_unix *bus_unix;
    struct loop *loops[ENDPOINTS];
};

static void unix_open(struct world *world)
{
    struct unix_medium *medium = mem_alloc(sizeof(*medium));
    struct bus **endpoints[ENDPOINTS] = {&world->a, &world->b, &world->c};
    bus_rig_start(&medium->rig, WORLD_PEER_BYTES_MAX, UNIX_DEAD_MS);
    ASSERT(bus_unix_new(medium->rig.directory, &medium->bus_unix) == ERR_OK);
    for (int i = 0; i < ENDPOINTS; i++) {
        medium->loops[i] = loop_new();
        enum err err =
            bus_unix_open(medium->bus_unix, medium->loops[i], UNIX_DEAD_MS, endpoints[i]);
        ASSERT_MSG(err == ERR_OK, "%s", err_name(err));
    }
    world->loop_of_a = medium->loops[0];
    world->medium = medium;
}

static void unix_close(struct world *world)
{
    struct unix_medium *medium = world->medium;
    for (int i = 0; i < ENDPOINTS; i++)
        loop_free(medium->loops[i]);
    bus_unix_free(medium->bus_unix);
    bus_rig_stop(&medium->rig);
    mem_free(medium);
}

/* Returns how many endpoints are open. */
static size_t sync_all(struct world *world)
{
    struct bus *endpoints[ENDPOINTS] = {world->a, world->b, world->c};
    size_t open_count = 0;
    for (int i = 0; i < ENDPOINTS; i++) {
        if (!endpoints[i])
            continue;
        ASSERT(bus_unix_sync(endpoints[i]) == ERR_OK);
        open_count++;
    }
    return open_count;
}

/* A round in which the switch passed nothing on, and all that it had is acknowledged. */
static void unix_settle(struct world *world)
{
    struct unix_medium *medium = world->medium;
    for (size_t passed = SIZE_MAX;;) {
        (void)sync_all(world); /* the second one counts */
        for (int i = 0; i < ENDPOINTS; i++)
            (void)loop_turn(medium->loops[i], false); /* the counts tell whether it did anything */
        size_t open_count = sync_all(world);
        struct bus_switch_counts counts = bus_switch_count(medium->rig.bus_switch);
        if (counts.waiting == 0 && counts.peers == open_count &&
            counts.delivered + counts.bounced == passed)
            return;
        passed = counts.delivered + counts.bounced;
    }
}

static void unix_arrive(struct world *world)
{
    (void)sync_all(world); /* of a is enough */
}

const struct transport transports[] = {
    {"mem", mem_open, mem_close, mem_settle, mem_arrive},
    {"unix", unix_open, unix_close, unix_settle, unix_arrive},
};
const size_t transport_count = ARRAY_COUNT(transports);
