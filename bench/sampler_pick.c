/* sampler_pick - how long one pick takes among 150 000 tokens of which 20 stand out, for typical
 * settings. Prints microseconds per pick: the median and the best of 41 runs. One thread, no I/O.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "worker/sampler.h"

#include <stdio.h>
#include <stdlib.h>

enum { VOCAB = 150000, STANDING_OUT = 20, RUNS = 41, PICKS = 5, HISTORY = 4096 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* A bell of noise, and a few tokens well above it: what a trained model's row looks like. */
static float *make_logits(void)
{
    float *logits = mem_array(VOCAB, sizeof(*logits));
    for (uint64_t i = 0; i < VOCAB; i++) {
        double sum = 0;
        for (uint64_t n = 0; n < 4; n++)
            sum += (double)(sampler_random(1, 4 * i + n) >> 11) * 0x1p-53;
        logits[i] = (float)((sum - 2) * 4);
    }
    for (uint64_t i = 0; i < STANDING_OUT; i++)
        logits[sampler_random(2, i) % VOCAB] = 12 + (float)i / 4;
    return logits;
}

/* Words of four tokens that come again and again, and now and then a breaker. */
static token_id history[HISTORY];

static void make_history(void)
{
    for (uint64_t i = 0; i < HISTORY; i++)
        history[i] = (token_id)(sampler_random(3, i / 4) % 50 * 4 + i % 4);
}

static struct slice piece(void *ctx, token_id token)
{
    (void)ctx;
    return token % 64 == 0 ? SLICE(".\n") : SLICE(" word");
}

static void measure(struct sampler *sampler, const float *logits, const char *what,
                    struct sampling sampling)
{
    double run_us[RUNS];
    uint64_t index = 0;
    struct sampler_state state = sampler_state_first(&sampling);
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = clock_monotonic_us();
        for (int i = 0; i < PICKS; i++) {
            token_id token;
            struct sampler_input input = {.sampling = &sampling,
                                          .logits = logits,
                                          .history = history,
                                          .history_count = HISTORY,
                                          .index = index++,
                                          .state = &state,
                                          .piece = piece};
            enum err err = sampler_pick(sampler, &input, &token);
            ASSERT(err == ERR_OK && token >= 0 && token < VOCAB);
        }
        run_us[run] = (double)(clock_monotonic_us() - start) / PICKS;
    }
    qsort(run_us, RUNS, sizeof(*run_us), by_value);
    printf("%-28s median %7.1f us   best %7.1f us\n", what, run_us[RUNS / 2], run_us[0]);
}

static void measure_common(struct sampler *sampler, const float *logits)
{
    struct sampling off = sampling_default();
    struct sampling greedy = off, top_k = off, top_p = off, min_p = off, hot = off, usual = off;
    greedy.temperature = 0;
    top_k.top_k = 40;
    top_p.top_p = 0.9f;
    min_p.min_p = 0.05f;
    hot.temperature = 2;
    hot.top_p = 0.99f;
    usual.temperature = 0.8f, usual.top_k = 40, usual.top_p = 0.95f, usual.min_p = 0.05f;
    measure(sampler, logits, "greedy", greedy);
    measure(sampler, logits, "temperature 1", off);
    measure(sampler, logits, "top_k 40", top_k);
    measure(sampler, logits, "top_p 0.9", top_p);
    measure(sampler, logits, "min_p 0.05", min_p);
    measure(sampler, logits, "temperature 2, top_p 0.99", hot);
    measure(sampler, logits, "llama.cpp's defaults", usual);
}

static void measure_rare(struct sampler *sampler, const float *logits)
{
    struct sampling off = sampling_default();
    struct sampling typical = off, sigma = off, xtc = off, moving = off, dry = off, long_dry = off;
    struct sampling mirostat = off, mirostat_2 = off, all = off;
    typical.typical_p = 0.9f;
    sigma.top_n_sigma = 1;
    xtc.xtc_probability = 1;
    moving.dynatemp_range = 0.5f;
    dry.dry_multiplier = 0.8f, dry.temperature = 0;
    long_dry = dry;
    long_dry.dry_last_n = -1;
    mirostat.mirostat = 1;
    mirostat_2.mirostat = 2;
    all.temperature = 0.8f, all.top_n_sigma = 1, all.top_k = 40, all.typical_p = 0.9f;
    all.top_p = 0.95f, all.min_p = 0.05f, all.xtc_probability = 0.5f, all.dynatemp_range = 0.2f;
    all.dry_multiplier = 0.8f, all.repeat_penalty = 1.1f;
    measure(sampler, logits, "typical_p 0.9", typical);
    measure(sampler, logits, "top_n_sigma 1", sigma);
    measure(sampler, logits, "xtc, always", xtc);
    measure(sampler, logits, "dynatemp_range 0.5", moving);
    measure(sampler, logits, "greedy, dry over 64", dry);
    measure(sampler, logits, "greedy, dry over 4096", long_dry);
    measure(sampler, logits, "mirostat 1", mirostat);
    measure(sampler, logits, "mirostat 2", mirostat_2);
    measure(sampler, logits, "everything behind top_k 40", all);
}

int main(void)
{
    struct sampler *sampler = sampler_new(VOCAB);
    float *logits = make_logits();
    make_history();
    measure_common(sampler, logits);
    measure_rare(sampler, logits);
    mem_free(logits);
    sampler_free(sampler);
    return 0;
}
