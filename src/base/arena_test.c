/* arena_test - the cap to the byte, alignment, zeroes, and no memory. */
#include "base/arena.h"
#include "base/mem.h"
#include "testing/test.h"

TEST(cap_is_exact)
{
    for (size_t bytes = 99; bytes <= 101; bytes++) {
        struct arena *arena = arena_new(100);
        CHECK_EQ(arena_alloc(arena, bytes) != NULL, bytes <= 100);
        CHECK_EQ(arena_used(arena), bytes <= 100 ? bytes : 0);
        arena_free(arena);
    }
}

TEST(refused_allocation_leaves_the_rest_usable)
{
    struct arena *arena = arena_new(64);
    CHECK(arena_alloc(arena, 16));
    CHECK(!arena_alloc(arena, 49));
    CHECK(arena_alloc(arena, 48));
    CHECK(!arena_alloc(arena, 1));
    CHECK_EQ(arena_used(arena), 64);
    arena_free(arena);
}

TEST(huge_sizes_are_refused_and_do_not_wrap)
{
    struct arena *arena = arena_new(SIZE_MAX);
    CHECK(arena_alloc(arena, 5));
    CHECK(!arena_alloc(arena, SIZE_MAX));
    CHECK(!arena_alloc(arena, SIZE_MAX - 15));
    CHECK(!arena_array(arena, SIZE_MAX / 8 + 1, 8));
    CHECK(!arena_array(arena, 8, SIZE_MAX / 4));
    struct slice copy;
    CHECK_ERR(arena_dup(arena, slice_of("", SIZE_MAX), &copy), ERR_LIMIT);
    arena_free(arena);
}

TEST(everything_is_aligned_zeroed_and_apart)
{
    struct arena *arena = arena_new(1 << 20);
    uint64_t seed = 1;
    unsigned char *pieces[500];
    size_t lens[500];
    for (size_t i = 0; i < ARRAY_COUNT(pieces); i++) {
        lens[i] = test_random(&seed) % (i % 50 == 0 ? 9000 : 200);
        pieces[i] = arena_alloc(arena, lens[i]);
        CHECK(pieces[i]);
        CHECK_EQ((uintptr_t)pieces[i] % 16, 0);
        for (size_t k = 0; k < lens[i]; k++)
            CHECK_EQ(pieces[i][k], 0);
        memset(pieces[i], (int)(i & 0xFF), lens[i]);
    }
    for (size_t i = 0; i < ARRAY_COUNT(pieces); i++)
        for (size_t k = 0; k < lens[i]; k++)
            CHECK_EQ(pieces[i][k], i & 0xFF);
    arena_free(arena);
}

TEST(dup_ends_in_a_nul_that_is_not_counted)
{
    struct arena *arena = arena_new(64);
    struct slice copy;
    CHECK_OK(arena_dup(arena, slice_of("abcdef", 3), &copy));
    CHECK_SLICE(copy, "abc");
    CHECK_STR(copy.data, "abc");
    CHECK_OK(arena_dup(arena, (struct slice){0}, &copy));
    CHECK_EQ(copy.len, 0);
    CHECK_STR(copy.data, "");
    struct slice before = copy;
    char long_text[64] = {0};
    CHECK_ERR(arena_dup(arena, slice_of(long_text, sizeof(long_text)), &copy), ERR_LIMIT);
    CHECK(copy.data == before.data);
    arena_free(arena);
}

TEST(no_memory_is_a_refusal_and_not_the_end)
{
    struct arena *arena = arena_new(1 << 20);
    mem_test_fail_nth(1);
    CHECK(!arena_alloc(arena, 10));
    CHECK_EQ(arena_used(arena), 0);
    CHECK(arena_alloc(arena, 10));
    mem_test_fail_nth(1);
    CHECK(!arena_alloc(arena, 100000));
    CHECK(arena_alloc(arena, 100000));
    arena_free(arena);
    arena_free(NULL);
}
