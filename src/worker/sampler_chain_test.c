/* sampler_chain_test - every stage, in any order, against a plain sampler that sorts and counts;
 * and what holds for all of them. */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/sampler.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { VOCAB_MAX = 300, HISTORY_MAX = 80 };

/* The text of a token: a letter for each of its digits to the base of 4. */
static struct slice piece(void *ctx, token_id token)
{
    static const char *const pieces[] = {"a", "b", "ab", "\n", "", "ba\nb", "bb", "abb"};
    (void)ctx;
    return slice_str(pieces[(uint32_t)token % ARRAY_COUNT(pieces)]);
}

/* --- the plain sampler --- */

struct plain {
    const struct sampler_input *input;
    uint32_t vocab_size;
    double value[VOCAB_MAX]; /* -infinity: not kept */
    uint32_t ranked[VOCAB_MAX];
    double share[VOCAB_MAX]; /* by id */
    uint32_t count;          /* of what is kept, the first in ranked[] */
    double mu;
};

static const double *sort_keys;

static int by_key(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    if (sort_keys[a] != sort_keys[b])
        return sort_keys[a] > sort_keys[b] ? -1 : 1;
    return a < b ? -1 : a > b;
}

/* What is kept, first those with the largest key; and its shares by value. */
static void rank(struct plain *plain, const double *keys)
{
    double total = 0, max = -INFINITY;
    plain->count = 0;
    for (uint32_t id = 0; id < plain->vocab_size; id++) {
        plain->share[id] = 0;
        max = fmax(max, plain->value[id]);
        if (plain->value[id] > -INFINITY)
            plain->ranked[plain->count++] = id;
    }
    for (uint32_t i = 0; i < plain->count; i++)
        total += plain->share[plain->ranked[i]] = exp(plain->value[plain->ranked[i]] - max);
    for (uint32_t i = 0; i < plain->count; i++)
        plain->share[plain->ranked[i]] /= total;
    sort_keys = keys;
    qsort(plain->ranked, plain->count, sizeof(plain->ranked[0]), by_key);
}

static void drop(struct plain *plain, uint32_t begin, uint32_t end) /* by rank */
{
    for (uint32_t i = begin; i < end; i++)
        plain->value[plain->ranked[i]] = -INFINITY;
}

/* How many of the first have a share of p together. */
static uint32_t reach(const struct plain *plain, double p, bool shall_pass)
{
    double passed = 0;
    uint32_t count = 0;
    while (count < plain->count && (shall_pass ? passed <= p : passed < p))
        passed += plain->share[plain->ranked[count++]];
    uint32_t min_keep = (uint32_t)plain->input->sampling->min_keep;
    count = count < min_keep ? min_keep : count;
    return count < plain->count ? count : plain->count;
}

static double entropy_of(const struct plain *plain)
{
    double sum = 0;
    for (uint32_t i = 0; i < plain->count; i++) {
        double share = plain->share[plain->ranked[i]];
        sum -= share > 0 ? share * log(share) : 0;
    }
    return sum;
}

static size_t window_of(const struct sampler_input *input, int32_t last_n)
{
    return last_n >= 0 && (size_t)last_n < input->history_count ? (size_t)last_n
                                                                : input->history_count;
}

static float number(float value)
{
    return isnan(value) ? -INFINITY : value > FLT_MAX ? FLT_MAX : value;
}

static void plain_bias(struct plain *plain)
{
    const struct sampling *sampling = plain->input->sampling;
    for (uint32_t id = 0; id < plain->vocab_size; id++) {
        float value = number(plain->input->logits[id]);
        for (size_t i = 0; i < sampling->bias_count; i++) {
            if (sampling->bias[i].token != (token_id)id)
                continue;
            value =
                sampling->bias[i].bias <= -100 ? -INFINITY : number(value + sampling->bias[i].bias);
        }
        plain->value[id] = (double)value;
    }
}

