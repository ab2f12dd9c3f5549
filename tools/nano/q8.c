/* q8 - blocks of 32 weights with one scale. */
#include "nano/q8.h"

#include "base/err.h"

#include <math.h>
#include <string.h>

_Static_assert(sizeof(struct q8_block) == 34, "what ggml's block_q8_0 has");

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static float value_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* Shifts out the low bits and rounds by them: to the nearest, of two the even one. */
static uint32_t shift_rounded(uint32_t value, unsigned shift)
{
    uint32_t shifted = value >> shift, rest = value & ((1u << shift) - 1), tie = 1u << (shift - 1);
    return shifted + (rest > tie || (rest == tie && (shifted & 1)));
}

uint16_t half_of(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude >= 0x47800000) /* 2^16 and above, infinite, not a number */
        return (uint16_t)(sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00));
    if (magnitude >=
        0x38800000) /* 2^-14: normal. A carry out of the fraction raises the exponent */
        return (uint16_t)(sign | shift_rounded(magnitude - 0x38000000, 13));
    uint32_t exponent = magnitude >> 23;
    if (exponent < 102) /* below half of the smallest, 2^-24 */
        return (uint16_t)sign;
    return (uint16_t)(sign | shift_rounded((magnitude & 0x7fffff) | 0x800000, 126 - exponent));
}

float half_value(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31;
    uint32_t fraction = half & 0x3ff;
    if (exponent == 31)
        return value_of(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0)
        return (sign ? -1.0f : 1.0f) * (float)fraction * 0x1p-24f;
    return value_of(sign | (exponent + 112) << 23 | fraction << 13);
}

/* Halves away from zero, as roundf() does, and without a call: |value| <= 127. */
static inline int round_away(float value)
{
    int whole = (int)value;
    float rest = value - (float)whole;
    return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

static float scale_of(const float *weights)
{
    float highest = 0;
    for (size_t i = 0; i < Q8_WEIGHTS; i++)
        highest = fabsf(weights[i]) > highest ? fabsf(weights[i]) : highest;
    return highest / 127.0f;
}

void q8_pack(const float *weights, size_t count, struct q8_block *out)
{
    ASSERT(count % Q8_WEIGHTS == 0);
    for (; count > 0; count -= Q8_WEIGHTS, weights += Q8_WEIGHTS, out++) {
        float scale = scale_of(weights), inverse = scale > 0 ? 1.0f / scale : 0.0f;
        out->scale = half_of(scale);
        for (size_t i = 0; i < Q8_WEIGHTS; i++)
            out->weights[i] = (int8_t)round_away(weights[i] * inverse);
    }
}

void q8_unpack(const struct q8_block *blocks, size_t count, float *out)
{
    ASSERT(count % Q8_WEIGHTS == 0);
    for (; count > 0; count -= Q8_WEIGHTS, blocks++, out += Q8_WEIGHTS) {
        float scale = half_value(blocks->scale);
        for (size_t i = 0; i < Q8_WEIGHTS; i++)
            out[i] = scale * (float)blocks->weights[i];
    }
}

void q8_round(const float *weights, size_t count, float *out)
{
    for (; count > 0; count -= Q8_WEIGHTS, weights += Q8_WEIGHTS, out += Q8_WEIGHTS) {
        struct q8_block block;
        q8_pack(weights, Q8_WEIGHTS, &block);
        q8_unpack(&block, Q8_WEIGHTS, out);
    }
}
