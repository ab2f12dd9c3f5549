/* Tests of 8-bit blocks and of half precision. */
#include "nano/q8.h"

#include "nano/cpu.h"
#include "testing/test.h"

#include <math.h>

TEST(every_half_comes_back)
{
    cpu_or_skip();
    for (uint32_t half = 0; half < 0x10000; half++) {
        float value = half_value((uint16_t)half);
        if (!isnan(value))
            CHECK_EQ(half_of(value), half);
    }
}

TEST(half_is_the_nearest_and_of_two_the_even_one)
{
    cpu_or_skip();
    CHECK_EQ(half_of(1.0f), 0x3c00);
    CHECK_EQ(half_of(1.0f + 0x1p-11f), 0x3c00);            /* half way to 1 + 2^-10 */
    CHECK_EQ(half_of(1.0f + 0x1p-11f + 0x1p-20f), 0x3c01); /* a little more */
    CHECK_EQ(half_of(1.0f + 3 * 0x1p-11f), 0x3c02);
    CHECK_EQ(half_of(65504.0f), 0x7bff);
    CHECK_EQ(half_of(65519.0f), 0x7bff);
    CHECK_EQ(half_of(65520.0f), 0x7c00); /* infinite */
    CHECK_EQ(half_of(-0x1p-24f), 0x8001);
    CHECK_EQ(half_of(0x1p-25f), 0x0000); /* half way to the smallest */
    CHECK_EQ(half_of(0x1.8p-25f), 0x0001);
    CHECK_EQ(half_of(0x1.ffcp-15f), 0x0400); /* up to the smallest normal */
}

TEST(block_is_ggmls)
{
    cpu_or_skip();
    float weights[Q8_WEIGHTS] = {127.0f, -127.0f, 0.5f, -0.5f, 1.5f, 0.49999997f, 2.5f};
    struct q8_block block;
    q8_pack(weights, Q8_WEIGHTS, &block);
    CHECK_EQ(block.scale, 0x3c00);
    static const int8_t expected[] = {127, -127, 1, -1, 2, 0, 3, 0}; /* halves away from zero */
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++)
        CHECK_EQ(block.weights[i], expected[i]);
}

TEST(zeros_stay_zeros)
{
    cpu_or_skip();
    float weights[Q8_WEIGHTS] = {0};
    struct q8_block block;
    q8_pack(weights, Q8_WEIGHTS, &block);
    q8_unpack(&block, Q8_WEIGHTS, weights);
    CHECK_EQ(block.scale, 0);
    CHECK(weights[0] == 0 && weights[31] == 0);
}

/* Training's last steps see what ships: packing what was rounded changes nothing. */
TEST(rounding_twice_is_rounding_once)
{
    cpu_or_skip();
    uint64_t state = 4;
    float weights[4 * Q8_WEIGHTS], once[4 * Q8_WEIGHTS], twice[4 * Q8_WEIGHTS];
    for (size_t i = 0; i < ARRAY_COUNT(weights); i++)
        weights[i] = (float)test_random(&state) / 0x1p64f - 0.5f;
    q8_round(weights, ARRAY_COUNT(weights), once);
    q8_round(once, ARRAY_COUNT(once), twice);
    for (size_t i = 0; i < ARRAY_COUNT(weights); i++) {
        CHECK_NEAR(once[i], weights[i], 0.5 / 127 * 0.51);
        CHECK_NEAR(twice[i], once[i], 1e-3 * 0.5 / 127);
    }
}