static void plain_penalties(struct plain *plain)
{
    const struct sampling *sampling = plain->input->sampling;
    size_t window = window_of(plain->input, sampling->penalty_last_n);
    for (uint32_t id = 0; id < plain->vocab_size; id++) {
        uint32_t count = 0;
        for (size_t i = 1; i <= window; i++)
            count += plain->input->history[plain->input->history_count - i] == (token_id)id;
        float value = (float)plain->value[id];
        if (count == 0 || (sampling->repeat_penalty == 1 && sampling->frequency_penalty == 0 &&
                           sampling->presence_penalty == 0))
            continue;
        value = value <= 0 ? value * sampling->repeat_penalty : value / sampling->repeat_penalty;
        plain->value[id] = (double)number(
            value - ((float)count * sampling->frequency_penalty + sampling->presence_penalty));
    }
}

/* How many tokens at the end stand behind the last breaker: the text is made, and looked through
 * from its end for where one begins. */
static size_t plain_behind(const struct plain *plain, const token_id *tokens, size_t count)
{
    char text[HISTORY_MAX * 8];
    size_t owner[HISTORY_MAX * 8], bytes = 0;
    for (size_t i = 0; i < count; i++) {
        struct slice one = piece(NULL, tokens[i]);
        for (size_t j = 0; (uint32_t)tokens[i] < plain->vocab_size && j < one.len; j++) {
            owner[bytes] = i;
            text[bytes++] = one.data[j];
        }
    }
    size_t limit = count, begun = SIZE_MAX;
    for (size_t at = bytes; at-- > 0 && (begun == SIZE_MAX || owner[at] == begun);) {
        for (size_t i = 0; i < plain->input->sampling->dry_breaker_count; i++) {
            struct slice breaker = plain->input->sampling->dry_breakers[i];
            if (!slice_starts_with(slice_of(text + at, bytes - at), breaker))
                continue;
            size_t left = count - 1 - owner[at + breaker.len - 1];
            limit = left < limit ? left : limit;
            begun = owner[at];
        }
    }
    return limit;
}

static bool plain_breaks(const struct plain *plain, token_id token)
{
    for (size_t i = 0; i < plain->input->sampling->dry_breaker_count; i++) {
        if (slice_find(piece(NULL, token), plain->input->sampling->dry_breakers[i]) != SLICE_NPOS)
            return true;
    }
    return false;
}

static void plain_dry(struct plain *plain)
{
    const struct sampling *sampling = plain->input->sampling;
    size_t count = window_of(plain->input, sampling->dry_last_n);
    const token_id *tokens = plain->input->history + (plain->input->history_count - count);
    size_t allowed = (size_t)sampling->dry_allowed, longest[VOCAB_MAX] = {0};
    size_t limit = plain_behind(plain, tokens, count);
    if (sampling->dry_multiplier == 0 || limit < allowed || count <= allowed)
        return;
    for (size_t next = 1; next < count; next++) { /* a place where the last tokens stood before */
        size_t same = 0;
        while (same < next && same < limit && tokens[next - 1 - same] == tokens[count - 1 - same])
            same++;
        if (same >= allowed && (uint32_t)tokens[next] < plain->vocab_size &&
            same + 1 > longest[tokens[next]])
            longest[tokens[next]] = same + 1;
    }
    for (uint32_t id = 0; id < plain->vocab_size; id++) {
        if (longest[id] == 0 || plain_breaks(plain, (token_id)id))
            continue;
        double cost = (double)sampling->dry_multiplier *
                      pow((double)sampling->dry_base, (double)(longest[id] - 1 - allowed));
        plain->value[id] = (double)number((float)(plain->value[id] - cost));
    }
}

static void plain_top_n_sigma(struct plain *plain)
{
    double sigmas = (double)plain->input->sampling->top_n_sigma, sum = 0, squares = 0;
    rank(plain, plain->value);
    for (uint32_t i = 0; i < plain->count; i++)
        sum += plain->value[plain->ranked[i]] / plain->count;
    for (uint32_t i = 0; i < plain->count; i++)
        squares += pow(plain->value[plain->ranked[i]] - sum, 2) / plain->count;
    double least = plain->value[plain->ranked[0]] - sigmas * sqrt(squares);
    for (uint32_t i = 1; sigmas > 0 && i < plain->count; i++) {
        if (plain->value[plain->ranked[i]] < least)
            drop(plain, i, i + 1);
    }
}

