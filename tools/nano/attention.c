/* attention - one head of a block of queries at a time, as products of matrices. */
#include "nano/attention.h"

#include "base/mem.h"
#include "nano/vector.h"

#include <math.h>
#include <string.h>

enum { HEAD = MODEL_HEAD_WIDTH, BLOCK = 48 /* queries; a multiple of the tile's 6 rows */ };

struct attention_room {
    size_t stride; /* of weights and dweights: keys, up to a whole vector more */
    float *weights, *dweights;
};

struct attention_room *attention_room_new(size_t document_tokens_max)
{
    struct attention_room *room = mem_alloc(sizeof(*room));
    room->stride = (document_tokens_max + V8 - 1) / V8 * V8;
    room->weights = mem_array(BLOCK * room->stride, sizeof(*room->weights));
    room->dweights = mem_array(BLOCK * room->stride, sizeof(*room->dweights));
    return room;
}

void attention_room_free(struct attention_room *room)
{
    if (!room)
        return;
    mem_free(room->weights);
    mem_free(room->dweights);
    mem_free(room);
}

/* One head and the queries first .. first + count - 1, which see keys 0 .. keys - 1 at most. */
struct block {
    const struct attention_rows *rows;
    size_t head, first, count, keys;
    size_t q, k, v; /* where the head's are in a row of q_k_v */
};

static struct block block_of(const struct model *model, const struct attention_rows *rows,
                             size_t head, size_t first)
{
    size_t kv_head = head / (model->shape.heads / model->shape.kv_heads);
    size_t count = rows->count - first < BLOCK ? rows->count - first : BLOCK;
    return (struct block){.rows = rows,
                          .head = head,
                          .first = first,
                          .count = count,
                          .keys = first + count,
                          .q = head * HEAD,
                          .k = model->shape.width + kv_head * HEAD,
                          .v = model->shape.width + model->kv_width + kv_head * HEAD};
}

static const float *queries(const struct block *block)
{
    return block->rows->q_k_v + block->first * block->rows->stride + block->q;
}

/* weights = queries * keys^T, without the scale. */
static void score(struct attention_room *room, struct gemm_room *gemm_room,
                  const struct block *block)
{
    size_t stride = block->rows->stride;
    gemm(gemm_room, block->count, block->keys, HEAD, rows_of(queries(block), stride),
         transposed(block->rows->q_k_v + block->k, stride), room->weights, room->stride, false);
}

/* What a query may not see gets the weight 0: up to `keys`, and to the end of the last vector. */
static void hide_later(float *values, size_t seen, size_t keys)
{
    size_t end = (keys + V8 - 1) / V8 * V8;
    memset(values + seen, 0, (end - seen) * sizeof(*values));
}

static float highest_of(const float *values, size_t count)
{
    float highest = values[0];
    for (size_t i = 1; i < count; i++)
        highest = values[i] > highest ? values[i] : highest;
    return highest;
}

/* values become e^(scale * value - shift), and their sum is returned; the rest 0. */
static float exponents(float *values, size_t seen, size_t keys, float scale, float shift)
{
    for (size_t i = 0; i < seen; i += V8)
        v8_store(values + i, v8_exp(v8_load(values + i) * scale - shift));
    hide_later(values, seen, keys);
    v8 sums = {0};
    for (size_t i = 0; i < seen; i += V8)
        sums += v8_load(values + i);
    return v8_sum(sums);
}

static void forward_block(struct attention_room *room, struct gemm_room *gemm_room,
                          const struct model *model, const struct block *block)
{
    const struct attention_rows *rows = block->rows;
    const float scale = 1.0f / sqrtf(HEAD);
    size_t width = model->shape.width;
    float *out = rows->out + block->first * width + block->q;
    float sums[BLOCK];
    score(room, gemm_room, block);
    for (size_t i = 0; i < block->count; i++) {
        float *weights = room->weights + i * room->stride;
        size_t seen = block->first + i + 1;
        float shift = highest_of(weights, seen) * scale;
        sums[i] = exponents(weights, seen, block->keys, scale, shift);
        rows->log_sums[(block->first + i) * model->shape.heads + block->head] =
            shift + logf(sums[i]);
    }
    gemm(gemm_room, block->count, HEAD, block->keys, rows_of(room->weights, room->stride),
         rows_of(rows->q_k_v + block->v, rows->stride), out, width, false);
    for (size_t i = 0; i < block->count; i++)
        for (size_t k = 0; k < HEAD; k += V8)
            v8_store(out + i * width + k, v8_load(out + i * width + k) / sums[i]);
}

