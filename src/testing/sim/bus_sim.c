/* bus_sim - who is there, who listens, and what becomes of them. See bus_sim.h. */
#include "testing/sim/bus_sim_impl.h"

#include "base/mem.h"
#include "testing/test.h"

#include <stdio.h>

static struct endpoint *endpoint_of(struct bus *bus)
{
    return CONTAINER_OF(bus, struct endpoint, bus);
}

uint32_t bus_sim_below(struct bus_sim *bus_sim, uint32_t limit)
{
    return (uint32_t)(test_random(&bus_sim->random) % limit);
}

void bus_sim_see(struct bus_sim *bus_sim, enum bus_sim_what what, const struct packet *packet,
                 const char *to, enum err why)
{
    struct bus_sim_sight sight = {what, packet->sender->name, to, &packet->message, why};
    bus_sim->watch(bus_sim->ctx, &sight);
}

/* --- who gets it --- */

static bool listens(const struct member *member, struct slice subject)
{
    return slice_eq(slice_of(member->subject, member->subject_bytes), subject);
}

static struct slice group_of(const struct member *member)
{
    return slice_of(member->group, member->group_bytes);
}

static bool has_room(const struct bus_sim *bus_sim, const struct member *member, size_t cost)
{
    const struct endpoint *endpoint = member->endpoint;
    return !endpoint->in_is_full && endpoint->waiting_bytes + cost <= bus_sim->peer_bytes_max;
}

/* One of the group that `first` is of: any with room, else any. */
static struct member *choose(struct bus_sim *bus_sim, struct member *first, struct slice subject,
                             size_t cost)
{
    struct member *chosen = first;
    uint32_t seen = 0;
    LIST_FOREACH (link, &bus_sim->members) {
        struct member *member = CONTAINER_OF(link, struct member, in_all);
        if (listens(member, subject) && slice_eq(group_of(member), group_of(first)) &&
            has_room(bus_sim, member, cost) && bus_sim_below(bus_sim, ++seen) == 0)
            chosen = member;
    }
    return chosen;
}

static bool is_first_of_group(const struct bus_sim *bus_sim, const struct member *member,
                              struct slice subject)
{
    LIST_FOREACH (link, &bus_sim->members) {
        const struct member *other = CONTAINER_OF(link, struct member, in_all);
        if (other == member)
            return true;
        if (listens(other, subject) && slice_eq(group_of(other), group_of(member)))
            return false;
    }
    return true;
}

static void route(struct bus_sim *bus_sim, struct packet *packet)
{
    struct slice subject = packet->message.subject;
    bool is_heard = false;
    LIST_FOREACH (link, &bus_sim->members) {
        struct member *member = CONTAINER_OF(link, struct member, in_all);
        if (!listens(member, subject))
            continue;
        is_heard = true;
        if (member->group_bytes == 0)
            flight_send_to(bus_sim, packet, member);
        else if (is_first_of_group(bus_sim, member, subject))
            flight_send_to(bus_sim, packet, choose(bus_sim, member, subject, packet->cost));
    }
    if (!is_heard)
        flight_send_back(bus_sim, packet, ERR_NOT_FOUND);
}

static enum err publish(struct bus *bus, struct slice subject, struct slice reply,
                        struct slice frame)
{
    struct endpoint *endpoint = endpoint_of(bus);
    struct bus_sim *bus_sim = endpoint->bus_sim;
    struct bus_message message = {subject, reply, frame};
    if (endpoint->is_cut)
        return ERR_OK; /* said by a dead process */
    if (!endpoint->is_joined || endpoint->out_is_full || endpoint->bounce_count >= BOUNCES_MAX)
        return ERR_FULL;
    struct packet *packet = packet_new(endpoint, &message);
    bus_sim_see(bus_sim, BUS_SIM_SENT, packet, "", ERR_OK);
    route(bus_sim, packet);
    packet_unref(packet);
    return ERR_OK;
}

/* --- subscriptions --- */

static enum err subscribe(struct bus *bus, struct slice subject, struct slice group,
                          struct bus_subscription **out_subscription)
{
    struct endpoint *endpoint = endpoint_of(bus);
    if (!endpoint->is_joined)
        return ERR_TIMEOUT;
    struct member *member = mem_alloc(sizeof(*member));
    member->endpoint = endpoint;
    member->id = ++endpoint->last_id;
    memcpy(member->subject, subject.data, subject.len);
    if (group.len)
        memcpy(member->group, group.data, group.len);
    member->subject_bytes = subject.len;
    member->group_bytes = group.len;
    list_push_back(&endpoint->members, &member->link);
    list_push_back(&endpoint->bus_sim->members, &member->in_all);
    *out_subscription = &member->base;
    return ERR_OK;
}

