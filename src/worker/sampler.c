/* sampler - every truncation is a cut through the ranking (value, then id), so the order of their
 * application is a matter of moving one mark, and the draw is a walk over what lies above it.
 *
 * Passes go block by block: loops of constant length over plain arrays, which compilers turn into
 * vector code; blocks whose largest value lies below the cut, or so far below the best that all of
 * it would weigh 0, are passed over. Microseconds of a pick among 150 000 tokens of which 20 stand
 * out, as bench/sampler_pick prints them (2026-11, a shared core of an EPYC, gcc -O3):
 *     greedy    50      temperature 1   410      temperature 2, top_p 0.99   3170
 *     top_k 40 127      top_p 0.9       770      min_p 0.05                    52 */
#include "worker/sampler.h"

#include "base/mem.h"

#include <float.h>
#include <math.h>

enum { BLOCK = 64, LANES = 8 };
static const float BIAS_FORBIDS = -100;
static const float TOP_IS_STALE = INFINITY; /* no value is: usable() */
static const float EXP_IS_ZERO = -87.0f;    /* exp_of() of this, and below */

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
    uint32_t *counts; /* per token, in the penalty window; all 0 between picks */
    struct candidate *best; /* for selecting, in any order */
};

struct sampler *sampler_new(uint32_t vocab_size)
{
    ASSERT(vocab_size >= 1 && vocab_size <= INT32_MAX - BLOCK);
    struct sampler *sampler = mem_alloc(sizeof(*sampler));
    sampler->vocab_size = vocab_size;
    sampler->block_count = (vocab_size + BLOCK - 1) / BLOCK;
    sampler->values = mem_array(sampler->block_count, BLOCK * sizeof(*sampler->values));
    sampler->weights = mem_array(sampler->block_count, BLOCK * sizeof(*sampler->weights));
    sampler->tops = mem_array(sampler->block_count, sizeof(*sampler->tops));
    sampler->sums = mem_array(sampler->block_count, sizeof(*sampler->sums));
    sampler->counts = mem_array(vocab_size, sizeof(*sampler->counts));
    sampler->best = mem_array(vocab_size, sizeof(*sampler->best));
    return sampler;
}

void sampler_free(struct sampler *sampler)
{
    if (!sampler)
        return;
    mem_free(sampler->values);
    mem_free(sampler->weights);
    mem_free(sampler->tops);
    mem_free(sampler->sums);
    mem_free(sampler->counts);
    mem_free(sampler->best);
    mem_free(sampler);
}

/* --- the counter generator --- */

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94D049BB133111EB);
    return value ^ (value >> 31);
}

uint64_t sampler_random(uint64_t seed, uint64_t index)
{
    return mix(mix(seed) + UINT64_C(0x9E3779B97F4A7C15) * (index + 1));
}

static double unit_draw(uint64_t seed, uint64_t index) /* in [0, 1) */
{
    return (double)(sampler_random(seed, index) >> 11) * 0x1p-53;
}

/* --- vectors --- */

/* Vectors written out, because gcc gives up on these loops. Every processor we run on has four
 * lanes. */
typedef float floats __attribute__((vector_size(16)));
typedef float unaligned_floats __attribute__((vector_size(16), aligned(4)));
typedef int32_t ints __attribute__((vector_size(16)));
enum { VECTOR = 4, VECTORS = BLOCK / VECTOR };

static inline floats keep_if(ints mask, floats values) /* or 0 */
{
    return (floats)((ints)values & mask);
}

static inline floats choose(ints mask, floats values, floats others)
{
    return (floats)(((ints)values & mask) | ((ints)others & ~mask));
}

/* --- stages 1 and 2: the values --- */

static bool is_known(const struct sampler *sampler, token_id token)
{
    return token >= 0 && (uint32_t)token < sampler->vocab_size;
}

