/* arena - blocks of growing size, handed out from the front. */
#include "base/arena.h"

#include "base/mem.h"

#include <stdalign.h>

/* Under AddressSanitizer every allocation gets a block of its own, so that a write past its end is
 * seen and not absorbed by its neighbour. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ONE_BLOCK_EACH 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ONE_BLOCK_EACH 1
#endif

/* The first block is what most requests need; with 2048 bytes two thirds of what an open stream
 * cost were blocks that had little in them (2026-11). */
enum { ALIGN_BYTES = 16, FIRST_BLOCK_BYTES = 512, LARGEST_BLOCK_BYTES = 64 * 1024 };

struct block {
    struct block *next;
    alignas(ALIGN_BYTES) char data[];
};

struct arena {
    struct block *blocks;      /* the newest first; only it has room left */
    size_t taken, block_bytes; /* of the newest */
    size_t used, max_bytes;
};

static size_t align_up(size_t bytes)
{
    return (bytes + ALIGN_BYTES - 1) & ~(size_t)(ALIGN_BYTES - 1);
}

struct arena *arena_new(size_t max_bytes)
{
    struct arena *arena = mem_alloc(sizeof(*arena));
    /* Far above any real cap, and low enough that no sum below can wrap. */
    arena->max_bytes = max_bytes < SIZE_MAX / 4 ? max_bytes : SIZE_MAX / 4;
    return arena;
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;
    for (struct block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        mem_free(block);
    }
    mem_free(arena);
}

static size_t next_block_bytes(const struct arena *arena, size_t bytes)
{
#ifdef ONE_BLOCK_EACH
    (void)arena;
    return bytes;
#else
    size_t wanted = arena->blocks ? 2 * arena->block_bytes : FIRST_BLOCK_BYTES;
    if (wanted > LARGEST_BLOCK_BYTES)
        wanted = LARGEST_BLOCK_BYTES;
    return bytes > wanted ? bytes : wanted;
#endif
}

static bool add_block(struct arena *arena, size_t bytes)
{
    size_t block_bytes = next_block_bytes(arena, bytes);
    struct block *block = mem_peer_alloc(sizeof(*block) + block_bytes);
    if (!block)
        return false;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->block_bytes = block_bytes;
    arena->taken = 0;
    return true;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    if (bytes == 0)
        bytes = 1; /* so that success is never NULL */
    size_t used = align_up(arena->used);
    if (used > arena->max_bytes || bytes > arena->max_bytes - used)
        return NULL;
    size_t taken = align_up(arena->taken);
    if (!arena->blocks || taken > arena->block_bytes || bytes > arena->block_bytes - taken) {
        if (!add_block(arena, bytes))
            return NULL;
        taken = 0;
    }
    arena->taken = taken + bytes;
    arena->used = used + bytes;
    return memset(arena->blocks->data + taken, 0, bytes);
}

void *arena_array(struct arena *arena, size_t count, size_t item_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, item_bytes, &bytes))
        return NULL;
    return arena_alloc(arena, bytes);
}

enum err arena_dup(struct arena *arena, struct slice source, struct slice *out_copy)
{
    if (source.len == SIZE_MAX)
        return ERR_LIMIT;
    char *copy = arena_alloc(arena, source.len + 1);
    if (!copy)
        return ERR_LIMIT;
    if (source.len)
        memcpy(copy, source.data, source.len);
    *out_copy = slice_of(copy, source.len);
    return ERR_OK;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}
