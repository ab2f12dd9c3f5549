/* attention - of one document with itself: each token looks at those before it and at itself.
 * Scaled products (Vaswani and others 2017), in blocks of queries so that no square of the document
 * is kept (the way back computes the weights again, Dao and others 2022). */
#pragma once

#include "nano/gemm.h"
#include "nano/model.h"

/* Where scores of one block stand: one thread at a time. */
struct attention_room;
struct attention_room *attention_room_new(size_t document_tokens_max);
void attention_room_free(struct attention_room *room);

/* A document's rows. */
struct attention_rows {
    size_t count, stride; /* stride: of q_k_v, width + 2 kv_width */
    float *q_k_v;         /* each row: queries of all heads, keys, values */
    float *out;           /* width a row */
    float *log_sums;      /* count a head: log of the sum of exponents */
};

void attention_forward(struct attention_room *room, struct gemm_room *gemm_room,
                       const struct model *model, const struct attention_rows *rows);
/* dq_k_v (zeros before) grows by the gradient; dout is that of out. */
void attention_backward(struct attention_room *room, struct gemm_room *gemm_room,
                        const struct model *model, const struct attention_rows *rows,
                        const float *dout, float *dq_k_v);
