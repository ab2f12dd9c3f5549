/* sampler_llama_test - our stages against libllama's own samplers, on the same logits: the same
 * tokens survive, with the same probabilities. Skipped, with the reason, where there is no libllama
 * (tools/setup-engine gets it). */
#include "testing/test.h"
#include "base/mem.h"
#include "engine/llama_chain.h"
#include "worker/sampler_impl.h"

#include <stdlib.h>

enum { VOCAB = 1024, HISTORY_MAX = 200 };

static const char model_path[] = SOURCE_ROOT "/models/nano.gguf";
static const char *const search[] = {SOURCE_ROOT "/build/deps/engine/lib", NULL};

static struct llama_chain *open_chain(bool has_vocab)
{
    struct llama_chain_options options = {.library_dir = getenv("MILLRACE_ENGINE_DIR"),
                                          .search = search,
                                          .vocab_path = has_vocab ? model_path : NULL,
                                          .vocab_size = VOCAB};
    struct llama_chain *chain = NULL;
    struct err_note note = {{0}};
    if (llama_chain_new(&options, &chain, &note) != ERR_OK)
        SKIP("%s", note.text);
    return chain;
}

/* As llama-server makes it of the same parameters. */
static void add_stage(struct llama_chain *chain, enum sampling_stage stage,
                      const struct sampling *sampling)
{
    size_t min_keep = (size_t)sampling->min_keep;
    const char *breakers[SAMPLING_BREAKERS_MAX];
    switch (stage) {
    case SAMPLING_PENALTIES:
        llama_chain_penalties(chain, sampling->penalty_last_n, sampling->repeat_penalty,
                              sampling->frequency_penalty, sampling->presence_penalty);
        return;
    case SAMPLING_DRY:
        for (size_t i = 0; i < sampling->dry_breaker_count; i++)
            breakers[i] = sampling->dry_breakers[i].data;
        if (sampling->dry_multiplier > 0) /* it needs a vocabulary */
            llama_chain_dry(chain, sampling->dry_multiplier, sampling->dry_base,
                            sampling->dry_allowed, sampling->dry_last_n, breakers,
                            sampling->dry_breaker_count);
        return;
    case SAMPLING_TOP_N_SIGMA:
        llama_chain_top_n_sigma(chain, sampling->top_n_sigma);
        return;
    case SAMPLING_TOP_K:
        llama_chain_top_k(chain, sampling->top_k);
        return;
    case SAMPLING_TYPICAL_P:
        llama_chain_typical(chain, sampling->typical_p, min_keep);
        return;
    case SAMPLING_TOP_P:
        llama_chain_top_p(chain, sampling->top_p, min_keep);
        return;
    case SAMPLING_MIN_P:
        llama_chain_min_p(chain, sampling->min_p, min_keep);
        return;
    case SAMPLING_XTC:
        llama_chain_xtc(chain, sampling->xtc_probability, sampling->xtc_threshold, min_keep);
        return;
    case SAMPLING_TEMPERATURE:
        llama_chain_temperature(chain, sampling->temperature, sampling->dynatemp_range,
                                sampling->dynatemp_exponent);
        return;
    case SAMPLING_STAGES:
        return;
    }
}

static struct llama_chain *chain_of(const struct sampler_input *input)
{
    const struct sampling *sampling = input->sampling;
    struct llama_chain *chain = open_chain(sampling->dry_multiplier > 0);
    for (uint32_t i = 0; i < sampling->order_count; i++)
        add_stage(chain, sampling->order[i], sampling);
    for (size_t i = 0; i < input->history_count; i++)
        llama_chain_accept(chain, input->history[i]);
    return chain;
}

static void shares_of(const float *logits, double *out_shares)
{
    double max = -INFINITY, total = 0;
    for (int id = 0; id < VOCAB; id++)
        max = fmax(max, (double)logits[id]);
    for (int id = 0; id < VOCAB; id++)
        total += out_shares[id] = exp((double)logits[id] - max);
    for (int id = 0; id < VOCAB; id++)
        out_shares[id] /= total;
}

