/* pass - forward keeps of each layer what the way back needs; both work on whole rows but for
 * attention, which works on documents, and logits, which would not fit into the cache. */
#include "nano/pass.h"

#include "base/mem.h"
#include "nano/attention.h"
#include "nano/gemm.h"
#include "nano/layers.h"

enum { LOGIT_ROWS = 96 /* of 1024 tokens: 384 KiB */ };

struct layer {          /* a row of each per token */
    float *x;           /* what comes in */
    float *attn_in;     /* normed */
    float *attn_scales; /* 1 / rms of x */
    float *q_k_v;       /* turned by position */
    float *attn_sums;   /* log of the sum of exponents, by head */
    float *attn_out;
    float *x_between; /* x and attention */
    float *ffn_in;    /* normed */
    float *ffn_scales;
    float *gate_up;     /* on the way back: its gradient */
    float *ffn_between; /* silu(gate) * up */
};

struct pass {
    const struct model *model;
    size_t tokens_max;
    struct layer layers[MODEL_LAYERS_MAX];
    float *x_last, *x_normed, *last_scales;
    float *logits;                              /* of LOGIT_ROWS tokens */
    float *dx, *dnormed, *dq_k_v, *dout, *dffn; /* gradients by token */
    struct rope *rope;
    struct gemm_room *gemm_room;
    struct attention_room *attention_room;
    float *memory, *memory_end;
};

/* -- memory ------------------------------------------------------------------ */

/* Floats per token of layer_take() and pass_take(). */
static size_t floats_per_token(const struct model *model)
{
    const struct shape *shape = &model->shape;
    size_t q_k_v = shape->width + 2 * model->kv_width;
    size_t layer = 5 * shape->width + q_k_v + shape->heads + 3 * shape->hidden + 2;
    size_t once = 5 * shape->width + q_k_v + shape->hidden + 1;
    return shape->layers * layer + once;
}

static float *take(struct pass *pass, size_t per_token)
{
    float *taken = pass->memory_end;
    pass->memory_end += per_token * pass->tokens_max;
    return taken;
}

static void layer_take(struct pass *pass, struct layer *layer)
{
    const struct shape *shape = &pass->model->shape;
    layer->x = take(pass, shape->width);
    layer->attn_in = take(pass, shape->width);
    layer->attn_scales = take(pass, 1);
    layer->q_k_v = take(pass, shape->width + 2 * pass->model->kv_width);
    layer->attn_sums = take(pass, shape->heads);
    layer->attn_out = take(pass, shape->width);
    layer->x_between = take(pass, shape->width);
    layer->ffn_in = take(pass, shape->width);
    layer->ffn_scales = take(pass, 1);
    layer->gate_up = take(pass, 2 * shape->hidden);
    layer->ffn_between = take(pass, shape->hidden);
}

static void pass_take(struct pass *pass)
{
    const struct shape *shape = &pass->model->shape;
    for (size_t i = 0; i < shape->layers; i++)
        layer_take(pass, &pass->layers[i]);
    pass->x_last = take(pass, shape->width);
    pass->x_normed = take(pass, shape->width);
    pass->last_scales = take(pass, 1);
    pass->dx = take(pass, shape->width);
    pass->dnormed = take(pass, shape->width);
    pass->dout = take(pass, shape->width);
    pass->dq_k_v = take(pass, shape->width + 2 * pass->model->kv_width);
    pass->dffn = take(pass, shape->hidden);
}

struct pass *pass_new(const struct model *model, size_t tokens_max)
{
    struct pass *pass = mem_alloc(sizeof(*pass));
    size_t floats = floats_per_token(model) * tokens_max;
    pass->model = model;
    pass->tokens_max = tokens_max;
    pass->memory = pass->memory_end = mem_array(floats, sizeof(float));
    pass_take(pass);
    ASSERT(pass->memory_end == pass->memory + floats);
    pass->logits = mem_array(LOGIT_ROWS * model->shape.vocab, sizeof(float));
    pass->rope = rope_new(ROW_DOCUMENT_TOKENS_MAX);
    pass->gemm_room = gemm_room_new();
    pass->attention_room = attention_room_new(ROW_DOCUMENT_TOKENS_MAX);
    return pass;
}