/* No NaN and no +infinity, so that every difference below has a meaning. */
static float usable(float logit)
{
    float bounded = logit > FLT_MAX ? FLT_MAX : logit;
    return isnan(bounded) ? -INFINITY : bounded;
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

static float largest(const float lane[LANES])
{
    float top = lane[0];
    for (uint32_t j = 1; j < LANES; j++)
        top = larger(top, lane[j]);
    return top;
}

static float top_of_block(const float *values)
{
    float lane[LANES];
    memcpy(lane, values, sizeof(lane));
    for (uint32_t i = LANES; i < BLOCK; i += LANES) {
        for (uint32_t j = 0; j < LANES; j++)
            lane[j] = values[i + j] > lane[j] ? values[i + j] : lane[j];
    }
    return largest(lane);
}

/* Returns the largest of the block. */
static float load_block(const float *logits, float *values)
{
    const unaligned_floats *from = (const unaligned_floats *)(const void *)logits;
    floats *to = (floats *)(void *)values;
    ints are_usable = {-1, -1, -1, -1};
    floats top = from[0];
    for (int i = 0; i < VECTORS; i++) {
        floats value = from[i];
        to[i] = value;
        top = choose(value > top, value, top);
        are_usable &= value <= FLT_MAX; /* neither NaN nor +infinity */
    }
    if (are_usable[0] & are_usable[1] & are_usable[2] & are_usable[3])
        return larger(larger(top[0], top[1]), larger(top[2], top[3]));
    for (uint32_t i = 0; i < BLOCK; i++)
        values[i] = usable(values[i]);
    return top_of_block(values);
}

/* One pass finds the tops on the way: of a large vocabulary, reading it is what takes the time. */
static void load_values(struct sampler *sampler, const float *logits)
{
    uint32_t whole = sampler->vocab_size / BLOCK, rest = sampler->vocab_size % BLOCK;
    for (uint32_t block = 0; block < whole; block++)
        sampler->tops[block] =
            load_block(logits + (size_t)block * BLOCK, sampler->values + (size_t)block * BLOCK);
    if (rest == 0)
        return;
    float padded[BLOCK];
    memcpy(padded, logits + (size_t)whole * BLOCK, rest * sizeof(padded[0]));
    for (uint32_t i = rest; i < BLOCK; i++)
        padded[i] = -INFINITY;
    sampler->tops[whole] = load_block(padded, sampler->values + (size_t)whole * BLOCK);
}

static void set_value(struct sampler *sampler, token_id token, float value)
{
    sampler->values[token] = value;
    sampler->tops[token / BLOCK] = TOP_IS_STALE;
}

static void apply_bias(struct sampler *sampler, const struct sampler_input *input)
{
    for (size_t i = 0; i < input->sampling->bias_count; i++) {
        struct logit_bias bias = input->sampling->bias[i];
        if (!is_known(sampler, bias.token))
            continue;
        bool is_forbidden = bias.bias <= BIAS_FORBIDS;
        set_value(sampler, bias.token,
                  is_forbidden ? -INFINITY : usable(sampler->values[bias.token] + bias.bias));
    }
    for (size_t i = 0; i < input->forbidden_count; i++) {
        if (is_known(sampler, input->forbidden[i]))
            set_value(sampler, input->forbidden[i], -INFINITY);
    }
}

static float penalised(const struct sampling *sampling, float value, uint32_t count)
{
    value = value > 0 ? value / sampling->repeat_penalty : value * sampling->repeat_penalty;
    value -= (float)count * sampling->frequency_penalty + sampling->presence_penalty;
    return usable(value);
}

static bool has_penalties(const struct sampling *sampling)
{
    return sampling->repeat_penalty != 1 || sampling->frequency_penalty != 0 ||
           sampling->presence_penalty != 0;
}

static void apply_penalties(struct sampler *sampler, const struct sampler_input *input)
{
    const struct sampling *sampling = input->sampling;
    size_t window = input->history_count;
    if (sampling->penalty_last_n >= 0 && (size_t)sampling->penalty_last_n < window)
        window = (size_t)sampling->penalty_last_n;
    if (window == 0 || !has_penalties(sampling))
        return;
    const token_id *tokens = input->history + (input->history_count - window);
    for (size_t i = 0; i < window; i++) {
        if (is_known(sampler, tokens[i]))
            sampler->counts[tokens[i]]++;
    }
    for (size_t i = 0; i < window; i++) {
        if (!is_known(sampler, tokens[i]) || sampler->counts[tokens[i]] == 0)
            continue; /* seen already */
        set_value(sampler, tokens[i],
                  penalised(sampling, sampler->values[tokens[i]], sampler->counts[tokens[i]]));
        sampler->counts[tokens[i]] = 0;
    }
}

/* Finds the tops of what was changed, and with them the largest of all; the lowest id of equals. */
static token_id find_best(struct sampler *sampler)
{
    uint32_t best = 0;
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        if (sampler->tops[block] == TOP_IS_STALE)
            sampler->tops[block] = top_of_block(sampler->values + (size_t)block * BLOCK);
        if (sampler->tops[block] > sampler->tops[best])
            best = block;
    }
    uint32_t id = best * BLOCK;
    while (sampler->values[id] != sampler->tops[best])
        id++;
    return (token_id)id;
}

