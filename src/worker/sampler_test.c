#include "testing/test.h"
#include "base/mem.h"
#include "worker/sampler.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { VOCAB_MAX = 300 };

static struct sampling greedy(void)
{
    struct sampling sampling = sampling_default();
    sampling.temperature = 0;
    return sampling;
}

/* One pick of a sampler that is made for it. */
static enum err pick_from(const float *logits, uint32_t vocab_size, struct sampler_input input,
                          token_id *out_token)
{
    struct sampler *sampler = sampler_new(vocab_size);
    input.logits = logits;
    enum err err = sampler_pick(sampler, &input, out_token);
    sampler_free(sampler);
    return err;
}

static token_id pick(const float *logits, uint32_t vocab_size, const struct sampling *sampling)
{
    token_id token = -1;
    CHECK_OK(pick_from(logits, vocab_size, (struct sampler_input){.sampling = sampling}, &token));
    return token;
}

/* How often each token comes out of `draws` picks with index 0, 1, ... */
static void count_picks(const float *logits, uint32_t vocab_size, const struct sampling *sampling,
                        uint32_t draws, uint32_t *out_counts)
{
    struct sampler *sampler = sampler_new(vocab_size);
    memset(out_counts, 0, vocab_size * sizeof(*out_counts));
    for (uint32_t index = 0; index < draws; index++) {
        struct sampler_input input = {.sampling = sampling, .logits = logits, .index = index};
        token_id token;
        CHECK_OK(sampler_pick(sampler, &input, &token));
        out_counts[token]++;
    }
    sampler_free(sampler);
}

/* --- greedy, bias, forbidden, odd numbers --- */

TEST(temperature_zero_picks_the_largest_and_of_equals_the_lowest_id)
{
    struct sampling sampling = greedy();
    CHECK_EQ(pick((float[]){1, 5, 5, 2}, 4, &sampling), 1);
    CHECK_EQ(pick((float[]){-7}, 1, &sampling), 0);
    sampling.top_k = 2, sampling.top_p = 0.1f, sampling.min_p = 1; /* must not matter */
    CHECK_EQ(pick((float[]){1, 2, 9}, 3, &sampling), 2);
}

TEST(bias_moves_a_token_and_minus_100_forbids_it)
{
    struct sampling sampling = greedy();
    struct logit_bias up[] = {{0, 4.5f}}, forbid[] = {{1, -100}}, strange[] = {{-1, 50}, {3, 50}};
    float logits[] = {1, 5, 2};
    sampling.bias = up, sampling.bias_count = 1;
    CHECK_EQ(pick(logits, 3, &sampling), 0);
    sampling.bias = forbid;
    CHECK_EQ(pick(logits, 3, &sampling), 2);
    CHECK_EQ(pick((float[]){-FLT_MAX, INFINITY, -FLT_MAX}, 3, &sampling), 0);
    sampling.bias = strange, sampling.bias_count = 2; /* of tokens that do not exist */
    CHECK_EQ(pick(logits, 3, &sampling), 1);
}

TEST(a_forbidden_token_is_never_picked_whatever_its_bias)
{
    struct sampling sampling = greedy();
    struct logit_bias bias = {1, 100};
    sampling.bias = &bias, sampling.bias_count = 1;
    token_id forbidden[] = {1, 7, -3}, token;
    float logits[] = {1, 5, 2};
    struct sampler_input input = {.sampling = &sampling, .forbidden = forbidden};
    input.forbidden_count = 3;
    CHECK_OK(pick_from(logits, 3, input, &token));
    CHECK_EQ(token, 2);
    sampling.temperature = 2;
    for (input.index = 0; input.index < 200; input.index++) {
        CHECK_OK(pick_from(logits, 3, input, &token));
        CHECK(token != 1);
    }
}

