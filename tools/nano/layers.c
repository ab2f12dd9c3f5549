/* layers - what stands between the matrices. */
#include "nano/layers.h"

#include "base/mem.h"
#include "nano/model.h"
#include "nano/vector.h"

#include <math.h>

/* Zhang and Sennrich 2019; llama.cpp adds epsilon to the mean of squares. */
void norm_forward(const float *x, const float *weight, size_t rows, size_t width, float *out,
                  float *out_scales)
{
    for (size_t row = 0; row < rows; row++, x += width, out += width) {
        v8 squares = {0};
        for (size_t i = 0; i < width; i += V8)
            squares += v8_load(x + i) * v8_load(x + i);
        float scale = 1.0f / sqrtf(v8_sum(squares) / (float)width + MODEL_NORM_EPSILON);
        out_scales[row] = scale;
        for (size_t i = 0; i < width; i += V8)
            v8_store(out + i, v8_load(x + i) * scale * v8_load(weight + i));
    }
}

/* With s = 1 / rms: d/dx (x s) = s (1 - x x^T s^2 / width). */
void norm_backward(const float *x, const float *weight, const float *scales, const float *dout,
                   size_t rows, size_t width, float *dx, float *dweight)
{
    for (size_t row = 0; row < rows; row++, x += width, dout += width, dx += width) {
        float scale = scales[row];
        v8 along = {0};
        for (size_t i = 0; i < width; i += V8) {
            v8 product = v8_load(dout + i) * v8_load(x + i);
            along += product * v8_load(weight + i);
            v8_store(dweight + i, v8_load(dweight + i) + product * scale);
        }
        float back = v8_sum(along) * scale * scale * scale / (float)width;
        for (size_t i = 0; i < width; i += V8)
            v8_store(dx + i, v8_load(dx + i) + v8_load(dout + i) * v8_load(weight + i) * scale -
                                 v8_load(x + i) * back);
    }
}

enum { PAIRS = MODEL_HEAD_WIDTH / 2 };

struct rope {
    size_t positions;
    float turns[][PAIRS][2]; /* cosine, sine */
};

struct rope *rope_new(size_t positions)
{
    struct rope *rope = mem_alloc(sizeof(*rope) + positions * sizeof(rope->turns[0]));
    rope->positions = positions;
    for (size_t position = 0; position < positions; position++) {
        for (size_t i = 0; i < PAIRS; i++) {
            double angle = (double)position * pow(MODEL_ROPE_BASE, -(double)i / PAIRS);
            rope->turns[position][i][0] = (float)cos(angle);
            rope->turns[position][i][1] = (float)sin(angle);
        }
    }
    return rope;
}

void rope_free(struct rope *rope)
{
    mem_free(rope);
}

void rope_turn(const struct rope *rope, float *rows, size_t count, size_t stride, size_t heads,
               float direction)
{
    ASSERT(count <= rope->positions);
    for (size_t position = 0; position < count; position++, rows += stride) {
        float(*pairs)[2] = (float(*)[2])rows;
        for (size_t head = 0; head < heads; head++, pairs += PAIRS) {
            for (size_t i = 0; i < PAIRS; i++) {
                float cosine = rope->turns[position][i][0];
                float sine = direction * rope->turns[position][i][1];
                float first = pairs[i][0], second = pairs[i][1];
                pairs[i][0] = first * cosine - second * sine;
                pairs[i][1] = first * sine + second * cosine;
            }
        }
    }
}

static inline v8 sigmoid(v8 x)
{
    return 1.0f / (1.0f + v8_exp(-x));
}

void swiglu_forward(const float *gate_up, size_t rows, size_t hidden, float *out)
{
    for (size_t row = 0; row < rows; row++, gate_up += 2 * hidden, out += hidden) {
        for (size_t i = 0; i < hidden; i += V8) {
            v8 gate = v8_load(gate_up + i), up = v8_load(gate_up + hidden + i);
            v8_store(out + i, gate * sigmoid(gate) * up);
        }
    }
}

void swiglu_backward(float *gate_up, const float *dout, size_t rows, size_t hidden)
{
    for (size_t row = 0; row < rows; row++, gate_up += 2 * hidden, dout += hidden) {
        for (size_t i = 0; i < hidden; i += V8) {
            v8 gate = v8_load(gate_up + i), up = v8_load(gate_up + hidden + i);
            v8 open = sigmoid(gate), back = v8_load(dout + i);
            v8_store(gate_up + i, back * up * open * (1.0f + gate * (1.0f - open)));
            v8_store(gate_up + hidden + i, back * gate * open);
        }
    }
}

float loss_and_gradient(float *logits, size_t count, uint16_t target, float scale)
{
    v8 highest = v8_load(logits);
    for (size_t i = V8; i < count; i += V8)
        highest = v8_max(highest, v8_load(logits + i));
    float top = v8_highest(highest), target_logit = logits[target] - top;
    v8 sums = {0};
    for (size_t i = 0; i < count; i += V8) {
        v8 power = v8_exp(v8_load(logits + i) - top);
        v8_store(logits + i, power);
        sums += power;
    }
    float sum = v8_sum(sums), factor = scale / sum;
    for (size_t i = 0; i < count; i += V8)
        v8_store(logits + i, v8_load(logits + i) * factor);
    logits[target] -= scale;
    return logf(sum) - target_logit;
}