/* --- weights --- */

/* exp(x) for x <= 0, to a few units in the last place; 0 where it is below 1e-37. 2^n times the
 * series of the rest, which lies within +-ln(2)/2. */
static inline floats exp_of(floats x)
{
    const float log2_e = 1.44269504f, ln2_high = 355.0f / 512, ln2_low = -2.12194440e-4f;
    const float to_integer = 0x1.8p23f; /* adding it leaves no room for a fraction */
    ints in_range = x > EXP_IS_ZERO;
    x = keep_if(in_range, x);
    floats n = (x * log2_e + to_integer) - to_integer;
    floats r = x - n * ln2_high - n * ln2_low;
    floats series = r * (1.0f / 5040) + 1.0f / 720;
    series = series * r + 1.0f / 120;
    series = series * r + 1.0f / 24;
    series = series * r + 1.0f / 6;
    series = series * r + 1.0f / 2;
    series = series * r + 1.0f;
    series = series * r + 1.0f;
    ints power = (__builtin_convertvector(n, ints) + 127) << 23;
    return keep_if(in_range, series * (floats)power);
}

static void weigh_block(const float *values, float max, float temperature, float *out_weights)
{
    const floats *from = (const floats *)(const void *)values;
    floats *to = (floats *)(void *)out_weights;
    for (int i = 0; i < VECTORS; i++)
        to[i] = exp_of((from[i] - max) / temperature);
}

static bool is_above(struct cut cut, float value, token_id id)
{
    return value > cut.value || (value == cut.value && id <= cut.id);
}

/* Weights that are not above the cut become 0. */
static void cut_block(const float *values, token_id first, struct cut cut, float *weights)
{
    const floats *from = (const floats *)(const void *)values;
    floats *to = (floats *)(void *)weights;
    ints ids = first + (ints){0, 1, 2, 3};
    for (int i = 0; i < VECTORS; i++, ids += VECTOR)
        to[i] = keep_if((from[i] > cut.value) | ((from[i] == cut.value) & (ids <= cut.id)), to[i]);
}

static double sum_of_block(const float *weights)
{
    double lane[LANES] = {0}, sum = 0;
    for (uint32_t i = 0; i < BLOCK; i += LANES) {
        for (uint32_t j = 0; j < LANES; j++)
            lane[j] += (double)weights[i + j];
    }
    for (uint32_t j = 0; j < LANES; j++)
        sum += lane[j];
    return sum;
}

