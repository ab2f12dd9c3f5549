/* gguf - a look into a model file before an engine maps it: does it keep its own promises? Reads
 * the header, the metadata's shape and the tensor table; checks every count, length and offset
 * against the bytes that are there. (libllama aborts or misbehaves on some lies; we answer with a
 * sentence.) Source: ggml/docs/gguf.md, version 2 and 3, little-endian. Pure but for
 * gguf_check_file(). */
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
/* The value of a key as it lies in `head`, its type in front: for who copies it into another file.
 * ERR_NOT_FOUND: no such key; ERR_PROTOCOL: gguf_check() would say why. */
MUST_USE enum err gguf_find(struct slice head, struct slice key, struct slice *out_value);
