/* A number that does not move would pass every budget. */
#include "testing/heap.h"

#include "base/mem.h"
#include "testing/test.h"

#include <stdlib.h>

TEST(what_is_asked_for_is_in_the_sum_until_it_is_given_back)
{
    enum { BYTES = 5000, MALLOC_BYTES = 64 };
    static void *volatile kept; /* else the compiler leaves out what nobody looks at */
    size_t before = heap_bytes();
    kept = malloc(BYTES);
    CHECK(heap_bytes() >= before + BYTES);
    CHECK(heap_bytes() <= before + BYTES + (heap_bytes_are_exact() ? 0 : MALLOC_BYTES));
    free(kept);
    CHECK_EQ(heap_bytes(), before);
    kept = mem_alloc(BYTES);
    CHECK(heap_bytes() >= before + BYTES);
    mem_free(kept);
    CHECK_EQ(heap_bytes(), before);
}
