/* layers - what stands between the matrices: norm, positions, gate, loss; each forward and back.
 * Rows are tokens, one behind the other. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* out = x / rms(x) * weight; out_scales: 1 / rms of each row, for the way back. */
void norm_forward(const float *x, const float *weight, size_t rows, size_t width, float *out,
                  float *out_scales);
/* dx and dweight grow. */
void norm_backward(const float *x, const float *weight, const float *scales, const float *dout,
                   size_t rows, size_t width, float *dx, float *dweight);

/* Rotates neighbours (2i, 2i+1) of each head by position * base^(-2i/32): llama.cpp's order for
 * this architecture. */
struct rope;
struct rope *rope_new(size_t positions);
void rope_free(struct rope *rope);
/* `heads` heads at the front of each row, rows `stride` apart, of positions 0, 1, ... ; direction
 * 1: forward, -1: the gradient back. */
void rope_turn(const struct rope *rope, float *rows, size_t count, size_t stride, size_t heads,
               float direction);

/* gate_up: `hidden` of gate, then of up. out = silu(gate) * up. */
void swiglu_forward(const float *gate_up, size_t rows, size_t hidden, float *out);
/* Puts the gradient where gate_up was. */
void swiglu_backward(float *gate_up, const float *dout, size_t rows, size_t hidden);

/* -log softmax(logits)[target]; logits become the gradient times `scale`. */
float loss_and_gradient(float *logits, size_t count, uint16_t target, float scale);
