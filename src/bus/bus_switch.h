/* bus_switch - where the endpoints of bus_unix meet: a listening socket and its connections, on a
 * loop of the host. It keeps the subscriptions, passes frames on, and knows what each peer has not
 * handled yet.
 *
 * 1. What waits for a peer (passed on and not acknowledged) never exceeds peer_bytes_max; what
 *    would cross it bounces. It is kept until the acknowledgement, sent from where it is kept, and
 *    bounces when the peer dies.
 * 2. A sender may have BUS_OUT_WINDOWS x peer_bytes_max unsettled; one that has more than twice as
 *    much does not keep to the protocol, as one that sends what does not decode, or does not read
 *    the answers to what it asks. It is cut off: its connection ends.
 * 3. A peer is dead when its connection ends, behind what it sent before that, or when nothing
 *    came from it for dead_ms. If it lives after all it joins again.
 * 4. A switch that was held up itself takes nobody for dead on account of that time. */
#pragma once

#include "bus/bus.h"

struct bus_switch;

struct bus_switch_config {
    const char *directory; /* for the socket "bus"; ours, mode 0700 */
    size_t peer_bytes_max; /* spec: 8 MiB; at least 1 KiB */
    uint32_t dead_ms;      /* spec: 1000; peers are looked at four times or so in it */
};

/* Listens on the loop. Errors, with a sentence: ERR_REFUSED (the folder is not a directory, not
 * ours, or open to others; a switch answers there), ERR_LIMIT (path too long for a socket),
 * ERR_SYSTEM. */
MUST_USE enum err bus_switch_new(struct loop *loop, const struct bus_switch_config *config,
                                 struct err_note *out_note, struct bus_switch **out_switch);
/* The loop's thread, not from its callbacks. Its peers notice at once. NULL inside is fine. */
void bus_switch_free(struct bus_switch **bus_switch);

struct bus_switch_counts {
    size_t peers;     /* joined now */
    size_t waiting;   /* deliveries and bounces passed on, not acknowledged yet */
    size_t delivered; /* passed on, ever */
    size_t bounced;   /* ever */
};
/* Any thread. Each is exact; they are read one after the other. */
struct bus_switch_counts bus_switch_count(const struct bus_switch *bus_switch);
