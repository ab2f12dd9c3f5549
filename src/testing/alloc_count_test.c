/* A counter that cannot count would pass every budget. */
#include "testing/alloc_count.h"

#include "base/mem.h"
#include "testing/test.h"

#include <stdlib.h>

static void *volatile kept; /* else the compiler leaves out what nobody looks at */

TEST(what_is_asked_for_is_counted_and_only_while_counting)
{
    kept = malloc(1);
    CHECK_EQ(alloc_count_take(), 0);
    alloc_count_resume();
    kept = realloc(kept, 1000);
    free(kept);
    kept = calloc(2, 3);
    free(kept);
    kept = malloc(7);
    free(kept);
    kept = mem_alloc(8); /* from another library of ours */
    alloc_count_pause();
    mem_free(kept);
    kept = malloc(9);
    free(kept);
    CHECK_EQ(alloc_count_take(), 4);
    CHECK_EQ(alloc_count_take(), 0);
}

TEST(what_is_kept_is_what_was_not_given_back)
{
    long before = alloc_count_kept();
    alloc_count_resume();
    void *volatile first = malloc(1), *volatile second = realloc(NULL, 10);
    CHECK_EQ(alloc_count_kept(), before + 2);
    second = realloc(second, 1000);
    free(NULL);
    free(first);
    CHECK_EQ(alloc_count_kept(), before + 1);
    mem_free(second);
    alloc_count_pause();
    CHECK_EQ(alloc_count_kept(), before);
    (void)alloc_count_take(); /* of the other test's business */
}