static void plain_top_k(struct plain *plain)
{
    rank(plain, plain->value);
    if (plain->input->sampling->top_k > 0)
        drop(plain, (uint32_t)plain->input->sampling->top_k, plain->count);
}

static void plain_typical(struct plain *plain)
{
    double typical_p = (double)plain->input->sampling->typical_p, keys[VOCAB_MAX];
    if (typical_p >= 1)
        return;
    rank(plain, plain->value);
    double entropy = entropy_of(plain);
    for (uint32_t id = 0; id < plain->vocab_size; id++)
        keys[id] = (double)(float)-fabs(-log(plain->share[id]) - entropy);
    rank(plain, keys);
    drop(plain, reach(plain, typical_p, true), plain->count);
}

static void plain_top_p(struct plain *plain)
{
    if (plain->input->sampling->top_p >= 1)
        return;
    rank(plain, plain->value);
    drop(plain, reach(plain, (double)plain->input->sampling->top_p, false), plain->count);
}

static void plain_min_p(struct plain *plain)
{
    rank(plain, plain->value);
    double least = plain->value[plain->ranked[0]] + log((double)plain->input->sampling->min_p);
    for (uint32_t i = 1; i < plain->count; i++) {
        if (plain->value[plain->ranked[i]] < least &&
            (int32_t)i >= plain->input->sampling->min_keep)
            drop(plain, i, i + 1);
    }
}

static double unit_of(const struct sampler_input *input, uint64_t stream)
{
    uint64_t number = sampler_random(input->sampling->seed, (stream << 56) + input->index);
    return (double)(number >> 11) * 0x1p-53;
}

static void plain_xtc(struct plain *plain)
{
    const struct sampling *sampling = plain->input->sampling;
    uint32_t likely = 0;
    if (unit_of(plain->input, 1) >= (double)sampling->xtc_probability ||
        sampling->xtc_threshold > 0.5f)
        return;
    rank(plain, plain->value);
    while (likely < plain->count && plain->share[plain->ranked[likely]] > 0 &&
           plain->share[plain->ranked[likely]] >= (double)sampling->xtc_threshold)
        likely++;
    if (likely > 1 && plain->count - (likely - 1) >= (uint32_t)sampling->min_keep)
        drop(plain, 0, likely - 1);
}

static void plain_divide(struct plain *plain, double temperature)
{
    rank(plain, plain->value);
    if (!(temperature > 0))
        drop(plain, 1, plain->count);
    for (uint32_t id = 0; temperature > 0 && id < plain->vocab_size; id++)
        plain->value[id] /= temperature;
}

static void plain_temperature(struct plain *plain)
{
    const struct sampling *sampling = plain->input->sampling;
    double temperature = (double)sampling->temperature, range = (double)sampling->dynatemp_range;
    rank(plain, plain->value);
    if (range > 0 && plain->count > 1) {
        double share = pow(fmax(entropy_of(plain) / log(plain->count), 0),
                           (double)sampling->dynatemp_exponent);
        double least = fmax(temperature - range, 0);
        temperature = least + (temperature + range - least) * share;
    }
    if (range == 0 || plain->count > 1)
        plain_divide(plain, (double)(float)temperature);
}

static void plain_mirostat(struct plain *plain)
{
    const struct sampling *sampling = plain->input->sampling;
    double products = 0, squares = 0, keep = 0;
    plain_divide(plain, (double)sampling->temperature);
    rank(plain, plain->value);
    for (uint32_t i = 0; i + 1 < plain->count && i < 99; i++) {
        double t = log((i + 2.0) / (i + 1.0));
        products += t * (plain->value[plain->ranked[i]] - plain->value[plain->ranked[i + 1]]);
        squares += t * t;
    }
    double s = products / squares;
    if (sampling->mirostat == 1)
        keep = pow((s - 1) * pow(2, plain->mu) / (1 - pow(plain->vocab_size, 1 - s)), 1 / s);
    while (sampling->mirostat == 2 && keep < plain->count &&
           -log2(plain->share[plain->ranked[(uint32_t)keep]]) <= plain->mu)
        keep++;
    drop(plain, keep > 1 ? (uint32_t)fmin(keep, plain->count) : 1, plain->count);
}