void pass_free(struct pass *pass)
{
    if (!pass)
        return;
    attention_room_free(pass->attention_room);
    gemm_room_free(pass->gemm_room);
    rope_free(pass->rope);
    mem_free(pass->logits);
    mem_free(pass->memory);
    mem_free(pass);
}

void losses_add(struct losses *sum, const struct losses *more)
{
    sum->weighted += more->weighted;
    sum->weights += more->weights;
    sum->tokens += more->tokens;
    sum->left_out += more->left_out;
    for (size_t kind = 0; kind < ROW_KINDS_MAX; kind++) {
        sum->answers[kind] += more->answers[kind];
        sum->answer_tokens[kind] += more->answer_tokens[kind];
        sum->right[kind] += more->right[kind];
    }
}

/* -- matrices ---------------------------------------------------------------- */

/* One or more tensors that follow each other, as one matrix of `rows` outputs. */
struct matrix {
    size_t begin, rows, columns;
};

static struct matrix matrix_of(const struct model *model, size_t layer, enum layer_tensor first,
                               enum layer_tensor last)
{
    const struct tensor *tensor = model_layer(model, layer, first);
    struct matrix matrix = {.begin = tensor->begin, .columns = tensor->columns};
    for (enum layer_tensor which = first; which <= last; which++)
        matrix.rows += model_layer(model, layer, which)->rows;
    return matrix;
}

/* y (grows by) x W^T */
static void apply(struct pass *pass, const float *params, struct matrix matrix, const float *x,
                  size_t count, float *y, bool is_sum)
{
    gemm(pass->gemm_room, count, matrix.rows, matrix.columns, rows_of(x, matrix.columns),
         transposed(params + matrix.begin, matrix.columns), y, matrix.rows, is_sum);
}

/* dx = dy W; dW grows by dy^T x. */
static void apply_backward(struct pass *pass, const float *params, struct matrix matrix,
                           const float *x, const float *dy, size_t count, float *dx, float *grads)
{
    gemm(pass->gemm_room, count, matrix.columns, matrix.rows, rows_of(dy, matrix.rows),
         rows_of(params + matrix.begin, matrix.columns), dx, matrix.columns, false);
    gemm(pass->gemm_room, matrix.rows, matrix.columns, count, transposed(dy, matrix.rows),
         rows_of(x, matrix.columns), grads + matrix.begin, matrix.columns, true);
}

static struct matrix embedding_of(const struct model *model)
{
    const struct tensor *tensor = model_embedding(model);
    return (struct matrix){tensor->begin, tensor->rows, tensor->columns};
}

/* -- documents of a row ------------------------------------------------------ */

struct document {
    size_t begin, count;
};

static struct document document_of(const struct row *row, size_t index)
{
    size_t begin = index ? row->document_ends[index - 1] : 0;
    return (struct document){begin, row->document_ends[index] - begin};
}

static struct attention_rows attention_rows_of(const struct pass *pass, const struct layer *layer,
                                               struct document document)
{
    size_t width = pass->model->shape.width, stride = width + 2 * pass->model->kv_width;
    return (struct attention_rows){
        .count = document.count,
        .stride = stride,
        .q_k_v = layer->q_k_v + document.begin * stride,
        .out = layer->attn_out + document.begin * width,
        .log_sums = layer->attn_sums + document.begin * pass->model->shape.heads,
    };
}

/* -- forward ----------------------------------------------------------------- */

static void attend(struct pass *pass, const struct layer *layer, const struct row *row)
{
    const struct model *model = pass->model;
    for (size_t i = 0; i < row->document_count; i++) {
        struct attention_rows rows = attention_rows_of(pass, layer, document_of(row, i));
        rope_turn(pass->rope, rows.q_k_v, rows.count, rows.stride, model->shape.heads, 1);
        rope_turn(pass->rope, rows.q_k_v + model->shape.width, rows.count, rows.stride,
                  model->shape.kv_heads, 1);
        attention_forward(pass->attention_room, pass->gemm_room, model, &rows);
    }
}

