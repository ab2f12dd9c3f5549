/* zmq_switch_impl - what the files of the switch share: zmq_switch.c (who is there, what they say),
 * zmq_switch_pass.c (what becomes of a frame). Nobody else includes it. */
#pragma once

#include "bus/zmq_switch.h"
#include "bus/zmq_switch_listen.h"
#include "bus/zmq_switch_peer.h"

#include <stdatomic.h>

enum { PART_ID, PART_ENVELOPE, PART_FRAME }; /* of a message as the ROUTER hands it over */

struct zmq_switch {
    struct loop *loop;
    void *zmq_context;
    struct zlink *link;
    char address[ZMQ_SWITCH_ADDRESS_BYTES];
    bool listens;
    size_t peer_bytes_max;
    uint64_t dead_us;
    uint32_t dead_ms;
    struct map *by_hash, *by_serial;      /* struct zpeer */
    struct list peers, lost, unreachable; /* struct zpeer.link */
    struct list owed;                     /* struct zpeer.owed_link */
    uint64_t last_serial;
    struct switch_routes *routes;
    struct deadline look;
    uint64_t looked_us, held_up_us; /* the last look; when it was seen last to be far overdue */
    atomic_size_t peer_count, waiting_count, delivered_count, bounced_count;
};

/* --- zmq_switch_pass.c --- */

/* Marks it, harmless twice; buried when the message in hand is done. */
void zswitch_lose(struct zmq_switch *self, struct zpeer *peer);
/* ERR_CLOSED: it is lost, or unreachable, and may have been found to be so now. */
MUST_USE enum err zswitch_send(struct zmq_switch *self, struct zpeer *peer,
                               const struct envelope *envelope, zmq_msg_t *frame);
/* Tells it, and loses it. */
void zswitch_cut_off(struct zmq_switch *self, struct zpeer *peer);
/* The first that waits for the peer: back to its sender, or done with. */
void zswitch_bounce_waiting(struct zmq_switch *self, struct zwaiting *waiting, enum err why);
void zswitch_pop(struct zmq_switch *self, struct zpeer *peer);
/* Also from one who has left (sender NULL): a process that ends may be found gone before all that
 * it sent was read. */
void zswitch_publish(struct zmq_switch *self, struct zpeer *sender, const struct envelope *envelope,
                     struct zparts *parts);
/* Once for all that senders published in this batch. */
void zswitch_tell_settled(struct zmq_switch *self);
/* ERR_PROTOCOL: a number that was never given. */
MUST_USE enum err zswitch_acknowledge(struct zmq_switch *self, struct zpeer *peer, uint64_t number);
MUST_USE enum err zswitch_reject(struct zmq_switch *self, struct zpeer *peer, uint64_t number);
