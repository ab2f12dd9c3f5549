/* map - u64 keys to pointers; open addressing, grows by itself, bounded by max_entries.
 * Owns neither keys nor values. Belongs to one thread. Keys should be well spread (our ids are
 * random); they are mixed all the same. */
#pragma once

#include "base/err.h"

struct map;

struct map *map_new(size_t max_entries);
void map_free(struct map *map); /* NULL is fine; values are not touched */

/* ERR_FULL: max_entries reached. ASSERTs that value is not NULL and the key is new. */
MUST_USE enum err map_put(struct map *map, uint64_t key, void *value);
void *map_get(const struct map *map, uint64_t key); /* NULL when absent */
void *map_remove(struct map *map, uint64_t key);    /* the value, or NULL */
size_t map_count(const struct map *map);

/* Visits every entry in no special order: start with *cursor = 0; false at the end. The entry just
 * returned may be removed; nothing may be put while visiting. */
bool map_next(const struct map *map, size_t *cursor, uint64_t *out_key, void **out_value);
