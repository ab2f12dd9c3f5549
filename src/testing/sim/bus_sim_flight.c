/* bus_sim_flight - frames on their way through virtual time. See bus_sim_impl.h. */
#include "testing/sim/bus_sim_impl.h"

#include "base/mem.h"

static bool happens(struct bus_sim *bus_sim, uint32_t per_1000)
{
    return per_1000 > 0 && bus_sim_below(bus_sim, 1000) < per_1000;
}

/* --- packets and flights --- */

static struct slice place(char **at, struct slice source)
{
    struct slice placed = slice_of(*at, source.len);
    if (source.len)
        memcpy(*at, source.data, source.len);
    *at += source.len;
    return placed;
}

struct packet *packet_new(struct endpoint *sender, const struct bus_message *message)
{
    size_t bytes = message->subject.len + message->reply.len + message->frame.len;
    struct packet *packet = mem_alloc(sizeof(*packet) + bytes);
    packet->refs = 1;
    packet->sender = sender;
    packet->cost = bytes + PACKET_COST;
    char *at = packet->bytes;
    packet->message.subject = place(&at, message->subject);
    packet->message.reply = place(&at, message->reply);
    packet->message.frame = place(&at, message->frame);
    return packet;
}

void packet_unref(struct packet *packet)
{
    if (--packet->refs == 0)
        mem_free(packet);
}

void flight_free(struct flight *flight)
{
    struct endpoint *to = flight->to;
    if (flight->bounce != ERR_OK)
        to->bounce_count--;
    else
        to->waiting_bytes -= flight->packet->cost;
    list_remove(&flight->link);
    packet_unref(flight->packet);
    mem_free(flight);
}

/* --- on the way --- */

uint64_t flight_delay(struct bus_sim *bus_sim)
{
    const struct bus_sim_weather *weather = &bus_sim->weather;
    uint32_t spread = weather->delay_max_us - weather->delay_min_us;
    return weather->delay_min_us + (spread ? bus_sim_below(bus_sim, spread + 1) : 0);
}

