/* q4 - Q4_0: blocks of 32 weights of 4 bits with one scale, rounded as ggml's
 * quantize_row_q4_0_ref does. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { Q4_WEIGHTS = 32 };

struct q4_block {
    uint16_t scale;                  /* IEEE 754 half precision */
    uint8_t weights[Q4_WEIGHTS / 2]; /* i in the low four bits, i + 16 in the high ones; 8 is 0 */
};

/* count is a multiple of 32. */
void q4_pack(const float *weights, size_t count, struct q4_block *out);
