/* bus_mem - endpoints inside one process. Routes say who gets a message, peers take it. */
#include "bus/bus_mem.h"

#include "base/id.h"
#include "base/map.h"
#include "base/mem.h"
#include "bus/bus_mem_peer.h"
#include "bus/bus_mem_routes.h"
#include "bus/bus_transport.h"

#include <stdio.h>

enum { SUBSCRIPTIONS_MAX = 65536 }; /* of one endpoint */

struct bus_mem {
    struct id generation;
    size_t peer_bytes_max;
    struct routes *routes;
    atomic_uint endpoints_opened, endpoints_open;
};

struct endpoint {
    struct bus bus;
    struct bus_mem *bus_mem;
    struct peer *peer;
    struct map *subscriptions; /* id -> struct mem_subscription */
    uint64_t last_id;
    struct free_later free_later;
};

struct mem_subscription {
    struct bus_subscription base;
    struct listener listener;
};

struct bus_mem *bus_mem_new(size_t peer_bytes_max)
{
    ASSERT(peer_bytes_max > PACKET_OVERHEAD_MAX);
    struct bus_mem *bus_mem = mem_alloc(sizeof(*bus_mem));
    bus_mem->generation = id_new();
    bus_mem->peer_bytes_max = peer_bytes_max;
    bus_mem->routes = routes_new();
    return bus_mem;
}

void bus_mem_free(struct bus_mem *bus_mem)
{
    if (!bus_mem)
        return;
    ASSERT_MSG(atomic_load(&bus_mem->endpoints_open) == 0, "%u endpoints are still open",
               atomic_load(&bus_mem->endpoints_open));
    routes_free(bus_mem->routes);
    mem_free(bus_mem);
}

static struct endpoint *endpoint_of(struct bus *bus)
{
    return CONTAINER_OF(bus, struct endpoint, bus);
}

/* --- sending --- */

/* Round robin, but a member that is full or gone is passed over while another has room. */
static enum err deliver_to_one(const struct route *route, struct choice *choice,
                               struct packet *packet)
{
    size_t start = atomic_fetch_add(&choice->next, 1);
    enum err err = ERR_NOT_FOUND;
    for (size_t i = 0; i < choice->target_count; i++) {
        size_t member = (start + i) % choice->target_count;
        const struct target *target = &route->targets[choice->first_target + member];
        err = peer_deliver(target->peer, packet, target->subscription_id);
        if (err == ERR_OK)
            break;
    }
    return err;
}

/* ERR_FULL: nobody took it, and the sender has no room to be told so. A message that somebody took
 * bounces for the others even then: there are no more of those than the takers have room for. */
static enum err deliver(const struct endpoint *sender, struct route *route, struct packet *packet)
{
    bool has_room = !peer_bounces_are_full(sender->peer), taken = false;
    size_t untold = 0;
    enum err why = ERR_OK;
    for (size_t i = 0; i < route->choice_count; i++) {
        enum err err = deliver_to_one(route, &route->choices[i], packet);
        if (err == ERR_OK) {
            taken = true;
        } else if (has_room) {
            packet_bounce(packet, err);
        } else {
            untold++;
            why = err;
        }
    }
    if (untold > 0 && !taken)
        return ERR_FULL;
    while (untold-- > 0)
        packet_bounce(packet, why);
    return ERR_OK;
}

static enum err bounce_unheard(const struct endpoint *sender, struct packet *packet)
{
    if (peer_bounces_are_full(sender->peer))
        return ERR_FULL;
    packet_bounce(packet, ERR_NOT_FOUND);
    return ERR_OK;
}

static enum err publish(struct bus *bus, struct slice subject, struct slice reply,
                        struct slice frame)
{
    struct endpoint *endpoint = endpoint_of(bus);
    struct packet *packet = packet_new(endpoint->peer, subject, reply, frame);
    if (!packet)
        return ERR_LIMIT;
    struct route *route = routes_find(endpoint->bus_mem->routes, subject);
    enum err err = route ? deliver(endpoint, route, packet) : bounce_unheard(endpoint, packet);
    route_unref(route);
    packet_unref(packet);
    return err;
}

