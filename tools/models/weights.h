/* weights - tensors of random numbers into a GGUF file: even within their bounds, a function of the
 * seed and of what was added before. Even ones, because they cost a fifth of normal ones and the
 * engine does not mind. */
#pragma once

#include "nano/gguf_write.h"

struct quoting;

struct weights {
    struct gguf *gguf;
    enum gguf_tensor_type type; /* of matrices whose rows are whole blocks; else F32 */
    uint64_t random;
    const struct quoting
        *quoting; /* what becomes of the matrices' rows (quoting.h); NULL: nothing */
};

/* y = x W^T, `rows` outputs of `columns` inputs: y is as large as x. */
void weights_add_matrix(struct weights *weights, const char *name, uint32_t rows, uint32_t columns);
/* F32, low <= x < high. rows == 1: of one dimension. */
void weights_add_f32(struct weights *weights, const char *name, uint32_t rows, uint32_t columns,
                     float low, float high);
