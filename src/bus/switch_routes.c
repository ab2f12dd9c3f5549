/* switch_routes - subjects, groups, members. See switch_routes.h. */
#include "bus/switch_routes.h"

#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"

struct route_subject {
    struct route_subject *next_same_hash;
    struct list groups;
    uint64_t hash;
    size_t bytes;
    char name[];
};

struct switch_routes {
    struct map *subjects; /* hash -> struct route_subject, chained by next_same_hash */
    size_t subject_count;
};

struct switch_routes *switch_routes_new(void)
{
    struct switch_routes *routes = mem_alloc(sizeof(*routes));
    routes->subjects = map_new(SWITCH_SUBJECTS_MAX);
    return routes;
}

void switch_routes_free(struct switch_routes *routes)
{
    if (!routes)
        return;
    ASSERT_MSG(routes->subject_count == 0, "%zu subjects still have listeners",
               routes->subject_count);
    map_free(routes->subjects);
    mem_free(routes);
}

static struct route_subject *find_subject(const struct switch_routes *routes, struct slice name)
{
    struct route_subject *subject = map_get(routes->subjects, hash_bytes(name));
    while (subject && !slice_eq(slice_of(subject->name, subject->bytes), name))
        subject = subject->next_same_hash;
    return subject;
}

static void put_chain(struct switch_routes *routes, uint64_t hash, struct route_subject *chain)
{
    enum err err = map_put(routes->subjects, hash, chain);
    ASSERT(err == ERR_OK); /* there are never more hashes than subjects */
}

static struct route_subject *add_subject(struct switch_routes *routes, struct slice name)
{
    if (routes->subject_count == SWITCH_SUBJECTS_MAX)
        return NULL;
    struct route_subject *subject = mem_alloc(sizeof(*subject) + name.len);
    list_init(&subject->groups);
    subject->hash = hash_bytes(name);
    subject->bytes = name.len;
    memcpy(subject->name, name.data, name.len);
    subject->next_same_hash = map_remove(routes->subjects, subject->hash);
    put_chain(routes, subject->hash, subject);
    routes->subject_count++;
    return subject;
}

static void remove_subject(struct switch_routes *routes, struct route_subject *subject)
{
    struct route_subject *chain = map_remove(routes->subjects, subject->hash);
    struct route_subject **at = &chain;
    while (*at != subject)
        at = &(*at)->next_same_hash;
    *at = subject->next_same_hash;
    if (chain)
        put_chain(routes, subject->hash, chain);
    routes->subject_count--;
    mem_free(subject);
}

static struct route_group *find_group(struct route_subject *subject, struct slice name)
{
    LIST_FOREACH (link, &subject->groups) {
        struct route_group *group = CONTAINER_OF(link, struct route_group, link);
        if (name.len > 0 && slice_eq(slice_of(group->name, group->bytes), name))
            return group;
    }
    return NULL;
}

static struct route_group *add_group(struct route_subject *subject, struct slice name)
{
    struct route_group *group = mem_alloc(sizeof(*group) + name.len);
    group->subject = subject;
    group->bytes = name.len;
    if (name.len)
        memcpy(group->name, name.data, name.len);
    list_init(&group->members);
    list_push_back(&subject->groups, &group->link);
    return group;
}

enum err switch_routes_add(struct switch_routes *routes, struct slice subject_name,
                           struct slice group_name, struct route_listener *listener)
{
    struct route_subject *subject = find_subject(routes, subject_name);
    if (!subject)
        subject = add_subject(routes, subject_name);
    if (!subject)
        return ERR_FULL;
    struct route_group *group = find_group(subject, group_name);
    if (!group)
        group = add_group(subject, group_name);
    list_push_back(&group->members, &listener->link);
    group->member_count++;
    listener->group = group;
    return ERR_OK;
}

void switch_routes_remove(struct switch_routes *routes, struct route_listener *listener)
{
    struct route_group *group = listener->group;
    struct route_subject *subject = group->subject;
    list_remove(&listener->link);
    if (--group->member_count > 0)
        return;
    list_remove(&group->link);
    mem_free(group);
    if (list_is_empty(&subject->groups))
        remove_subject(routes, subject);
}

struct list *switch_routes_find(struct switch_routes *routes, struct slice name)
{
    struct route_subject *subject = find_subject(routes, name);
    return subject ? &subject->groups : NULL;
}
