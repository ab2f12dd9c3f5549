/* arena - memory of one request, released whole, with a cap.
 * Allocations are 16-byte aligned, zeroed, and live until arena_free(). One thread at a time. */
#pragma once

#include "base/slice.h"

struct arena;

/* max_bytes caps the sum of what is handed out. Never NULL (the object itself is ours). */
struct arena *arena_new(size_t max_bytes);
void arena_free(struct arena *arena);

/* NULL when the cap would be crossed or memory is out: the caller answers ERR_LIMIT. */
MUST_USE void *arena_alloc(struct arena *arena, size_t bytes);
MUST_USE void *arena_array(struct arena *arena, size_t count, size_t item_bytes);

/* Copies; the copy is followed by a NUL that is not counted. ERR_LIMIT as above. */
MUST_USE enum err arena_dup(struct arena *arena, struct slice source, struct slice *out_copy);

size_t arena_used(const struct arena *arena);
