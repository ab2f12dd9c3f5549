/* alloc_count - the wrapped functions, and a sum. */
#include "testing/alloc_count.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *pointer, size_t bytes);
void __real_free(void *pointer);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *pointer, size_t bytes);
void __wrap_free(void *pointer);

static atomic_bool is_counting;
static atomic_long sum, kept;

static void count(bool is_new)
{
    if (!atomic_load(&is_counting))
        return;
    atomic_fetch_add(&sum, 1);
    atomic_fetch_add(&kept, is_new);
}

void *__wrap_malloc(size_t bytes)
{
    count(true);
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t items, size_t bytes)
{
    count(true);
    return __real_calloc(items, bytes);
}

void *__wrap_realloc(void *pointer, size_t bytes)
{
    count(!pointer);
    return __real_realloc(pointer, bytes);
}

void __wrap_free(void *pointer)
{
    if (pointer && atomic_load(&is_counting))
        atomic_fetch_sub(&kept, 1);
    __real_free(pointer);
}

void alloc_count_resume(void)
{
    atomic_store(&is_counting, true);
}

void alloc_count_pause(void)
{
    atomic_store(&is_counting, false);
}

long alloc_count_take(void)
{
    return atomic_exchange(&sum, 0);
}

long alloc_count_kept(void)
{
    return atomic_load(&kept);
}
