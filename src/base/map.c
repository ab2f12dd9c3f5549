/* map - linear probing in a table of a power of two. Removal moves later entries of the same run
 * back into the hole, so there are no tombstones and a long-lived map stays as fast as a new one.
 */
#include "base/map.h"

#include "base/mem.h"

enum { FIRST_CAPACITY = 16 };

struct entry {
    uint64_t key;
    void *value; /* NULL = this place is empty */
};

struct map {
    struct entry *entries; /* NULL until the first put */
    size_t capacity;       /* at most 3/4 of it are in use: probing always meets an empty place */
    size_t count, max_entries;
};

/* The finaliser of splitmix64: keys that differ little land far apart. */
static size_t home_of(const struct map *map, uint64_t key)
{
    key = (key ^ (key >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    key = (key ^ (key >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (size_t)(key ^ (key >> 31)) & (map->capacity - 1);
}

static size_t place_after(const struct map *map, size_t place)
{
    return (place + 1) & (map->capacity - 1);
}

/* Where the key is, or the empty place where it would go. */
static size_t place_of(const struct map *map, uint64_t key)
{
    size_t place = home_of(map, key);
    while (map->entries[place].value && map->entries[place].key != key)
        place = place_after(map, place);
    return place;
}

struct map *map_new(size_t max_entries)
{
    /* The cursor of map_next() keeps a place in 32 bits. */
    ASSERT_MSG(max_entries <= UINT32_MAX / 4, "%zu", max_entries);
    struct map *map = mem_alloc(sizeof(*map));
    map->max_entries = max_entries;
    return map;
}

void map_free(struct map *map)
{
    if (!map)
        return;
    mem_free(map->entries);
    mem_free(map);
}

static void grow(struct map *map)
{
    struct entry *old = map->entries;
    size_t old_capacity = map->capacity;
    map->capacity = old_capacity ? 2 * old_capacity : FIRST_CAPACITY;
    map->entries = mem_array(map->capacity, sizeof(*map->entries));
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].value)
            map->entries[place_of(map, old[i].key)] = old[i];
    mem_free(old);
}

enum err map_put(struct map *map, uint64_t key, void *value)
{
    ASSERT(value);
    if (map->count >= map->max_entries)
        return ERR_FULL;
    if (map->count + 1 > map->capacity / 4 * 3)
        grow(map);
    size_t place = place_of(map, key);
    ASSERT_MSG(!map->entries[place].value, "key %llu is taken", (unsigned long long)key);
    map->entries[place] = (struct entry){key, value};
    map->count++;
    return ERR_OK;
}

void *map_get(const struct map *map, uint64_t key)
{
    return map->count ? map->entries[place_of(map, key)].value : NULL;
}

/* An entry further on may fill the hole unless its home lies between the two: probing for it would
 * then begin behind the hole. */
static void close_hole(struct map *map, size_t hole)
{
    size_t mask = map->capacity - 1;
    for (size_t place = place_after(map, hole); map->entries[place].value;
         place = place_after(map, place)) {
        size_t from_home = (place - home_of(map, map->entries[place].key)) & mask;
        size_t from_hole = (place - hole) & mask;
        if (from_home < from_hole)
            continue;
        map->entries[hole] = map->entries[place];
        hole = place;
    }
    map->entries[hole] = (struct entry){0};
}

void *map_remove(struct map *map, uint64_t key)
{
    if (map->count == 0)
        return NULL;
    size_t place = place_of(map, key);
    void *value = map->entries[place].value;
    if (!value)
        return NULL;
    close_hole(map, place);
    map->count--;
    return value;
}

size_t map_count(const struct map *map)
{
    return map->count;
}

static size_t empty_place(const struct map *map)
{
    size_t place = 0;
    while (map->entries[place].value)
        place++;
    return place;
}

/* Walks backwards from an empty place. Removing an entry moves only entries that lie behind it in
 * its run - those already visited - and a run never crosses the empty place, so nobody is missed
 * or met twice. The cursor is that place (high half) and the steps taken from it (low half). */
bool map_next(const struct map *map, size_t *cursor, uint64_t *out_key, void **out_value)
{
    if (map->count == 0)
        return false;
    size_t start = *cursor ? *cursor >> 32 : empty_place(map);
    for (size_t steps = (*cursor & UINT32_MAX) + 1; steps < map->capacity; steps++) {
        const struct entry *entry = &map->entries[(start - steps) & (map->capacity - 1)];
        if (!entry->value)
            continue;
        *cursor = start << 32 | steps;
        *out_key = entry->key;
        *out_value = entry->value;
        return true;
    }
    *cursor = start << 32 | map->capacity;
    return false;
}
_Static_assert(sizeof(size_t) == 8, "a cursor has two halves of 32 bits");
