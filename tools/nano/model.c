/* model - where tensors lie, and what they are drawn as. */
#include "nano/model.h"

#include "base/err.h"
#include "base/splitmix.h"

#include <math.h>
#include <stdio.h>

static void add(struct model *model, const char *name, uint32_t rows, uint32_t columns)
{
    struct tensor *tensor = &model->tensors[model->tensor_count++];
    snprintf(tensor->name, sizeof(tensor->name), "%s.weight", name);
    tensor->begin = model->param_count;
    tensor->rows = rows;
    tensor->columns = columns;
    model->param_count += tensor_count(tensor);
}

static void add_layer(struct model *model, unsigned layer)
{
    const struct shape *shape = &model->shape;
    const struct {
        const char *name;
        uint32_t rows, columns;
    } tensors[LAYER_TENSOR_COUNT] = {
        [LAYER_ATTN_NORM] = {"attn_norm", 1, shape->width},
        [LAYER_Q] = {"attn_q", shape->width, shape->width},
        [LAYER_K] = {"attn_k", model->kv_width, shape->width},
        [LAYER_V] = {"attn_v", model->kv_width, shape->width},
        [LAYER_ATTN_OUTPUT] = {"attn_output", shape->width, shape->width},
        [LAYER_FFN_NORM] = {"ffn_norm", 1, shape->width},
        [LAYER_GATE] = {"ffn_gate", shape->hidden, shape->width},
        [LAYER_UP] = {"ffn_up", shape->hidden, shape->width},
        [LAYER_DOWN] = {"ffn_down", shape->width, shape->hidden},
    };
    for (size_t i = 0; i < LAYER_TENSOR_COUNT; i++) {
        char name[32];
        snprintf(name, sizeof(name), "blk.%u.%s", layer, tensors[i].name);
        add(model, name, tensors[i].rows, tensors[i].columns);
    }
}

void model_init(struct model *model, const struct shape *shape)
{
    ASSERT(shape->layers >= 1 && shape->layers <= MODEL_LAYERS_MAX);
    ASSERT(shape->width == shape->heads * MODEL_HEAD_WIDTH && shape->hidden % 32 == 0);
    ASSERT(shape->kv_heads >= 1 && shape->heads % shape->kv_heads == 0);
    ASSERT(shape->vocab >= 32 && shape->vocab % 32 == 0);
    *model = (struct model){.shape = *shape, .kv_width = shape->kv_heads * MODEL_HEAD_WIDTH};
    add(model, "token_embd", shape->vocab, shape->width);
    for (unsigned layer = 0; layer < shape->layers; layer++)
        add_layer(model, layer);
    add(model, "output_norm", 1, shape->width);
}

/* Box and Muller 1958. */
double model_normal(uint64_t *state)
{
    double radius = sqrt(-2 * log(1 - splitmix_unit(state)));
    return radius * cos(2 * M_PI * splitmix_unit(state));
}

static void draw_matrix(const struct tensor *tensor, double deviation, uint64_t *state,
                        float *params)
{
    for (size_t i = 0; i < tensor_count(tensor); i++)
        params[tensor->begin + i] = (float)(deviation * model_normal(state));
}

void model_draw(const struct model *model, uint64_t seed, float *out_params)
{
    uint64_t state = seed;
    double into_x = 0.02 / sqrt(2.0 * model->shape.layers);
    for (size_t i = 0; i < model->tensor_count; i++) {
        const struct tensor *tensor = &model->tensors[i];
        size_t which = i == 0 ? LAYER_TENSOR_COUNT : (i - 1) % LAYER_TENSOR_COUNT;
        if (tensor_is_norm(tensor)) {
            for (size_t k = 0; k < tensor->columns; k++)
                out_params[tensor->begin + k] = 1.0f;
        } else {
            bool writes_x = which == LAYER_ATTN_OUTPUT || which == LAYER_DOWN;
            draw_matrix(tensor, writes_x ? into_x : 0.02, &state, out_params);
        }
    }
}
