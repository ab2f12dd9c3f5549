/* sampler_weights - probabilities, and cuts through the ranking (value, then id).
 *
 * Passes go block by block: loops of constant length over plain arrays, which compilers turn into
 * vector code; blocks whose largest value lies below the cut, or so far below the best that all of
 * it would weigh 0, are passed over. */
#include "worker/sampler_vector.h"

enum { LANES = 8 };
static const float EXP_IS_ZERO = -87.0f; /* exp_of() of this, and below */

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

/* Weights that are not above the cut become 0. */
static void cut_block(const float *values, token_id first, struct cut cut, float *weights)
{
    const floats *from = (const floats *)(const void *)values;
    floats *to = (floats *)(void *)weights;
    ints ids = first + (ints){0, 1, 2, 3};
    for (int i = 0; i < VECTORS; i++, ids += VECTOR)
        to[i] = keep_if(kept_by(cut, from[i], ids), to[i]);
}

static double sum_of_block(const float *weights)
{
    double lane[LANES] = {0}, sum = 0;
    for (uint32_t i = 0; i < SAMPLER_BLOCK; i += LANES) {
        for (uint32_t j = 0; j < LANES; j++)
            lane[j] += (double)weights[i + j];
    }
    for (uint32_t j = 0; j < LANES; j++)
        sum += lane[j];
    return sum;
}

static double weigh_all(struct sampler *sampler)
{
    struct cut cut = sampler->cut;
    float max = sampler->top.value, temperature = sampler->temperature;
    double total = 0;
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        const float *values = sampler->values + block * SAMPLER_BLOCK;
        float *weights = sampler->weights + block * SAMPLER_BLOCK;
        sampler->sums[block] = 0;
        float top = sampler->tops[block];
        if (top < cut.value || (top - max) / temperature <= EXP_IS_ZERO)
            continue; /* all of it would weigh nothing */
        weigh_block(values, max, temperature, weights);
        if (cut.value > -INFINITY)
            cut_block(values, (token_id)(block * SAMPLER_BLOCK), cut, weights);
        total += sampler->sums[block] = sum_of_block(weights);
    }
    return total;
}

/* For a cut that is stricter than the one before. */
static double narrow(struct sampler *sampler)
{
    struct cut cut = sampler->cut;
    double total = 0;
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        float *weights = sampler->weights + block * SAMPLER_BLOCK;
        if (sampler->tops[block] < cut.value)
            sampler->sums[block] = 0;
        if (sampler->sums[block] == 0)
            continue;
        cut_block(sampler->values + block * SAMPLER_BLOCK, (token_id)(block * SAMPLER_BLOCK), cut,
                  weights);
        total += sampler->sums[block] = sum_of_block(weights);
    }
    return total;
}

void sampler_weigh(struct sampler *sampler)
{
    bool is_same = sampler->is_weighed && sampler->weighed_temperature == sampler->temperature;
    bool is_same_cut = sampler->weighed_cut.value == sampler->cut.value &&
                       sampler->weighed_cut.id == sampler->cut.id;
    if (is_same && is_same_cut)
        return;
    sampler->total = is_same ? narrow(sampler) : weigh_all(sampler);
    sampler->is_weighed = true;
    sampler->weighed_cut = sampler->cut;
    sampler->weighed_temperature = sampler->temperature;
}

/* The weights of a block, each times how far its value is below the top. */
static double distance_of_block(const float *values, const float *weights, float top)
{
    const floats *value = (const floats *)(const void *)values;
    const floats *weight = (const floats *)(const void *)weights;
    doubles sum = {0};
    for (int i = 0; i < VECTORS; i++) {
        floats below = keep_if(weight[i] > 0, top - value[i]); /* no 0 times infinity */
        sum +=
            __builtin_convertvector(below, doubles) * __builtin_convertvector(weight[i], doubles);
    }
    return sum[0] + sum[1] + sum[2] + sum[3];
}

double sampler_entropy(struct sampler *sampler, double *out_log_total)
{
    sampler_weigh(sampler);
    double sum = 0;
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        size_t first = (size_t)block * SAMPLER_BLOCK;
        if (sampler->sums[block] > 0)
            sum += distance_of_block(sampler->values + first, sampler->weights + first,
                                     sampler->top.value);
    }
    *out_log_total = log(sampler->total);
    return *out_log_total + sum / (double)sampler->temperature / sampler->total;
}

/* --- selecting by rank --- */

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

/* Expected time is linear: a quickselect by weight. The pivot is scattered, so no regular input is
 * a bad one. */
size_t sampler_select(struct candidate *candidates, size_t count, double enough)
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

struct cut sampler_cut_behind(const struct candidate *candidates, size_t count)
{
    const struct candidate *last = &candidates[0];
    for (size_t i = 1; i < count; i++) {
        if (ranks_before(last, &candidates[i]))
            last = &candidates[i];
    }
    return (struct cut){last->value, last->id};
}

/* Up to twice k candidates: then that is halved, and goes on with the better cut, which soon lets
 * few pass. */
struct shortlist {
    struct candidate *candidates;
    size_t count, k;
    struct cut cut;
};

