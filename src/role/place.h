/* place - where a role's objects are opened: how it gets on the bus, by which configuration, and
 * whether it has the process to itself. The same role runs as a process (over bus_unix) and as a
 * part of one (over bus_mem): all that differs is its place.
 *
 * A node is what each of its loops then has: an endpoint, and the metrics that are counted on it.
 */
#pragma once

#include "bus/bus.h"
#include "config/config.h"
#include "metrics/feed.h"

struct role_place {
    const struct config *config; /* borrowed for the role's life */
    enum err (*open_bus)(void *ctx, struct loop *loop, struct bus **out_bus,
                         struct err_note *out_note);
    void *ctx;
    bool has_process; /* counts the memory and descriptors of the process as its own */
};

struct role_node {
    struct bus *bus;
    struct metrics *metrics;
    struct metrics_feed *feed;
    char name[64]; /* unique: role and endpoint */
};
/* `role`: "gateway", "manager", "worker". is_first: of the role's loops; it speaks for the process.
 * Errors of open_bus, with note. */
MUST_USE enum err role_node_open(const struct role_place *place, struct loop *loop,
                                 const char *role, bool is_first, struct role_node *out_node,
                                 struct err_note *out_note);
/* Once what used it is closed. Harmless on a node that never opened (all zero). */
void role_node_close(struct role_node *node);