TEST(nan_is_never_picked_and_infinity_always)
{
    struct sampling hot = sampling_default(), cold = greedy();
    float nan_first[] = {NAN, -3, NAN}, infinite[] = {1, -INFINITY, INFINITY, FLT_MAX / 2};
    hot.temperature = 100;
    CHECK_EQ(pick(nan_first, 3, &cold), 1);
    CHECK_EQ(pick(nan_first, 3, &hot), 1);
    CHECK_EQ(pick(infinite, 4, &cold), 2);
    CHECK_EQ(pick(infinite, 4, &hot), 2);
    hot.top_p = 0.9f, hot.top_k = 3, hot.min_p = 0.1f;
    CHECK_EQ(pick(infinite, 4, &hot), 2);
    CHECK_EQ(pick(nan_first, 3, &hot), 1);
}

/* NaN and infinity are rare: a block that has one is read a second time, another way. */
TEST(odd_numbers_are_read_right_at_any_place_of_a_large_vocabulary)
{
    enum { VOCAB = 200 };
    struct sampling sampling = greedy();
    float logits[VOCAB];
    for (uint32_t place = 0; place < VOCAB; place++) {
        for (uint32_t i = 0; i < VOCAB; i++)
            logits[i] = i % 2 ? NAN : -5;
        logits[place] = 3;
        CHECK_EQ(pick(logits, VOCAB, &sampling), place);
        logits[(place + 1) % VOCAB] = INFINITY;
        CHECK_EQ(pick(logits, VOCAB, &sampling), (place + 1) % VOCAB);
        logits[(place + 1) % VOCAB] = -INFINITY;
        CHECK_EQ(pick(logits, VOCAB, &sampling), place);
    }
}

/* What lies 87 temperatures below the best weighs nothing, and its blocks are passed over: what a
 * draw gives must not depend on where the few that weigh something are. */
TEST(a_draw_does_not_depend_on_the_blocks_that_weigh_nothing)
{
    enum { VOCAB = 3 * 64 + 10 };
    struct sampling sampling = sampling_default();
    float logits[VOCAB], near[2] = {0, 1};
    uint32_t counts[VOCAB], expected[2];
    sampling.has_seed = true;
    count_picks(near, 2, &sampling, 100, expected);
    for (uint32_t place = 0; place < VOCAB - 1; place += 7) {
        for (uint32_t i = 0; i < VOCAB; i++)
            logits[i] = i % 2 ? -1e4f : -86.5f - 0.6f; /* just behind the end of exp() */
        memcpy(logits + place, near, sizeof(near));
        count_picks(logits, VOCAB, &sampling, 100, counts);
        CHECK_EQ(counts[place], expected[0]);
        CHECK_EQ(counts[place + 1], expected[1]);
    }
}

TEST(nothing_to_pick_is_refused)
{
    struct sampling cold = greedy(), hot = sampling_default();
    float none[] = {NAN, -INFINITY, NAN}, one[] = {3};
    token_id token = 77, zero = 0;
    CHECK_ERR(pick_from(none, 3, (struct sampler_input){.sampling = &cold}, &token), ERR_REFUSED);
    CHECK_ERR(pick_from(none, 3, (struct sampler_input){.sampling = &hot}, &token), ERR_REFUSED);
    struct sampler_input input = {.sampling = &hot, .forbidden = &zero, .forbidden_count = 1};
    CHECK_ERR(pick_from(one, 1, input, &token), ERR_REFUSED);
    CHECK_EQ(token, 77);
}

TEST(extreme_temperatures_have_their_limits_as_results)
{
    struct sampling sampling = sampling_default();
    uint32_t counts[3];
    float logits[] = {1, 1.5f, -FLT_MAX};
    sampling.temperature = 1e-45f; /* the smallest there is */
    count_picks(logits, 3, &sampling, 100, counts);
    CHECK_EQ(counts[1], 100);
    sampling.temperature = FLT_MAX; /* all but equal */
    count_picks(logits, 3, &sampling, 3000, counts);
    CHECK(counts[0] > 900 && counts[1] > 900 && counts[2] > 200);
}

