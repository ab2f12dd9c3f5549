/* random_model - the keys and tensors of each architecture, as llama.cpp v0.5.0 asks for them
 * (src/models/ARCHITECTURE.cpp there). */
#include "models/random_model.h"

#include "models/quoting.h"
#include "models/vocabulary.h"
#include "models/weights.h"
#include "nano/cpu.h"

#include <stdio.h>

const char *const random_kind_names[RANDOM_KIND_COUNT] = {
    [RANDOM_LLAMA] = "llama",   [RANDOM_RECURRENT] = "recurrent", [RANDOM_HYBRID] = "hybrid",
    [RANDOM_WINDOW] = "window", [RANDOM_EMBEDDING] = "embedding", [RANDOM_RERANK] = "rerank",
};

const char *const random_size_names[RANDOM_SIZE_COUNT] = {
    [RANDOM_TINY] = "tiny",
    [RANDOM_15M] = "15m",
    [RANDOM_110M] = "110m",
};

struct shape {
    const char *architecture;
    enum vocabulary_use use;
    uint32_t context, vocab, width, layers, heads, kv_heads, hidden; /* vocab 0: the tokenizer's */
};

static const struct shape shapes[RANDOM_KIND_COUNT][RANDOM_SIZE_COUNT] = {
    [RANDOM_LLAMA] = {[RANDOM_TINY] = {"llama", VOCABULARY_CHAT, RANDOM_CONTEXT_TOKENS, 0, 64, 2, 2,
                                       1, 128},
                      [RANDOM_15M] = {"llama", VOCABULARY_CHAT, RANDOM_CONTEXT_TOKENS, 32000, 288,
                                      6, 6, 6, 768},
                      [RANDOM_110M] = {"llama", VOCABULARY_CHAT, RANDOM_CONTEXT_TOKENS, 32000, 768,
                                       12, 12, 12, 2048}},
    [RANDOM_RECURRENT] = {[RANDOM_TINY] = {"mamba", VOCABULARY_CHAT, RANDOM_CONTEXT_TOKENS, 0, 64,
                                           2, 0, 0, 0}},
    [RANDOM_HYBRID] = {[RANDOM_TINY] = {"lfm2", VOCABULARY_CHAT, RANDOM_CONTEXT_TOKENS, 0, 64, 4, 2,
                                        1, 128}},
    [RANDOM_WINDOW] = {[RANDOM_TINY] = {"gemma3", VOCABULARY_CHAT, RANDOM_CONTEXT_TOKENS, 0, 64, 4,
                                        2, 1, 128}},
    [RANDOM_EMBEDDING] = {[RANDOM_TINY] = {"bert", VOCABULARY_READ, 512, 0, 64, 2, 2, 2, 128}},
    [RANDOM_RERANK] = {[RANDOM_TINY] = {"bert", VOCABULARY_READ, 512, 0, 64, 2, 2, 2, 128}},
};

enum { /* llama.h: llama_pooling_type, llama_ftype; ggml.h: GGML_QNT_VERSION */
       POOLING_MEAN = 1,
       POOLING_RANK = 4,
       QUANTIZATION_VERSION = 2,
       STATE_INNER = 2, /* mamba: twice the width, the only expansion there is */
       STATE_SIZE = 16,
       STATE_KERNEL = 4, /* tokens that a convolution sees */
       TOKEN_TYPES = 2,  /* bert: first and second text; libllama uses the first */
};

struct build {
    struct gguf gguf;
    struct weights weights;
    struct shape shape;
    struct quoting quoting; /* heads 0: it does not */
    char name[64];
};

/* --- keys --- */

static const char *key(struct build *build, const char *key)
{
    snprintf(build->name, sizeof(build->name), "%s.%s", build->shape.architecture, key);
    return build->name;
}

static void add_u32(struct build *build, const char *name, uint32_t value)
{
    gguf_add_u32(&build->gguf, key(build, name), value);
}

static void add_f32(struct build *build, const char *name, float value)
{
    gguf_add_f32(&build->gguf, key(build, name), value);
}

static uint32_t file_type(enum gguf_tensor_type type)
{
    switch (type) {
    case GGUF_TENSOR_F32:
        return 0;
    case GGUF_TENSOR_F16:
        return 1;
    case GGUF_TENSOR_Q4_0:
        return 2;
    case GGUF_TENSOR_Q8_0:
        return 7;
    }
    ASSERT(false);
    return 0;
}

