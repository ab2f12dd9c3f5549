/* bus_switch_impl - what the files of the switch share: bus_switch.c (who is there, what they say),
 * bus_switch_pass.c (what becomes of a frame). Nobody else includes it. */
#pragma once

#include "bus/bus_switch.h"
#include "bus/bus_switch_peer.h"

#include <stdatomic.h>
#include <uv.h>

struct bus_switch {
    struct loop *loop;
    struct sockaddr_un address;
    int door_fd; /* -1: not open (yet) */
    uv_poll_t *door;
    uid_t uid;       /* ours when it was opened: who may come in */
    bool door_waits; /* no descriptor is left: until the next look */
    size_t peer_bytes_max;
    uint64_t dead_us;
    uint32_t dead_ms;
    struct map *by_serial;        /* struct switch_peer: all connections */
    struct list peers, strangers; /* struct switch_peer.node */
    size_t joined_count;
    uint64_t last_serial;
    struct switch_routes *routes;
    struct deadline look;
    uint64_t looked_us; /* the last look */
    atomic_size_t peer_count, waiting_count, delivered_count, bounced_count;
};

/* --- bus_switch_pass.c --- */

/* The first that waits for the peer: back to its sender, or done with. */
void switch_bounce_waiting(struct bus_switch *self, struct waiting *waiting, enum err why);
void switch_pop(struct bus_switch *self, struct switch_peer *peer);
/* ERR_LIMIT: more than its window (rule 2), or no memory. */
MUST_USE enum err switch_publish(struct bus_switch *self, struct switch_peer *sender,
                                 const struct framed *framed);
/* What of the sender's was settled and not told yet, if anything. */
void switch_tell_settled(struct switch_peer *peer);
/* ERR_PROTOCOL: a number that was never sent. */
MUST_USE enum err switch_acknowledge(struct bus_switch *self, struct switch_peer *peer,
                                     uint64_t number);
MUST_USE enum err switch_reject(struct bus_switch *self, struct switch_peer *peer, uint64_t number);