static void member_free(struct member *member)
{
    list_remove(&member->link);
    list_remove(&member->in_all);
    mem_free(member);
}

static void unsubscribe(struct bus_subscription *base)
{
    struct member *member = CONTAINER_OF(base, struct member, base);
    if (!member->endpoint->is_cut) /* else the bus believes in it until it notices the death */
        member_free(member);
}

/* --- the life of an endpoint --- */

bool bus_sim_has_arrived(const struct bus *bus)
{
    return !list_is_empty(&CONTAINER_OF(bus, const struct endpoint, bus)->arrived);
}

static void plan_change(struct endpoint *endpoint, enum turn turn, uint64_t after_us)
{
    struct change *change = mem_alloc(sizeof(*change));
    change->endpoint = endpoint;
    change->turn = turn;
    change->change_number = ++endpoint->change_number;
    change->happening.kind = HAPPENING_CHANGE;
    agenda_put(endpoint->bus_sim->agenda, &change->happening, endpoint->bus_sim->now_us + after_us);
}

static void set_reachable(struct endpoint *endpoint, bool is_reachable)
{
    LIST_FOREACH (link, &endpoint->members) {
        struct member *member = CONTAINER_OF(link, struct member, link);
        list_remove(&member->in_all);
        if (is_reachable)
            list_push_back(&endpoint->bus_sim->members, &member->in_all);
    }
}

/* Of one that was cut off. */
static void free_members(struct endpoint *endpoint)
{
    LIST_FOREACH_SAFE (link, &endpoint->members)
        member_free(CONTAINER_OF(link, struct member, link));
}

static void die(struct endpoint *endpoint)
{
    endpoint->is_joined = false;
    endpoint->life++;
    set_reachable(endpoint, false);
    flights_return(endpoint);
    if (endpoint->is_cut && endpoint->is_closed)
        free_members(endpoint);
}

static void on_change(const struct change *change)
{
    struct endpoint *endpoint = change->endpoint;
    if (change->change_number != endpoint->change_number)
        return;
    if (change->turn == TURN_DEATH) {
        die(endpoint);
    } else if (!endpoint->is_frozen) { /* again: it joins when it goes on */
        endpoint->is_joined = true;
        set_reachable(endpoint, true);
    }
}

/* Of what it had under way, what was sent last is lost: how much, is drawn. */
static void lose_last_words(struct endpoint *endpoint)
{
    struct bus_sim *bus_sim = endpoint->bus_sim;
    uint64_t after_us = bus_sim->now_us + flight_delay(bus_sim);
    for (size_t i = 0; i < agenda_count(bus_sim->agenda); i++) {
        struct happening *happening = agenda_at(bus_sim->agenda, i);
        struct flight *flight = CONTAINER_OF(happening, struct flight, happening);
        if (happening->kind == HAPPENING_FLIGHT && flight->packet->sender == endpoint &&
            flight->bounce == ERR_OK && happening->at_us >= after_us) {
            bus_sim_see(bus_sim, BUS_SIM_DROPPED, flight->packet, flight->to->name, ERR_OK);
            happening->kind = HAPPENING_NOTHING;
        }
    }
}

void bus_sim_kill(struct bus *bus)
{
    struct endpoint *endpoint = endpoint_of(bus);
    endpoint->is_cut = true;
    endpoint->is_frozen = false;
    lose_last_words(endpoint);
    if (endpoint->is_joined)
        plan_change(endpoint, TURN_DEATH, bus_sim_below(endpoint->bus_sim, BUS_SIM_NOTICE_US));
}

void bus_sim_freeze(struct bus *bus)
{
    struct endpoint *endpoint = endpoint_of(bus);
    endpoint->is_frozen = true;
    if (endpoint->is_joined)
        plan_change(endpoint, TURN_DEATH,
                    BUS_SIM_DEAD_US + bus_sim_below(endpoint->bus_sim, NOTICE_FREEZE_US));
}

void bus_sim_thaw(struct bus *bus)
{
    struct endpoint *endpoint = endpoint_of(bus);
    endpoint->is_frozen = false;
    endpoint->change_number++; /* a death that was to come does not */
    if (!endpoint->is_joined)
        plan_change(endpoint, TURN_JOINED, 1 + bus_sim_below(endpoint->bus_sim, REJOIN_US));
}

void bus_sim_set_full(struct bus *bus, bool in_is_full, bool out_is_full)
{
    endpoint_of(bus)->in_is_full = in_is_full;
    endpoint_of(bus)->out_is_full = out_is_full;
}

