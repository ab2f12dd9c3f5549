/* hex_test - every byte is a digit or is none. */
#include "base/hex.h"
#include "testing/test.h"

#include <string.h>

TEST(digits_have_values_and_other_bytes_have_none)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    for (int byte = -128; byte < 128; byte++) {
        const char *found = byte ? strchr(digits, byte) : NULL;
        CHECK_EQ(hex_value((char)byte), found ? (found - digits) % 16 : -1);
    }
}

TEST(a_value_is_one_lower_case_digit_of_its_lowest_bits)
{
    for (unsigned value = 0; value < 16; value++) {
        CHECK_EQ(hex_value(hex_digit(value)), value);
        CHECK_EQ(hex_digit(value + 0xf0), hex_digit(value));
    }
    CHECK_EQ(hex_digit(10), 'a');
}
