/* id_test - text and back, and what is not an id. */
#include "base/clock.h"
#include "base/id.h"
#include "testing/test.h"

TEST(id_is_formatted_high_half_first_in_lower_case)
{
    char text[ID_TEXT_BYTES + 1];
    struct id id = {UINT64_C(0x0123456789abcdef), UINT64_C(0xf)};
    CHECK_SLICE(id_format(id, text), "0123456789abcdef000000000000000f");
    CHECK_EQ(strlen(text), ID_TEXT_BYTES);
}

TEST(new_ids_differ_and_read_back)
{
    struct id last = {0};
    for (int i = 0; i < 1000; i++) {
        struct id id = id_new(), read;
        CHECK(!id_is_zero(id) && !id_eq(id, last));
        char text[ID_TEXT_BYTES + 1];
        CHECK_OK(id_parse(id_format(id, text), &read));
        CHECK(id_eq(id, read));
        last = id;
    }
    CHECK(random_u64() != random_u64());
}

TEST(parse_takes_both_cases)
{
    struct id id;
    CHECK_OK(id_parse(SLICE("ABCDEFabcdef00000000000000000009"), &id));
    CHECK(id.high == UINT64_C(0xabcdefabcdef0000) && id.low == 9);
}

TEST(parse_refuses_all_but_32_hex_digits)
{
    struct id id = {7, 7};
    CHECK_ERR(id_parse(SLICE(""), &id), ERR_PROTOCOL);
    CHECK_ERR(id_parse(SLICE("0123456789abcdef000000000000000"), &id), ERR_PROTOCOL);
    CHECK_ERR(id_parse(SLICE("0123456789abcdef000000000000000ff"), &id), ERR_PROTOCOL);
    CHECK_ERR(id_parse(SLICE("00000000000000000000000000000000"), &id), ERR_PROTOCOL);
    /* The neighbours of the digits in ASCII, at every place. */
    for (size_t place = 0; place < ID_TEXT_BYTES; place++)
        for (const char *wrong = "/:@G`g -\xff"; *wrong; wrong++) {
            char text[] = "0123456789abcdef0123456789abcdef";
            text[place] = *wrong;
            CHECK_ERR(id_parse(slice_str(text), &id), ERR_PROTOCOL);
        }
    CHECK(id.high == 7 && id.low == 7);
}

TEST(clocks_run_forward_and_know_the_century)
{
    uint64_t before = clock_monotonic_us();
    CHECK(clock_monotonic_us() >= before);
    CHECK(clock_wall_ms() > INT64_C(1577836800000)); /* 2020-01-01 */
}