/* --- penalties --- */

/* The least logit of token 1 that still beats token 0 with the logit `first`, found by halving:
 * so it is what the penalties made of it. */
static double value_after_penalties(float first, const struct sampling *sampling,
                                    const token_id *history, size_t history_count)
{
    double low = -1000, high = 1000;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        float logits[] = {first, (float)middle, -INFINITY};
        struct sampler_input input = {
            .sampling = sampling, .history = history, .history_count = history_count};
        token_id token;
        CHECK_OK(pick_from(logits, 3, input, &token));
        *(token == 1 ? &high : &low) = middle;
    }
    return high;
}

TEST(repeat_penalty_divides_positive_and_multiplies_negative_logits)
{
    struct sampling sampling = greedy();
    token_id history[] = {0, 2, 0};
    sampling.repeat_penalty = 1.25f;
    CHECK_NEAR(value_after_penalties(5, &sampling, history, 3), 4, 1e-4);
    CHECK_NEAR(value_after_penalties(-4, &sampling, history, 3), -5, 1e-4);
    CHECK_NEAR(value_after_penalties(0, &sampling, history, 3), 0, 1e-4);
    CHECK_NEAR(value_after_penalties(5, &sampling, history + 1, 1), 5, 1e-4); /* not in it */
}

TEST(frequency_penalty_counts_and_presence_penalty_does_not)
{
    struct sampling sampling = greedy();
    token_id history[] = {0, 2, 0, 0};
    sampling.frequency_penalty = 0.5f;
    CHECK_NEAR(value_after_penalties(5, &sampling, history, 4), 3.5, 1e-4);
    sampling.presence_penalty = 1;
    CHECK_NEAR(value_after_penalties(5, &sampling, history, 4), 2.5, 1e-4);
    sampling.frequency_penalty = -2, sampling.presence_penalty = 0; /* a reward */
    CHECK_NEAR(value_after_penalties(5, &sampling, history, 4), 11, 1e-4);
    sampling.repeat_penalty = 2; /* first, then the other two */
    CHECK_NEAR(value_after_penalties(5, &sampling, history, 4), 8.5, 1e-4);
}

TEST(penalties_look_at_the_last_n_tokens_only)
{
    struct sampling sampling = greedy();
    token_id history[] = {0, 0, 2, 0, 2, -5, 99}; /* the last two do not exist */
    sampling.frequency_penalty = 1;
    static const struct {
        int32_t last_n;
        double value;
    } cases[] = {{0, 5}, {3, 5}, {4, 4}, {5, 4}, {6, 3}, {7, 2}, {8, 2}, {-1, 2}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        sampling.penalty_last_n = cases[i].last_n;
        CHECK_NEAR(value_after_penalties(5, &sampling, history, 7), cases[i].value, 1e-4);
    }
}

TEST(penalties_of_one_pick_do_not_reach_the_next)
{
    struct sampling sampling = greedy(), plain = greedy();
    token_id history[] = {0, 0, 0}, token;
    float logits[] = {5, 4};
    sampling.frequency_penalty = 2;
    struct sampler *sampler = sampler_new(2);
    struct sampler_input input = {
        .sampling = &sampling, .logits = logits, .history = history, .history_count = 3};
    CHECK_OK(sampler_pick(sampler, &input, &token));
    CHECK_EQ(token, 1);
    input.sampling = &plain;
    CHECK_OK(sampler_pick(sampler, &input, &token));
    CHECK_EQ(token, 0);
    input.sampling = &sampling, input.history_count = 0;
    CHECK_OK(sampler_pick(sampler, &input, &token));
    CHECK_EQ(token, 0);
    sampler_free(sampler);
}

/* --- what the cuts keep --- */