static void add_general(struct build *build, const struct random_model *model)
{
    char name[64];
    snprintf(name, sizeof(name), "random %s %s%s", random_kind_names[model->kind],
             random_size_names[model->size], model->quotes ? " that quotes" : "");
    gguf_add_string(&build->gguf, "general.architecture", slice_str(build->shape.architecture));
    gguf_add_string(&build->gguf, "general.type", SLICE("model"));
    gguf_add_string(&build->gguf, "general.name", slice_str(name));
    gguf_add_u32(&build->gguf, "general.file_type", file_type(model->type));
    gguf_add_u32(&build->gguf, "general.quantization_version", QUANTIZATION_VERSION);
}

static void add_shape(struct build *build)
{
    const struct shape *shape = &build->shape;
    add_u32(build, "context_length", shape->context);
    add_u32(build, "embedding_length", shape->width);
    add_u32(build, "block_count", shape->layers);
    add_u32(build, "vocab_size", shape->vocab);
    add_u32(build, "feed_forward_length", shape->hidden);
    add_u32(build, "attention.head_count", shape->heads);
}

/* --- tensors --- */

static const char *in_layer(struct build *build, uint32_t layer, const char *name)
{
    snprintf(build->name, sizeof(build->name), "blk.%u.%s", layer, name);
    return build->name;
}

static void add_matrix(struct build *build, uint32_t layer, const char *name, uint32_t rows,
                       uint32_t columns)
{
    weights_add_matrix(&build->weights, in_layer(build, layer, name), rows, columns);
}

static void add_vector(struct build *build, const char *name, uint32_t count, float middle)
{
    weights_add_f32(&build->weights, name, 1, count, middle - 0.1f, middle + 0.1f);
}

static void add_norm(struct build *build, uint32_t layer, const char *name, uint32_t count)
{
    add_vector(build, in_layer(build, layer, name), count, 1);
}

static void add_embedding(struct build *build)
{
    weights_add_matrix(&build->weights, "token_embd.weight", build->shape.vocab,
                       build->shape.width);
}

static uint32_t kv_width(const struct shape *shape)
{
    return shape->width / shape->heads * shape->kv_heads;
}

static void add_attention(struct build *build, uint32_t layer)
{
    const struct shape *shape = &build->shape;
    add_matrix(build, layer, "attn_q.weight", shape->width, shape->width);
    add_matrix(build, layer, "attn_k.weight", kv_width(shape), shape->width);
    add_matrix(build, layer, "attn_v.weight", kv_width(shape), shape->width);
    add_matrix(build, layer, "attn_output.weight", shape->width, shape->width);
}

static void add_head_norms(struct build *build, uint32_t layer)
{
    uint32_t head_width = build->shape.width / build->shape.heads;
    add_norm(build, layer, "attn_q_norm.weight", head_width);
    add_norm(build, layer, "attn_k_norm.weight", head_width);
}

static void add_feed_forward(struct build *build, uint32_t layer)
{
    const struct shape *shape = &build->shape;
    add_norm(build, layer, "ffn_norm.weight", shape->width);
    add_matrix(build, layer, "ffn_gate.weight", shape->hidden, shape->width);
    add_matrix(build, layer, "ffn_up.weight", shape->hidden, shape->width);
    add_matrix(build, layer, "ffn_down.weight", shape->width, shape->hidden);
}

/* --- architectures --- */

static void add_llama(struct build *build)
{
    const struct shape *shape = &build->shape;
    add_u32(build, "attention.head_count_kv", shape->kv_heads);
    add_u32(build, "rope.dimension_count", shape->width / shape->heads);
    add_f32(build, "attention.layer_norm_rms_epsilon", 1e-5f);
    add_embedding(build);
    for (uint32_t layer = 0; layer < shape->layers; layer++) {
        add_norm(build, layer, "attn_norm.weight", shape->width);
        add_attention(build, layer);
        add_feed_forward(build, layer);
    }
    add_vector(build, "output_norm.weight", shape->width, 1);
    if (build->quoting.heads == 0)
        return; /* the output is the embedding */
    add_f32(build, "rope.freq_base", QUOTING_ROPE_BASE);
    weights_add_matrix(&build->weights, "output.weight", shape->vocab, shape->width);
}

