/* hash_test - the vectors of the FNV reference, whole and in pieces. */
#include "base/hash.h"
#include "testing/test.h"

TEST(known_strings_have_their_known_hash)
{
    CHECK(hash_bytes(SLICE("")) == UINT64_C(0xcbf29ce484222325));
    CHECK(hash_bytes((struct slice){0}) == HASH_START);
    CHECK(hash_bytes(SLICE("a")) == UINT64_C(0xaf63dc4c8601ec8c));
    CHECK(hash_bytes(SLICE("foobar")) == UINT64_C(0x85944171f73967e8));
}

TEST(bytes_above_127_count_as_such)
{
    CHECK(hash_bytes(SLICE("\xff")) ==
          (UINT64_C(0xcbf29ce484222325) ^ 0xff) * UINT64_C(0x100000001b3));
}

TEST(pieces_are_as_the_whole)
{
    CHECK(hash_add(hash_bytes(SLICE("foo")), SLICE("bar")) == hash_bytes(SLICE("foobar")));
}
