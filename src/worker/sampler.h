/* sampler - picks the next token from one row of logits. A pick is a pure function of its input:
 * nothing but scratch memory is kept between two, so a continuation elsewhere, with the same
 * history, seed and index, picks the same.
 *
 * Stages, in this order; each is off at its neutral value (struct sampling in wire/request.h):
 * 1. Bias is added; -100 or less forbids, and so does `forbidden`. A NaN logit is never picked,
 *    +infinity counts as the largest float.
 * 2. Penalties over the last penalty_last_n tokens of the history, prompt included, as llama.cpp
 *    does: repeat_penalty divides a positive logit and multiplies another, then
 *    count * frequency_penalty + presence_penalty is taken away.
 * 3. Temperature 0 picks the largest, and nothing below applies. Else logits are divided by it.
 * 4. top_k keeps the k largest.
 * 5. top_p keeps the fewest of those that together reach p of their probability: the one that
 *    crosses p is kept.
 * 6. min_p keeps those with at least min_p times the probability of the largest.
 * 7. The draw: tokens share [0, 1) by probability in the order of their ids, and
 *    sampler_random(seed, index) falls on one. Not by rank: so a rounding difference that swaps two
 *    near-equal tokens moves the borders by as little, and hardly ever the result.
 * Where logits are equal, the lower id ranks first.
 *
 * The cost is a few passes over the vocabulary (figures in sampler.c), never a sort of it. exp() is
 * our own: the last bit of libm's depends on the processor. */
#pragma once

#include "engine/engine.h"
#include "wire/request.h"

struct sampler; /* scratch memory for one vocabulary, 24 bytes a token; belongs to one thread */
struct sampler *sampler_new(uint32_t vocab_size); /* never NULL */
void sampler_free(struct sampler *sampler);

struct sampler_input { /* all borrowed */
    const struct sampling *sampling;
    const float *logits;     /* vocab_size */
    const token_id *history; /* prompt and answer so far; ids that do not exist are passed over */
    size_t history_count;
    const token_id *forbidden; /* never picked, whatever their logits */
    size_t forbidden_count;
    uint64_t index; /* of the token in the answer, from 0 */
};
/* ERR_REFUSED: no token is left to pick (all forbidden, or the logits are NaN or -infinity). */
MUST_USE enum err sampler_pick(struct sampler *sampler, const struct sampler_input *input,
                               token_id *out_token);

/* The counter generator: a well mixed number for each (seed, index). splitmix64, started at the
 * mixed seed, so that neighbouring seeds do not give shifted copies of one sequence. */
uint64_t sampler_random(uint64_t seed, uint64_t index);
