/* Tests of 4-bit blocks. What libllama makes of them: random_model_test. */
#include "models/q4.h"

#include "nano/cpu.h"
#include "testing/test.h"

static float unpacked(const struct q4_block *block, size_t index, float scale)
{
    uint8_t both = block->weights[index % 16];
    return scale * (float)((index < 16 ? both & 15 : both >> 4) - 8);
}

TEST(block_is_ggmls)
{
    cpu_or_skip();
    float weights[Q4_WEIGHTS] = {-8, 7, 0.49f, 0.51f, -0.5f, -0.51f, 7.6f, [16] = 3, [31] = -7};
    struct q4_block block;
    q4_pack(weights, Q4_WEIGHTS, &block);
    CHECK_EQ(block.scale, 0x3c00);
    static const uint8_t low[] = {0, 15, 8, 9, 8, 7, 15, 8};
    for (size_t i = 0; i < ARRAY_COUNT(low); i++)
        CHECK_EQ(block.weights[i] & 15, low[i]);
    CHECK_EQ(block.weights[0] >> 4, 11);
    CHECK_EQ(block.weights[15] >> 4, 1);
}

/* The farthest has the scale's sign: -8 always stands for it. */
TEST(scale_is_negative_when_the_farthest_is_above_zero)
{
    cpu_or_skip();
    float weights[Q4_WEIGHTS] = {16, -14, 2};
    struct q4_block block;
    q4_pack(weights, Q4_WEIGHTS, &block);
    CHECK_EQ(block.scale, 0xc000); /* -2 */
    for (size_t i = 0; i < Q4_WEIGHTS; i++)
        CHECK_NEAR(unpacked(&block, i, -2), weights[i], 0);
}

TEST(no_weight_moves_by_more_than_a_step)
{
    cpu_or_skip();
    uint64_t random = 4;
    float weights[Q4_WEIGHTS];
    struct q4_block block;
    for (int round = 0; round < 1000; round++) {
        float farthest = 0;
        for (size_t i = 0; i < Q4_WEIGHTS; i++) {
            weights[i] = (float)(test_random(&random) % 2001) - 1000;
            if ((weights[i] < 0 ? -weights[i] : weights[i]) > (farthest < 0 ? -farthest : farthest))
                farthest = weights[i];
        }
        q4_pack(weights, Q4_WEIGHTS, &block);
        for (size_t i = 0; i < Q4_WEIGHTS; i++)
            CHECK_NEAR(unpacked(&block, i, farthest / -8), weights[i], 126);
    }
}

TEST(zeros_stay_zeros)
{
    cpu_or_skip();
    float weights[Q4_WEIGHTS] = {0};
    struct q4_block block;
    q4_pack(weights, Q4_WEIGHTS, &block);
    CHECK_EQ(block.scale & 0x7fff, 0);
    CHECK_EQ(block.weights[0], 0x88);
}
