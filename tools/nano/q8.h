/* q8 - Q8_0, the form in which matrices are shipped: blocks of 32 weights with one scale, rounded
 * as ggml's quantize_row_q8_0_ref does. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { Q8_WEIGHTS = 32 };

struct q8_block {
    uint16_t scale; /* IEEE 754 half precision */
    int8_t weights[Q8_WEIGHTS];
};

/* count is a multiple of 32; the file's byte order is this machine's (export.c asserts little). */
void q8_pack(const float *weights, size_t count, struct q8_block *out);
void q8_unpack(const struct q8_block *blocks, size_t count, float *out);
/* What the weights are once they were packed. In place is fine. */
void q8_round(const float *weights, size_t count, float *out);

/* To the nearest, of two the even one. */
uint16_t half_of(float value);
float half_value(uint16_t half);