static void check_kept(const float *logits, uint32_t vocab_size, const struct sampling *sampling,
                       uint64_t expected_bits)
{
    uint32_t counts[8];
    count_picks(logits, vocab_size, sampling, 3000, counts);
    for (uint32_t id = 0; id < vocab_size; id++)
        CHECK_EQ(counts[id] > 0, expected_bits >> id & 1);
}

TEST(top_k_keeps_k_and_of_equals_the_lowest_ids)
{
    struct sampling sampling = sampling_default();
    float logits[] = {1, 3, 2, 2, 2, 0};
    static const uint64_t kept[] = {0x3f, 0x02, 0x06, 0x0e, 0x1e, 0x1f, 0x3f, 0x3f};
    for (int32_t k = 0; k < 8; k++) {
        sampling.top_k = k;
        check_kept(logits, 6, &sampling, kept[k]);
    }
}

TEST(the_largest_is_found_at_any_place)
{
    struct sampling cold = greedy(), top = sampling_default();
    struct sampler *sampler = sampler_new(VOCAB_MAX);
    top.top_k = 1;
    for (token_id place = 0; place < VOCAB_MAX; place++) {
        float logits[VOCAB_MAX] = {5, 4}; /* these set the first mark */
        token_id token;
        logits[place] = 5.5f;
        struct sampler_input input = {.sampling = &cold, .logits = logits};
        CHECK_OK(sampler_pick(sampler, &input, &token));
        CHECK_EQ(token, place);
        input.sampling = &top;
        for (input.index = 0; input.index < 8; input.index++) {
            CHECK_OK(sampler_pick(sampler, &input, &token));
            CHECK_EQ(token, place);
        }
    }
    sampler_free(sampler);
}

TEST(top_p_keeps_the_token_that_crosses_p)
{
    struct sampling sampling = sampling_default();
    float logits[] = {logf(0.1f), logf(0.4f), logf(0.3f), logf(0.2f)};
    static const struct {
        float top_p;
        uint64_t kept;
    } cases[] = {{1e-6f, 0x2}, {0.39f, 0x2}, {0.41f, 0x6}, {0.69f, 0x6},
                 {0.71f, 0xe}, {0.89f, 0xe}, {0.91f, 0xf}, {1, 0xf}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        sampling.top_p = cases[i].top_p;
        check_kept(logits, 4, &sampling, cases[i].kept);
    }
    float equal[] = {1, 1, 1, 1}; /* exactly half is reached by two */
    sampling.top_p = 0.5f;
    check_kept(equal, 4, &sampling, 0x3);
    sampling.top_p = 1e-30f;
    check_kept(equal, 4, &sampling, 0x1);
    float rising[] = {logf(0.1f), logf(0.3f), logf(0.4f), logf(0.2f)};
    sampling.top_p = 0; /* not allowed; must do no harm all the same */
    check_kept(rising, 4, &sampling, 0x4);
}

TEST(top_p_is_a_part_of_what_top_k_left)
{
    struct sampling sampling = sampling_default();
    float logits[] = {logf(0.4f), logf(0.3f), logf(0.2f), logf(0.1f)};
    sampling.top_k = 2;
    sampling.top_p = 0.56f; /* of 0.7: 0.4 is 0.571 of it */
    check_kept(logits, 4, &sampling, 0x1);
    sampling.top_p = 0.58f;
    check_kept(logits, 4, &sampling, 0x3);
}

TEST(min_p_is_measured_by_the_largest_also_behind_the_other_cuts)
{
    struct sampling sampling = sampling_default();
    float logits[] = {logf(0.4f), logf(0.3f), logf(0.2f), logf(0.1f)};
    sampling.min_p = 0.49f;
    check_kept(logits, 4, &sampling, 0x7);
    sampling.top_p = 0.95f;
    check_kept(logits, 4, &sampling, 0x7);
    sampling.min_p = 0.74f, sampling.top_k = 3;
    check_kept(logits, 4, &sampling, 0x3);
    sampling.min_p = 1;
    check_kept(logits, 4, &sampling, 0x1);
    sampling.top_p = 0.3f, sampling.min_p = 0.1f; /* the stricter of the two wins */
    check_kept(logits, 4, &sampling, 0x1);
}

