/* gemm - products of matrices of floats, which is where training spends nine tenths of its time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Element (i, j) is at data[i * row_stride + j * column_stride]: one of the strides is 1, and
 * exchanging them transposes. */
struct operand {
    const float *data;
    size_t row_stride, column_stride;
};

/* Row-major, `stride` floats a row. */
static inline struct operand rows_of(const float *data, size_t stride)
{
    return (struct operand){data, stride, 1};
}

static inline struct operand transposed(const float *data, size_t stride)
{
    return (struct operand){data, 1, stride};
}

/* Where blocks are packed; 512 KiB. One thread at a time. */
struct gemm_room;
struct gemm_room *gemm_room_new(void);
void gemm_room_free(struct gemm_room *room);

/* c[m x n], rows c_stride apart, becomes (is_sum: grows by) a[m x k] * b[k x n]. The order of sums
 * depends on k alone. */
void gemm(struct gemm_room *room, size_t m, size_t n, size_t k, struct operand a, struct operand b,
          float *c, size_t c_stride, bool is_sum);
