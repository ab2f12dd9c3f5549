/* sampler_pick - how long one pick takes among 150 000 tokens of which 20 stand out, for typical
 * settings. Prints microseconds per pick: the median and the best of 41 runs. One thread, no I/O.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "worker/sampler.h"

#include <stdio.h>
#include <stdlib.h>

enum { VOCAB = 150000, STANDING_OUT = 20, RUNS = 41, PICKS = 5 };

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

static void measure(struct sampler *sampler, const float *logits, const char *what,
                    struct sampling sampling)
{
    double run_us[RUNS];
    uint64_t index = 0;
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = clock_monotonic_us();
        for (int i = 0; i < PICKS; i++) {
            token_id token;
            struct sampler_input input = {
                .sampling = &sampling, .logits = logits, .index = index++};
            enum err err = sampler_pick(sampler, &input, &token);
            ASSERT(err == ERR_OK && token >= 0 && token < VOCAB);
        }
        run_us[run] = (double)(clock_monotonic_us() - start) / PICKS;
    }
    qsort(run_us, RUNS, sizeof(*run_us), by_value);
    printf("%-28s median %7.1f us   best %7.1f us\n", what, run_us[RUNS / 2], run_us[0]);
}

int main(void)
{
    struct sampler *sampler = sampler_new(VOCAB);
    float *logits = make_logits();
    struct sampling off = sampling_default();
    struct sampling greedy = off, top_k = off, top_p = off, min_p = off, hot = off;
    greedy.temperature = 0;
    top_k.top_k = 40;
    top_p.top_p = 0.9f;
    min_p.min_p = 0.05f;
    hot.temperature = 2;
    hot.top_p = 0.99f;
    measure(sampler, logits, "greedy", greedy);
    measure(sampler, logits, "temperature 1", off);
    measure(sampler, logits, "top_k 40", top_k);
    measure(sampler, logits, "top_p 0.9", top_p);
    measure(sampler, logits, "min_p 0.05", min_p);
    measure(sampler, logits, "temperature 2, top_p 0.99", hot);
    mem_free(logits);
    sampler_free(sampler);
    return 0;
}
