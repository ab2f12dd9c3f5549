/* mem - memory, by who chose its size. */
#include "base/mem.h"

#include <malloc.h>
#include <stdlib.h>

static _Thread_local uint64_t peer_count;    /* peer-sized allocations of this thread, ever */
static _Thread_local uint64_t fail_at_count; /* the one that fails; 0 = none */

/* malloc(0) may be NULL, which would read as "out of memory". */
static size_t at_least_one(size_t bytes)
{
    return bytes ? bytes : 1;
}

void *mem_alloc(size_t bytes)
{
    return mem_array(1, bytes);
}

void *mem_array(size_t count, size_t item_bytes)
{
    size_t bytes;
    bool fits = !__builtin_mul_overflow(count, item_bytes, &bytes);
    void *pointer = fits ? calloc(1, at_least_one(bytes)) : NULL;
    ASSERT_MSG(pointer, "out of memory: %zu items of %zu bytes", count, item_bytes);
    return pointer;
}

void *mem_grow(void *pointer, size_t bytes)
{
    void *grown = realloc(pointer, at_least_one(bytes));
    ASSERT_MSG(grown, "out of memory: %zu bytes", bytes);
    return grown;
}

static bool peer_may_have_memory(void)
{
    peer_count++;
    if (peer_count != fail_at_count)
        return true;
    fail_at_count = 0;
    return false;
}

void *mem_peer_alloc(size_t bytes)
{
    return peer_may_have_memory() ? malloc(at_least_one(bytes)) : NULL;
}

void *mem_peer_grow(void *pointer, size_t bytes)
{
    return peer_may_have_memory() ? realloc(pointer, at_least_one(bytes)) : NULL;
}

void mem_free(void *pointer)
{
    free(pointer);
}

void mem_give_back_large(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 16 << 20); /* as it was, where there is no such thing */
}

void mem_give_back(void)
{
    (void)malloc_trim(0); /* whether there was any */
}

void mem_test_fail_nth(uint64_t nth)
{
    fail_at_count = nth ? peer_count + nth : 0;
}

uint64_t mem_peer_count(void)
{
    return peer_count;
}
