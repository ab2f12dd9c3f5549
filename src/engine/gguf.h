/* gguf - a look into a model file before an engine maps it: does it keep its own promises? Reads
 * the header, the metadata's shape and the tensor table; checks every count, length and offset
 * against the bytes that are there. (libllama aborts or misbehaves on some lies; we answer with a
 * sentence.) Source: ggml/docs/gguf.md, version 2 and 3, little-endian. Pure but for
 * gguf_check_file() and gguf_map(). */
#pragma once

#include "base/slice.h"

struct gguf_summary {
    uint32_t version;
    uint64_t tensor_count, metadata_count;
    uint64_t data_offset, data_bytes;
    char architecture[32];
    uint64_t context_length, block_count, embedding_length, head_count, head_count_kv, key_length,
        value_length; /* of <architecture>.*; 0 when absent, the largest if there is one per block
                       */
    uint64_t head_count_kv_sum; /* of all blocks, when the file has one per block; else 0 */
    bool has_chat_template;
};
/* `head` is the file's beginning (mapped), file_bytes its whole size. ERR_PROTOCOL + note. */
MUST_USE enum err gguf_check(struct slice head, uint64_t file_bytes,
                             struct gguf_summary *out_summary, struct err_note *out_note);
/* ERR_NOT_FOUND: no such file; ERR_SYSTEM: unreadable; ERR_PROTOCOL as above. */
MUST_USE enum err gguf_check_file(const char *path, struct gguf_summary *out_summary,
                                  struct err_note *out_note);

struct gguf_tensor {
    struct slice name; /* in the file's bytes; at most GGUF_NAME_MAX_BYTES */
    uint32_t type;     /* ggml_type */
    uint32_t dimension_count;
    uint64_t dimensions[4]; /* the inner one first; 1 where there is none */
    uint64_t offset, bytes; /* in the file's data */
};
enum { GGUF_NAME_MAX_BYTES = 64 };
/* Other than ERR_OK ends the walk, and is what it returns. */
typedef enum err gguf_tensor_fn(void *ctx, const struct gguf_tensor *tensor);
/* All of a file that gguf_check() says yes to, in its order; else as that. */
MUST_USE enum err gguf_each_tensor(struct slice head, uint64_t file_bytes,
                                   gguf_tensor_fn *on_tensor, void *ctx);
/* The head of a file (all of a small one), until gguf_unmap(). Errors as gguf_check_file(); `path`
 * is not in the note. */
struct gguf_map {
    struct slice head;
    uint64_t file_bytes;
};
MUST_USE enum err gguf_map(const char *path, struct gguf_map *out_map, struct err_note *out_note);
void gguf_unmap(struct gguf_map *map);
/* The value of a key as it lies in `head`, its type in front: for who copies it into another file.
 * ERR_NOT_FOUND: no such key; ERR_PROTOCOL: gguf_check() would say why. */
MUST_USE enum err gguf_find(struct slice head, struct slice key, struct slice *out_value);
/* One that is a string, or a float. ERR_PROTOCOL also: it is something else. */
MUST_USE enum err gguf_find_string(struct slice head, struct slice key, struct slice *out_text);
MUST_USE enum err gguf_find_f32(struct slice head, struct slice key, float *out_number);
