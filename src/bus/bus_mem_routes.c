/* bus_mem_routes - subjects and the immutable routes they lead to. */
#include "bus/bus_mem_routes.h"

#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "bus/bus_mem_peer.h"

#include <uv.h>

struct subject {
    struct subject *next_same_hash;
    struct list listeners; /* struct listener.link, those of one group side by side */
    size_t listener_count;
    struct route *route;
    size_t bytes;
    char name[];
};

struct routes {
    uv_mutex_t lock;
    struct map *subjects; /* hash -> struct subject, chained by next_same_hash */
    size_t subject_count;
};

struct routes *routes_new(void)
{
    struct routes *routes = mem_alloc(sizeof(*routes));
    ASSERT(uv_mutex_init(&routes->lock) == 0);
    routes->subjects = map_new(ROUTES_SUBJECTS_MAX);
    return routes;
}

void routes_free(struct routes *routes)
{
    if (!routes)
        return;
    ASSERT_MSG(routes->subject_count == 0, "%zu subjects still have listeners",
               routes->subject_count);
    map_free(routes->subjects);
    uv_mutex_destroy(&routes->lock);
    mem_free(routes);
}

/* --- routes --- */

void route_unref(struct route *route)
{
    if (!route || atomic_fetch_sub(&route->refs, 1) != 1)
        return;
    for (size_t i = 0; i < route->choice_count; i++) {
        struct choice *choice = &route->choices[i];
        for (size_t k = 0; k < choice->target_count; k++)
            peer_unref(route->targets[choice->first_target + k].peer);
    }
    mem_free(route->targets);
    mem_free(route->choices);
    mem_free(route);
}

static bool same_group(const struct listener *a, const struct listener *b)
{
    return a->group_bytes > 0 &&
           slice_eq(slice_of(a->group, a->group_bytes), slice_of(b->group, b->group_bytes));
}

static struct route *route_make(const struct subject *subject)
{
    struct route *route = mem_alloc(sizeof(*route));
    atomic_init(&route->refs, 1);
    route->targets = mem_array(subject->listener_count, sizeof(*route->targets));
    route->choices = mem_array(subject->listener_count, sizeof(*route->choices));
    const struct listener *before = NULL;
    size_t count = 0;
    LIST_FOREACH (link, &subject->listeners) {
        const struct listener *listener = CONTAINER_OF(link, struct listener, link);
        if (!before || !same_group(before, listener))
            route->choices[route->choice_count++].first_target = count;
        route->choices[route->choice_count - 1].target_count++;
        route->targets[count++] = listener->target;
        peer_ref(listener->target.peer);
        before = listener;
    }
    return route;
}

static void remake_route(struct subject *subject)
{
    route_unref(subject->route);
    subject->route = route_make(subject);
}

/* --- subjects --- */

static struct subject *find_locked(const struct routes *routes, struct slice name)
{
    struct subject *subject = map_get(routes->subjects, hash_bytes(name));
    while (subject && !slice_eq(slice_of(subject->name, subject->bytes), name))
        subject = subject->next_same_hash;
    return subject;
}

static struct subject *add_subject_locked(struct routes *routes, struct slice name)
{
    if (routes->subject_count == ROUTES_SUBJECTS_MAX)
        return NULL;
    struct subject *subject = mem_alloc(sizeof(*subject) + name.len);
    list_init(&subject->listeners);
    subject->bytes = name.len;
    memcpy(subject->name, name.data, name.len);
    subject->next_same_hash = map_remove(routes->subjects, hash_bytes(name));
    enum err err = map_put(routes->subjects, hash_bytes(name), subject);
    ASSERT(err == ERR_OK); /* there are never more hashes than subjects */
    routes->subject_count++;
    return subject;
}

static void remove_subject_locked(struct routes *routes, struct subject *subject)
{
    uint64_t hash = hash_bytes(slice_of(subject->name, subject->bytes));
    struct subject *chain = map_remove(routes->subjects, hash);
    struct subject **at = &chain;
    while (*at != subject)
        at = &(*at)->next_same_hash;
    *at = subject->next_same_hash;
    if (chain) {
        enum err err = map_put(routes->subjects, hash, chain);
        ASSERT(err == ERR_OK); /* its place was just given up */
    }
    routes->subject_count--;
    route_unref(subject->route);
    mem_free(subject);
}

/* Behind the last member of its group, so that a group stays together. */
static void join(struct subject *subject, struct listener *listener)
{
    struct list *place = &subject->listeners;
    LIST_FOREACH (link, &subject->listeners) {
        if (same_group(CONTAINER_OF(link, struct listener, link), listener))
            place = link->next;
    }
    list_push_back(place, &listener->link);
    listener->subject = subject;
    subject->listener_count++;
}

enum err routes_add(struct routes *routes, struct slice name, struct listener *listener)
{
    uv_mutex_lock(&routes->lock);
    struct subject *subject = find_locked(routes, name);
    if (!subject)
        subject = add_subject_locked(routes, name);
    if (subject) {
        join(subject, listener);
        remake_route(subject);
    }
    uv_mutex_unlock(&routes->lock);
    return subject ? ERR_OK : ERR_FULL;
}

void routes_remove(struct routes *routes, struct listener *listener)
{
    uv_mutex_lock(&routes->lock);
    struct subject *subject = listener->subject;
    list_remove(&listener->link);
    if (--subject->listener_count == 0)
        remove_subject_locked(routes, subject);
    else
        remake_route(subject);
    uv_mutex_unlock(&routes->lock);
}

struct route *routes_find(struct routes *routes, struct slice name)
{
    uv_mutex_lock(&routes->lock);
    struct subject *subject = find_locked(routes, name);
    struct route *route = subject ? subject->route : NULL;
    if (route)
        atomic_fetch_add(&route->refs, 1);
    uv_mutex_unlock(&routes->lock);
    return route;
}