static void consider(struct shortlist *list, float value, token_id id)
{
    if (!is_above(list->cut, value, id))
        return;
    list->candidates[list->count++] = (struct candidate){value, id, 1};
    if (list->count == 2 * list->k) {
        list->count = sampler_select(list->candidates, list->count, (double)list->k);
        list->cut = sampler_cut_behind(list->candidates, list->count);
    }
}

static void consider_block(struct shortlist *list, const float *values, token_id first)
{
    const floats *from = (const floats *)(const void *)values;
    ints ids = first + (ints){0, 1, 2, 3};
    for (int i = 0; i < VECTORS; i++, ids += VECTOR) {
        ints kept = kept_by(list->cut, from[i], ids);
        if (!(kept[0] | kept[1] | kept[2] | kept[3]))
            continue;
        for (int j = 0; j < VECTOR; j++)
            consider(list, from[i][j], ids[j]);
    }
}

size_t sampler_gather_top_k(struct sampler *sampler, size_t k)
{
    struct shortlist list = {.candidates = sampler->best, .k = k, .cut = sampler->cut};
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        token_id first = (token_id)(block * SAMPLER_BLOCK);
        if (sampler->tops[block] >= list.cut.value)
            consider_block(&list, sampler->values + first, first);
    }
    if (list.count <= k)
        return list.count;
    return sampler_select(list.candidates, list.count, (double)k);
}

size_t sampler_gather(struct sampler *sampler, double least)
{
    size_t count = 0;
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        if (sampler->sums[block] < least || sampler->sums[block] == 0)
            continue;
        uint32_t end = (block + 1) * SAMPLER_BLOCK;
        for (uint32_t id = block * SAMPLER_BLOCK; id < end; id++) {
            float weight = sampler->weights[id];
            if (weight > 0 && (double)weight >= least)
                sampler->best[count++] =
                    (struct candidate){sampler->values[id], (token_id)id, weight};
        }
    }
    return count;
}

/* --- cuts --- */

/* The cut that leaves the `count` first in rank of what is kept. */
static struct cut cut_of_top_k(struct sampler *sampler, size_t count)
{
    return sampler_cut_behind(sampler->best, sampler_gather_top_k(sampler, count));
}

void sampler_cut(struct sampler *sampler, struct cut cut, int32_t min_keep)
{
    if (!is_above(cut, sampler->top.value, sampler->top.id))
        cut = sampler->top;
    if (min_keep > 1) {
        struct cut weaker = cut_of_top_k(sampler, (size_t)min_keep);
        if (is_above(weaker, cut.value, cut.id))
            cut = weaker;
    }
    sampler->cut = stricter(sampler->cut, cut);
}

void sampler_cut_below(struct sampler *sampler, double log_weight, int32_t min_keep)
{
    double least = (double)sampler->top.value + (double)sampler->temperature * log_weight;
    sampler_cut(sampler, (struct cut){(float)least, INT32_MAX}, min_keep);
}

void sampler_cut_top_k(struct sampler *sampler, const struct sampler_input *input)
{
    int32_t k = input->sampling->top_k;
    if (k > 0 && (uint32_t)k < sampler->vocab_size)
        sampler->cut = cut_of_top_k(sampler, (size_t)k);
}

static double weight_of(const struct candidate *candidates, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)candidates[i].weight;
    return sum;
}

/* Gathers what is enough to have the first in rank that reach p, and as little more as may be. */
static size_t gather_for_top_p(struct sampler *sampler, double top_p)
{
    enum { FEW = 4096 };
    /* No more than a few tokens have such a share; of a trained model's row they mostly do. */
    size_t count = sampler_gather(sampler, sampler->total / FEW);
    if (weight_of(sampler->best, count) >= top_p * sampler->total)
        return count;
    /* Those below this weight add up to less than 1 - p of the whole, so the best p are not among
     * them. */
    return sampler_gather(sampler, (1 - top_p) * sampler->total / (double)sampler->vocab_size);
}

void sampler_cut_top_p(struct sampler *sampler, const struct sampler_input *input)
{
    double top_p = (double)input->sampling->top_p;
    if (!(top_p < 1))
        return;
    sampler_weigh(sampler);
    size_t count = gather_for_top_p(sampler, top_p);
    count = sampler_select(sampler->best, count, top_p * sampler->total);
    sampler_cut(sampler, sampler_cut_behind(sampler->best, count), input->sampling->min_keep);
}

void sampler_cut_min_p(struct sampler *sampler, const struct sampler_input *input)
{
    double min_p = (double)input->sampling->min_p;
    if (min_p > 0)
        sampler_cut_below(sampler, log(min_p), input->sampling->min_keep);
}

/* --- the draw --- */

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
    for (uint32_t id = last_block * SAMPLER_BLOCK; id < (last_block + 1) * SAMPLER_BLOCK; id++) {
        if (sampler->weights[id] == 0)
            continue;
        last = id;
        passed += (double)sampler->weights[id];
        if (passed > point)
            break;
    }
    return (token_id)last;
}

token_id sampler_draw(struct sampler *sampler, const struct sampler_input *input)
{
    sampler_weigh(sampler);
    uint64_t stream = input->allowed ? SAMPLER_STREAM_ALLOWED : SAMPLER_STREAM_DRAW;
    double unit = sampler_unit(input->sampling->seed, stream, input->index);
    return token_at(sampler, sampler->total * unit);
}
