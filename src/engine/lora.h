/* lora - the file of a LoRA adapter: is it one for this model, and how libllama is to have it. Pure
 * but for what lora_write() writes to; fuzzed.
 *
 * For a matrix W of the model the file has two, `W.lora_a` (rank rows) and `W.lora_b` (rank
 * columns): the model then computes W x + scale * alpha / rank * B (A x).
 *
 * 1. libllama believes most of such a file: a key of another type, a third dimension or a type that
 *    cannot be multiplied with make it abort. So all of it is checked here, against the model's own
 *    table of tensors, and libllama gets what lora_write() makes, not the file.
 * 2. What is written has floats of 32 bits, alpha / rank multiplied into B, and an odd rank: a row
 *    and a column of zeros more where it was even. ggml multiplies such matrices (tinyBLAS wants
 *    multiples of 4 and 8) with one dot product for each number, whatever else is in the batch. A
 *    rank of 8 or 16 takes another kernel for two rows and more than for one, which adds in
 *    another order: an answer would depend on its company (engine README rule 5).
 * 3. All numbers are finite, also with alpha / rank multiplied in. */
#pragma once

#include "engine/gguf.h"

#include <stdio.h>

enum {
    LORA_PAIRS_MAX = 4096, /* llama.cpp's most layers, with eight matrices each */
    LORA_RANK_MAX = 4096,
};
#define LORA_WRITTEN_MAX_BYTES (UINT64_C(4) << 30) /* rank 256 for all of a 13b model */

struct lora_pair {
    struct slice name; /* of the model's matrix */
    struct gguf_tensor a, b;
    bool is_known; /* the model has it */
};

struct lora {
    struct slice bytes; /* the file; borrowed */
    char architecture[32];
    uint64_t data_offset;
    float alpha; /* 0: alpha / rank is 1 */
    struct lora_pair *pairs;
    uint32_t pair_count;
    uint64_t written_bytes; /* of its tensors, as written: what they take in memory */
    uint64_t widest;        /* numbers that a row of the widest product has, beside W x; */
    uint64_t widest_output; /* of the one that makes the logits */
};

/* `bytes` is the whole file and stays as long as *out_lora; `model` the head of the model's, of
 * which gguf_check() says yes. ERR_PROTOCOL: not an adapter, damaged, or not for this model
 * (note). */
MUST_USE enum err lora_check(struct slice bytes, const struct gguf_map *model,
                             struct lora *out_lora, struct err_note *out_note);
void lora_fini(struct lora *lora); /* zeroed memory is fine */
/* Rule 2. ERR_SYSTEM: it cannot be written (errno). */
MUST_USE enum err lora_write(const struct lora *lora, FILE *out);
