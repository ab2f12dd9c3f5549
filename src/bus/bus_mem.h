/* bus_mem - the bus inside one process: for --solo, tests and the simulator. Frames are copied
 * once, into the receiver's mailbox. Its subject table is the one thing here that several threads
 * share, behind one lock held for the length of a lookup (why not one table per thread: README rule
 * 4). */
#pragma once

#include "bus/bus.h"

struct bus_mem;

/* peer_bytes_max: cap on what waits for one endpoint (spec: 8 MiB; at least 1 KiB, for what
 * surrounds a frame counts too). Never NULL. */
struct bus_mem *bus_mem_new(size_t peer_bytes_max);
/* Every endpoint must be closed. */
void bus_mem_free(struct bus_mem *bus_mem);
/* An endpoint for this loop, opened on its thread or before it runs. Never NULL. */
struct bus *bus_mem_open(struct bus_mem *bus_mem, struct loop *loop);
