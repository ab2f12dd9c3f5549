/* export - keys as llama.cpp wants them for this architecture, and the tensors. */
#include "nano/export.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "nano/gguf_write.h"
#include "nano/q8.h"
#include "nano/rows.h"

#include <stdio.h>

enum { /* llama.h: llama_token_type, llama_ftype; ggml.h: GGML_QNT_VERSION */
       TOKEN_TYPE_NORMAL = 1,
       TOKEN_TYPE_CONTROL = 3,
       TOKEN_TYPE_USER_DEFINED = 4,
       FILE_TYPE_ALL_F32 = 0,
       FILE_TYPE_MOSTLY_Q8_0 = 7,
       QUANTIZATION_VERSION = 2,
};

static void add_general(struct gguf *gguf, const struct model *model, bool is_exact)
{
    char size[16];
    snprintf(size, sizeof(size), "%.1fM", (double)model->param_count / 1e6);
    gguf_add_string(gguf, "general.architecture", SLICE("llama"));
    gguf_add_string(gguf, "general.type", SLICE("model"));
    gguf_add_string(gguf, "general.name", SLICE("millrace nano"));
    gguf_add_string(gguf, "general.description",
                    SLICE("The model that millrace ships: answers about millrace, copies, calls "
                          "tools, reads logs, writes JSON and stories. Trained from nothing on "
                          "documents that tools/nano makes."));
    gguf_add_string(gguf, "general.license", SLICE("MIT"));
    gguf_add_string(gguf, "general.size_label", slice_str(size));
    gguf_add_u32(gguf, "general.file_type", is_exact ? FILE_TYPE_ALL_F32 : FILE_TYPE_MOSTLY_Q8_0);
    gguf_add_u32(gguf, "general.quantization_version", QUANTIZATION_VERSION);
    gguf_add_f32(gguf, "general.sampling.temp",
                 0.0f); /* it was taught one answer to each question */
}

static void add_shape(struct gguf *gguf, const struct model *model)
{
    const struct shape *shape = &model->shape;
    gguf_add_u32(gguf, "llama.context_length", ROW_DOCUMENT_TOKENS_MAX);
    gguf_add_u32(gguf, "llama.embedding_length", shape->width);
    gguf_add_u32(gguf, "llama.block_count", shape->layers);
    gguf_add_u32(gguf, "llama.feed_forward_length", shape->hidden);
    gguf_add_u32(gguf, "llama.attention.head_count", shape->heads);
    gguf_add_u32(gguf, "llama.attention.head_count_kv", shape->kv_heads);
    gguf_add_u32(gguf, "llama.rope.dimension_count", MODEL_HEAD_WIDTH);
    gguf_add_u32(gguf, "llama.vocab_size", shape->vocab);
    gguf_add_f32(gguf, "llama.attention.layer_norm_rms_epsilon", MODEL_NORM_EPSILON);
    gguf_add_f32(gguf, "llama.rope.freq_base", (float)MODEL_ROPE_BASE);
}

/* GPT-2 writes bytes as characters that can be seen: those that are, as they are, the others in
 * order from U+0100 on. */
static uint32_t visible_of(uint8_t byte)
{
    uint32_t hidden = 0;
    for (unsigned before = 0; before <= byte; before++) {
        bool is_visible = (before >= '!' && before <= '~') || (before >= 0xA1 && before != 0xAD);
        if (before == byte)
            return is_visible ? byte : 0x100 + hidden;
        hidden += !is_visible;
    }
    ASSERT(false);
    return 0;
}

static void visible_add(struct text *out, const struct tokenizer *tokenizer, uint16_t token)
{
    struct slice bytes = tokenizer_token(tokenizer, token);
    if (token < TOKENIZER_SPECIAL_COUNT) {
        text_add(out, bytes);
        return;
    }
    for (size_t i = 0; i < bytes.len; i++)
        utf8_add_codepoint(out, visible_of((uint8_t)bytes.data[i]));
}