typedef void plain_stage_fn(struct plain *plain);
static plain_stage_fn *const plain_stages[] = {
    [SAMPLING_PENALTIES] = plain_penalties,
    [SAMPLING_DRY] = plain_dry,
    [SAMPLING_TOP_N_SIGMA] = plain_top_n_sigma,
    [SAMPLING_TOP_K] = plain_top_k,
    [SAMPLING_TYPICAL_P] = plain_typical,
    [SAMPLING_TOP_P] = plain_top_p,
    [SAMPLING_MIN_P] = plain_min_p,
    [SAMPLING_XTC] = plain_xtc,
    [SAMPLING_TEMPERATURE] = plain_temperature,
};

/* False: nothing is left. */
static bool plain_run(struct plain *plain)
{
    const struct sampling *sampling = plain->input->sampling;
    plain_bias(plain);
    for (uint32_t i = 0; sampling->mirostat == 0 && i < sampling->order_count; i++) {
        rank(plain, plain->value);
        if (plain->count == 0)
            return false;
        plain_stages[sampling->order[i]](plain);
    }
    rank(plain, plain->value);
    if (plain->count > 0 && sampling->mirostat > 0)
        plain_mirostat(plain);
    rank(plain, plain->value);
    return plain->count > 0;
}

/* Whether the draw may fall on `token`: it does, or misses its share by a rounding error. */
static bool is_drawn(const struct plain *plain, token_id token)
{
    double begin = 0, point = unit_of(plain->input, 0), slack = 1e-6;
    for (token_id id = 0; id < token; id++)
        begin += plain->share[id];
    return plain->share[token] > 0 && point >= begin - slack &&
           point <= begin + plain->share[token] + slack;
}

/* --- random cases --- */

static double unit(uint64_t *random)
{
    return (double)(test_random(random) >> 11) * 0x1p-53;
}

static bool one_in(uint64_t *random, uint32_t n)
{
    return test_random(random) % n == 0;
}

static void random_logits(float *logits, uint32_t vocab_size, uint64_t *random)
{
    double spread = 20 * unit(random);
    uint64_t shape = test_random(random) % 4;
    for (uint32_t i = 0; i < vocab_size; i++) {
        logits[i] = (float)(spread * (unit(random) - 0.5));
        if (shape == 1)
            logits[i] = (float)(int)(logits[i] / 2); /* many equal ones */
        if (shape == 2)
            logits[i] = (float)i * 0.1f - 3; /* rising: the worst order for top-k */
        if (one_in(random, 40))
            logits[i] = (float[]){NAN, -INFINITY, -1e30f}[test_random(random) % 3];
    }
}

static void random_rare(struct sampling *sampling, uint64_t *random)
{
    if (one_in(random, 3))
        sampling->typical_p = (float)(1 - unit(random));
    if (one_in(random, 3))
        sampling->top_n_sigma = (float)(3 * unit(random));
    if (one_in(random, 3))
        sampling->xtc_probability = one_in(random, 2) ? 1 : (float)unit(random);
    sampling->xtc_threshold = (float)(0.6 * unit(random) * unit(random));
    if (one_in(random, 3))
        sampling->min_keep = (int32_t)(test_random(random) % 12);
    if (one_in(random, 4))
        sampling->dynatemp_range = (float)(2 * unit(random));
    sampling->dynatemp_exponent = (float)(2 * unit(random));
    if (one_in(random, 3))
        sampling->dry_multiplier = (float)(3 * unit(random));
    sampling->dry_base = (float)(1 + unit(random));
    sampling->dry_allowed = (int32_t)(test_random(random) % 4);
    sampling->dry_last_n = (int32_t)(test_random(random) % 90) - 1;
    if (one_in(random, 12))
        sampling->mirostat = 1 + test_random(random) % 2;
    sampling->mirostat_tau = (float)(5 * unit(random));
}

