/* recipe - the shipped model's numbers, and what they make of a step. */
#include "nano/recipe.h"

#include "base/hash.h"

struct recipe recipe_nano(void)
{
    return (struct recipe){
        .shape =
            {.vocab = 1024, .width = 192, .layers = 6, .heads = 6, .kv_heads = 2, .hidden = 512},
        .seed = 1,
        .steps = 10000, /* of 2,800 tokens in the mean: 28M, 82 minutes at 5,700/s */
        .row_tokens = 512,
        .rows_first = 4,
        .rows_last = 4,
        .rows_grow_percent = 60,
        .shards = 2,
        .rate = 3e-3f,
        .warmup_steps = 1000,
        .decay_percent = 40,
        .has_circuit = true,
        .rounded_percent = 5,
        .weight_decay = 0.05f,
        .clip = 1.0f,
        .beta_first = 0.9f,
        .beta_second = 0.98f,
        .epsilon = 1e-9f,
    };
}

uint32_t recipe_rows(const struct recipe *recipe, uint32_t step)
{
    uint64_t grow_steps = (uint64_t)recipe->steps * recipe->rows_grow_percent / 100;
    if (step >= grow_steps)
        return recipe->rows_last;
    uint64_t more = (uint64_t)(recipe->rows_last - recipe->rows_first) * step;
    return recipe->rows_first + (uint32_t)(more / grow_steps);
}

uint64_t recipe_rows_before(const struct recipe *recipe, uint32_t step)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < step; i++)
        rows += recipe_rows(recipe, i);
    return rows;
}

float recipe_rate(const struct recipe *recipe, uint32_t step)
{
    uint32_t decay_steps = (uint32_t)((uint64_t)recipe->steps * recipe->decay_percent / 100);
    uint32_t left = recipe->steps - step;
    float rate = recipe->rate;
    if (step < recipe->warmup_steps)
        rate *= (float)(step + 1) / (float)recipe->warmup_steps;
    if (left < decay_steps)
        rate *= (float)left / (float)decay_steps;
    return rate;
}

bool recipe_is_rounded(const struct recipe *recipe, uint32_t step)
{
    uint64_t rounded = (uint64_t)recipe->steps * recipe->rounded_percent / 100;
    return step + rounded >= recipe->steps;
}

void recipe_say(const struct recipe *recipe, struct text *out)
{
    const struct shape *shape = &recipe->shape;
    text_add_f(out, "vocab %u, width %u, %u layers, %u heads, %u kv heads, hidden %u; ",
               shape->vocab, shape->width, shape->layers, shape->heads, shape->kv_heads,
               shape->hidden);
    text_add_f(out,
               "seed %llu, %u steps of %u to %u rows (grow for %u %%) of %u tokens, %u shards; ",
               (unsigned long long)recipe->seed, recipe->steps, recipe->rows_first,
               recipe->rows_last, recipe->rows_grow_percent, recipe->row_tokens, recipe->shards);
    text_add_f(out, "%srate %g, warm-up %u steps, decay %u %%, rounded %u %%; ",
               recipe->has_circuit ? "circuit; " : "", (double)recipe->rate, recipe->warmup_steps,
               recipe->decay_percent, recipe->rounded_percent);
    text_add_f(out, "weight decay %g, clip %g, betas %g %g, epsilon %g",
               (double)recipe->weight_decay, (double)recipe->clip, (double)recipe->beta_first,
               (double)recipe->beta_second, (double)recipe->epsilon);
}

uint64_t recipe_hash(const struct recipe *recipe)
{
    struct text said;
    text_init(&said, 1024);
    recipe_say(recipe, &said);
    ASSERT(!said.overflowed);
    uint64_t hash = hash_bytes(text_slice(&said));
    text_fini(&said);
    return hash;
}
