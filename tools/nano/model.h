/* model - the parameters of a model of llama's architecture, one behind the other in one array of
 * floats: which tensor begins where, and what it holds before training.
 *
 * Layers of x += attention(norm(x)), x += ffn(norm(x)); RMSNorm (Zhang and Sennrich 2019), rotary
 * positions (Su and others 2021), grouped queries (Ainslie and others 2023), SwiGLU (Shazeer 2020);
 * what a token looks like is also how it is predicted (Press and Wolf 2017). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MODEL_HEAD_WIDTH = 32,
    MODEL_LAYERS_MAX = 16,
    MODEL_TENSORS_MAX = MODEL_LAYERS_MAX * 9 + 2,
};
#define MODEL_NORM_EPSILON 1e-5f
#define MODEL_ROPE_BASE    10000.0

struct shape { /* widths are multiples of 32 */
    uint32_t vocab, width, layers, heads, kv_heads, hidden;
};

/* Neighbours are one matrix where that saves a product: Q, K, V; gate and up. */
enum layer_tensor {
    LAYER_ATTN_NORM,
    LAYER_Q,
    LAYER_K,
    LAYER_V,
    LAYER_ATTN_OUTPUT,
    LAYER_FFN_NORM,
    LAYER_GATE,
    LAYER_UP,
    LAYER_DOWN,
    LAYER_TENSOR_COUNT,
};

struct tensor { /* y = x W^T: `rows` outputs of `columns` inputs, row-major; a norm has one row */
    char name[40];
    size_t begin;
    uint32_t rows, columns;
};

struct model {
    struct shape shape;
    uint32_t kv_width, tensor_count;
    size_t param_count;
    struct tensor tensors[MODEL_TENSORS_MAX]; /* embedding, layers, output norm */
};

void model_init(struct model *model, const struct shape *shape); /* ASSERTs the shape */

static inline const struct tensor *model_embedding(const struct model *model)
{
    return &model->tensors[0];
}
static inline const struct tensor *model_layer(const struct model *model, size_t layer,
                                               enum layer_tensor which)
{
    return &model->tensors[1 + layer * LAYER_TENSOR_COUNT + which];
}
static inline const struct tensor *model_output_norm(const struct model *model)
{
    return &model->tensors[model->tensor_count - 1];
}
static inline bool tensor_is_norm(const struct tensor *tensor)
{
    return tensor->rows == 1;
}
static inline size_t tensor_count(const struct tensor *tensor)
{
    return (size_t)tensor->rows * tensor->columns;
}

/* Matrices normal with deviation 0.02, those that write into x by 1/sqrt(2 layers) smaller (GPT-2);
 * norms 1. A pure function of the seed. */
void model_draw(const struct model *model, uint64_t seed, float *out_params);
/* The next number of a normal distribution of deviation 1. */
double model_normal(uint64_t *state);
