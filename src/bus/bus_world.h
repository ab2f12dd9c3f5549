/* bus_world - the transports that bus_conformance_test.c runs against. A transport joins by a line
 * in bus_world.c: how to open three endpoints, and how to let everything under way arrive. */
#pragma once

#include "bus/bus.h"

enum { WORLD_PEER_BYTES_MAX = 64 * 1024 }; /* what may wait for one endpoint */

/* Three endpoints, each on a loop of its own: a sends, b and c mostly receive. A test may close
 * them. */
struct world {
    struct bus *a, *b, *c;
    struct loop *loop_of_a;
    void *medium; /* the transport's */
};

struct transport {
    const char *name;
    void (*open)(struct world *world);
    void (*close)(struct world *world);  /* after the endpoints are closed */
    void (*settle)(struct world *world); /* until nothing is under way any more */
    void (*arrive)(struct world *world); /* what a sent waits at its receivers; no loop turns */
};
extern const struct transport transports[];
extern const size_t transport_count;