/* Weighs the values above the cut; returns the sum of all weights. */
static double weigh(struct sampler *sampler, struct cut cut, float max, float temperature)
{
    double total = 0;
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        const float *values = sampler->values + block * BLOCK;
        float *weights = sampler->weights + block * BLOCK;
        sampler->sums[block] = 0;
        float top = sampler->tops[block];
        if (top < cut.value || (top - max) / temperature <= EXP_IS_ZERO)
            continue; /* all of it would weigh nothing */
        weigh_block(values, max, temperature, weights);
        cut_block(values, (token_id)(block * BLOCK), cut, weights);
        total += sampler->sums[block] = sum_of_block(weights);
    }
    return total;
}

/* Applies a stricter cut to the weights; returns the sum of what is left. */
static double narrow(struct sampler *sampler, struct cut cut)
{
    double total = 0;
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        float *weights = sampler->weights + block * BLOCK;
        if (sampler->tops[block] < cut.value)
            sampler->sums[block] = 0;
        if (sampler->sums[block] == 0)
            continue;
        cut_block(sampler->values + block * BLOCK, (token_id)(block * BLOCK), cut, weights);
        total += sampler->sums[block] = sum_of_block(weights);
    }
    return total;
}

/* --- stages 4 to 6: the cut --- */

static bool ranks_before(const struct candidate *a, const struct candidate *b)
{
    return a->value > b->value || (a->value == b->value && a->id < b->id);
}

static void swap(struct candidate *a, struct candidate *b)
{
    struct candidate kept = *a;
    *a = *b;
    *b = kept;
}

/* Puts what ranks before candidates[pivot] in front of it and the rest behind; returns where it
 * then is, and the weight before it. */
static size_t partition(struct candidate *candidates, size_t begin, size_t end, size_t pivot,
                        double *out_weight)
{
    size_t place = begin;
    double weight = 0;
    swap(&candidates[pivot], &candidates[end - 1]);
    for (size_t i = begin; i < end - 1; i++) {
        if (!ranks_before(&candidates[i], &candidates[end - 1]))
            continue;
        weight += (double)candidates[i].weight;
        swap(&candidates[i], &candidates[place++]);
    }
    swap(&candidates[place], &candidates[end - 1]);
    *out_weight = weight;
    return place;
}

/* Brings the fewest best-ranked candidates that together weigh `enough` to the front, in any order,
 * and returns how many they are: at least one; all, when all do not suffice. Expected time is
 * linear: a quickselect by weight. The pivot is scattered, so no regular input is a bad one. */
static size_t select_best(struct candidate *candidates, size_t count, double enough)
{
    size_t begin = 0, end = count; /* what lies before `begin` is in, from `end` on is out */
    while (begin < end && (enough > 0 || begin == 0)) {
        double weight;
        size_t pivot = begin + sampler_random(begin, end) % (end - begin);
        pivot = partition(candidates, begin, end, pivot, &weight);
        if (weight >= enough && pivot > 0) {
            end = pivot;
        } else {
            enough -= weight + (double)candidates[pivot].weight;
            begin = pivot + 1;
        }
    }
    return begin;
}

static struct cut cut_behind_last(const struct candidate *candidates, size_t count)
{
    const struct candidate *last = &candidates[0];
    for (size_t i = 1; i < count; i++) {
        if (ranks_before(last, &candidates[i]))
            last = &candidates[i];
    }
    return (struct cut){last->value, last->id};
}

/* Gathers up to twice k, halves that, and goes on with the better cut, which soon lets few pass. */
static struct cut cut_top_k(struct sampler *sampler, size_t k)
{
    struct cut cut = KEEP_ALL;
    size_t count = 0;
    for (uint32_t id = 0; id < sampler->vocab_size; id++) {
        if (id % BLOCK == 0 && sampler->tops[id / BLOCK] < cut.value) {
            id += BLOCK - 1;
            continue;
        }
        if (!is_above(cut, sampler->values[id], (token_id)id))
            continue;
        sampler->best[count++] = (struct candidate){sampler->values[id], (token_id)id, 1};
        if (count == 2 * k) {
            count = select_best(sampler->best, count, (double)k);
            cut = cut_behind_last(sampler->best, count);
        }
    }
    if (count <= k)
        return cut;
    return cut_behind_last(sampler->best, select_best(sampler->best, count, (double)k));
}