static void apply_theirs(const struct sampler_input *input, double *out_shares)
{
    float logits[VOCAB];
    struct llama_chain *chain = chain_of(input);
    llama_chain_apply(chain, input->logits, logits);
    llama_chain_free(chain);
    shares_of(logits, out_shares);
}

/* What the last pick drew from. */
static void look_at_ours(const struct sampler *sampler, double *out_shares)
{
    for (uint32_t id = 0; id < VOCAB; id++) {
        double weight = sampler->sums[id / SAMPLER_BLOCK] > 0 ? (double)sampler->weights[id] : 0;
        out_shares[id] = weight / sampler->total;
    }
    if (sampler->cut.value == sampler->top.value && sampler->cut.id == sampler->top.id) {
        for (uint32_t id = 0; id < VOCAB; id++) /* there was nothing to draw */
            out_shares[id] = (token_id)id == sampler->top.id;
    }
}

static void check_shares(const double *ours, const double *theirs)
{
    for (int id = 0; id < VOCAB; id++) {
        /* Beyond what a float shows above 0 after its exp(), ours passes over. */
        CHECK_EQ(ours[id] > 1e-30, theirs[id] > 1e-30);
        CHECK_NEAR(ours[id], theirs[id], 1e-6 + 3e-5 * theirs[id]);
    }
}

/* Also tells what theirs are. */
static void compare(const struct sampler_input *input, double *theirs)
{
    struct sampler *sampler = sampler_new(VOCAB);
    double ours[VOCAB];
    token_id token;
    apply_theirs(input, theirs);
    CHECK_OK(sampler_pick(sampler, input, &token));
    look_at_ours(sampler, ours);
    check_shares(ours, theirs);
    CHECK(theirs[token] > 0);
    sampler_free(sampler);
}

static void check_same(const struct sampler_input *input)
{
    double theirs[VOCAB];
    compare(input, theirs);
}

/* --- rows --- */

static double unit(uint64_t *random)
{
    return (double)(test_random(random) >> 11) * 0x1p-53;
}

/* A bell of noise with some tokens well above it, as a trained model has; from nearly flat to
 * nearly sure. */
static void make_row(float *logits, uint64_t *random)
{
    double width = 0.2 + 4 * unit(random), height = 12 * unit(random);
    uint32_t peaks = (uint32_t)(test_random(random) % 40);
    for (uint32_t id = 0; id < VOCAB; id++)
        logits[id] =
            (float)(width * (unit(random) + unit(random) + unit(random) + unit(random) - 2));
    for (uint32_t i = 0; i < peaks; i++)
        logits[test_random(random) % VOCAB] += (float)(height * unit(random));
}

enum { ROWS = 12 };

/* The one stage that is not neutral in `sampling`, on rows of all kinds. */
static void check_on_rows(const struct sampling *sampling)
{
    uint64_t random = 7;
    float logits[VOCAB];
    for (int row = 0; row < ROWS; row++) {
        make_row(logits, &random);
        check_same(&(struct sampler_input){
            .sampling = sampling, .logits = logits, .index = (uint64_t)row});
    }
}

/* --- stage by stage --- */

TEST(top_k_keeps_what_llama_keeps)
{
    struct sampling sampling = sampling_default();
    static const int32_t cases[] = {0, 1, 2, 40, 127, 129, 600, VOCAB, 5000};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        sampling.top_k = cases[i];
        check_on_rows(&sampling);
    }
}

TEST(top_p_and_min_p_keep_what_llama_keeps)
{
    /* (At 0.99 one row's sum of 600 floats is beyond p in llama.cpp, where a double's is not.) */
    static const float cases[] = {0.01f, 0.05f, 0.3f, 0.5f, 0.9f, 0.98f};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (int32_t min_keep = 0; min_keep < 30; min_keep += 7) {
            struct sampling top_p = sampling_default(), min_p = sampling_default();
            top_p.top_p = cases[i], top_p.min_keep = min_keep;
            check_on_rows(&top_p);
            min_p.min_p = cases[i], min_p.min_keep = min_keep;
            check_on_rows(&min_p);
        }
    }
}