static void add_state_layer(struct build *build, uint32_t layer)
{
    uint32_t width = build->shape.width, inner = STATE_INNER * width, rank = width / 16;
    add_norm(build, layer, "attn_norm.weight", width);
    add_matrix(build, layer, "ssm_in.weight", 2 * inner, width);
    weights_add_f32(&build->weights, in_layer(build, layer, "ssm_conv1d.weight"), inner,
                    STATE_KERNEL, -0.5f, 0.5f);
    add_vector(build, in_layer(build, layer, "ssm_conv1d.bias"), inner, 0);
    add_matrix(build, layer, "ssm_x.weight", rank + 2 * STATE_SIZE, inner);
    add_matrix(build, layer, "ssm_dt.weight", inner, rank);
    add_vector(build, in_layer(build, layer, "ssm_dt.bias"), inner, 0);
    /* How fast each part of the state forgets: some at once, some only after hundreds of tokens. */
    weights_add_f32(&build->weights, in_layer(build, layer, "ssm_a"), inner, STATE_SIZE, -2,
                    -0.01f);
    add_vector(build, in_layer(build, layer, "ssm_d"), inner, 1);
    add_matrix(build, layer, "ssm_out.weight", width, inner);
}

static void add_mamba(struct build *build)
{
    const struct shape *shape = &build->shape;
    add_u32(build, "ssm.conv_kernel", STATE_KERNEL);
    add_u32(build, "ssm.inner_size", STATE_INNER * shape->width);
    add_u32(build, "ssm.state_size", STATE_SIZE);
    add_u32(build, "ssm.time_step_rank", shape->width / 16);
    add_f32(build, "attention.layer_norm_rms_epsilon", 1e-5f);
    add_embedding(build);
    for (uint32_t layer = 0; layer < shape->layers; layer++)
        add_state_layer(build, layer);
    add_vector(build, "output_norm.weight", shape->width, 1);
}

static bool lfm2_attends(uint32_t layer)
{
    return layer % 2 == 1;
}

static void add_convolution(struct build *build, uint32_t layer)
{
    uint32_t width = build->shape.width;
    weights_add_f32(&build->weights, in_layer(build, layer, "shortconv.conv.weight"), width,
                    STATE_KERNEL, -0.5f, 0.5f);
    add_matrix(build, layer, "shortconv.in_proj.weight", 3 * width, width);
    add_matrix(build, layer, "shortconv.out_proj.weight", width, width);
}

static void add_lfm2(struct build *build)
{
    const struct shape *shape = &build->shape;
    gguf_begin_i32s(&build->gguf, key(build, "attention.head_count_kv"), shape->layers);
    for (uint32_t layer = 0; layer < shape->layers; layer++)
        gguf_item_i32(&build->gguf, lfm2_attends(layer) ? (int32_t)shape->kv_heads : 0);
    add_u32(build, "shortconv.l_cache", STATE_KERNEL);
    add_f32(build, "attention.layer_norm_rms_epsilon", 1e-5f);
    add_embedding(build);
    for (uint32_t layer = 0; layer < shape->layers; layer++) {
        add_norm(build, layer, "attn_norm.weight", shape->width);
        if (lfm2_attends(layer)) {
            add_attention(build, layer);
            add_head_norms(build, layer);
        } else {
            add_convolution(build, layer);
        }
        add_feed_forward(build, layer);
    }
    add_vector(build, "token_embd_norm.weight", shape->width, 1); /* behind the layers */
}

static void add_gemma3(struct build *build)
{
    const struct shape *shape = &build->shape;
    add_u32(build, "attention.head_count_kv", shape->kv_heads);
    add_u32(build, "attention.key_length", shape->width / shape->heads);
    add_u32(build, "attention.value_length", shape->width / shape->heads);
    add_u32(build, "attention.sliding_window", RANDOM_WINDOW_TOKENS);
    add_u32(build, "attention.sliding_window_pattern", 2); /* every second layer sees all */
    add_f32(build, "attention.layer_norm_rms_epsilon", 1e-6f);
    add_embedding(build);
    for (uint32_t layer = 0; layer < shape->layers; layer++) {
        add_norm(build, layer, "attn_norm.weight", shape->width);
        add_attention(build, layer);
        add_head_norms(build, layer);
        add_norm(build, layer, "post_attention_norm.weight", shape->width);
        add_feed_forward(build, layer);
        add_norm(build, layer, "post_ffw_norm.weight", shape->width);
    }
    add_vector(build, "output_norm.weight", shape->width, 1);
}

/* Its norms subtract the mean, and have a bias. */
static void add_bert_norm(struct build *build, uint32_t layer, const char *weight, const char *bias)
{
    add_norm(build, layer, weight, build->shape.width);
    add_vector(build, in_layer(build, layer, bias), build->shape.width, 0);
}

