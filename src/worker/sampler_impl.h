/* sampler_impl - what the files of the sampler share: sampler.c (the chain and the draw),
 * sampler_values.c (the row), sampler_weights.c (probabilities, and cuts by rank),
 * sampler_stages.c (the rarer stages), sampler_dry.c. Nobody else includes it but the test that
 * compares probabilities (sampler_llama_test).
 *
 * 1. What the chain has kept so far is what ranks at or above `cut` and is not -infinity. Nearly
 *    every stage only moves that one mark. Those that take from the middle or the top (typ_p, xtc)
 *    write -infinity instead.
 * 2. The values are not divided by the temperature: `temperature` says by what they would be.
 * 3. A stage that changes values where something is cut off or divided already makes that part of
 *    the values first: sampler_settle(). So the stages can be in any order. */
#pragma once

#include "worker/sampler.h"

#include <float.h>
#include <math.h>

enum { SAMPLER_BLOCK = 64 };

struct candidate {
    float value;
    token_id id;
    float weight;
};

/* Keeps what ranks at or before (value, id). */
struct cut {
    float value;
    token_id id;
};
/* All but the impossible, which are -infinity. */
static const struct cut KEEP_ALL = {-INFINITY, -1};

struct sampler {
    uint32_t vocab_size, block_count;
    float *values;    /* logits after bias and penalties; -infinity: never. Whole blocks */
    float *weights;   /* probability in units of the largest's, 0 below the cut. Whole blocks, of
                         which only those with a sum above 0 mean anything */
    float *tops;      /* of each block: its largest value */
    double *sums;     /* and what its weights add up to */
    uint32_t *counts; /* per token, for penalties; all 0 between picks */
    struct candidate *best; /* for selecting, in any order */
    uint32_t *repeats;      /* DRY's, one for each token of its window */
    size_t repeats_max;

    /* Of the pick under way. */
    struct cut cut;
    float temperature;
    bool is_top_stale; /* values have changed: sampler_find_top() */
    struct cut top;    /* the first in rank, whatever is cut off */

    /* What the weights were made for. */
    bool is_weighed;
    struct cut weighed_cut;
    float weighed_temperature;
    double total; /* of all weights */
};

static inline bool is_known(const struct sampler *sampler, token_id token)
{
    return token >= 0 && (uint32_t)token < sampler->vocab_size;
}

static inline float larger(float a, float b)
{
    return a > b ? a : b;
}

/* No NaN and no +infinity, so that every difference has a meaning. */
static inline float usable(float logit)
{
    float bounded = logit > FLT_MAX ? FLT_MAX : logit;
    return isnan(bounded) ? -INFINITY : bounded;
}

static inline bool is_above(struct cut cut, float value, token_id id)
{
    return value > cut.value || (value == cut.value && id <= cut.id);
}

static inline bool ranks_before(const struct candidate *a, const struct candidate *b)
{
    return a->value > b->value || (a->value == b->value && a->id < b->id);
}

static inline struct cut stricter(struct cut a, struct cut b)
{
    return is_above(a, b.value, b.id) ? b : a;
}

/* [0, 1) */
static inline double sampler_unit(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (double)(sampler_random(seed, (stream << 56) + index) >> 11) * 0x1p-53;
}

/* --- sampler_values.c --- */

void sampler_load(struct sampler *sampler, const float *logits);
void sampler_set_value(struct sampler *sampler, token_id token, float value);
void sampler_apply_allowed(struct sampler *sampler, const uint64_t *allowed);
void sampler_apply_bias(struct sampler *sampler, const struct sampler_input *input);
void sampler_apply_penalties(struct sampler *sampler, const struct sampler_input *input);
/* False: every value is -infinity. */
bool sampler_find_top(struct sampler *sampler);
/* Rule 3. */
void sampler_settle(struct sampler *sampler);
/* Everything but the first `count` of best[] becomes -infinity. */
void sampler_keep_only(struct sampler *sampler, size_t count);
/* Of what is kept: how many, and mean and variance of how far their values are below the top. */
struct moments {
    size_t count;
    double mean, variance;
};
struct moments sampler_moments(const struct sampler *sampler);

/* --- sampler_weights.c --- */

/* Makes the weights what they are for what is kept now, at the temperature of now. */
void sampler_weigh(struct sampler *sampler);
/* In nats, of what is kept; `out_log_total`: log of the sum of all weights. */
double sampler_entropy(struct sampler *sampler, double *out_log_total);
/* Gathers what weighs at least `least` into best[], in any order; returns how many. */
size_t sampler_gather(struct sampler *sampler, double least);
/* Gathers the k first in rank of what is kept, or as many as there are. */
size_t sampler_gather_top_k(struct sampler *sampler, size_t k);
/* Brings the fewest first in rank that together weigh `enough` to the front, in any order, and
 * returns how many they are: at least one; all, when all do not suffice. */
size_t sampler_select(struct candidate *candidates, size_t count, double enough);
struct cut sampler_cut_behind(const struct candidate *candidates, size_t count); /* the last of */
/* Cuts at `cut`, but leaves the min_keep first in rank. */
void sampler_cut(struct sampler *sampler, struct cut cut, int32_t min_keep);
/* Keeps what has at least the weight exp(log_weight), the first in rank's being 1. */
void sampler_cut_below(struct sampler *sampler, double log_weight, int32_t min_keep);
void sampler_cut_top_k(struct sampler *sampler, const struct sampler_input *input);
void sampler_cut_top_p(struct sampler *sampler, const struct sampler_input *input);
void sampler_cut_min_p(struct sampler *sampler, const struct sampler_input *input);
/* What the draw falls on. */
token_id sampler_draw(struct sampler *sampler, const struct sampler_input *input);

/* --- sampler_stages.c --- */

void sampler_cut_top_n_sigma(struct sampler *sampler, const struct sampler_input *input);
void sampler_keep_typical(struct sampler *sampler, const struct sampler_input *input);
void sampler_drop_top_choices(struct sampler *sampler, const struct sampler_input *input);
void sampler_set_temperature(struct sampler *sampler, const struct sampler_input *input);
token_id sampler_draw_mirostat(struct sampler *sampler, const struct sampler_input *input);

/* --- sampler_dry.c --- */

void sampler_apply_dry(struct sampler *sampler, const struct sampler_input *input);
