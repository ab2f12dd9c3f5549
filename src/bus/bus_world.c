/* bus_world - the transports, as the conformance test needs them. */
#include "bus/bus_world.h"

#include "base/mem.h"
#include "bus/bus_mem.h"

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

const struct transport transports[] = {{"mem", mem_open, mem_close, mem_settle}};
const size_t transport_count = ARRAY_COUNT(transports);