static void add_bert(struct build *build, uint32_t pooling)
{
    const struct shape *shape = &build->shape;
    add_u32(build, "pooling_type", pooling);
    gguf_add_bool(&build->gguf, key(build, "attention.causal"), false);
    gguf_add_u32(&build->gguf, "tokenizer.ggml.token_type_count", TOKEN_TYPES);
    add_f32(build, "attention.layer_norm_epsilon", 1e-12f);
    add_embedding(build);
    weights_add_f32(&build->weights, "token_types.weight", TOKEN_TYPES, shape->width, -0.2f, 0.2f);
    weights_add_f32(&build->weights, "position_embd.weight", shape->context, shape->width, -0.2f,
                    0.2f);
    add_vector(build, "token_embd_norm.weight", shape->width, 1);
    add_vector(build, "token_embd_norm.bias", shape->width, 0);
    for (uint32_t layer = 0; layer < shape->layers; layer++) {
        add_attention(build, layer);
        add_bert_norm(build, layer, "attn_output_norm.weight", "attn_output_norm.bias");
        add_matrix(build, layer, "ffn_up.weight", shape->hidden, shape->width);
        add_matrix(build, layer, "ffn_down.weight", shape->width, shape->hidden);
        add_bert_norm(build, layer, "layer_output_norm.weight", "layer_output_norm.bias");
    }
    if (pooling != POOLING_RANK)
        return;
    weights_add_matrix(&build->weights, "cls.weight", shape->width, shape->width);
    add_vector(build, "cls.bias", shape->width, 0);
    weights_add_matrix(&build->weights, "cls.output.weight", 1, shape->width);
    add_vector(build, "cls.output.bias", 1, 0);
}

static void add_architecture(struct build *build, enum random_kind kind)
{
    switch (kind) {
    case RANDOM_LLAMA:
        add_llama(build);
        return;
    case RANDOM_RECURRENT:
        add_mamba(build);
        return;
    case RANDOM_HYBRID:
        add_lfm2(build);
        return;
    case RANDOM_WINDOW:
        add_gemma3(build);
        return;
    case RANDOM_EMBEDDING:
        add_bert(build, POOLING_MEAN);
        return;
    case RANDOM_RERANK:
        add_bert(build, POOLING_RANK);
        return;
    case RANDOM_KIND_COUNT:
        break;
    }
    ASSERT(false);
}

static struct quoting quoting_of(const struct random_model *model)
{
    const struct shape *shape = &shapes[model->kind][model->size];
    return (struct quoting){.width = shape->width, .heads = shape->heads, .seed = model->seed};
}

static bool can_quote(const struct random_model *model)
{
    struct quoting quoting = quoting_of(model);
    return model->kind == RANDOM_LLAMA &&
           quoting_fits(&quoting, shapes[model->kind][model->size].layers);
}

static enum err write_with(const struct random_model *model, const struct vocabulary *vocabulary,
                           const char *path, struct err_note *note)
{
    struct build build = {.shape = shapes[model->kind][model->size]};
    if (build.shape.vocab < vocabulary->tokens)
        build.shape.vocab = vocabulary->tokens;
    gguf_init(&build.gguf);
    build.weights = (struct weights){&build.gguf, model->type, model->seed, NULL};
    if (model->quotes) {
        build.quoting = quoting_of(model);
        build.weights.quoting = &build.quoting;
    }
    add_general(&build, model);
    add_shape(&build);
    vocabulary_add(vocabulary, build.shape.vocab, build.shape.use, &build.gguf);
    add_architecture(&build, model->kind);
    enum err err = gguf_save(&build.gguf, path, note);
    gguf_fini(&build.gguf);
    return err;
}

enum err random_model_write(const struct random_model *model, const char *path,
                            struct err_note *note)
{
    if (!shapes[model->kind][model->size].architecture)
        return err_note_fail(note, ERR_REFUSED, "there is no %s of size %s",
                             random_kind_names[model->kind], random_size_names[model->size]);
    if (model->quotes && !can_quote(model))
        return err_note_fail(note, ERR_REFUSED,
                             "there is no %s of size %s that quotes: take llama "
                             "of 15m or 110m",
                             random_kind_names[model->kind], random_size_names[model->size]);
    TRY(cpu_can_train(note));
    struct vocabulary vocabulary;
    TRY(vocabulary_open(model->vocabulary, &vocabulary, note));
    enum err err = write_with(model, &vocabulary, path, note);
    vocabulary_fini(&vocabulary);
    return err;
}