TEST(the_temperature_comes_last_unless_the_order_says_otherwise)
{
    struct sampling sampling = sampling_default();
    float logits[] = {0, -1, -8}; /* 0.73 0.27 0.00; at temperature 4: 0.52 0.41 0.07 */
    sampling.top_p = 0.7f, sampling.temperature = 4;
    check_kept(logits, 3, &sampling, 0x1);
    sampling.order[0] = SAMPLING_TEMPERATURE, sampling.order[1] = SAMPLING_TOP_P;
    sampling.order_count = 2;
    check_kept(logits, 3, &sampling, 0x3);
}

TEST(a_stage_that_is_not_in_the_order_is_off)
{
    struct sampling sampling = greedy();
    float logits[] = {1, 2, 1.5f};
    sampling.order_count = 0;
    check_kept(logits, 3, &sampling, 0x7);
    sampling.order[0] = SAMPLING_TEMPERATURE, sampling.order_count = 1;
    check_kept(logits, 3, &sampling, 0x2);
}

/* --- the draw --- */

static double chi_square(const uint32_t *counts, const double *shares, uint32_t count,
                         uint32_t draws)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        double expected = shares[i] * draws;
        sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    return sum;
}

TEST(draws_follow_the_probabilities)
{
    enum { COUNT = 10, DRAWS = 40000 };
    float logits[COUNT] = {0.3f, -1, 2, 1.1f, -0.4f, 0, 1.9f, -2, 0.7f, 1};
    static const float temperatures[] = {0.5f, 1, 2.5f};
    for (size_t t = 0; t < ARRAY_COUNT(temperatures); t++) {
        struct sampling sampling = sampling_default();
        double shares[COUNT], total = 0;
        uint32_t counts[COUNT];
        sampling.temperature = temperatures[t];
        sampling.seed = t;
        for (int i = 0; i < COUNT; i++)
            total += shares[i] = exp((double)logits[i] / (double)sampling.temperature);
        for (int i = 0; i < COUNT; i++)
            shares[i] /= total;
        count_picks(logits, COUNT, &sampling, DRAWS, counts);
        /* 9 degrees of freedom: above 33.7 in one of 10 000 seeds. */
        CHECK(chi_square(counts, shares, COUNT, DRAWS) < 33.7);
    }
}

TEST(draws_over_kept_tokens_follow_their_shares_of_the_rest)
{
    enum { DRAWS = 40000 };
    struct sampling sampling = sampling_default();
    float logits[] = {logf(0.1f), logf(0.4f), logf(0.3f), logf(0.2f)};
    double shares[] = {0.4 / 0.9, 0.3 / 0.9, 0.2 / 0.9};
    uint32_t counts[4];
    sampling.top_p = 0.85f;
    count_picks(logits, 4, &sampling, DRAWS, counts);
    CHECK_EQ(counts[0], 0);
    CHECK(chi_square(counts + 1, shares, 3, DRAWS) < 18.5); /* 2 degrees: one of 10 000 */
}

/* --- the second pick, of those that are allowed --- */

static bool is_allowed(const uint64_t *allowed, token_id token)
{
    return allowed[token / 64] >> (token % 64) & 1;
}

