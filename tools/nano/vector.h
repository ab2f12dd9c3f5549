/* vector - eight floats at once, with the compiler's own vector types: AVX2 where it is
 * (meson.build asks for it on x86-64), whatever there is elsewhere. For files of the nano_math
 * library only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias)); /* of any address */
typedef int32_t v8i __attribute__((vector_size(32)));

enum { V8 = 8 };

static inline v8 v8_load(const float *from)
{
    return *(const v8 *)from;
}

static inline void v8_store(float *to, v8 value)
{
    *(v8 *)to = value;
}

static inline v8 v8_of(float value)
{
    return (v8){0} + value;
}

static inline v8 v8_max(v8 a, v8 b)
{
    v8i first = a > b;
    return (v8)(((v8i)a & first) | ((v8i)b & ~first));
}

/* Always the same tree, so that sums repeat bit by bit. */
static inline float v8_sum(v8 value)
{
    float x[V8];
    v8_store(x, value);
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

static inline float v8_highest(v8 value)
{
    float highest = value[0];
    for (int i = 1; i < V8; i++)
        highest = value[i] > highest ? value[i] : highest;
    return highest;
}

/* e^x to 3e-7 of itself; 0 below -87. 2^(x / ln 2): the whole part goes into the exponent (adding
 * 1.5 * 2^23 leaves it in the low bits), the rest, at most 1/2, through six terms of the series. */
static inline v8 v8_exp(v8 x)
{
    const v8 rounder = v8_of(0x1.8p23f);
    v8i is_normal = x > -87.0f;
    v8 exponent = v8_max(x, v8_of(-87.0f)) * 1.44269504088896f;
    v8 shifted = exponent + rounder;
    v8 rest = (exponent - (shifted - rounder)) * 0.693147180559945f;
    v8 power = v8_of(1.0f / 720);
    power = power * rest + 1.0f / 120;
    power = power * rest + 1.0f / 24;
    power = power * rest + 1.0f / 6;
    power = power * rest + 0.5f;
    power = power * rest + 1.0f;
    power = power * rest + 1.0f;
    v8i scaled = (v8i)power + ((v8i)shifted << 23);
    return (v8)(scaled & is_normal);
}
