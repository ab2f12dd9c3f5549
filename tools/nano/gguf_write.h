/* gguf_write - a GGUF file (ggml/docs/gguf.md, version 3, little-endian) put together in memory:
 * keys first, then tensors, then save. At most 256 MiB of data. Belongs to one thread. */
#pragma once

#include "base/text.h"

enum gguf_tensor_type { /* ggml.h: ggml_type */
                        GGUF_TENSOR_F32 = 0,
                        GGUF_TENSOR_F16 = 1,
                        GGUF_TENSOR_Q4_0 = 2,
                        GGUF_TENSOR_Q8_0 = 8,
};

struct gguf {
    uint64_t key_count, tensor_count;
    struct text keys, tensors, data;
};

void gguf_init(struct gguf *gguf);
void gguf_fini(struct gguf *gguf);

void gguf_add_u32(struct gguf *gguf, const char *key, uint32_t value);
void gguf_add_f32(struct gguf *gguf, const char *key, float value);
void gguf_add_bool(struct gguf *gguf, const char *key, bool value);
void gguf_add_string(struct gguf *gguf, const char *key, struct slice value);
/* Then follow `count` gguf_item_*() of that kind. */
void gguf_begin_strings(struct gguf *gguf, const char *key, uint64_t count);
void gguf_item_string(struct gguf *gguf, struct slice value);
void gguf_begin_i32s(struct gguf *gguf, const char *key, uint64_t count);
void gguf_item_i32(struct gguf *gguf, int32_t value);
/* Items, or a value with its type in front, as they lie in another file (engine/gguf.h). */
void gguf_add_items(struct gguf *gguf, struct slice items);
void gguf_add_value(struct gguf *gguf, const char *key, struct slice value);

/* rows == 1: of one dimension. data: of the type, copied. */
void gguf_add_tensor(struct gguf *gguf, const char *name, enum gguf_tensor_type type, uint64_t rows,
                     uint64_t columns, struct slice data);

/* Whole or not at all. ERR_LIMIT: more data than the bound. */
MUST_USE enum err gguf_save(const struct gguf *gguf, const char *path, struct err_note *out_note);