static uint64_t order_key(const struct flight *flight)
{
    uint64_t hash = flight->packet->sender->serial * UINT64_C(0x9e3779b97f4a7c15) ^
                    (flight->to->serial << 32) ^ (flight->bounce != ERR_OK);
    struct slice subject = flight->packet->message.subject;
    for (size_t i = 0; i < subject.len; i++)
        hash = (hash ^ (uint8_t)subject.data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Not before what the same sender sent there on the same subject. */
static uint64_t in_order(struct bus_sim *bus_sim, const struct flight *flight, uint64_t at_us)
{
    uint64_t key = order_key(flight);
    uint64_t last_us = (uint64_t)(uintptr_t)map_remove(bus_sim->order, key);
    if (at_us < last_us)
        at_us = last_us;
    ASSERT(map_put(bus_sim->order, key, (void *)(uintptr_t)at_us) == ERR_OK);
    return at_us;
}

static void take_off(struct bus_sim *bus_sim, struct packet *packet, struct endpoint *to,
                     uint64_t subscription_id, enum err bounce, bool is_repeated)
{
    struct flight *flight = mem_alloc(sizeof(*flight));
    *flight = (struct flight){.packet = packet,
                              .to = to,
                              .life = to->life,
                              .subscription_id = subscription_id,
                              .bounce = bounce};
    list_init(&flight->link);
    packet->refs++;
    if (bounce != ERR_OK)
        to->bounce_count++;
    else
        to->waiting_bytes += packet->cost;
    uint64_t at_us = bus_sim->now_us + flight_delay(bus_sim);
    if (is_repeated || happens(bus_sim, bus_sim->weather.disorder_per_1000))
        at_us += bus_sim_below(bus_sim, OVERTAKE_US);
    else
        at_us = in_order(bus_sim, flight, at_us);
    flight->happening.kind = HAPPENING_FLIGHT;
    agenda_put(bus_sim->agenda, &flight->happening, at_us);
}

/* A sender that was closed hears nothing. */
void flight_send_back(struct bus_sim *bus_sim, struct packet *packet, enum err why)
{
    struct endpoint *sender = packet->sender;
    if (!sender->is_closed && !sender->is_cut)
        take_off(bus_sim, packet, sender, 0, why, false);
}

void flight_send_to(struct bus_sim *bus_sim, struct packet *packet, const struct member *member)
{
    struct endpoint *to = member->endpoint;
    if (to->in_is_full || to->waiting_bytes + packet->cost > bus_sim->peer_bytes_max) {
        flight_send_back(bus_sim, packet, ERR_FULL);
        return;
    }
    if (happens(bus_sim, bus_sim->weather.lose_per_1000)) {
        flight_send_back(bus_sim, packet, ERR_AGAIN);
        return;
    }
    if (happens(bus_sim, bus_sim->weather.drop_per_1000)) {
        bus_sim_see(bus_sim, BUS_SIM_DROPPED, packet, to->name, ERR_OK);
        return;
    }
    take_off(bus_sim, packet, to, member->id, ERR_OK, false);
    if (happens(bus_sim, bus_sim->weather.repeat_per_1000)) {
        bus_sim_see(bus_sim, BUS_SIM_REPEATED, packet, to->name, ERR_OK);
        take_off(bus_sim, packet, to, member->id, ERR_OK, true);
    }
}

/* --- arriving --- */

static void ring(struct endpoint *endpoint)
{
    struct bell *bell = mem_alloc(sizeof(*bell));
    struct mail *mail = &bell->mail;
    ASSERT(mailbox_post(endpoint->mailbox, &mail) == ERR_OK); /* it has no bound of its own */
}

void flight_arrive(struct bus_sim *bus_sim, struct flight *flight)
{
    struct endpoint *to = flight->to;
    bool is_lost = to->is_closed || (flight->bounce == ERR_OK && flight->life != to->life);
    if (is_lost && flight->bounce == ERR_OK)
        flight_send_back(bus_sim, flight->packet, ERR_CLOSED);
    if (is_lost) {
        flight_free(flight);
        return;
    }
    list_push_back(&to->arrived, &flight->link);
    ring(to);
}

static struct member *find_member(const struct endpoint *endpoint, uint64_t id)
{
    LIST_FOREACH (link, &endpoint->members) {
        struct member *member = CONTAINER_OF(link, struct member, link);
        if (member->id == id)
            return member;
    }
    return NULL;
}

/* The callbacks may unsubscribe, or close the endpoint: its memory stays until the turn ends. */
static void handle(struct endpoint *endpoint, struct flight *flight)
{
    struct bus_sim *bus_sim = endpoint->bus_sim;
    struct packet *packet = flight->packet;
    struct member *member = find_member(endpoint, flight->subscription_id);
    enum err bounce = flight->bounce;
    packet->refs++;
    flight_free(flight);
    if (bounce != ERR_OK) {
        bus_sim_see(bus_sim, BUS_SIM_BOUNCED, packet, endpoint->name, bounce);
        bus_bounce(&endpoint->bus, &packet->message, bounce);
    } else if (member) {
        bus_sim_see(bus_sim, BUS_SIM_HANDLED, packet, endpoint->name, ERR_OK);
        bus_deliver(&member->base, &packet->message);
    } else {
        flight_send_back(bus_sim, packet, ERR_NOT_FOUND); /* unsubscribed while it was on its way */
    }
    packet_unref(packet);
}

void endpoint_on_bell(void *ctx, struct mail *mail)
{
    struct endpoint *endpoint = ctx;
    mem_free(CONTAINER_OF(mail, struct bell, mail));
    if (endpoint->is_cut || list_is_empty(&endpoint->arrived))
        return;
    handle(endpoint, CONTAINER_OF(endpoint->arrived.next, struct flight, link));
}

void flights_return(struct endpoint *endpoint)
{
    LIST_FOREACH_SAFE (link, &endpoint->arrived) {
        struct flight *flight = CONTAINER_OF(link, struct flight, link);
        bool is_over = endpoint->is_closed || endpoint->is_cut;
        if (flight->bounce == ERR_OK)
            flight_send_back(endpoint->bus_sim, flight->packet, ERR_CLOSED);
        if (flight->bounce == ERR_OK || is_over)
            flight_free(flight);
    }
}

void endpoint_drop_bell(void *ctx, struct mail *mail)
{
    (void)ctx;
    mem_free(CONTAINER_OF(mail, struct bell, mail));
}
