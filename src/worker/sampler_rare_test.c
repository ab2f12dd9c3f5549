/* sampler_rare_test - what most requests do not ask for, by hand; what holds for all of it: neutral
 * values change nothing, any token can be picked again; and the worst rows there are. */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/sampler.h"

#include <float.h>
#include <math.h>

enum { VOCAB_MAX = 8 };

/* Which tokens come out of 2000 picks, a bit for each. */
static uint64_t picked(const float *logits, uint32_t vocab_size, struct sampler_input input)
{
    struct sampler *sampler = sampler_new(vocab_size);
    uint64_t bits = 0;
    input.logits = logits;
    for (input.index = 0; input.index < 2000; input.index++) {
        token_id token;
        CHECK_OK(sampler_pick(sampler, &input, &token));
        bits |= UINT64_C(1) << token;
    }
    sampler_free(sampler);
    return bits;
}

static token_id pick(struct sampler *sampler, const struct sampler_input *input)
{
    token_id token = -1;
    CHECK_OK(sampler_pick(sampler, input, &token));
    return token;
}

/* 0.4 0.3 0.2 0.1, of the ids 1 3 0 2. */
static const float falling[] = {-1.609437912f, -0.916290732f, -2.302585093f, -1.203972804f};

/* --- one by one --- */

TEST(typical_p_takes_the_nearest_to_the_expected_surprise_first)
{
    struct sampling sampling = sampling_default();
    struct sampler_input input = {.sampling = &sampling};
    /* The entropy is 1.28 nats; the surprises are 0.92, 1.20, 1.61, 2.30: 3 is nearest, then 0. */
    sampling.typical_p = 0.25f;
    CHECK_EQ(picked(falling, 4, input), 0x8);
    sampling.typical_p = 0.45f;
    CHECK_EQ(picked(falling, 4, input), 0x9);
    sampling.typical_p = 0.55f;
    CHECK_EQ(picked(falling, 4, input), 0xb);
    sampling.typical_p = 0.25f, sampling.min_keep = 3;
    CHECK_EQ(picked(falling, 4, input), 0xb);
}

TEST(xtc_drops_all_likely_tokens_but_the_least_of_them)
{
    struct sampling sampling = sampling_default();
    struct sampler_input input = {.sampling = &sampling};
    sampling.xtc_probability = 1;
    sampling.xtc_threshold = 0.15f;
    CHECK_EQ(picked(falling, 4, input), 0x5);
    sampling.xtc_threshold = 0.35f; /* one alone is never dropped */
    CHECK_EQ(picked(falling, 4, input), 0xf);
    sampling.xtc_threshold = 0.25f, sampling.min_keep = 3;
    CHECK_EQ(picked(falling, 4, input), 0xd);
    sampling.min_keep = 4;
    CHECK_EQ(picked(falling, 4, input), 0xf);
    sampling.min_keep = 0, sampling.temperature = 0; /* greedy takes the largest of what is left */
    CHECK_EQ(picked(falling, 4, input), 0x8);
    sampling.xtc_probability = 0;
    CHECK_EQ(picked(falling, 4, input), 0x2);
}

TEST(top_n_sigma_counts_from_the_largest)
{
    struct sampling sampling = sampling_default();
    struct sampler_input input = {.sampling = &sampling};
    const float logits[] = {4, 0, 2, -INFINITY, 2}; /* mean 2, deviation sqrt 2; one is not there */
    sampling.top_n_sigma = 1.4f;
    CHECK_EQ(picked(logits, 5, input), 0x01);
    sampling.top_n_sigma = 1.42f;
    CHECK_EQ(picked(logits, 5, input), 0x15);
    sampling.top_n_sigma = 3;
    CHECK_EQ(picked(logits, 5, input), 0x17);
}