TEST(typical_p_keeps_what_llama_keeps)
{
    static const float cases[] = {0.01f, 0.2f, 0.5f, 0.9f, 0.98f};
    struct sampling sampling = sampling_default();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (sampling.min_keep = 0; sampling.min_keep < 30; sampling.min_keep += 7) {
            sampling.typical_p = cases[i];
            check_on_rows(&sampling);
        }
    }
}

TEST(top_n_sigma_keeps_what_llama_keeps)
{
    struct sampling sampling = sampling_default();
    for (sampling.top_n_sigma = 0; sampling.top_n_sigma < 4; sampling.top_n_sigma += 0.3f)
        check_on_rows(&sampling);
}

TEST(xtc_drops_what_llama_drops)
{
    static const float cases[] = {0, 0.001f, 0.01f, 0.05f, 0.1f, 0.3f, 0.5f, 0.6f};
    struct sampling sampling = sampling_default();
    sampling.xtc_probability = 1;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        sampling.xtc_threshold = cases[i];
        for (sampling.min_keep = 0; sampling.min_keep < 1030; sampling.min_keep += 510)
            check_on_rows(&sampling);
    }
}

TEST(temperature_divides_as_llama_does)
{
    static const float temperatures[] = {0, 0.1f, 0.7f, 1, 1.5f, 10};
    static const float ranges[] = {0, 0.3f, 0.7f, 2}, exponents[] = {0, 0.5f, 1, 3};
    struct sampling sampling = sampling_default();
    for (size_t t = 0; t < ARRAY_COUNT(temperatures); t++) {
        for (size_t r = 0; r < ARRAY_COUNT(ranges); r++) {
            sampling.temperature = temperatures[t];
            sampling.dynatemp_range = ranges[r];
            sampling.dynatemp_exponent = exponents[(t + r) % ARRAY_COUNT(exponents)];
            check_on_rows(&sampling);
        }
    }
}

TEST(penalties_are_what_llama_takes)
{
    uint64_t random = 3;
    struct sampling sampling = sampling_default();
    float logits[VOCAB];
    token_id history[HISTORY_MAX];
    for (int round = 0; round < 60; round++) {
        make_row(logits, &random);
        for (size_t i = 0; i < HISTORY_MAX; i++)
            history[i] = (token_id)(test_random(&random) % 100);
        sampling.repeat_penalty = round % 2 ? (float)(0.5 + unit(&random)) : 1;
        sampling.frequency_penalty = round % 3 ? (float)(4 * unit(&random) - 2) : 0;
        sampling.presence_penalty = round % 5 ? (float)(4 * unit(&random) - 2) : 0;
        sampling.penalty_last_n = (int32_t)(test_random(&random) % 250);
        check_same(&(struct sampler_input){.sampling = &sampling,
                                           .logits = logits,
                                           .history = history,
                                           .history_count = HISTORY_MAX});
    }
}

/* --- all together --- */

static struct sampling random_sampling(uint64_t *random)
{
    struct sampling sampling = sampling_default();
    uint64_t on = test_random(random);
    sampling.temperature = (float)(0.2 + 2 * unit(random));
    sampling.min_keep = on & 1 ? (int32_t)(test_random(random) % 8) : 0;
    sampling.top_k = on & 2 ? (int32_t)(test_random(random) % 200) : 0;
    sampling.top_p = on & 4 ? (float)(1 - unit(random)) : 1;
    sampling.min_p = on & 8 ? (float)(0.2 * unit(random)) : 0;
    sampling.xtc_probability = on & 16 ? 1 : 0;
    sampling.xtc_threshold = (float)(0.3 * unit(random));
    if (on & 32) {
        sampling.typical_p = (float)(1 - unit(random));
        sampling.dynatemp_range = on & 64 ? (float)unit(random) : 0;
    } else { /* with one of the others: see docs/design/015, the impossible tokens */
        sampling.top_n_sigma = (float)(3 * unit(random));
        sampling.xtc_probability = 0;
    }
    return sampling;
}

static void shuffle(struct sampling *sampling, uint64_t *random)
{
    for (uint32_t i = SAMPLING_STAGES - 1; i > 0; i--) {
        uint32_t other = (uint32_t)(test_random(random) % (i + 1));
        uint8_t kept = sampling->order[i];
        sampling->order[i] = sampling->order[other];
        sampling->order[other] = kept;
    }
}

