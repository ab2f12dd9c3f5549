/* Tests of the way through the model: gradients against differences of losses. */
#include "nano/pass.h"

#include "base/mem.h"
#include "nano/cpu.h"
#include "testing/test.h"

#include <math.h>
#include <stdio.h>

enum { VOCAB = 64, TOKENS = 61 + 7 + 30 };

static const struct shape tiny = {
    .vocab = VOCAB, .width = 96, .layers = 2, .heads = 3, .kv_heads = 1, .hidden = 64};

/* Three documents of random tokens; one is longer than a block of queries, one shorter than a tile.
 */
static void make_row(struct row *row)
{
    uint64_t state = 5;
    row_init(row, TOKENS);
    static const uint32_t ends[] = {61, 68, TOKENS};
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
        row->document_ends[i] = ends[i];
        row->document_kinds[i] = (uint8_t)i;
    }
    row->document_count = ARRAY_COUNT(ends);
    row->token_count = TOKENS;
    for (size_t i = 0; i < TOKENS; i++) {
        row->tokens[i] = (uint16_t)(test_random(&state) % VOCAB);
        row->weights[i] = i % 3 == 0 ? 10 : 100;
    }
    row->weights[0] = row->weights[61] = row->weights[68] = 0;
}

/* Larger than model_draw() makes them, so that no part of the model is near idle. */
static float *make_params(const struct model *model)
{
    float *params = mem_array(model->param_count, sizeof(*params));
    model_draw(model, 3, params);
    uint64_t state = 9;
    for (size_t i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        for (size_t k = 0; k < tensor_count(tensor); k++) {
            float *param = &params[tensor->begin + k];
            if (tensor_is_norm(tensor))
                *param = 0.5f + (float)(test_random(&state) % 1000) / 1000.0f;
            else
                *param *= 6;
        }
    }
    return params;
}

static double loss_of(struct pass *pass, const float *params, const struct row *row)
{
    struct losses losses = {0};
    pass_run(pass, params, row, 1, NULL, &losses);
    return losses.weighted;
}

/* Along a random direction of one tensor: the difference of losses is the gradient times it. A
 * direction of a whole tensor moves the loss by far more than floats round. */
static void check_tensor(struct pass *pass, float *params, const struct row *row,
                         const float *grads, const struct tensor *tensor)
{
    size_t count = tensor_count(tensor);
    float *kept = mem_array(count, sizeof(*kept)), *way = mem_array(count, sizeof(*way));
    memcpy(kept, params + tensor->begin, count * sizeof(*kept));
    uint64_t state = tensor->begin;
    double expected = 0, losses[2], step = 0.02 / sqrt((double)count);
    for (size_t i = 0; i < count; i++) {
        /* Half random, half uphill, so that what is expected is not near 0. */
        float grad = grads[tensor->begin + i];
        way[i] = (test_random(&state) % 2 ? 0.5f : -0.5f) + (grad > 0 ? 0.5f : -0.5f);
        expected += (double)way[i] * grad;
    }
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < count; i++)
            params[tensor->begin + i] = kept[i] + (float)((side ? step : -step) * (double)way[i]);
        losses[side] = loss_of(pass, params, row);
    }
    memcpy(params + tensor->begin, kept, count * sizeof(*kept));
    double numeric = (losses[1] - losses[0]) / (2 * step);
    if (fabs(numeric - expected) > 0.01 * fabs(expected))
        fprintf(stderr, "%s: gradient %g, by differences %g\n", tensor->name, expected, numeric);
    CHECK_NEAR(numeric / expected, 1, 0.01);
    mem_free(kept);
    mem_free(way);
}

TEST(gradient_of_every_tensor_is_that_of_differences)
{
    cpu_or_skip();
    struct model model;
    model_init(&model, &tiny);
    struct row row;
    make_row(&row);
    float *params = make_params(&model), *grads = mem_array(model.param_count, sizeof(*grads));
    struct pass *pass = pass_new(&model, TOKENS);
    struct losses losses = {0};
    pass_run(pass, params, &row, 1, grads, &losses);
    CHECK_EQ(losses.tokens, TOKENS);
    for (size_t i = 0; i < model.tensor_count; i++)
        check_tensor(pass, params, &row, grads, &model.tensors[i]);
    pass_free(pass);
    mem_free(params);
    mem_free(grads);
    row_fini(&row);
}

/* What one document is told does not reach another, nor what comes later what came before. */
TEST(tokens_see_their_own_document_up_to_themselves_only)
{
    cpu_or_skip();
    struct model model;
    model_init(&model, &tiny);
    struct row row;
    make_row(&row);
    float *params = make_params(&model);
    struct pass *pass = pass_new(&model, TOKENS);
    float *alone = mem_array(30 * VOCAB, sizeof(*alone)),
          *cut = mem_array(30 * VOCAB, sizeof(*cut));
    pass_logits(pass, params, row.tokens + 68, 30, alone);
    pass_logits(pass, params, row.tokens + 68, 20, cut);
    for (size_t i = 0; i < 20 * VOCAB; i++)
        CHECK_NEAR(cut[i], alone[i], 1e-4);

    double sum = 0; /* of the last document, from its logits alone */
    for (size_t i = 1; i < 30; i++) {
        double exponents = 0;
        for (size_t k = 0; k < VOCAB; k++)
            exponents += exp((double)alone[(i - 1) * VOCAB + k]);
        double loss = log(exponents) - (double)alone[(i - 1) * VOCAB + row.tokens[68 + i]];
        sum += row.weights[68 + i] == 100 ? loss : 0;
    }
    struct losses losses = {0};
    pass_run(pass, params, &row, 1, NULL, &losses);
    CHECK_NEAR(losses.answers[2], sum, 1e-3);
    pass_free(pass);
    mem_free(alone);
    mem_free(cut);
    mem_free(params);
    row_fini(&row);
}