/* The tokens a b c are 0 1 2, the fourth is y. */
TEST(dry_charges_by_the_length_of_what_would_be_repeated)
{
    static const token_id history[] = {0, 1, 2, 2, 1, 2, 3, 0, 1, 2}; /* a b c c b c y a b c */
    const float zeros[] = {0, 0, 0, 0, -1.5f, -2.5f, -100, -100};
    struct sampling sampling = sampling_default();
    struct sampler_input input = {
        .sampling = &sampling, .history = history, .history_count = ARRAY_COUNT(history)};
    sampling.dry_base = 2, sampling.dry_allowed = 2, sampling.temperature = 0;
    sampling.dry_multiplier = 1; /* c goes on with a b c: -2, y with b c: -1, b with c: nothing */
    CHECK_EQ(picked(zeros, 8, input), 0x1);
    sampling.temperature = 1, sampling.min_p = 0.9f;
    CHECK_EQ(picked(zeros, 8, input), 0x3);
    sampling.min_p = 0.3f; /* exp(-1) of the largest; -1.5 is 0.22 of it */
    CHECK_EQ(picked(zeros, 8, input), 0xb);
    sampling.min_p = 0.1f; /* exp(-2): 0.14; exp(-2.5): 0.08 */
    CHECK_EQ(picked(zeros, 8, input), 0x1f);
    sampling.dry_last_n = 7; /* the first a b c is out of sight: c is not charged any more */
    sampling.min_p = 0.9f;
    CHECK_EQ(picked(zeros, 8, input), 0x7);
}

static struct slice letter_of(void *ctx, token_id token)
{
    static const char *const pieces[VOCAB_MAX] = {"a", "b", "c", "y", "-", "=", "-=", ""};
    (void)ctx;
    return slice_str(pieces[(uint32_t)token % VOCAB_MAX]);
}

TEST(dry_does_not_go_across_breakers_however_they_are_cut)
{
    static const struct {
        token_id history[8];
        size_t count;
        bool is_charged; /* what stands there is repeated from its begin: a is next */
    } cases[] = {
        {{0, 1, 2, 0, 1, 2}, 6, true},        /* abcabc */
        {{0, 1, 6, 0, 1, 6}, 6, false},       /* ends with the breaker */
        {{0, 4, 5, 0, 4, 5}, 6, false},       /* in two tokens */
        {{0, 4, 7, 5, 0, 4, 7, 5}, 8, false}, /* with an empty one between */
        {{0, 4, 1, 0, 4, 1}, 6, true},        /* half of it is none */
        {{6, 1, 2, 0, 1, 2}, 6, false},       /* the breaker lies far back; "bc" is too short */
    };
    static const struct slice breakers[] = {SLICE("-=")};
    const float logits[] = {1, 0.5f, -9, -9, -9, -9, -9, -9};
    struct sampling sampling = sampling_default();
    sampling.dry_multiplier = 5, sampling.dry_allowed = 3, sampling.temperature = 0;
    sampling.dry_breakers = breakers, sampling.dry_breaker_count = 1;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct sampler_input input = {.sampling = &sampling,
                                      .history = cases[i].history,
                                      .history_count = cases[i].count,
                                      .piece = letter_of};
        CHECK_EQ(picked(logits, VOCAB_MAX, input), cases[i].is_charged ? 0x2 : 0x1);
    }
}

TEST(dry_never_charges_a_token_that_is_a_breaker)
{
    static const token_id history[] = {0, 1, 2, 0, 1, 2};
    static const struct slice breakers[] = {SLICE("a")};
    const float logits[] = {1, 0.5f, -9, -9, -9, -9, -9, -9};
    struct sampling sampling = sampling_default();
    struct sampler_input input = {
        .sampling = &sampling, .history = history, .history_count = 6, .piece = letter_of};
    sampling.dry_multiplier = 5, sampling.dry_allowed = 1, sampling.temperature = 0;
    sampling.dry_breakers = breakers, sampling.dry_breaker_count = 1;
    CHECK_EQ(picked(logits, VOCAB_MAX, input), 0x1);
    sampling.dry_breaker_count = 0;
    CHECK_EQ(picked(logits, VOCAB_MAX, input), 0x2);
}

TEST(whatever_dry_costs_a_token_can_be_picked_where_no_other_is_left)
{
    token_id history[300] = {0};
    const float logits[] = {3, -INFINITY};
    struct sampling sampling = sampling_default();
    struct sampler_input input = {.sampling = &sampling, .history = history, .history_count = 300};
    sampling.dry_multiplier = FLT_MAX, sampling.dry_base = FLT_MAX, sampling.dry_last_n = -1;
    CHECK_EQ(picked(logits, 2, input), 0x1);
}