static void forward_layer(struct pass *pass, const float *params, size_t index,
                          const struct row *row, float *x_next)
{
    const struct model *model = pass->model;
    struct layer *layer = &pass->layers[index];
    size_t count = row->token_count, width = model->shape.width;
    norm_forward(layer->x, params + model_layer(model, index, LAYER_ATTN_NORM)->begin, count, width,
                 layer->attn_in, layer->attn_scales);
    apply(pass, params, matrix_of(model, index, LAYER_Q, LAYER_V), layer->attn_in, count,
          layer->q_k_v, false);
    attend(pass, layer, row);
    memcpy(layer->x_between, layer->x, count * width * sizeof(float));
    apply(pass, params, matrix_of(model, index, LAYER_ATTN_OUTPUT, LAYER_ATTN_OUTPUT),
          layer->attn_out, count, layer->x_between, true);
    norm_forward(layer->x_between, params + model_layer(model, index, LAYER_FFN_NORM)->begin, count,
                 width, layer->ffn_in, layer->ffn_scales);
    apply(pass, params, matrix_of(model, index, LAYER_GATE, LAYER_UP), layer->ffn_in, count,
          layer->gate_up, false);
    swiglu_forward(layer->gate_up, count, model->shape.hidden, layer->ffn_between);
    memcpy(x_next, layer->x_between, count * width * sizeof(float));
    apply(pass, params, matrix_of(model, index, LAYER_DOWN, LAYER_DOWN), layer->ffn_between, count,
          x_next, true);
}

static void forward(struct pass *pass, const float *params, const struct row *row)
{
    const struct model *model = pass->model;
    size_t width = model->shape.width, layers = model->shape.layers;
    ASSERT(row->token_count <= pass->tokens_max);
    for (size_t i = 0; i < row->token_count; i++)
        memcpy(pass->layers[0].x + i * width, params + row->tokens[i] * width,
               width * sizeof(float));
    for (size_t i = 0; i < layers; i++)
        forward_layer(pass, params, i, row, i + 1 < layers ? pass->layers[i + 1].x : pass->x_last);
    norm_forward(pass->x_last, params + model_output_norm(model)->begin, row->token_count, width,
                 pass->x_normed, pass->last_scales);
}

/* -- losses ------------------------------------------------------------------ */

static bool is_highest(const float *logits, size_t count, uint16_t target)
{
    for (size_t i = 0; i < count; i++)
        if (logits[i] > logits[target])
            return false;
    return true;
}

/* Of predicting token `at` from the logits behind the one before it; those become the gradient. */
static void predict(const struct pass *pass, const struct row *row, size_t at, unsigned kind,
                    float *logits, float scale, struct losses *losses)
{
    size_t vocab = pass->model->shape.vocab;
    uint16_t target = row->tokens[at];
    float weight = (float)row->weights[at] / 100.0f;
    bool is_answer = row->weights[at] == 100;
    if (is_answer)
        losses->right[kind] += is_highest(logits, vocab, target);
    float loss = loss_and_gradient(logits, vocab, target, weight * scale);
    losses->weighted += (double)(weight * loss);
    losses->weights += (double)weight;
    if (is_answer) {
        losses->answers[kind] += (double)loss;
        losses->answer_tokens[kind]++;
    }
}

/* Rows first .. first + count - 1: logits, losses, and the gradient of x_normed. */
static void predict_rows(struct pass *pass, const float *params, const struct row *row,
                         size_t first, size_t count, size_t *document, float scale, float *grads,
                         struct losses *losses)
{
    struct matrix embedding = embedding_of(pass->model);
    const float *x = pass->x_normed + first * embedding.columns;
    apply(pass, params, embedding, x, count, pass->logits, false);
    for (size_t i = 0; i < count; i++) {
        float *logits = pass->logits + i * embedding.rows;
        while (first + i >= row->document_ends[*document])
            ++*document;
        size_t next = first + i + 1;
        if (next < row->document_ends[*document] && row->weights[next] > 0)
            predict(pass, row, next, row->document_kinds[*document], logits, scale, losses);
        else /* nothing is asked of a document's last token */
            memset(logits, 0, embedding.rows * sizeof(float));
    }
    if (grads)
        apply_backward(pass, params, embedding, x, pass->logits, count,
                       pass->dnormed + first * embedding.columns, grads);
}

static void predict_all(struct pass *pass, const float *params, const struct row *row, float scale,
                        float *grads, struct losses *losses)
{
    size_t document = 0;
    for (size_t first = 0; first < row->token_count; first += LOGIT_ROWS) {
        size_t left = row->token_count - first;
        predict_rows(pass, params, row, first, left < LOGIT_ROWS ? left : LOGIT_ROWS, &document,
                     scale, grads, losses);
    }
    losses->tokens += row->token_count;
    losses->left_out += row->left_out;
}

