/* mem_test - zeroed, aborting, failing on request. */
#include "base/mem.h"
#include "testing/test.h"

TEST(our_memory_is_zeroed_and_never_null)
{
    unsigned char *bytes = mem_alloc(4096);
    for (int i = 0; i < 4096; i++)
        CHECK_EQ(bytes[i], 0);
    mem_free(bytes);
    void *nothing = mem_alloc(0), *no_items = mem_array(0, 8), *grown = mem_grow(NULL, 0);
    CHECK(nothing && no_items && grown);
    mem_free(nothing);
    mem_free(no_items);
    mem_free(grown);
    mem_free(NULL);
}

TEST(grow_keeps_the_bytes)
{
    char *bytes = mem_array(2, 4);
    memcpy(bytes, "12345678", 8);
    bytes = mem_grow(bytes, 100000);
    CHECK(memcmp(bytes, "12345678", 8) == 0);
    mem_free(bytes);
}

TEST(product_of_an_array_that_overflows_aborts)
{
    CHECK_ABORTS(mem_free(mem_array(SIZE_MAX / 2, 4)), "out of memory");
}

TEST(only_the_nth_peer_allocation_fails_and_only_once)
{
    for (uint64_t nth = 1; nth <= 4; nth++) {
        uint64_t before = mem_peer_count();
        mem_test_fail_nth(nth);
        for (uint64_t i = 1; i <= 5; i++) {
            void *pointer = mem_peer_alloc(8);
            CHECK_EQ(pointer == NULL, i == nth);
            mem_free(pointer);
        }
        CHECK_EQ(mem_peer_count() - before, 5);
    }
}

TEST(failed_grow_leaves_the_old_bytes_in_place)
{
    char *bytes = mem_peer_alloc(4);
    CHECK(bytes);
    memcpy(bytes, "abcd", 4);
    mem_test_fail_nth(1);
    CHECK(mem_peer_grow(bytes, 1000) == NULL);
    CHECK(memcmp(bytes, "abcd", 4) == 0);
    char *grown = mem_peer_grow(bytes, 1000);
    CHECK(grown && memcmp(grown, "abcd", 4) == 0);
    mem_free(grown);
}

TEST(armed_failure_can_be_switched_off)
{
    mem_test_fail_nth(1);
    mem_test_fail_nth(0);
    void *pointer = mem_peer_alloc(0);
    CHECK(pointer);
    mem_free(pointer);
}