TEST(the_temperature_moves_with_the_entropy)
{
    struct sampling sampling = sampling_default();
    struct sampler_input input = {.sampling = &sampling};
    const float flat[] = {1, 1}, sure[] = {100, 0};
    sampling.temperature = 1, sampling.dynatemp_range = 1;
    sampling.order[0] = SAMPLING_TEMPERATURE, sampling.order[1] = SAMPLING_MIN_P;
    sampling.order_count = 2, sampling.min_p = 1;
    CHECK_EQ(picked(flat, 2, input), 0x3);
    sampling.min_p = 1e-37f;
    CHECK_EQ(picked(sure, 2, input), 0x1); /* t = 0: nothing but the largest */
    sampling.dynatemp_exponent = 0;        /* whatever the entropy: t = 2 */
    sampling.min_p = 0.65f;                /* exp(-(1.609 - 0.916) / 2) = 0.71, the last 0.58 */
    CHECK_EQ(picked(falling, 4, input), 0xb);
}

TEST(a_penalty_behind_a_cut_does_not_bring_back_what_was_cut)
{
    struct sampling sampling = sampling_default();
    token_id history[] = {1, 3};
    struct sampler_input input = {.sampling = &sampling, .history = history, .history_count = 2};
    sampling.order[0] = SAMPLING_TOP_K, sampling.order[1] = SAMPLING_PENALTIES;
    sampling.order_count = 2, sampling.top_k = 2, sampling.presence_penalty = 2;
    CHECK_EQ(picked(falling, 4, input), 0xa);
    sampling.order[0] = SAMPLING_PENALTIES, sampling.order[1] = SAMPLING_TOP_K;
    CHECK_EQ(picked(falling, 4, input), 0x5);
}

/* --- mirostat --- */

static void bell(float *logits, uint32_t count, uint64_t seed)
{
    for (uint32_t i = 0; i < count; i++) {
        double sum = 0;
        for (uint64_t n = 0; n < 4; n++)
            sum += (double)(sampler_random(seed, 4 * i + n) >> 11) * 0x1p-53;
        logits[i] = (float)((sum - 2) * 4);
    }
}

/* The surprise of what was picked, among all, is what was aimed at. */
TEST(mirostat_meets_its_aim)
{
    enum { VOCAB = 2000, PICKS = 3000 };
    static float logits[VOCAB];
    bell(logits, VOCAB, 1);
    struct sampler *sampler = sampler_new(VOCAB);
    for (uint8_t version = 1; version <= 2; version++) {
        struct sampling sampling = sampling_default();
        sampling.mirostat = version, sampling.mirostat_tau = 4;
        struct sampler_state state = sampler_state_first(&sampling);
        struct sampler_input input = {.sampling = &sampling, .logits = logits, .state = &state};
        double surprises = 0;
        CHECK_EQ(state.mu, 8);
        for (input.index = 0; input.index < PICKS; input.index++) {
            double before = state.mu;
            pick(sampler, &input);
            /* mu' = mu - eta * (surprise - tau) */
            if (input.index >= 500)
                surprises += 4 + (before - state.mu) / 0.1;
        }
        CHECK_NEAR(surprises / (PICKS - 500), 4, 0.15);
    }
    sampler_free(sampler);
}

TEST(mirostat_without_a_state_is_at_its_first_token)
{
    enum { VOCAB = 500 };
    float logits[VOCAB];
    bell(logits, VOCAB, 2);
    struct sampler *sampler = sampler_new(VOCAB);
    struct sampling sampling = sampling_default();
    sampling.mirostat = 2, sampling.mirostat_tau = 1;
    struct sampler_input input = {.sampling = &sampling, .logits = logits};
    for (input.index = 0; input.index < 300; input.index++) {
        struct sampler_state first = sampler_state_first(&sampling);
        input.state = &first;
        token_id token = pick(sampler, &input);
        CHECK(first.mu != 2);
        input.state = NULL;
        CHECK_EQ(pick(sampler, &input), token);
    }
    sampler_free(sampler);
}