void attention_forward(struct attention_room *room, struct gemm_room *gemm_room,
                       const struct model *model, const struct attention_rows *rows)
{
    for (size_t head = 0; head < model->shape.heads; head++) {
        for (size_t first = 0; first < rows->count; first += BLOCK) {
            struct block block = block_of(model, rows, head, first);
            forward_block(room, gemm_room, model, &block);
        }
    }
}

static float dot(const float *a, const float *b, size_t count)
{
    v8 sums = {0};
    for (size_t i = 0; i < count; i += V8)
        sums += v8_load(a + i) * v8_load(b + i);
    return v8_sum(sums);
}

/* weights: scores in, weights out. dweights: gradients of weights in, of scores out; for weights p,
 * ds = p (dp - sum p dp) scale, and the sum is out * dout. */
static void backward_softmax(struct attention_room *room, const struct model *model,
                             const struct block *block, const float *dout)
{
    const struct attention_rows *rows = block->rows;
    const float scale = 1.0f / sqrtf(HEAD);
    size_t width = model->shape.width;
    for (size_t i = 0; i < block->count; i++) {
        size_t row = block->first + i, seen = row + 1;
        float *weights = room->weights + i * room->stride;
        float *dweights = room->dweights + i * room->stride;
        float log_sum = rows->log_sums[row * model->shape.heads + block->head];
        (void)exponents(weights, seen, block->keys, scale, log_sum); /* it is 1 */
        float mean = dot(rows->out + row * width + block->q, dout + row * width + block->q, HEAD);
        for (size_t k = 0; k < seen; k += V8)
            v8_store(dweights + k, v8_load(weights + k) * (v8_load(dweights + k) - mean) * scale);
        hide_later(dweights, seen, block->keys);
    }
}

static void backward_block(struct attention_room *room, struct gemm_room *gemm_room,
                           const struct model *model, const struct block *block, const float *dout,
                           float *dq_k_v)
{
    const struct attention_rows *rows = block->rows;
    size_t stride = rows->stride, width = model->shape.width, first_row = block->first * stride;
    const float *dout_block = dout + block->first * width + block->q;
    score(room, gemm_room, block);
    gemm(gemm_room, block->count, block->keys, HEAD, rows_of(dout_block, width),
         transposed(rows->q_k_v + block->v, stride), room->dweights, room->stride, false);
    backward_softmax(room, model, block, dout);
    gemm(gemm_room, block->count, HEAD, block->keys, rows_of(room->dweights, room->stride),
         rows_of(rows->q_k_v + block->k, stride), dq_k_v + first_row + block->q, stride, true);
    gemm(gemm_room, block->keys, HEAD, block->count, transposed(room->dweights, room->stride),
         rows_of(queries(block), stride), dq_k_v + block->k, stride, true);
    gemm(gemm_room, block->keys, HEAD, block->count, transposed(room->weights, room->stride),
         rows_of(dout_block, width), dq_k_v + block->v, stride, true);
}

void attention_backward(struct attention_room *room, struct gemm_room *gemm_room,
                        const struct model *model, const struct attention_rows *rows,
                        const float *dout, float *dq_k_v)
{
    for (size_t head = 0; head < model->shape.heads; head++) {
        for (size_t first = 0; first < rows->count; first += BLOCK) {
            struct block block = block_of(model, rows, head, first);
            backward_block(room, gemm_room, model, &block, dout, dq_k_v);
        }
    }
}