static struct sampling random_sampling(uint64_t *random)
{
    struct sampling sampling = sampling_default();
    sampling.seed = test_random(random);
    sampling.temperature = one_in(random, 8) ? 0 : (float)(3 * unit(random));
    if (one_in(random, 2))
        sampling.top_k = (int32_t)(test_random(random) % (VOCAB_MAX + 10));
    if (one_in(random, 2))
        sampling.top_p = (float)(1 - unit(random));
    if (one_in(random, 2))
        sampling.min_p = (float)(unit(random) * unit(random));
    if (one_in(random, 2))
        sampling.repeat_penalty = (float)(0.5 + 1.5 * unit(random));
    if (one_in(random, 2))
        sampling.frequency_penalty = (float)(4 * unit(random) - 2);
    if (one_in(random, 2))
        sampling.presence_penalty = (float)(4 * unit(random) - 2);
    sampling.penalty_last_n = (int32_t)(test_random(random) % 90) - 1;
    if (one_in(random, 2))
        random_rare(&sampling, random);
    return sampling;
}

/* Shuffled, and some of the last left out. */
static void random_order(struct sampling *sampling, uint64_t *random)
{
    for (uint32_t i = SAMPLING_STAGES - 1; i > 0; i--) {
        uint32_t other = test_random(random) % (i + 1);
        uint8_t kept = sampling->order[i];
        sampling->order[i] = sampling->order[other];
        sampling->order[other] = kept;
    }
    if (one_in(random, 2))
        sampling->order_count = (uint8_t)(test_random(random) % (SAMPLING_STAGES + 1));
}

struct random_case {
    float logits[VOCAB_MAX];
    token_id history[HISTORY_MAX];
    struct logit_bias bias[3];
    struct sampling sampling;
    struct sampler_state state;
    struct sampler_input input;
};

static void random_case(struct random_case *made, uint32_t vocab_size, uint64_t *random)
{
    static const struct slice breakers[] = {SLICE("\n"), SLICE("bb"), SLICE("aba")};
    random_logits(made->logits, vocab_size, random);
    made->sampling = random_sampling(random);
    if (one_in(random, 3))
        random_order(&made->sampling, random);
    made->sampling.dry_breakers = breakers;
    made->sampling.dry_breaker_count = test_random(random) % (ARRAY_COUNT(breakers) + 1);
    for (size_t i = 0; i < ARRAY_COUNT(made->bias); i++)
        made->bias[i] = (struct logit_bias){(int32_t)(97 * i + test_random(random) % 97),
                                            (float)(120 * unit(random) - 110)};
    made->sampling.bias = made->bias, made->sampling.bias_count = test_random(random) % 4;
    uint32_t few = one_in(random, 2) ? 3 : VOCAB_MAX; /* repetitions, or hardly any */
    for (size_t i = 0; i < HISTORY_MAX; i++)
        made->history[i] = (token_id)(test_random(random) % few);
    made->state = (struct sampler_state){.mu = (double)(float)(8 * unit(random) - 1)};
    made->input = (struct sampler_input){.sampling = &made->sampling,
                                         .logits = made->logits,
                                         .history = made->history,
                                         .history_count = test_random(random) % (HISTORY_MAX + 1),
                                         .index = test_random(random) >> 8,
                                         .state = &made->state,
                                         .piece = piece};
}

static void check_random_case(struct sampler *sampler, uint32_t vocab_size, uint64_t *random)
{
    struct random_case made;
    random_case(&made, vocab_size, random);
    struct plain plain = {.input = &made.input, .vocab_size = vocab_size, .mu = made.state.mu};
    double mu = made.state.mu;
    token_id token = -1;
    if (!plain_run(&plain)) {
        CHECK_ERR(sampler_pick(sampler, &made.input, &token), ERR_REFUSED);
        return;
    }
    CHECK_OK(sampler_pick(sampler, &made.input, &token));
    CHECK(is_drawn(&plain, token));
    if (made.sampling.mirostat > 0) {
        double surprise = -log2(plain.share[token]);
        mu -= (double)made.sampling.mirostat_eta * (surprise - (double)made.sampling.mirostat_tau);
    }
    CHECK_NEAR(made.state.mu, mu, 1e-4);
}

TEST(every_random_case_picks_what_a_plain_sorting_sampler_picks)
{
    uint64_t random = 1;
    static const uint32_t sizes[] = {1, 2, 7, 63, 64, 65, 128, 200, VOCAB_MAX};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct sampler *sampler = sampler_new(sizes[i]);
        for (int round = 0; round < 3000; round++)
            check_random_case(sampler, sizes[i], &random);
        sampler_free(sampler);
    }
}