/* --- receiving --- */

/* The callbacks may unsubscribe, or close the endpoint: its memory stays until the turn ends. */
static void on_mail(void *ctx, struct mail *mail)
{
    struct endpoint *endpoint = ctx;
    struct delivery *delivery = CONTAINER_OF(mail, struct delivery, mail);
    struct packet *packet = delivery->packet;
    struct mem_subscription *subscription =
        map_get(endpoint->subscriptions, delivery->subscription_id);
    if (delivery->bounce != ERR_OK)
        bus_bounce(&endpoint->bus, &packet->message, delivery->bounce);
    else if (subscription)
        bus_deliver(&subscription->base, &packet->message);
    else
        packet_bounce(packet, ERR_NOT_FOUND); /* unsubscribed while it was on its way */
    delivery_finish(endpoint->peer, delivery);
}

static enum err subscribe(struct bus *bus, struct slice subject, struct slice group,
                          struct bus_subscription **out_subscription)
{
    struct endpoint *endpoint = endpoint_of(bus);
    struct mem_subscription *subscription = mem_alloc(sizeof(*subscription));
    struct listener *listener = &subscription->listener;
    listener->target = (struct target){endpoint->peer, ++endpoint->last_id};
    listener->group_bytes = group.len;
    if (group.len)
        memcpy(listener->group, group.data, group.len);

    uint64_t id = listener->target.subscription_id;
    enum err err = map_put(endpoint->subscriptions, id, subscription);
    if (err == ERR_OK) {
        err = routes_add(endpoint->bus_mem->routes, subject, listener);
        if (err != ERR_OK)
            (void)map_remove(endpoint->subscriptions, id); /* it is the one just put */
    }
    if (err != ERR_OK) {
        mem_free(subscription);
        return err;
    }
    *out_subscription = &subscription->base;
    return ERR_OK;
}

static void unsubscribe(struct bus_subscription *base)
{
    struct mem_subscription *subscription = CONTAINER_OF(base, struct mem_subscription, base);
    struct endpoint *endpoint = endpoint_of(base->bus);
    routes_remove(endpoint->bus_mem->routes, &subscription->listener);
    (void)map_remove(endpoint->subscriptions, subscription->listener.target.subscription_id);
    mem_free(subscription);
}

/* --- life --- */

static void release(void *pointer)
{
    struct endpoint *endpoint = pointer;
    peer_unref(endpoint->peer);
    map_free(endpoint->subscriptions);
    mem_free(endpoint);
}

static void close_endpoint(struct bus *bus)
{
    struct endpoint *endpoint = endpoint_of(bus);
    peer_stop(endpoint->peer);
    atomic_fetch_sub(&endpoint->bus_mem->endpoints_open, 1);
    loop_free_later(bus->loop, &endpoint->free_later, release, endpoint);
}

static const struct bus_ops ops = {publish, subscribe, unsubscribe, close_endpoint};

struct bus *bus_mem_open(struct bus_mem *bus_mem, struct loop *loop)
{
    struct endpoint *endpoint = mem_alloc(sizeof(*endpoint));
    char generation[ID_TEXT_BYTES + 1], inbox[ID_TEXT_BYTES + 32];
    id_format(bus_mem->generation, generation);
    unsigned number = atomic_fetch_add(&bus_mem->endpoints_opened, 1) + 1;
    snprintf(inbox, sizeof(inbox), "inbox.%s.%u", generation, number);
    bus_init(&endpoint->bus, &ops, loop, slice_str(inbox),
             bus_mem->peer_bytes_max - PACKET_OVERHEAD_MAX);
    endpoint->bus_mem = bus_mem;
    endpoint->peer = peer_new(loop, bus_mem->peer_bytes_max, on_mail, endpoint);
    endpoint->subscriptions = map_new(SUBSCRIPTIONS_MAX);
    atomic_fetch_add(&bus_mem->endpoints_open, 1);
    return &endpoint->bus;
}
