/* bus_sim_impl - what bus_sim.c (who is there, who listens) and bus_sim_flight.c (frames on their
 * way) share. Nobody else includes it.
 *
 * A flight is one frame to one receiver, or back to its sender. It is in the agenda until it
 * arrives, then in its endpoint's `arrived` until the endpoint's loop handles it: a bell in the
 * loop's mailbox for each. A bell that finds nothing rings in vain. */
#pragma once

#include "base/map.h"
#include "bus/bus_transport.h"
#include "loop/mailbox.h"
#include "testing/sim/agenda.h"
#include "testing/sim/bus_sim.h"

enum {
    FLIGHTS_PAIRS_MAX = 1 << 20,
    PACKET_COST = 256, /* what surrounds a frame */
    REJOIN_US = 20000,
    NOTICE_FREEZE_US = 200000, /* the switch looks every fifth of the dead time */
    OVERTAKE_US = 200000,      /* how late a repeated or disordered frame may be */
    BOUNCES_MAX = 65536
};

struct packet {
    unsigned refs;
    struct endpoint *sender;
    struct bus_message message;
    size_t cost;
    char bytes[];
};

struct flight {
    struct happening happening;
    struct list link; /* in to->arrived */
    struct packet *packet;
    struct endpoint *to;
    uint64_t life;            /* of the receiver, when it was sent */
    uint64_t subscription_id; /* at the receiver */
    enum err bounce;          /* ERR_OK: on its way there */
};

enum turn { TURN_DEATH, TURN_JOINED };

/* Something happens to an endpoint itself, unless it has moved on since. */
struct change {
    struct happening happening;
    struct endpoint *endpoint;
    enum turn turn;
    uint64_t change_number;
};

struct endpoint {
    struct bus bus;
    struct list link; /* in bus_sim->endpoints; in ->graves once it was closed */
    struct bus_sim *bus_sim;
    char name[BUS_SIM_NAME_BYTES];
    uint64_t serial, life;
    bool is_cut, is_joined, is_frozen, is_closed, in_is_full, out_is_full;
    uint64_t change_number; /* of the change that counts */
    struct mailbox *mailbox;
    struct list arrived;
    struct list members; /* struct member.link */
    uint64_t last_id;
    size_t waiting_bytes, bounce_count;
    struct free_later free_later;
};

struct member { /* a subscription */
    struct bus_subscription base;
    struct list link;
    struct list in_all; /* in bus_sim->members, in the order of subscribing, while joined */
    struct endpoint *endpoint;
    uint64_t id;
    char subject[BUS_SUBJECT_MAX_BYTES], group[BUS_SUBJECT_MAX_BYTES];
    size_t subject_bytes, group_bytes;
};

struct bell {
    struct mail mail;
};

struct bus_sim {
    uint64_t now_us, random, last_serial;
    size_t peer_bytes_max;
    struct bus_sim_weather weather;
    struct agenda *agenda;
    struct list endpoints, graves, members;
    struct map *order; /* hash of (sender, subject, receiver) -> arrival of the last frame */
    bus_sim_watch_fn *watch;
    void *ctx;
};

/* --- bus_sim.c --- */

uint32_t bus_sim_below(struct bus_sim *bus_sim, uint32_t limit);
void bus_sim_see(struct bus_sim *bus_sim, enum bus_sim_what what, const struct packet *packet,
                 const char *to, enum err why);

/* --- bus_sim_flight.c --- */

struct packet *packet_new(struct endpoint *sender, const struct bus_message *message);
void packet_unref(struct packet *packet);
uint64_t flight_delay(struct bus_sim *bus_sim); /* as the weather is */
void flight_free(struct flight *flight);
/* A sender that was closed hears nothing. */
void flight_send_back(struct bus_sim *bus_sim, struct packet *packet, enum err why);
/* Or what becomes of it instead: full, lost, dropped; or twice. */
void flight_send_to(struct bus_sim *bus_sim, struct packet *packet, const struct member *member);
void flight_arrive(struct bus_sim *bus_sim, struct flight *flight);
/* What has arrived goes back, with ERR_CLOSED. Bounces are told to nobody else: they are kept for
 * an endpoint that goes on. */
void flights_return(struct endpoint *endpoint);
mailbox_fn endpoint_on_bell; /* ctx: the endpoint */
void endpoint_drop_bell(void *ctx, struct mail *mail);
