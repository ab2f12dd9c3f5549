/* zmq_routes - subjects, groups, members. See zmq_routes.h. */
#include "bus/zmq_routes.h"

#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"

struct zsubject {
    struct zsubject *next_same_hash;
    struct list groups;
    uint64_t hash;
    size_t bytes;
    char name[];
};

struct zroutes {
    struct map *subjects; /* hash -> struct zsubject, chained by next_same_hash */
    size_t subject_count;
};

struct zroutes *zroutes_new(void)
{
    struct zroutes *routes = mem_alloc(sizeof(*routes));
    routes->subjects = map_new(ZROUTES_SUBJECTS_MAX);
    return routes;
}

void zroutes_free(struct zroutes *routes)
{
    if (!routes)
        return;
    ASSERT_MSG(routes->subject_count == 0, "%zu subjects still have listeners",
               routes->subject_count);
    map_free(routes->subjects);
    mem_free(routes);
}

static struct zsubject *find_subject(const struct zroutes *routes, struct slice name)
{
    struct zsubject *subject = map_get(routes->subjects, hash_bytes(name));
    while (subject && !slice_eq(slice_of(subject->name, subject->bytes), name))
        subject = subject->next_same_hash;
    return subject;
}

static void put_chain(struct zroutes *routes, uint64_t hash, struct zsubject *chain)
{
    enum err err = map_put(routes->subjects, hash, chain);
    ASSERT(err == ERR_OK); /* there are never more hashes than subjects */
}

static struct zsubject *add_subject(struct zroutes *routes, struct slice name)
{
    if (routes->subject_count == ZROUTES_SUBJECTS_MAX)
        return NULL;
    struct zsubject *subject = mem_alloc(sizeof(*subject) + name.len);
    list_init(&subject->groups);
    subject->hash = hash_bytes(name);
    subject->bytes = name.len;
    memcpy(subject->name, name.data, name.len);
    subject->next_same_hash = map_remove(routes->subjects, subject->hash);
    put_chain(routes, subject->hash, subject);
    routes->subject_count++;
    return subject;
}

static void remove_subject(struct zroutes *routes, struct zsubject *subject)
{
    struct zsubject *chain = map_remove(routes->subjects, subject->hash);
    struct zsubject **at = &chain;
    while (*at != subject)
        at = &(*at)->next_same_hash;
    *at = subject->next_same_hash;
    if (chain)
        put_chain(routes, subject->hash, chain);
    routes->subject_count--;
    mem_free(subject);
}

static struct zgroup *find_group(struct zsubject *subject, struct slice name)
{
    LIST_FOREACH (link, &subject->groups) {
        struct zgroup *group = CONTAINER_OF(link, struct zgroup, link);
        if (name.len > 0 && slice_eq(slice_of(group->name, group->bytes), name))
            return group;
    }
    return NULL;
}

static struct zgroup *add_group(struct zsubject *subject, struct slice name)
{
    struct zgroup *group = mem_alloc(sizeof(*group) + name.len);
    group->subject = subject;
    group->bytes = name.len;
    if (name.len)
        memcpy(group->name, name.data, name.len);
    list_init(&group->members);
    list_push_back(&subject->groups, &group->link);
    return group;
}

enum err zroutes_add(struct zroutes *routes, struct slice subject_name, struct slice group_name,
                     struct zlistener *listener)
{
    struct zsubject *subject = find_subject(routes, subject_name);
    if (!subject)
        subject = add_subject(routes, subject_name);
    if (!subject)
        return ERR_FULL;
    struct zgroup *group = find_group(subject, group_name);
    if (!group)
        group = add_group(subject, group_name);
    list_push_back(&group->members, &listener->link);
    group->member_count++;
    listener->group = group;
    return ERR_OK;
}

void zroutes_remove(struct zroutes *routes, struct zlistener *listener)
{
    struct zgroup *group = listener->group;
    struct zsubject *subject = group->subject;
    list_remove(&listener->link);
    if (--group->member_count > 0)
        return;
    list_remove(&group->link);
    mem_free(group);
    if (list_is_empty(&subject->groups))
        remove_subject(routes, subject);
}

struct list *zroutes_find(struct zroutes *routes, struct slice name)
{
    struct zsubject *subject = find_subject(routes, name);
    return subject ? &subject->groups : NULL;
}
