/* family_check - what every family promises, for their tests. Comes behind testing/test.h, which
 * only *_test.c may include. */
#pragma once

#include "nano/family.h"

enum { CHECK_SEED = 20261121 };

static inline void check_make(const struct family *family, struct sample *sample, uint64_t seed,
                              enum split split)
{
    struct choice choice = {splitmix_next(&seed)};
    sample_clear(sample);
    family->make(sample, &choice, split);
}

static inline struct slice rendered(const struct sample *sample, struct rendering *rendering)
{
    sample_render(sample, rendering);
    return text_slice(&rendering->text);
}

/* The same choice: the same sample, whatever was made before. */
static inline void check_deterministic(const struct family *family, size_t samples)
{
    struct sample a, b;
    struct rendering text_a, text_b;
    sample_init(&a);
    sample_init(&b);
    rendering_init(&text_a);
    rendering_init(&text_b);
    for (size_t i = 0; i < samples; i++) {
        check_make(family, &a, CHECK_SEED + i, i % 2 ? SPLIT_TEST : SPLIT_TRAIN);
        check_make(family, &b, CHECK_SEED + samples - i, SPLIT_TRAIN);
        check_make(family, &b, CHECK_SEED + i, i % 2 ? SPLIT_TEST : SPLIT_TRAIN);
        CHECK_SLICES(rendered(&b, &text_b), rendered(&a, &text_a));
    }
    rendering_fini(&text_a);
    rendering_fini(&text_b);
    sample_fini(&a);
    sample_fini(&b);
}

/* Nobody's sample is longer than `most` bytes, and the mean not than `mean`. */
static inline void check_bounds(const struct family *family, size_t samples, size_t mean,
                                size_t most)
{
    struct sample sample;
    struct rendering rendering;
    sample_init(&sample);
    rendering_init(&rendering);
    size_t sum = 0, longest = 0;
    for (size_t i = 0; i < samples; i++) {
        check_make(family, &sample, CHECK_SEED + i, i % 4 ? SPLIT_TRAIN : SPLIT_TEST);
        size_t len = rendered(&sample, &rendering).len;
        sum += len;
        longest = len > longest ? len : longest;
    }
    rendering_fini(&rendering);
    sample_fini(&sample);
    CHECK_EQ(longest <= most ? 0 : longest, 0);
    CHECK_EQ(sum / samples <= mean ? 0 : sum / samples, 0);
}

/* What the samples say themselves is right, of every gate they bear on; `corrupt` makes it wrong.
 * corrupt() returns false where it leaves the answer right. */
typedef bool corrupt_fn(const struct sample *sample, struct slice answer, struct text *out);

static inline struct score judged(const struct family *family, size_t samples, corrupt_fn *corrupt)
{
    struct sample sample;
    struct text text;
    struct score score = {0};
    sample_init(&sample);
    text_init(&text, SAMPLE_BYTES_MAX);
    for (size_t i = 0; i < samples; i++) {
        check_make(family, &sample, CHECK_SEED + i, i % 2 ? SPLIT_TRAIN : SPLIT_TEST);
        text_clear(&text);
        struct slice answer = sample_answer(&sample);
        if (!corrupt)
            family->judge(&sample, answer, &score);
        else if (corrupt(&sample, answer, &text))
            family->judge(&sample, text_slice(&text), &score);
    }
    text_fini(&text);
    sample_fini(&sample);
    return score;
}