static void release(void *pointer)
{
    struct endpoint *endpoint = pointer;
    mailbox_unref(endpoint->mailbox);
    endpoint->mailbox = NULL; /* the rest stays until bus_sim_free(): flights speak of it */
}

static void close_endpoint(struct bus *bus)
{
    struct endpoint *endpoint = endpoint_of(bus);
    endpoint->is_closed = true;
    if (!endpoint->is_cut) /* else it is noticed in its time */
        die(endpoint);
    mailbox_close(endpoint->mailbox, endpoint_drop_bell, NULL);
    list_remove(&endpoint->link);
    list_push_back(&endpoint->bus_sim->graves, &endpoint->link);
    loop_free_later(bus->loop, &endpoint->free_later, release, endpoint);
}

static const struct bus_ops ops = {publish, subscribe, unsubscribe, close_endpoint};

struct bus *bus_sim_open(struct bus_sim *bus_sim, struct loop *loop, const char *name)
{
    struct endpoint *endpoint = mem_alloc(sizeof(*endpoint));
    char inbox[BUS_SUBJECT_MAX_BYTES];
    snprintf(endpoint->name, sizeof(endpoint->name), "%s", name);
    endpoint->serial = ++bus_sim->last_serial;
    snprintf(inbox, sizeof(inbox), "inbox.sim.%llu", (unsigned long long)endpoint->serial);
    bus_init(&endpoint->bus, &ops, loop, slice_str(inbox), bus_sim->peer_bytes_max - PACKET_COST);
    endpoint->bus_sim = bus_sim;
    endpoint->is_joined = true;
    endpoint->mailbox = mailbox_new(loop, SIZE_MAX, endpoint_on_bell, endpoint);
    list_init(&endpoint->arrived);
    list_init(&endpoint->members);
    list_push_back(&bus_sim->endpoints, &endpoint->link);
    return &endpoint->bus;
}

/* --- the whole --- */

struct bus_sim *bus_sim_new(uint64_t seed, uint64_t now_us, size_t peer_bytes_max,
                            bus_sim_watch_fn *watch, void *ctx)
{
    struct bus_sim *bus_sim = mem_alloc(sizeof(*bus_sim));
    bus_sim->now_us = now_us;
    bus_sim->random = seed;
    bus_sim->peer_bytes_max = peer_bytes_max;
    bus_sim->weather = (struct bus_sim_weather){.delay_min_us = 20, .delay_max_us = 200};
    bus_sim->agenda = agenda_new();
    bus_sim->order = map_new(FLIGHTS_PAIRS_MAX);
    bus_sim->watch = watch;
    bus_sim->ctx = ctx;
    list_init(&bus_sim->endpoints);
    list_init(&bus_sim->graves);
    list_init(&bus_sim->members);
    return bus_sim;
}

static void forget(struct happening *happening)
{
    if (happening->kind == HAPPENING_CHANGE)
        mem_free(CONTAINER_OF(happening, struct change, happening));
    else
        flight_free(CONTAINER_OF(happening, struct flight, happening));
}

void bus_sim_free(struct bus_sim *bus_sim)
{
    if (!bus_sim)
        return;
    ASSERT(list_is_empty(&bus_sim->endpoints));
    for (struct happening *happening; (happening = agenda_take(bus_sim->agenda, UINT64_MAX));)
        forget(happening);
    LIST_FOREACH (link, &bus_sim->graves) /* those that were cut, and not noticed yet */
        flights_return(CONTAINER_OF(link, struct endpoint, link));
    LIST_FOREACH_SAFE (link, &bus_sim->graves) {
        struct endpoint *endpoint = CONTAINER_OF(link, struct endpoint, link);
        free_members(endpoint);
        mem_free(endpoint);
    }
    agenda_free(bus_sim->agenda);
    map_free(bus_sim->order);
    mem_free(bus_sim);
}

void bus_sim_set_weather(struct bus_sim *bus_sim, const struct bus_sim_weather *weather)
{
    ASSERT(weather->delay_min_us <= weather->delay_max_us);
    bus_sim->weather = *weather;
}

uint64_t bus_sim_next_us(const struct bus_sim *bus_sim)
{
    return agenda_next_us(bus_sim->agenda);
}

void bus_sim_run(struct bus_sim *bus_sim, uint64_t now_us)
{
    bus_sim->now_us = now_us;
    for (struct happening *happening; (happening = agenda_take(bus_sim->agenda, now_us));) {
        if (happening->kind == HAPPENING_CHANGE)
            on_change(CONTAINER_OF(happening, struct change, happening));
        if (happening->kind == HAPPENING_FLIGHT)
            flight_arrive(bus_sim, CONTAINER_OF(happening, struct flight, happening));
        else
            forget(happening);
    }
}