/* -- back -------------------------------------------------------------------- */

static void attend_backward(struct pass *pass, const struct layer *layer, const struct row *row)
{
    const struct model *model = pass->model;
    size_t width = model->shape.width, stride = width + 2 * model->kv_width;
    memset(pass->dq_k_v, 0, row->token_count * stride * sizeof(float));
    for (size_t i = 0; i < row->document_count; i++) {
        struct document document = document_of(row, i);
        struct attention_rows rows = attention_rows_of(pass, layer, document);
        float *dq_k_v = pass->dq_k_v + document.begin * stride;
        attention_backward(pass->attention_room, pass->gemm_room, model, &rows,
                           pass->dout + document.begin * width, dq_k_v);
        rope_turn(pass->rope, dq_k_v, rows.count, stride, model->shape.heads, -1);
        rope_turn(pass->rope, dq_k_v + width, rows.count, stride, model->shape.kv_heads, -1);
    }
}

/* pass->dx: the gradient behind the layer becomes that before it. */
static void backward_layer(struct pass *pass, const float *params, size_t index,
                           const struct row *row, float *grads)
{
    const struct model *model = pass->model;
    struct layer *layer = &pass->layers[index];
    size_t count = row->token_count, width = model->shape.width;
    size_t ffn_norm = model_layer(model, index, LAYER_FFN_NORM)->begin;
    size_t attn_norm = model_layer(model, index, LAYER_ATTN_NORM)->begin;

    apply_backward(pass, params, matrix_of(model, index, LAYER_DOWN, LAYER_DOWN),
                   layer->ffn_between, pass->dx, count, pass->dffn, grads);
    swiglu_backward(layer->gate_up, pass->dffn, count, model->shape.hidden);
    apply_backward(pass, params, matrix_of(model, index, LAYER_GATE, LAYER_UP), layer->ffn_in,
                   layer->gate_up, count, pass->dnormed, grads);
    norm_backward(layer->x_between, params + ffn_norm, layer->ffn_scales, pass->dnormed, count,
                  width, pass->dx, grads + ffn_norm);

    apply_backward(pass, params, matrix_of(model, index, LAYER_ATTN_OUTPUT, LAYER_ATTN_OUTPUT),
                   layer->attn_out, pass->dx, count, pass->dout, grads);
    attend_backward(pass, layer, row);
    apply_backward(pass, params, matrix_of(model, index, LAYER_Q, LAYER_V), layer->attn_in,
                   pass->dq_k_v, count, pass->dnormed, grads);
    norm_backward(layer->x, params + attn_norm, layer->attn_scales, pass->dnormed, count, width,
                  pass->dx, grads + attn_norm);
}

static void backward(struct pass *pass, const float *params, const struct row *row, float *grads)
{
    const struct model *model = pass->model;
    size_t width = model->shape.width, norm = model_output_norm(model)->begin;
    memset(pass->dx, 0, row->token_count * width * sizeof(float));
    norm_backward(pass->x_last, params + norm, pass->last_scales, pass->dnormed, row->token_count,
                  width, pass->dx, grads + norm);
    for (size_t i = model->shape.layers; i-- > 0;)
        backward_layer(pass, params, i, row, grads);
    for (size_t i = 0; i < row->token_count; i++) { /* the embedding's begin is 0 */
        float *grad = grads + row->tokens[i] * width;
        for (size_t k = 0; k < width; k++)
            grad[k] += pass->dx[i * width + k];
    }
}

void pass_run(struct pass *pass, const float *params, const struct row *row, float scale,
              float *grads, struct losses *losses)
{
    forward(pass, params, row);
    predict_all(pass, params, row, scale, grads, losses);
    if (grads)
        backward(pass, params, row, grads);
}

void pass_logits(struct pass *pass, const float *params, const uint16_t *tokens, size_t count,
                 float *out_logits)
{
    struct row row = {.token_count = count,
                      .tokens = (uint16_t *)tokens, /* forward() only reads */
                      .document_count = 1,
                      .document_ends = {(uint32_t)count}};
    forward(pass, params, &row);
    apply(pass, params, embedding_of(pass->model), pass->x_normed, count, out_logits, false);
}