TEST(a_refused_pick_leaves_the_state_as_it_was)
{
    float logits[] = {NAN, -INFINITY};
    struct sampling sampling = sampling_default();
    struct sampler_state state = {.mu = 3};
    struct sampler_input input = {.sampling = &sampling, .logits = logits, .state = &state};
    struct sampler *sampler = sampler_new(2);
    token_id token = 7;
    sampling.mirostat = 1;
    CHECK_ERR(sampler_pick(sampler, &input, &token), ERR_REFUSED);
    CHECK_EQ(state.mu, 3);
    CHECK_EQ(token, 7);
    sampler_free(sampler);
}

/* --- for all of it --- */

/* What matters only once something is on may be anything while it is off. */
static struct sampling off_in_other_words(uint64_t *random)
{
    struct sampling sampling = sampling_default();
    sampling.xtc_threshold = test_random(random) % 2 ? 0.9f : 0.01f;
    sampling.xtc_probability = sampling.xtc_threshold > 0.5f;
    sampling.dynatemp_exponent = 3;
    sampling.dry_base = 9, sampling.dry_allowed = 0, sampling.dry_last_n = -1;
    if (test_random(random) % 2)
        sampling.dry_multiplier = 9, sampling.dry_last_n = 0;
    sampling.mirostat_tau = 1, sampling.mirostat_eta = 1;
    sampling.min_keep = (int32_t)(test_random(random) % 100);
    sampling.top_k = test_random(random) % 2 ? 1000 : 0;
    for (uint8_t i = 0; i < SAMPLING_STAGES; i++) /* backwards */
        sampling.order[i] = (uint8_t)(SAMPLING_STAGES - 1 - i);
    return sampling;
}

TEST(neutral_values_change_nothing_in_any_order)
{
    enum { VOCAB = 200, HISTORY = 50 };
    uint64_t random = 3;
    float logits[VOCAB];
    token_id history[HISTORY];
    struct sampler *sampler = sampler_new(VOCAB);
    for (uint64_t index = 0; index < 2000; index++) {
        struct sampling plain = sampling_default(), other = off_in_other_words(&random);
        bell(logits, VOCAB, index);
        for (size_t i = 0; i < HISTORY; i++)
            history[i] = (token_id)(test_random(&random) % 5);
        plain.seed = other.seed = index;
        struct sampler_input input = {.sampling = &plain,
                                      .logits = logits,
                                      .history = history,
                                      .history_count = HISTORY,
                                      .index = index,
                                      .piece = letter_of};
        token_id token = pick(sampler, &input);
        input.sampling = &other;
        CHECK_EQ(pick(sampler, &input), token);
    }
    sampler_free(sampler);
}

/* Logits that depend on all that was said, as a model's do. */
static void hash_logits(float *logits, uint32_t vocab_size, const token_id *history, size_t count)
{
    uint64_t hash = count;
    for (size_t i = count > 6 ? count - 6 : 0; i < count; i++)
        hash = sampler_random(hash, (uint64_t)history[i]);
    bell(logits, vocab_size, hash % 7); /* few rows: so there is something to repeat */
}

static struct sampling with_everything(uint8_t mirostat)
{
    struct sampling sampling = sampling_default();
    sampling.seed = 99, sampling.temperature = 1.2f, sampling.dynatemp_range = 0.5f;
    sampling.top_k = 60, sampling.top_p = 0.98f, sampling.min_p = 0.01f;
    sampling.typical_p = 0.97f, sampling.top_n_sigma = 2.5f;
    sampling.xtc_probability = 0.5f, sampling.xtc_threshold = 0.02f, sampling.min_keep = 2;
    sampling.repeat_penalty = 1.1f, sampling.dry_multiplier = 0.5f;
    sampling.mirostat = mirostat, sampling.mirostat_tau = 3;
    return sampling;
}

enum { LIFE = 150, LIFE_VOCAB = 200 };

struct life {
    token_id tokens[LIFE];
    struct sampler_state behind[LIFE + 1]; /* the first so many */
};

static void live(struct life *life, const struct sampling *sampling, size_t from)
{
    float logits[LIFE_VOCAB];
    struct sampler *sampler = sampler_new(LIFE_VOCAB);
    struct sampler_state state = life->behind[from];
    for (size_t i = from; i < LIFE; i++) {
        struct sampler_input input = {.sampling = sampling,
                                      .logits = logits,
                                      .history = life->tokens,
                                      .history_count = i,
                                      .index = i,
                                      .state = &state,
                                      .piece = letter_of};
        hash_logits(logits, LIFE_VOCAB, life->tokens, i);
        life->tokens[i] = pick(sampler, &input);
        life->behind[i + 1] = state;
    }
    sampler_free(sampler);
}