static void add_tokens(struct gguf *gguf, const struct tokenizer *tokenizer)
{
    struct text text;
    text_init(&text, 1024);
    uint32_t size = tokenizer_size(tokenizer);
    gguf_begin_strings(gguf, "tokenizer.ggml.tokens", size);
    for (uint32_t token = 0; token < size; token++, text_clear(&text)) {
        visible_add(&text, tokenizer, (uint16_t)token);
        gguf_item_string(gguf, text_slice(&text));
    }
    gguf_begin_i32s(gguf, "tokenizer.ggml.token_type", size);
    for (uint32_t token = 0; token < size; token++)
        gguf_item_i32(gguf, token <= TOKEN_IM_END             ? TOKEN_TYPE_CONTROL
                            : token < TOKENIZER_SPECIAL_COUNT ? TOKEN_TYPE_USER_DEFINED
                                                              : TOKEN_TYPE_NORMAL);
    gguf_begin_strings(gguf, "tokenizer.ggml.merges", size - TOKENIZER_FIRST_MERGE);
    for (uint32_t token = TOKENIZER_FIRST_MERGE; token < size; token++, text_clear(&text)) {
        uint16_t left, right;
        tokenizer_merge(tokenizer, (uint16_t)token, &left, &right);
        visible_add(&text, tokenizer, left);
        text_add_byte(&text, ' ');
        visible_add(&text, tokenizer, right);
        gguf_item_string(gguf, text_slice(&text));
    }
    text_fini(&text);
}

static void add_tokenizer(struct gguf *gguf, const struct export_parts *parts)
{
    gguf_add_string(gguf, "tokenizer.ggml.model", SLICE("gpt2"));
    gguf_add_string(gguf, "tokenizer.ggml.pre", SLICE("qwen2"));
    add_tokens(gguf, parts->tokenizer);
    gguf_add_u32(gguf, "tokenizer.ggml.bos_token_id", TOKEN_END_OF_TEXT);
    gguf_add_u32(gguf, "tokenizer.ggml.eos_token_id", TOKEN_IM_END);
    gguf_add_u32(gguf, "tokenizer.ggml.padding_token_id", TOKEN_END_OF_TEXT);
    gguf_add_bool(gguf, "tokenizer.ggml.add_bos_token", false);
    gguf_add_string(gguf, "tokenizer.chat_template", parts->chat_template);
}

static void add_tensor(struct gguf *gguf, const struct tensor *tensor, const float *params,
                       bool is_exact)
{
    size_t count = tensor_count(tensor);
    if (is_exact || tensor_is_norm(tensor)) {
        gguf_add_tensor(gguf, tensor->name, GGUF_TENSOR_F32, tensor->rows, tensor->columns,
                        slice_of(params + tensor->begin, count * sizeof(float)));
        return;
    }
    struct q8_block *blocks = mem_array(count / Q8_WEIGHTS, sizeof(*blocks));
    q8_pack(params + tensor->begin, count, blocks);
    gguf_add_tensor(gguf, tensor->name, GGUF_TENSOR_Q8_0, tensor->rows, tensor->columns,
                    slice_of(blocks, count / Q8_WEIGHTS * sizeof(*blocks)));
    mem_free(blocks);
}

enum err export_write(const struct export_parts *parts, const char *path, struct err_note *out_note)
{
    const struct model *model = parts->model;
    struct gguf gguf;
    ASSERT(tokenizer_size(parts->tokenizer) == model->shape.vocab);
    gguf_init(&gguf);
    add_general(&gguf, model, parts->is_exact);
    add_shape(&gguf, model);
    add_tokenizer(&gguf, parts);
    for (size_t i = 0; i < model->tensor_count; i++)
        add_tensor(&gguf, &model->tensors[i], parts->params, parts->is_exact);
    enum err err = gguf_save(&gguf, path, out_note);
    gguf_fini(&gguf);
    return err;
}