TEST(a_whole_chain_leaves_what_llamas_leaves_in_any_order)
{
    uint64_t random = 11;
    float logits[VOCAB];
    for (int round = 0; round < 400; round++) {
        struct sampling sampling = random_sampling(&random);
        if (round % 2)
            shuffle(&sampling, &random);
        make_row(logits, &random);
        check_same(&(struct sampler_input){.sampling = &sampling, .logits = logits});
    }
}

/* --- DRY --- */

static struct engine *open_vocab(void)
{
    struct engine_llama_options options = {.library_dir = getenv("MILLRACE_ENGINE_DIR"),
                                           .search = search,
                                           .model_path = model_path,
                                           .slots = 1,
                                           .context_tokens = 64,
                                           .threads = 1,
                                           .threads_batch = 1};
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    enum err err = engine_llama_open(&options, NULL, NULL, &engine, &note);
    if (err == ERR_NOT_FOUND || err == ERR_REFUSED)
        SKIP("%s", note.text);
    CHECK_OK(err);
    CHECK_EQ(engine->info.vocab_size, VOCAB);
    return engine;
}

static struct slice piece(void *ctx, token_id token)
{
    static char scratch[256];
    return engine_piece(ctx, token, scratch, sizeof(scratch));
}

/* Words that come again and again, with breakers between them. */
static size_t make_history(struct engine *engine, token_id *history, uint64_t *random)
{
    static const char *const words[] = {"one", " two", " three", ": ",    "\n", " four five",
                                        "\"",  " *",   " the",   " slot", " a"};
    size_t count = 0, all = 0;
    uint64_t few = 2 + test_random(random) % (ARRAY_COUNT(words) - 1);
    while (count < HISTORY_MAX - 16) {
        const char *word = words[test_random(random) % few];
        CHECK_OK(engine_tokenize(engine, slice_str(word), false, false, history + count, 16, &all));
        count += all;
    }
    return count;
}

TEST(dry_takes_what_llama_takes)
{
    uint64_t random = 5;
    struct engine *engine = open_vocab();
    struct sampling sampling = sampling_default();
    float logits[VOCAB];
    token_id history[HISTORY_MAX];
    uint32_t charged = 0;
    sampling.dry_base = 1.2f;
    for (int round = 0; round < 30; round++) {
        make_row(logits, &random);
        size_t count = make_history(engine, history, &random);
        sampling.dry_multiplier = (float)(0.1 + unit(&random));
        sampling.dry_allowed = (int32_t)(test_random(&random) % 4);
        sampling.dry_last_n = (int32_t)(test_random(&random) % 250);
        struct sampler_input input = {.sampling = &sampling,
                                      .logits = logits,
                                      .history = history,
                                      .history_count = count,
                                      .piece = piece,
                                      .piece_ctx = engine};
        double with[VOCAB], without[VOCAB];
        compare(&input, with);
        shares_of(logits, without);
        charged += memcmp(with, without, sizeof(with)) != 0;
    }
    CHECK(charged > 10); /* or the rounds would have shown nothing */
    engine_close(&engine);
}

/* --- mirostat --- */

static int kept_of(const double *shares)
{
    int count = 0;
    for (int id = 0; id < VOCAB; id++)
        count += shares[id] > 0;
    return count;
}

