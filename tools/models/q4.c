/* q4 - the weight that is farthest from zero becomes -8, the others go with it. */
#include "models/q4.h"

#include "base/err.h"
#include "nano/q8.h"

#include <math.h>

_Static_assert(sizeof(struct q4_block) == 18, "what ggml's block_q4_0 has");

static float farthest(const float *weights)
{
    float found = 0;
    for (size_t i = 0; i < Q4_WEIGHTS; i++)
        found = fabsf(weights[i]) > fabsf(found) ? weights[i] : found;
    return found;
}

/* 0..15: scaled weights are -8..8, and 8 has no place. */
static uint8_t quantised(float scaled)
{
    int whole = (int)(scaled + 8.5f);
    return whole < 15 ? (uint8_t)whole : 15;
}

void q4_pack(const float *weights, size_t count, struct q4_block *out)
{
    ASSERT(count % Q4_WEIGHTS == 0);
    for (; count > 0; count -= Q4_WEIGHTS, weights += Q4_WEIGHTS, out++) {
        float scale = farthest(weights) / -8, inverse = scale != 0 ? 1 / scale : 0;
        out->scale = half_of(scale);
        for (size_t i = 0; i < Q4_WEIGHTS / 2; i++) {
            uint8_t low = quantised(weights[i] * inverse);
            uint8_t high = quantised(weights[i + Q4_WEIGHTS / 2] * inverse);
            out->weights[i] = (uint8_t)(low | high << 4);
        }
    }
}
