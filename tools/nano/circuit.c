/* circuit - a head that tells each token which one was before it, and heads that look for the token
 * behind an earlier one of the same.
 *
 * What is in x, by column:
 *
 *   0                   the same in each token: what a head turns into "one position back"
 *   1 .. width-33       the token's embedding
 *   width-32 .. width-1 empty, until layer WRITER writes here a sketch of the token before
 *
 * A sketch is 32 random sums of the embedding: enough to tell a thousand tokens apart, and what
 * fits into a head. Positions turn the front pairs of a head fast and the back ones hardly at all:
 * so "one back" is told by the front, and sketches are compared in the back half, by two heads a
 * half of the sketch each. */
#include "nano/circuit.h"

#include "base/err.h"

#include <math.h>
#include <string.h>

enum {
    HEAD = MODEL_HEAD_WIDTH,
    WRITER = 0, /* layer whose first head writes */
    READER = 2, /* layer whose heads 0 and (first of the second group) read */
    NEAR_PAIRS = 4,
    COMPARED = HEAD / 2,
};
/* Four times `copied` and 1.4 times `compared_weight` learn as fast (docs/design/028). */
static const double constant = 0.08, near_weight = 1.5, written = 0.05, compared_weight = 1.8,
                    copied = 0.15;

struct circuit {
    const struct model *model;
    float *params;
    uint64_t state;
    size_t width, empty; /* empty: where the empty columns begin */
};

static float *row_of(const struct circuit *circuit, size_t layer, enum layer_tensor which,
                     size_t row)
{
    const struct tensor *tensor = model_layer(circuit->model, layer, which);
    return circuit->params + tensor->begin + row * tensor->columns;
}

static void clear_row(float *row, size_t columns)
{
    memset(row, 0, columns * sizeof(*row));
}

/* Random sums of the embedding's columns, as long as what they are of. */
static void draw_sums(struct circuit *circuit, float *row)
{
    double deviation = 1 / sqrt((double)(circuit->empty - 1));
    clear_row(row, circuit->width);
    for (size_t k = 1; k < circuit->empty; k++)
        row[k] = (float)(deviation * model_normal(&circuit->state));
}

static void divide_columns(struct circuit *circuit)
{
    for (size_t token = 0; token < circuit->model->shape.vocab; token++) {
        float *row =
            circuit->params + model_embedding(circuit->model)->begin + token * circuit->width;
        row[0] = (float)constant;
        clear_row(row + circuit->empty, HEAD);
    }
}

/* Query and key are the same two numbers in each token, turned against each other by as much as
 * one position turns them: highest where the key is one back. */
static void look_one_back(struct circuit *circuit)
{
    for (size_t i = 0; i < NEAR_PAIRS; i++) {
        double angle = pow(MODEL_ROPE_BASE, -2.0 * (double)i / HEAD);
        row_of(circuit, WRITER, LAYER_Q, 2 * i)[0] = (float)(near_weight * cos(angle));
        row_of(circuit, WRITER, LAYER_Q, 2 * i + 1)[0] = (float)(-near_weight * sin(angle));
        row_of(circuit, WRITER, LAYER_K, 2 * i)[0] = (float)near_weight;
        row_of(circuit, WRITER, LAYER_K, 2 * i + 1)[0] = 0;
    }
}

static void write_sketch(struct circuit *circuit)
{
    for (size_t r = 0; r < HEAD; r++)
        draw_sums(circuit, row_of(circuit, WRITER, LAYER_V, r));
    for (size_t row = 0; row < circuit->width; row++)
        clear_row(row_of(circuit, WRITER, LAYER_ATTN_OUTPUT, row), HEAD);
    for (size_t r = 0; r < HEAD; r++)
        row_of(circuit, WRITER, LAYER_ATTN_OUTPUT, circuit->empty + r)[r] = (float)written;
}

/* Queries are sketches of the token itself, keys what was written of the one before; both stand in
 * the back of the head. `half`: of the sketch. */
static void compare(struct circuit *circuit, size_t group, size_t head, size_t half)
{
    for (size_t r = 0; r < HEAD; r++) {
        float *query = row_of(circuit, READER, LAYER_Q, head * HEAD + r);
        float *key = row_of(circuit, READER, LAYER_K, group * HEAD + r);
        clear_row(query, circuit->width);
        clear_row(key, circuit->width);
        if (r < HEAD - COMPARED)
            continue;
        size_t sum = half * COMPARED + r - (HEAD - COMPARED);
        const float *sketch = row_of(circuit, WRITER, LAYER_V, sum);
        key[circuit->empty + sum] = (float)compared_weight;
        for (size_t k = 1; k < circuit->empty; k++)
            query[k] = (float)compared_weight * sketch[k];
    }
}

/* What is found is added to x as a sketch of its embedding, unfolded again: so it is what the
 * output, which is the embedding, says. */
static void copy_found(struct circuit *circuit, size_t group, size_t head)
{
    for (size_t r = 0; r < HEAD; r++) {
        float *value = row_of(circuit, READER, LAYER_V, group * HEAD + r);
        draw_sums(circuit, value);
        for (size_t k = 0; k < circuit->width; k++)
            row_of(circuit, READER, LAYER_ATTN_OUTPUT, k)[head * HEAD + r] =
                (float)copied * value[k];
    }
}

void circuit_draw(const struct model *model, uint64_t seed, float *params)
{
    const struct shape *shape = &model->shape;
    ASSERT(shape->layers >= CIRCUIT_LAYERS_LEAST && shape->width >= CIRCUIT_WIDTH_LEAST);
    ASSERT(shape->kv_heads >= 2);
    struct circuit circuit = {.model = model,
                              .params = params,
                              .state = seed,
                              .width = shape->width,
                              .empty = shape->width - HEAD};
    divide_columns(&circuit);
    look_one_back(&circuit);
    write_sketch(&circuit);
    for (size_t group = 0; group < 2; group++) {
        size_t head = group * (shape->heads / shape->kv_heads);
        compare(&circuit, group, head, 1 - group);
        copy_found(&circuit, group, head);
    }
}
