/* Tests of the circuit: before any training it points at what came behind the same token before. */
#include "nano/circuit.h"

#include "base/mem.h"
#include "nano/cpu.h"
#include "nano/pass.h"
#include "nano/recipe.h"
#include "testing/test.h"

#include <stdio.h>

enum { VOCAB = 1024, LENGTH = 60, LINES = 10, NEAR_TOP = 16 };

static float *new_params(struct model *model, uint64_t seed, bool has_circuit)
{
    struct recipe recipe = recipe_nano();
    model_init(model, &recipe.shape);
    float *params = mem_array(model->param_count, sizeof(*params));
    model_draw(model, seed, params);
    if (has_circuit)
        circuit_draw(model, seed, params);
    return params;
}

/* Different ones, twice: what is behind the second of each is known from the first. */
static void make_line(uint16_t *tokens, uint64_t *state)
{
    for (size_t i = 0; i < LENGTH; i++) {
        bool is_new;
        do {
            tokens[i] = (uint16_t)(test_random(state) % VOCAB);
            is_new = true;
            for (size_t k = 0; k < i; k++)
                is_new = is_new && tokens[k] != tokens[i];
        } while (!is_new);
        tokens[LENGTH + i] = tokens[i];
    }
}

static size_t rank(const float *logits, uint16_t token)
{
    size_t higher = 0;
    for (size_t i = 0; i < VOCAB; i++)
        higher += logits[i] > logits[token];
    return higher;
}

/* Of the second times, how many have the right token among the NEAR_TOP likeliest, in percent. */
static double percent_near_top(bool has_circuit)
{
    struct model model;
    float *params = new_params(&model, 1, has_circuit);
    struct pass *pass = pass_new(&model, (size_t)2 * LENGTH);
    float *logits = mem_array((size_t)2 * LENGTH * VOCAB, sizeof(*logits));
    size_t near = 0, asked = 0;
    uint64_t state = 3;
    for (size_t line = 0; line < LINES; line++) {
        uint16_t tokens[2 * LENGTH];
        make_line(tokens, &state);
        pass_logits(pass, params, tokens, (size_t)2 * LENGTH, logits);
        for (size_t i = LENGTH; i + 1 < (size_t)2 * LENGTH; i++, asked++)
            near += rank(logits + i * VOCAB, tokens[i + 1]) < NEAR_TOP;
    }
    mem_free(logits);
    pass_free(pass);
    mem_free(params);
    return 100.0 * (double)near / (double)asked;
}

TEST(it_points_at_what_came_behind_the_same_before_training)
{
    cpu_or_skip();
    double with = percent_near_top(true), without = percent_near_top(false);
    printf("right token among the %d likeliest of %d: %.1f %%, without the circuit %.1f %%\n",
           NEAR_TOP, VOCAB, with, without);
    CHECK(with > 50);
    CHECK(without < 10);
}

TEST(it_is_a_function_of_the_seed)
{
    struct model model;
    float *one = new_params(&model, 1, true), *again = new_params(&model, 1, true),
          *other = new_params(&model, 2, true);
    CHECK_EQ(memcmp(one, again, model.param_count * sizeof(*one)), 0);
    CHECK(memcmp(one, other, model.param_count * sizeof(*one)) != 0);
    for (size_t i = 0; i < model.param_count; i++)
        CHECK(one[i] > -3 && one[i] < 3); /* and nothing is not a number */
    mem_free(one);
    mem_free(again);
    mem_free(other);
}