TEST(only_what_is_allowed_is_picked)
{
    struct sampling sampling = greedy();
    float logits[VOCAB_MAX];
    uint64_t allowed[(VOCAB_MAX + 63) / 64] = {0}, random = 1;
    token_id token;
    for (uint32_t id = 0; id < VOCAB_MAX; id++)
        logits[id] = (float)(test_random(&random) % 1000) / 100;
    struct sampler_input input = {.sampling = &sampling, .allowed = allowed};
    CHECK_ERR(pick_from(logits, VOCAB_MAX, input, &token), ERR_REFUSED);
    for (int round = 0; round < 300; round++) {
        for (size_t word = 0; word < ARRAY_COUNT(allowed); word++) /* none, few, most, all */
            allowed[word] =
                round % 7 == (int)word ? UINT64_MAX : test_random(&random) & test_random(&random);
        allowed[VOCAB_MAX / 64] &= (UINT64_C(1) << VOCAB_MAX % 64) - 1;
        uint32_t best = UINT32_MAX;
        for (uint32_t id = 0; id < VOCAB_MAX; id++) {
            if (is_allowed(allowed, (token_id)id) &&
                (best == UINT32_MAX || logits[id] > logits[best]))
                best = id;
        }
        input.index = (uint64_t)round;
        sampling.temperature = 0;
        CHECK_OK(pick_from(logits, VOCAB_MAX, input, &token));
        CHECK_EQ(token, best);
        sampling.temperature = 5;
        sampling.top_k = round % 2 ? 3 : 0;
        CHECK_OK(pick_from(logits, VOCAB_MAX, input, &token));
        CHECK(is_allowed(allowed, token));
    }
}

/* Picks among all, and once more among the allowed if that was refused: each allowed one has its
 * share of what they weigh together. */
TEST(a_refused_pick_and_a_second_one_are_a_draw_among_the_allowed)
{
    enum { COUNT = 6, DRAWS = 40000 };
    static const uint64_t allowed[] = {0x2d}; /* 0, 2, 3, 5 */
    static const float logits[COUNT] = {0.5f, 2, -0.5f, 1, 1.5f, 0};
    struct sampling sampling = sampling_default();
    struct sampler *sampler = sampler_new(COUNT);
    uint32_t counts[4] = {0}, refused = 0;
    double shares[4], total = 0;
    for (uint64_t index = 0; index < DRAWS; index++) {
        struct sampler_input input = {.sampling = &sampling, .logits = logits, .index = index};
        token_id token;
        CHECK_OK(sampler_pick(sampler, &input, &token));
        if (!is_allowed(allowed, token)) {
            input.allowed = allowed;
            refused++;
            CHECK_OK(sampler_pick(sampler, &input, &token));
        }
        counts[(token > 0) + (token > 2) + (token > 3)]++;
    }
    for (int i = 0; i < 4; i++)
        total += shares[i] = exp((double)logits[(int[]){0, 2, 3, 5}[i]]);
    for (int i = 0; i < 4; i++)
        shares[i] /= total;
    CHECK(refused > DRAWS / 2);
    CHECK(chi_square(counts, shares, 4, DRAWS) < 21.1); /* 3 degrees: one of 10 000 */
    sampler_free(sampler);
}

/* The logit of token 0, against 0 for token 1, that makes its share `share` and a little more. */
static float logit_for(double share, double more)
{
    double goal = share * (1 + more), step = more > 0 ? INFINITY : -INFINITY;
    float logit = (float)log(goal / (1 - goal));
    while ((1 / (1 + exp(-(double)logit)) < goal) == (more > 0))
        logit = nextafterf(logit, (float)step);
    return logit;
}

TEST(shares_are_exact_to_a_few_units_in_the_last_place)
{
    struct sampling sampling = sampling_default();
    for (uint64_t index = 0; index < 3000; index++) {
        double draw = (double)(sampler_random(sampling.seed, index) >> 11) * 0x1p-53;
        for (int is_above = 0; is_above < 2; is_above++) {
            float logits[] = {logit_for(draw, is_above ? 5e-7 : -5e-7), 0};
            struct sampler_input input = {.sampling = &sampling, .index = index};
            token_id token;
            CHECK_OK(pick_from(logits, 2, input, &token));
            CHECK_EQ(token, is_above ? 0 : 1);
        }
    }
}

