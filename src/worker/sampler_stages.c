/* sampler_stages - what most requests do not ask for: top_n_sigma, typ_p, xtc, the temperature that
 * moves, mirostat. (log() and pow() are libm's here: what comes of them is rounded to a float or a
 * whole number, so that the last bit, which depends on the processor, is hardly ever seen.) */
#include "worker/sampler_impl.h"

#include <stdlib.h>

static const double LN_2 = 0.693147180559945309;

void sampler_cut_top_n_sigma(struct sampler *sampler, const struct sampler_input *input)
{
    double sigmas = (double)input->sampling->top_n_sigma;
    if (!(sigmas > 0))
        return;
    double variance = sampler_moments(sampler).variance;
    double least = (double)sampler->top.value - sigmas * sqrt(variance > 0 ? variance : 0);
    sampler_cut(sampler, (struct cut){(float)least, INT32_MAX}, 0);
}

/* --- typ_p --- */

/* Candidates are ranked by how near their surprise is to the entropy. */
static void rank_by_typicality(struct sampler *sampler, size_t count, double log_total,
                               double entropy)
{
    for (size_t i = 0; i < count; i++) {
        struct candidate *candidate = &sampler->best[i];
        double below = (double)sampler->top.value - (double)candidate->value;
        double surprise = log_total + below / (double)sampler->temperature;
        candidate->value = (float)-fabs(surprise - entropy);
    }
}

void sampler_keep_typical(struct sampler *sampler, const struct sampler_input *input)
{
    double typical_p = (double)input->sampling->typical_p, log_total;
    size_t min_keep = (size_t)input->sampling->min_keep;
    if (!(typical_p < 1))
        return;
    double entropy = sampler_entropy(sampler, &log_total);
    size_t count = sampler_gather(sampler, 0);
    rank_by_typicality(sampler, count, log_total, entropy);
    /* They have to pass p, not only to reach it. */
    double enough = nextafter(typical_p * sampler->total, INFINITY);
    size_t kept = sampler_select(sampler->best, count, enough);
    if (kept < min_keep) {
        for (size_t i = 0; i < count; i++)
            sampler->best[i].weight = 1;
        kept = sampler_select(sampler->best, count, (double)min_keep);
    }
    if (kept < count)
        sampler_keep_only(sampler, kept);
}

/* --- xtc --- */

static void drop_all_but(struct sampler *sampler, size_t count, struct cut last)
{
    for (size_t i = 0; i < count; i++) {
        if (sampler->best[i].id != last.id)
            sampler_set_value(sampler, sampler->best[i].id, -INFINITY);
    }
}

void sampler_drop_top_choices(struct sampler *sampler, const struct sampler_input *input)
{
    const struct sampling *sampling = input->sampling;
    if (!(sampling->xtc_probability > 0) || sampling->xtc_threshold > 0.5f)
        return;
    double coin = sampler_unit(sampling->seed, SAMPLER_STREAM_XTC, input->index);
    if (coin >= (double)sampling->xtc_probability)
        return;
    sampler_weigh(sampler);
    size_t count = sampler_gather(sampler, (double)sampling->xtc_threshold * sampler->total);
    if (count < 2)
        return;
    size_t min_keep = (size_t)sampling->min_keep;
    if (min_keep <= 1 || sampler_moments(sampler).count - (count - 1) >= min_keep)
        drop_all_but(sampler, count, sampler_cut_behind(sampler->best, count));
}

/* --- temperature --- */

static float moved_temperature(struct sampler *sampler, const struct sampling *sampling)
{
    double temperature = (double)sampling->temperature, range = (double)sampling->dynatemp_range;
    double least = temperature > range ? temperature - range : 0, log_total;
    size_t count = sampler_moments(sampler).count;
    if (count <= 1)
        return sampler->temperature; /* no entropy to go by, and nothing to choose */
    double share = sampler_entropy(sampler, &log_total) / log((double)count);
    share = pow(share > 0 ? share : 0, (double)sampling->dynatemp_exponent);
    return (float)(least + (temperature + range - least) * share);
}

static void divide_by(struct sampler *sampler, float temperature)
{
    if (temperature > 0)
        sampler->temperature = temperature;
    else
        sampler_cut(sampler, sampler->top, 0);
}

void sampler_set_temperature(struct sampler *sampler, const struct sampler_input *input)
{
    const struct sampling *sampling = input->sampling;
    divide_by(sampler, sampling->dynatemp_range > 0 ? moved_temperature(sampler, sampling)
                                                    : sampling->temperature);
}

/* --- mirostat (Basu and others 2020) --- */

enum { SHAPE_TOKENS = 100 }; /* what the estimate looks at, as in the paper */

struct sampler_state sampler_state_first(const struct sampling *sampling)
{
    return (struct sampler_state){.mu = 2 * (double)sampling->mirostat_tau};
}

static int by_rank(const void *a, const void *b)
{
    return ranks_before(a, b) ? -1 : 1;
}

/* The exponent of Zipf's law that fits the first tokens best: 0 for a flat row. */
static double shape_of(const struct candidate *ranked, size_t count, double temperature)
{
    double products = 0, squares = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        double log_rank = log((double)(i + 2) / (double)(i + 1));
        double log_share = ((double)ranked[i].value - (double)ranked[i + 1].value) / temperature;
        products += log_rank * log_share;
        squares += log_rank * log_rank;
    }
    return products / squares;
}

/* How many tokens to keep for `mu` bits. The formula has no value for one token, and for a shape
 * of exactly 0 or 1: then it is 1, or all. */
static size_t tokens_for(struct sampler *sampler, double mu)
{
    size_t count = sampler_gather_top_k(sampler, SHAPE_TOKENS);
    qsort(sampler->best, count, sizeof(*sampler->best), by_rank);
    double shape = shape_of(sampler->best, count, (double)sampler->temperature);
    double excess = shape - 1;
    double scale = excess / (1 - pow((double)sampler->vocab_size, -excess));
    double tokens = pow(scale * exp2(mu), 1 / shape);
    if (!(tokens > 1))
        return 1;
    return tokens < (double)sampler->vocab_size ? (size_t)tokens : sampler->vocab_size;
}

static void keep_by_shape(struct sampler *sampler, double mu)
{
    size_t tokens = tokens_for(sampler, mu);
    size_t count = sampler_gather_top_k(sampler, tokens);
    sampler_cut(sampler, sampler_cut_behind(sampler->best, count), 0);
}

static void keep_by_surprise(struct sampler *sampler, double mu)
{
    sampler_weigh(sampler);
    sampler_cut_below(sampler, log(sampler->total) - mu * LN_2, 0);
}

token_id sampler_draw_mirostat(struct sampler *sampler, const struct sampler_input *input)
{
    const struct sampling *sampling = input->sampling;
    struct sampler_state first = sampler_state_first(sampling);
    struct sampler_state *state = input->state ? input->state : &first;
    divide_by(sampler, sampling->temperature);
    if (sampling->mirostat == 1)
        keep_by_shape(sampler, state->mu);
    else
        keep_by_surprise(sampler, state->mu);
    token_id token = sampler_draw(sampler, input);
    double surprise = log2(sampler->total / (double)sampler->weights[token]);
    double error = surprise - (double)sampling->mirostat_tau;
    state->mu = (double)(float)(state->mu - (double)sampling->mirostat_eta * error);
    return token;
}
