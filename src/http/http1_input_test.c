#include "http/http1_input.h"

#include "base/mem.h"
#include "testing/test.h"

#define append(input, bytes) http1_input_append(input, bytes, 1024)

TEST(input_holds_what_was_appended_in_one_piece)
{
    struct http1_input input = {0};
    CHECK_OK(append(&input, SLICE("GET / ")));
    CHECK_OK(append(&input, SLICE("HTTP/1.1")));
    CHECK_SLICE(http1_input_bytes(&input), "GET / HTTP/1.1");
    http1_input_fini(&input);
}

TEST(input_takes_up_to_its_cap_and_then_nothing)
{
    static const char bytes[1025];
    for (size_t len = 1023; len <= 1025; len++) {
        struct http1_input input = {0};
        CHECK_ERR(append(&input, slice_of(bytes, len)), len > 1024 ? ERR_FULL : ERR_OK);
        CHECK_EQ(http1_input_bytes(&input).len, len > 1024 ? 0 : len);
        http1_input_fini(&input);
    }
}

TEST(input_costs_nothing_while_empty)
{
    struct http1_input input = {0};
    CHECK(http1_input_bytes(&input).data == NULL);
    CHECK_OK(append(&input, SLICE("bytes")));
    http1_input_consume(&input, 5);
    CHECK(input.data == NULL);
    CHECK_OK(append(&input, SLICE("bytes")));
    http1_input_truncate(&input, 0);
    CHECK(input.data == NULL);
}

TEST(consumed_bytes_make_room_before_more_memory_is_asked)
{
    struct http1_input input = {0};
    static const char bytes[500];
    CHECK_OK(append(&input, slice_of(bytes, 500)));
    http1_input_consume(&input, 490);
    uint64_t count = mem_peer_count();
    CHECK_OK(append(&input, slice_of(bytes, 500)));
    CHECK_EQ(mem_peer_count(), count);
    CHECK_EQ(http1_input_bytes(&input).len, 510);
    http1_input_fini(&input);
}

TEST(input_survives_growing_consuming_and_truncating_in_any_order)
{
    uint64_t random = 1;
    struct http1_input input = {0};
    char model[1024];
    size_t len = 0;
    uint8_t next = 0;
    for (int i = 0; i < 20000; i++) {
        size_t amount = test_random(&random) % 400;
        switch (test_random(&random) % 4) {
        default:
            amount = amount < 1024 - len ? amount : 1024 - len;
            for (size_t at = 0; at < amount; at++)
                model[len + at] = (char)next++;
            CHECK_OK(append(&input, slice_of(model + len, amount)));
            len += amount;
            break;
        case 2:
            amount = amount < len ? amount : len;
            http1_input_consume(&input, amount);
            memmove(model, model + amount, len -= amount);
            break;
        case 3:
            len = amount < len ? amount : len;
            http1_input_truncate(&input, len);
            break;
        }
        CHECK_SLICES(http1_input_bytes(&input), slice_of(model, len));
    }
    http1_input_fini(&input);
}

TEST(without_memory_the_input_stays_as_it_was)
{
    struct http1_input input = {0};
    static const char bytes[600];
    CHECK_OK(append(&input, SLICE("kept")));
    mem_test_fail_nth(1);
    CHECK_ERR(append(&input, slice_of(bytes, sizeof bytes)), ERR_LIMIT);
    CHECK_SLICE(http1_input_bytes(&input), "kept");
    CHECK_OK(append(&input, slice_of(bytes, sizeof bytes)));
    http1_input_fini(&input);
}