/* All tokens that weigh less than `least`, together, are not needed; few are left but where the
 * distribution is flat. */
static size_t gather(struct sampler *sampler, double least)
{
    size_t count = 0;
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        if (sampler->sums[block] < least || sampler->sums[block] == 0)
            continue;
        for (uint32_t id = block * BLOCK; id < (block + 1) * BLOCK; id++) {
            float weight = sampler->weights[id];
            if (weight > 0 && (double)weight >= least)
                sampler->best[count++] =
                    (struct candidate){sampler->values[id], (token_id)id, weight};
        }
    }
    return count;
}

/* `total` is what all weights add up to. */
static struct cut cut_top_p(struct sampler *sampler, double total, double top_p)
{
    /* Those below this weight add up to less than 1 - p of the whole, so the best p are not among
     * them. */
    double least = (1 - top_p) * total / (double)sampler->vocab_size;
    size_t count = gather(sampler, least);
    return cut_behind_last(sampler->best, select_best(sampler->best, count, top_p * total));
}

static struct cut cut_min_p(const struct sampling *sampling, float max, struct cut cut)
{
    if (!(sampling->min_p > 0))
        return cut;
    double least = (double)max + (double)sampling->temperature * log((double)sampling->min_p);
    return (float)least > cut.value ? (struct cut){(float)least, INT32_MAX} : cut;
}

/* --- stage 7: the draw --- */

/* `point` in [0, total). */
static token_id token_at(const struct sampler *sampler, double point)
{
    double passed = 0;
    uint32_t last_block = 0;
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        if (sampler->sums[block] == 0)
            continue;
        last_block = block;
        if (passed + sampler->sums[block] > point)
            break;
        passed += sampler->sums[block];
    }
    uint32_t last = 0; /* rounding may leave the point just behind the last one */
    for (uint32_t id = last_block * BLOCK; id < (last_block + 1) * BLOCK; id++) {
        if (sampler->weights[id] == 0)
            continue;
        last = id;
        passed += (double)sampler->weights[id];
        if (passed > point)
            break;
    }
    return (token_id)last;
}

static token_id draw(struct sampler *sampler, const struct sampler_input *input, float max)
{
    const struct sampling *sampling = input->sampling;
    struct cut cut = KEEP_ALL;
    if (sampling->top_k > 0 && (uint32_t)sampling->top_k < sampler->vocab_size)
        cut = cut_top_k(sampler, (size_t)sampling->top_k);
    bool has_top_p = sampling->top_p < 1;
    if (!has_top_p) /* else it would change the whole that p is a part of */
        cut = cut_min_p(sampling, max, cut);
    double total = weigh(sampler, cut, max, sampling->temperature);
    if (has_top_p) {
        cut = cut_top_p(sampler, total, (double)sampling->top_p);
        total = narrow(sampler, cut_min_p(sampling, max, cut));
    }
    return token_at(sampler, total * unit_draw(sampling->seed, input->index));
}

enum err sampler_pick(struct sampler *sampler, const struct sampler_input *input,
                      token_id *out_token)
{
    load_values(sampler, input->logits);
    apply_bias(sampler, input);
    apply_penalties(sampler, input);
    token_id best = find_best(sampler);
    float max = sampler->values[best];
    if (max == -INFINITY)
        return ERR_REFUSED;
    bool is_greedy = !(input->sampling->temperature > 0);
    *out_token = is_greedy ? best : draw(sampler, input, max);
    return ERR_OK;
}
