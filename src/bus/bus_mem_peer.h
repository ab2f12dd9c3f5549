/* bus_mem_peer - what other threads may hold of an endpoint of bus_mem: its mailbox, its cap, and
 * the packets on their way to it. It outlives the endpoint for as long as anybody refers to it. Any
 * thread, unless said. */
#pragma once

#include "bus/bus.h"
#include "loop/mailbox.h"

#include <stdatomic.h>

/* One message, copied once, however many receivers it has. */
struct packet {
    atomic_uint refs;
    struct peer *sender; /* a reference: where it bounces to */
    struct bus_message message;
    size_t cost; /* what it counts against a receiver's cap, in bytes */
    char bytes[];
};

struct delivery {
    struct mail mail;
    struct packet *packet;
    uint64_t subscription_id;
    enum err bounce; /* ERR_OK: on its way; else it comes back, and why */
};

/* The most that a packet costs besides its frame. */
enum {
    PACKET_OVERHEAD_MAX =
        sizeof(struct packet) + sizeof(struct delivery) + 2 * BUS_SUBJECT_MAX_BYTES
};

struct peer *peer_new(struct loop *loop, size_t max_bytes, mailbox_fn *on_mail, void *ctx);
struct peer *peer_ref(struct peer *peer);
void peer_unref(struct peer *peer); /* NULL is fine */
/* Its loop's thread: from now on ERR_CLOSED. What waits bounces to its senders. */
void peer_stop(struct peer *peer);

/* NULL: no memory (the sizes are a sender's). */
struct packet *packet_new(struct peer *sender, struct slice subject, struct slice reply,
                          struct slice frame);
void packet_unref(struct packet *packet);

/* ERR_FULL: it would cross the peer's cap; ERR_CLOSED. Nothing was taken. */
MUST_USE enum err peer_deliver(struct peer *peer, struct packet *packet, uint64_t subscription_id);
/* Sends it back to its sender, unless that is closed. It always has room: what can come back is
 * bounded by what receivers hold, and publish() asks peer_bounces_are_full() before it makes more.
 */
void packet_bounce(struct packet *packet, enum err why);
bool peer_bounces_are_full(const struct peer *peer);

/* The mailbox function's part: the mail it got, handled; frees it and gives back its room. */
void delivery_finish(struct peer *peer, struct delivery *delivery);
