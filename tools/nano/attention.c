/* attention - one head of a block of queries at a time, as products of matrices. */
#include "nano/attention.h"

#include "base/mem.h"
#include "nano/vector.h"

#include <math.h>
#include <string.h>

enum { HEAD = MODEL_HEAD_WIDTH, BLOCK = 48 /* queries; a multiple of a tile's 6 rows and of V8 */ };

/* A row per key, a column per query of the block: so softmax is by column, eight at a time, and the
 * products that follow need no packing of the large side. Columns past the block's end hold what
 * they held; nothing reads them. */
struct attention_room {
    float *weights, *dweights;
};

struct attention_room *attention_room_new(size_t document_tokens_max)
{
    struct attention_room *room = mem_alloc(sizeof(*room));
    room->weights = mem_array(document_tokens_max * BLOCK, sizeof(*room->weights));
    room->dweights = mem_array(document_tokens_max * BLOCK, sizeof(*room->dweights));
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

static float *log_sums(const struct block *block)
{
    return block->rows->log_sums + block->head * block->rows->count + block->first;
}

static const float *values(const struct block *block, size_t what)
{
    return block->rows->q_k_v + what;
}

/* weights = keys * queries^T, without the scale; where the key is later than the query, so low that
 * nothing is left of it. */
static void score(struct attention_room *room, struct gemm_room *gemm_room,
                  const struct block *block)
{
    size_t stride = block->rows->stride;
    gemm(gemm_room, block->keys, block->count, HEAD, rows_of(values(block, block->k), stride),
         transposed(queries(block), stride), room->weights, BLOCK, false);
    for (size_t key = 1; key < block->count; key++)
        for (size_t query = 0; query < key; query++)
            room->weights[(block->first + key) * BLOCK + query] = -1e30f;
}

/* Of eight columns: weights become e^(scale * score - highest). */
static void softmax_columns(float *weights, size_t keys, float scale, v8 *out_sums, v8 *out_highest)
{
    v8 highest = v8_load(weights), sums = {0};
    for (size_t key = 1; key < keys; key++)
        highest = v8_max(highest, v8_load(weights + key * BLOCK));
    highest *= scale;
    for (size_t key = 0; key < keys; key++) {
        v8 power = v8_exp(v8_load(weights + key * BLOCK) * scale - highest);
        v8_store(weights + key * BLOCK, power);
        sums += power;
    }
    *out_sums = sums;
    *out_highest = highest;
}

static void forward_block(struct attention_room *room, struct gemm_room *gemm_room,
                          const struct model *model, const struct block *block)
{
    const struct attention_rows *rows = block->rows;
    size_t width = model->shape.width;
    float *out = rows->out + block->first * width + block->q;
    float sums[BLOCK], highest[BLOCK];
    score(room, gemm_room, block);
    for (size_t i = 0; i < block->count; i += V8) {
        v8 column_sums, column_highest;
        softmax_columns(room->weights + i, block->keys, 1.0f / sqrtf(HEAD), &column_sums,
                        &column_highest);
        v8_store(sums + i, column_sums);
        v8_store(highest + i, column_highest);
    }
    gemm(gemm_room, block->count, HEAD, block->keys, transposed(room->weights, BLOCK),
         rows_of(values(block, block->v), rows->stride), out, width, false);
    for (size_t i = 0; i < block->count; i++) {
        log_sums(block)[i] = highest[i] + logf(sums[i]);
        for (size_t k = 0; k < HEAD; k += V8)
            v8_store(out + i * width + k, v8_load(out + i * width + k) / sums[i]);
    }
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
static void softmax_backward(struct attention_room *room, const struct block *block,
                             const float *means)
{
    const float scale = 1.0f / sqrtf(HEAD);
    float sums[BLOCK] = {0};
    memcpy(sums, log_sums(block), block->count * sizeof(*sums));
    for (size_t i = 0; i < block->count; i += V8) {
        v8 log_sum = v8_load(sums + i), mean = v8_load(means + i);
        for (size_t key = 0; key < block->keys; key++) {
            float *weights = room->weights + key * BLOCK + i;
            float *dweights = room->dweights + key * BLOCK + i;
            v8 weight = v8_exp(v8_load(weights) * scale - log_sum);
            v8_store(weights, weight);
            v8_store(dweights, weight * (v8_load(dweights) - mean) * scale);
        }
    }
}

static void backward_block(struct attention_room *room, struct gemm_room *gemm_room,
                           const struct model *model, const struct block *block, const float *dout,
                           float *dq_k_v)
{
    const struct attention_rows *rows = block->rows;
    size_t stride = rows->stride, width = model->shape.width;
    const float *dout_block = dout + block->first * width + block->q;
    const float *out_block = rows->out + block->first * width + block->q;
    float means[BLOCK] = {0};
    for (size_t i = 0; i < block->count; i++)
        means[i] = dot(out_block + i * width, dout_block + i * width, HEAD);
    score(room, gemm_room, block);
    gemm(gemm_room, block->keys, block->count, HEAD, rows_of(values(block, block->v), stride),
         transposed(dout_block, width), room->dweights, BLOCK, false);
    softmax_backward(room, block, means);
    gemm(gemm_room, block->count, HEAD, block->keys, transposed(room->dweights, BLOCK),
         rows_of(values(block, block->k), stride), dq_k_v + block->first * stride + block->q,
         stride, true);
    gemm(gemm_room, block->keys, HEAD, block->count, rows_of(room->dweights, BLOCK),
         rows_of(queries(block), stride), dq_k_v + block->k, stride, true);
    gemm(gemm_room, block->keys, HEAD, block->count, rows_of(room->weights, BLOCK),
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