/* One step from any mu: a new sampler of llama's begins at twice its tau. */
TEST(mirostat_keeps_what_llama_keeps_at_any_mu)
{
    uint64_t random = 9;
    int overflows = 0;
    for (int round = 0; round < 200; round++) {
        struct sampling sampling = sampling_default();
        double ours[VOCAB], theirs[VOCAB];
        float logits[VOCAB], kept[VOCAB];
        token_id token;
        make_row(logits, &random);
        float tau = (float)(6 * unit(&random));
        sampling.mirostat = (uint8_t)(1 + round % 2);
        struct sampler_state state = {.mu = 2 * (double)tau};
        struct sampler_input input = {.sampling = &sampling, .logits = logits, .state = &state};
        struct llama_chain *chain = open_chain(false);
        llama_chain_mirostat(chain, sampling.mirostat, tau, 0.1f);
        llama_chain_apply(chain, logits, kept);
        llama_chain_free(chain);
        shares_of(kept, theirs);
        struct sampler *sampler = sampler_new(VOCAB);
        CHECK_OK(sampler_pick(sampler, &input, &token));
        look_at_ours(sampler, ours);
        sampler_free(sampler);
        if (sampling.mirostat == 1 && kept_of(ours) == VOCAB && kept_of(theirs) == 1) {
            overflows++; /* more tokens than an int holds become one: a flat row, taken greedily */
            continue;
        }
        check_shares(ours, theirs);
        double error = -log2(theirs[token]) - (double)sampling.mirostat_tau;
        CHECK_NEAR(state.mu, 2 * (double)tau - (double)sampling.mirostat_eta * error, 1e-4);
    }
    CHECK(overflows < 10);
}

/* --- the draws --- */

/* How far the draws are from `shares`: chi square; tokens expected less than 5 times are counted
 * as one. */
static double distance(const uint32_t *counts, const double *shares, uint32_t draws,
                       uint32_t *out_degrees)
{
    double sum = 0, rest_expected = 0, rest = 0;
    *out_degrees = 0;
    for (int id = 0; id < VOCAB; id++) {
        double expected = shares[id] * draws;
        if (expected < 5) {
            rest_expected += expected;
            rest += counts[id];
            continue;
        }
        sum += (counts[id] - expected) * (counts[id] - expected) / expected;
        ++*out_degrees;
    }
    if (rest_expected > 5) {
        sum += (rest - rest_expected) * (rest - rest_expected) / rest_expected;
        ++*out_degrees;
    }
    --*out_degrees;
    return sum;
}

TEST(draws_follow_llamas_probabilities)
{
    enum { DRAWS = 10000 };
    uint64_t random = 21;
    for (int round = 0; round < 10; round++) {
        struct sampling sampling = random_sampling(&random);
        float logits[VOCAB];
        double shares[VOCAB];
        uint32_t counts[VOCAB] = {0}, degrees;
        make_row(logits, &random);
        struct sampler_input input = {.sampling = &sampling, .logits = logits};
        sampling.seed = test_random(&random);
        apply_theirs(&input, shares);
        struct sampler *sampler = sampler_new(VOCAB);
        for (input.index = 0; input.index < DRAWS; input.index++) {
            token_id token;
            CHECK_OK(sampler_pick(sampler, &input, &token));
            CHECK(shares[token] > 0);
            counts[token]++;
        }
        sampler_free(sampler);
        double far = distance(counts, shares, DRAWS, &degrees);
        /* Wilson and Hilferty: beyond this in one of 10 000 seeds. */
        double scale = 2.0 / (9.0 * degrees);
        CHECK(degrees == 0 || far < degrees * pow(1 - scale + 3.72 * sqrt(scale), 3));
    }
}

/* The coin of xtc falls as often as it should, and has nothing to do with the draw. */
TEST(xtc_falls_as_often_as_it_is_asked_to)
{
    enum { DRAWS = 20000 };
    struct sampling sampling = sampling_default();
    float logits[VOCAB];
    for (int id = 0; id < VOCAB; id++)
        logits[id] = -100;
    logits[3] = logf(0.6f), logits[4] = logf(0.4f);
    sampling.xtc_probability = 0.25f;
    struct sampler *sampler = sampler_new(VOCAB);
    struct sampler_input input = {.sampling = &sampling, .logits = logits};
    uint32_t counts[VOCAB] = {0}, degrees;
    double shares[VOCAB] = {[3] = 0.75 * 0.6, [4] = 0.25 + 0.75 * 0.4};
    for (input.index = 0; input.index < DRAWS; input.index++) {
        token_id token;
        CHECK_OK(sampler_pick(sampler, &input, &token));
        counts[token]++;
    }
    CHECK(distance(counts, shares, DRAWS, &degrees) < 15.2); /* 1 degree: one of 10 000 */
    sampler_free(sampler);
}