TEST(whoever_goes_on_at_any_token_says_the_same)
{
    for (uint8_t mirostat = 0; mirostat <= 2; mirostat++) {
        struct sampling sampling = with_everything(mirostat);
        struct life whole = {.behind = {sampler_state_first(&sampling)}};
        live(&whole, &sampling, 0);
        for (size_t from = 0; from < LIFE; from += 7) {
            struct life again = {0};
            memcpy(again.tokens, whole.tokens, from * sizeof(again.tokens[0]));
            again.behind[from] = whole.behind[from];
            live(&again, &sampling, from);
            CHECK(memcmp(again.tokens, whole.tokens, sizeof(whole.tokens)) == 0);
            CHECK(again.behind[LIFE].mu == whole.behind[LIFE].mu);
        }
    }
}

/* A stored seed must give the same answer for ever: the coin is the draw's generator, 2^56 on. */
TEST(the_coin_of_xtc_never_changes)
{
    CHECK_EQ(SAMPLER_STREAM_XTC, 1);
    CHECK(sampler_random(42, (UINT64_C(1) << 56) + 7) == UINT64_C(0xF925A5F29B4EC482));
}

/* --- the worst rows --- */

static void check_all_ways(const float *logits, uint32_t vocab_size, const token_id *only)
{
    struct sampler *sampler = sampler_new(vocab_size);
    for (uint32_t way = 0; way < 3 * SAMPLING_STAGES; way++) {
        struct sampling all = with_everything((uint8_t)(way % 3)), sampling = all;
        sampling.order[0] = (uint8_t)(way / 3); /* each stage alone, and then all of them */
        sampling.order_count = 1;
        if (way >= 3 * (SAMPLING_STAGES - 1))
            sampling = all;
        struct sampler_state state = sampler_state_first(&sampling);
        struct sampler_input input = {
            .sampling = &sampling, .logits = logits, .index = way, .state = &state};
        token_id token = pick(sampler, &input);
        CHECK(token >= 0 && (uint32_t)token < vocab_size && logits[token] > -INFINITY);
        CHECK(!only || token == *only);
        CHECK(isfinite(state.mu));
    }
    sampler_free(sampler);
}

TEST(rows_without_shape_are_picked_from_in_every_way)
{
    enum { LARGE = 262144 };
    static const uint32_t sizes[] = {1, 2, 63, 65, LARGE};
    float *logits = mem_array(LARGE, sizeof(*logits));
    for (size_t s = 0; s < ARRAY_COUNT(sizes); s++) {
        static const float values[] = {0, -5, FLT_MAX, -FLT_MAX, 1e-40f};
        for (size_t v = 0; v < (sizes[s] == LARGE ? 1 : ARRAY_COUNT(values)); v++) {
            for (uint32_t i = 0; i < sizes[s]; i++)
                logits[i] = values[v];
            check_all_ways(logits, sizes[s], sizes[s] == 1 ? &(token_id){0} : NULL);
        }
        for (uint32_t i = 0; i < sizes[s]; i++)
            logits[i] = i % 2 ? NAN : -INFINITY;
        token_id only = (token_id)(sizes[s] / 2);
        logits[only] = -3;
        check_all_ways(logits, sizes[s], &only);
    }
    mem_free(logits);
}

TEST(a_long_history_of_one_token_is_no_worse_than_others)
{
    enum { LONG = 200000 };
    token_id *history = mem_array(LONG, sizeof(*history));
    const float logits[] = {1, 0};
    struct sampling sampling = sampling_default();
    struct sampler_input input = {
        .sampling = &sampling, .logits = logits, .history = history, .history_count = LONG};
    struct sampler *sampler = sampler_new(2);
    sampling.dry_multiplier = 1, sampling.dry_last_n = -1, sampling.temperature = 0;
    for (int i = 0; i < 5; i++) /* quadratic time would be minutes */
        CHECK_EQ(pick(sampler, &input), 1);
    sampler_free(sampler);
    mem_free(history);
}
