/* sampler_vector - vectors written out, because gcc gives up on these loops. Every processor we run
 * on has four lanes. */
#pragma once

#include "worker/sampler_impl.h"

typedef float floats __attribute__((vector_size(16)));
typedef float unaligned_floats __attribute__((vector_size(16), aligned(4)));
typedef int32_t ints __attribute__((vector_size(16)));
typedef double doubles __attribute__((vector_size(32))); /* two registers, of as many floats */
enum { VECTOR = 4, VECTORS = SAMPLER_BLOCK / VECTOR };

static inline floats keep_if(ints mask, floats values) /* or 0 */
{
    return (floats)((ints)values & mask);
}

static inline floats choose(ints mask, floats values, floats others)
{
    return (floats)(((ints)values & mask) | ((ints)others & ~mask));
}

/* Of four neighbours, the first of them with the id ids[0]: those that the cut keeps. */
static inline ints kept_by(struct cut cut, floats values, ints ids)
{
    return (values > cut.value) | ((values == cut.value) & (ids <= cut.id));
}
