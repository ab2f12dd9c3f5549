/* sampler_values - the row of a pick: read block by block, changed token by token. */
#include "worker/sampler_vector.h"

enum { LANES = 8 };
static const float BIAS_FORBIDS = -100;
static const float TOP_IS_STALE = INFINITY; /* no value is: usable() */

/* --- reading it --- */

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
    for (uint32_t i = LANES; i < SAMPLER_BLOCK; i += LANES) {
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
    for (uint32_t i = 0; i < SAMPLER_BLOCK; i++)
        values[i] = usable(values[i]);
    return top_of_block(values);
}

static void load_rest(struct sampler *sampler, const float *logits, uint32_t block)
{
    float padded[SAMPLER_BLOCK];
    size_t first = (size_t)block * SAMPLER_BLOCK, rest = sampler->vocab_size - first;
    memcpy(padded, logits + first, rest * sizeof(padded[0]));
    for (size_t i = rest; i < SAMPLER_BLOCK; i++)
        padded[i] = -INFINITY;
    sampler->tops[block] = load_block(padded, sampler->values + first);
}

/* One pass finds the tops on the way: of a large vocabulary, reading it is what takes the time. */
void sampler_load(struct sampler *sampler, const float *logits)
{
    uint32_t whole = sampler->vocab_size / SAMPLER_BLOCK;
    for (uint32_t block = 0; block < whole; block++)
        sampler->tops[block] = load_block(logits + (size_t)block * SAMPLER_BLOCK,
                                          sampler->values + (size_t)block * SAMPLER_BLOCK);
    if (whole < sampler->block_count)
        load_rest(sampler, logits, whole);
    sampler->cut = KEEP_ALL;
    sampler->temperature = 1;
    sampler->is_top_stale = true;
}

bool sampler_find_top(struct sampler *sampler)
{
    if (!sampler->is_top_stale)
        return sampler->top.value > -INFINITY;
    uint32_t best = 0;
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        if (sampler->tops[block] == TOP_IS_STALE)
            sampler->tops[block] = top_of_block(sampler->values + (size_t)block * SAMPLER_BLOCK);
        if (sampler->tops[block] > sampler->tops[best])
            best = block;
    }
    uint32_t id = best * SAMPLER_BLOCK;
    while (sampler->values[id] != sampler->tops[best])
        id++;
    sampler->top = (struct cut){sampler->tops[best], (token_id)id};
    sampler->is_top_stale = false;
    sampler->is_weighed = false;
    return sampler->top.value > -INFINITY;
}

/* --- changing it --- */

void sampler_set_value(struct sampler *sampler, token_id token, float value)
{
    sampler->values[token] = value;
    sampler->tops[token / SAMPLER_BLOCK] = TOP_IS_STALE;
    sampler->is_top_stale = true;
}

/* A word is a block. Where little is allowed, that is one write of a block after the other. */
_Static_assert(SAMPLER_BLOCK == 64, "a block has a word's bits");

void sampler_apply_allowed(struct sampler *sampler, const uint64_t *allowed)
{
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        if (allowed[block] == UINT64_MAX)
            continue;
        float *values = sampler->values + (size_t)block * SAMPLER_BLOCK;
        for (uint32_t i = 0; i < SAMPLER_BLOCK; i++)
            values[i] = allowed[block] >> i & 1 ? values[i] : -INFINITY;
        sampler->tops[block] = allowed[block] ? TOP_IS_STALE : -INFINITY;
    }
    sampler->is_top_stale = true;
}