/* A stored seed must give the same answer for ever. */
TEST(random_numbers_never_change)
{
    CHECK(sampler_random(0, 0) == UINT64_C(0xE220A8397B1DCDAF)); /* splitmix64's first, of 0 */
    CHECK(sampler_random(0, 1) == UINT64_C(0x6E789E6AA1B965F4)); /* and second */
    CHECK(sampler_random(42, 7) == UINT64_C(0x272404A0A3926552));
    CHECK(sampler_random(UINT64_MAX, UINT64_MAX) == UINT64_C(0x4BFFD802EBFB15E4));
}

TEST(random_numbers_are_flat_over_indexes_and_over_seeds)
{
    enum { BINS = 64, DRAWS = 64000 };
    double shares[BINS];
    for (int i = 0; i < BINS; i++)
        shares[i] = 1.0 / BINS;
    for (int by_seed = 0; by_seed < 2; by_seed++) {
        uint32_t high[BINS] = {0}, low[BINS] = {0};
        for (uint64_t i = 0; i < DRAWS; i++) {
            uint64_t random = by_seed ? sampler_random(i, 3) : sampler_random(3, i);
            high[random >> 58]++;
            low[random & 63]++;
        }
        CHECK(chi_square(high, shares, BINS, DRAWS) < 111.1); /* 63 degrees: one of 10 000 */
        CHECK(chi_square(low, shares, BINS, DRAWS) < 111.1);
    }
}

TEST(a_draw_depends_on_seed_and_index_and_on_nothing_before_it)
{
    enum { VOCAB = 50 };
    float logits[VOCAB] = {0};
    struct sampling sampling = sampling_default(), other = sampling_default();
    struct sampler *busy = sampler_new(VOCAB), *fresh = sampler_new(VOCAB);
    uint32_t same_for_next_seed = 0;
    other.top_k = 7, other.top_p = 0.5f, other.seed = 9;
    for (uint64_t index = 0; index < 500; index++) {
        struct sampler_input input = {
            .sampling = &sampling, .logits = logits, .index = 499 - index};
        struct sampler_input noise = {.sampling = &other, .logits = logits, .index = index};
        token_id with_company, alone, next_seed;
        sampling.seed = 42;
        CHECK_OK(sampler_pick(busy, &noise, &with_company));
        CHECK_OK(sampler_pick(busy, &input, &with_company));
        CHECK_OK(sampler_pick(fresh, &input, &alone));
        CHECK_EQ(with_company, alone);
        sampling.seed = 43;
        CHECK_OK(sampler_pick(fresh, &input, &next_seed));
        same_for_next_seed += next_seed == alone;
    }
    CHECK(same_for_next_seed < 30); /* 10 expected */
    sampler_free(busy);
    sampler_free(fresh);
}

/* --- large vocabularies --- */

static double unit(uint64_t *random)
{
    return (double)(test_random(random) >> 11) * 0x1p-53;
}

TEST(a_large_vocabulary_is_cut_right_without_a_sort)
{
    enum { VOCAB = 150000, DRAWS = 40 };
    float *logits = mem_array(VOCAB, sizeof(*logits));
    uint64_t random = 5;
    for (uint32_t i = 0; i < VOCAB; i++)
        logits[i] = (float)(10 * unit(&random));
    for (uint32_t i = 0; i < 30; i++)
        logits[i * 5000 + 17] = 20 + (float)i * 0.01f;
    struct sampler *sampler = sampler_new(VOCAB);
    struct sampling sampling = sampling_default();
    for (uint64_t index = 0; index < DRAWS; index++) {
        struct sampler_input input = {.sampling = &sampling, .logits = logits, .index = index};
        token_id token;
        sampling.top_k = index % 2 ? 30 : 0;
        sampling.top_p = index % 2 ? 1 : 0.9f; /* the 30 have over 0.94 */
        CHECK_OK(sampler_pick(sampler, &input, &token));
        CHECK_EQ(token % 5000, 17);
    }
    sampler_free(sampler);
    mem_free(logits);
}
