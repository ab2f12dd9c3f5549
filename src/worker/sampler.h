/* sampler - picks the next token from one row of logits. A pick is a pure function of its input:
 * nothing but scratch memory is kept between two, so a continuation elsewhere, with the same
 * history, seed and index (and state, with mirostat) picks the same.
 *
 * First bias is added; -100 or less forbids, and so does `forbidden`, and what is not `allowed`. A
 * NaN logit is never picked, +infinity counts as the largest float. Then the stages of
 * sampling->order, as llama.cpp has them and by default in its order (docs/design/015); each is off
 * at its neutral value, and what comes behind another sees only what that has kept:
 * - penalties, over the last penalty_last_n tokens of the history, prompt included: repeat_penalty
 *   divides a positive logit and multiplies another, then count * frequency_penalty +
 *   presence_penalty is taken away.
 * - dry takes dry_multiplier * dry_base ^ (n - dry_allowed) from a token that would go on with what
 *   stands in the last dry_last_n tokens already, where n >= dry_allowed is how many tokens before
 *   it are the same there. A text that ends with a dry_breaker begins anew behind it; a token that
 *   contains one costs nothing. No more than SAMPLER_DRY_MAX tokens are looked at.
 * - top_n_sigma keeps what is at most so many standard deviations below the largest.
 * - top_k keeps the k largest.
 * - typ_p keeps the fewest of those that together pass p of the probability, the nearest to the
 *   expected surprise first.
 * - top_p keeps the fewest of the largest that together reach p: the one that crosses p is kept.
 * - min_p keeps those with at least min_p times the probability of the largest.
 * - xtc, with xtc_probability, drops those of at least xtc_threshold but the least of them.
 * - temperature divides the logits; 0 keeps the largest alone. With dynatemp_range r it is
 *   t - r + 2 r * (entropy / entropy of as many equal ones) ^ dynatemp_exponent (from 0, if r > t).
 * Last the draw: tokens share [0, 1) by probability in the order of their ids, and
 * sampler_random(seed, index) falls on one. Not by rank: so a rounding difference that swaps two
 * near-equal tokens moves the borders by as little, and hardly ever the result.
 * Where logits are equal, the lower id ranks first.
 *
 * With mirostat none of these but the temperature (llama.cpp does the same): 1 keeps as many as
 * its estimate of the row's shape says, 2 what is at most mu bits surprising; the draw then moves
 * mu towards where mirostat_tau bits are met.
 *
 * The cost is a few passes over the vocabulary (figures in sampler.c), never a sort of it. exp() is
 * our own: the last bit of libm's depends on the processor. */
#pragma once

#include "engine/engine.h"
#include "wire/sampling.h"

enum { SAMPLER_DRY_MAX = 4096 }; /* below 1 ms, whatever a request asks for */

struct sampler; /* scratch memory for one vocabulary, 24 bytes a token; belongs to one thread.
                   With DRY also 4 bytes for each token of the longest window so far */
struct sampler *sampler_new(uint32_t vocab_size); /* never NULL */
void sampler_free(struct sampler *sampler);

/* What a pick needs to know of those before it and cannot see in the history: with mirostat, how
 * surprising they may be. It is the caller's, one for each sequence; whoever continues a sequence
 * elsewhere sets it to what it was behind the last token. Unused without mirostat. */
struct sampler_state {
    double mu; /* bits; always the value of a float: libm's last bit shall not add up */
};
struct sampler_state sampler_state_first(const struct sampling *sampling); /* mu = 2 tau */

/* The bytes of a token, good until the next call. */
typedef struct slice sampler_piece_fn(void *ctx, token_id token);

struct sampler_input { /* all borrowed */
    const struct sampling *sampling;
    const float *logits;     /* vocab_size */
    const token_id *history; /* prompt and answer so far; ids that do not exist are passed over */
    size_t history_count;
    const token_id *forbidden; /* never picked, whatever their logits */
    size_t forbidden_count;
    /* NULL: all are. A bit per token (word id / 64, bit id % 64; those behind the last are 0): the
     * others are as forbidden. This is the second pick of a place whose first was refused, and it
     * draws another number: grammar/grammar_mask.h says why. */
    const uint64_t *allowed;
    uint64_t index;              /* of the token in the answer, from 0; below 2^56 */
    struct sampler_state *state; /* updated by a pick; NULL: as before the first */
    sampler_piece_fn *piece;     /* for the breakers of DRY; NULL: there are none */
    void *piece_ctx;
};
/* ERR_REFUSED: no token is left to pick (all forbidden, or the logits are NaN or -infinity). The
 * state is then as it was. */
MUST_USE enum err sampler_pick(struct sampler *sampler, const struct sampler_input *input,
                               token_id *out_token);

/* The counter generator: a well mixed number for each (seed, index). splitmix64, started at the
 * mixed seed, so that neighbouring seeds do not give shifted copies of one sequence. Stream 0 is
 * the draw's, SAMPLER_STREAM_XTC the coin's of xtc (the same in a second pick: for either side of
 * it that is then right), SAMPLER_STREAM_ALLOWED the draw's of a second pick: each begins 2^56
 * numbers behind the one before it in the same sequence. */
enum { SAMPLER_STREAM_DRAW, SAMPLER_STREAM_XTC, SAMPLER_STREAM_ALLOWED };
uint64_t sampler_random(uint64_t seed, uint64_t index);