void sampler_apply_bias(struct sampler *sampler, const struct sampler_input *input)
{
    for (size_t i = 0; i < input->sampling->bias_count; i++) {
        struct logit_bias bias = input->sampling->bias[i];
        if (!is_known(sampler, bias.token))
            continue;
        bool is_forbidden = bias.bias <= BIAS_FORBIDS;
        sampler_set_value(sampler, bias.token,
                          is_forbidden ? -INFINITY
                                       : usable(sampler->values[bias.token] + bias.bias));
    }
    for (size_t i = 0; i < input->forbidden_count; i++) {
        if (is_known(sampler, input->forbidden[i]))
            sampler_set_value(sampler, input->forbidden[i], -INFINITY);
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

void sampler_apply_penalties(struct sampler *sampler, const struct sampler_input *input)
{
    const struct sampling *sampling = input->sampling;
    size_t window = input->history_count;
    if (sampling->penalty_last_n >= 0 && (size_t)sampling->penalty_last_n < window)
        window = (size_t)sampling->penalty_last_n;
    if (window == 0 || !has_penalties(sampling))
        return;
    sampler_settle(sampler);
    const token_id *tokens = input->history + (input->history_count - window);
    for (size_t i = 0; i < window; i++) {
        if (is_known(sampler, tokens[i]))
            sampler->counts[tokens[i]]++;
    }
    for (size_t i = 0; i < window; i++) {
        if (!is_known(sampler, tokens[i]) || sampler->counts[tokens[i]] == 0)
            continue; /* seen already */
        sampler_set_value(
            sampler, tokens[i],
            penalised(sampling, sampler->values[tokens[i]], sampler->counts[tokens[i]]));
        sampler->counts[tokens[i]] = 0;
    }
}

/* --- what is kept of it --- */

void sampler_settle(struct sampler *sampler)
{
    if (sampler->cut.value == -INFINITY && sampler->temperature == 1)
        return;
    for (uint32_t id = 0; id < sampler->vocab_size; id++) {
        float value = sampler->values[id];
        bool is_kept = is_above(sampler->cut, value, (token_id)id);
        sampler->values[id] = is_kept ? usable(value / sampler->temperature) : -INFINITY;
    }
    for (uint32_t block = 0; block < sampler->block_count; block++)
        sampler->tops[block] = TOP_IS_STALE;
    sampler->cut = KEEP_ALL;
    sampler->temperature = 1;
    sampler->is_top_stale = true;
}

void sampler_keep_only(struct sampler *sampler, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sampler->best[i].value = sampler->values[sampler->best[i].id];
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        if (sampler->tops[block] < sampler->cut.value)
            continue; /* not kept anyway */
        for (uint32_t i = 0; i < SAMPLER_BLOCK; i++)
            sampler->values[block * SAMPLER_BLOCK + i] = -INFINITY;
        sampler->tops[block] = -INFINITY;
    }
    for (size_t i = 0; i < count; i++)
        sampler_set_value(sampler, sampler->best[i].id, sampler->best[i].value);
}

/* Sums of how far the kept values are below the top, and of the squares of that. */
struct sums {
    double count, distance, square;
};

static void add_block(struct sums *sums, const float *values, token_id first, struct cut cut,
                      float top)
{
    const floats *from = (const floats *)(const void *)values;
    ints ids = first + (ints){0, 1, 2, 3}, count = {0};
    doubles distance = {0}, square = {0};
    for (int i = 0; i < VECTORS; i++, ids += VECTOR) {
        ints kept = kept_by(cut, from[i], ids);
        doubles below = __builtin_convertvector(keep_if(kept, top - from[i]), doubles);
        count -= kept;
        distance += below;
        square += below * below;
    }
    sums->count += count[0] + count[1] + count[2] + count[3];
    sums->distance += distance[0] + distance[1] + distance[2] + distance[3];
    sums->square += square[0] + square[1] + square[2] + square[3];
}

struct moments sampler_moments(const struct sampler *sampler)
{
    struct sums sums = {0};
    for (uint32_t block = 0; block < sampler->block_count; block++) {
        token_id first = (token_id)(block * SAMPLER_BLOCK);
        if (sampler->tops[block] >= sampler->cut.value)
            add_block(&sums, sampler->values + first, first, sampler->cut, sampler->top.value);
    }
    double mean = sums.distance / sums.count;
    return (struct moments){.count = (size_t)sums.count,
                            .mean = mean,
                            .variance = sums.square / sums.count - mean * mean};
}
