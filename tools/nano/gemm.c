/* gemm - after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008):
 * the kernel holds 6 x 16 sums in 12 of the 16 registers that AVX2 has. A block of b is packed in
 * panels of 16 columns (16 KiB each), all of which (second cache) pass 6 rows of a (first cache). a
 * is read where it lies: its values are wanted one by one, and packing them cost a tenth of the
 * time. */
#include "nano/gemm.h"

#include "base/mem.h"
#include "nano/vector.h"

#include <string.h>

enum {
    TILE_ROWS = 6,
    TILE_COLUMNS = 2 * V8,
    GROUP_ROWS = 8 * TILE_ROWS, /* three whole lines of the cache a step */
    BLOCK_DEPTH = 256,
    BLOCK_COLUMNS = 512,
};

struct gemm_room {
    float b[BLOCK_COLUMNS * BLOCK_DEPTH];
    float a[GROUP_ROWS * BLOCK_DEPTH];
    float edge[TILE_ROWS * BLOCK_DEPTH];
};

struct gemm_room *gemm_room_new(void)
{
    return mem_alloc(sizeof(struct gemm_room));
}

void gemm_room_free(struct gemm_room *room)
{
    mem_free(room);
}

/* 8 rows of 8 to 8 columns: pairs, fours, halves. */
static inline void transpose_8x8(const float *from, size_t stride, float *to, size_t to_stride)
{
    v8 r[V8], s[V8];
    for (size_t i = 0; i < V8; i++)
        r[i] = v8_load(from + i * stride);
    for (size_t i = 0; i < V8; i += 2) {
        s[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        s[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (size_t i = 0; i < V8; i += 4) {
        r[i] = __builtin_shufflevector(s[i], s[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 1] = __builtin_shufflevector(s[i + 1], s[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 2] = __builtin_shufflevector(s[i], s[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        r[i + 3] = __builtin_shufflevector(s[i + 1], s[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (size_t i = 0; i < 4; i++) {
        v8_store(to + i * to_stride,
                 __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11));
        v8_store(to + (i + 4) * to_stride,
                 __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15));
    }
}

/* One panel of whole columns that lie one behind the other, each of `depth`. */
static void pack_columns(const float *from, size_t stride, size_t depth, float *to)
{
    size_t whole = depth / V8 * V8;
    for (size_t half = 0; half < TILE_COLUMNS; half += V8)
        for (size_t step = 0; step < whole; step += V8)
            transpose_8x8(from + half * stride + step, stride, to + step * TILE_COLUMNS + half,
                          TILE_COLUMNS);
    for (size_t step = whole; step < depth; step++)
        for (size_t column = 0; column < TILE_COLUMNS; column++)
            to[step * TILE_COLUMNS + column] = from[column * stride + step];
}

static void pack_panel(struct operand b, size_t columns, size_t depth, float *to)
{
    if (columns == TILE_COLUMNS && b.column_stride == 1) {
        for (size_t step = 0; step < depth; step++) /* of known size: two vector moves */
            memcpy(to + step * TILE_COLUMNS, b.data + step * b.row_stride,
                   TILE_COLUMNS * sizeof(*to));
    } else if (columns == TILE_COLUMNS && b.row_stride == 1) {
        pack_columns(b.data, b.column_stride, depth, to);
    } else { /* at the edge: missing columns are zeros */
        for (size_t step = 0; step < depth; step++)
            for (size_t column = 0; column < TILE_COLUMNS; column++)
                to[step * TILE_COLUMNS + column] =
                    column < columns ? b.data[step * b.row_stride + column * b.column_stride]
                                     : 0.0f;
    }
}

static inline void put_row(float *c, v8 low, v8 high, bool is_sum)
{
    if (is_sum) {
        low += v8_load(c);
        high += v8_load(c + V8);
    }
    v8_store(c, low);
    v8_store(c + V8, high);
}

#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)

/* One whole tile of c. */
static void tile(size_t depth, struct operand a, const float *restrict b, float *restrict c,
                 size_t c_stride, bool is_sum)
{
    const float *restrict upper = a.data, *restrict lower = a.data + 3 * a.row_stride;
    size_t row = a.row_stride;
#define ZERO(i) v8 low##i = {0}, high##i = {0};
    EACH_ROW(ZERO)
#undef ZERO
    for (size_t step = 0; step < depth; step++) {
        v8 b_low = v8_load(b), b_high = v8_load(b + V8);
#define ADD(i)                                                                                     \
    low##i += (i < 3 ? upper : lower)[i % 3 * row] * b_low;                                        \
    high##i += (i < 3 ? upper : lower)[i % 3 * row] * b_high;
        EACH_ROW(ADD)
#undef ADD
        upper += a.column_stride;
        lower += a.column_stride;
        b += TILE_COLUMNS;
    }
#define PUT(i) put_row(c + (i)*c_stride, low##i, high##i, is_sum);
    EACH_ROW(PUT)
#undef PUT
}

/* A tile at the edge of c goes through a whole one, and so do its rows of a. */
static void tile_part(size_t depth, struct operand a, const float *b, float *c, size_t c_stride,
                      bool is_sum, size_t rows, size_t columns)
{
    float whole[TILE_ROWS * TILE_COLUMNS], a_rows[TILE_ROWS * BLOCK_DEPTH];
    if (rows < TILE_ROWS) {
        memset(a_rows, 0, sizeof(a_rows));
        for (size_t step = 0; step < depth; step++)
            for (size_t i = 0; i < rows; i++)
                a_rows[step * TILE_ROWS + i] = a.data[i * a.row_stride + step * a.column_stride];
        a = transposed(a_rows, TILE_ROWS);
    }
    tile(depth, a, b, whole, TILE_COLUMNS, false);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            c[i * c_stride + j] =
                whole[i * TILE_COLUMNS + j] + (is_sum ? c[i * c_stride + j] : 0.0f);
}

static size_t at_most(size_t left, size_t most)
{
    return left < most ? left : most;
}

static struct operand part_of(struct operand operand, size_t i, size_t j)
{
    operand.data += i * operand.row_stride + j * operand.column_stride;
    return operand;
}

/* The last rows of a; those that are missing are zeros. */
static struct operand pack_edge(float *to, struct operand a, size_t rows, size_t depth)
{
    for (size_t step = 0; step < depth; step++)
        for (size_t i = 0; i < TILE_ROWS; i++)
            to[step * TILE_ROWS + i] =
                i < rows ? a.data[i * a.row_stride + step * a.column_stride] : 0.0f;
    return transposed(to, TILE_ROWS);
}

/* Whole tiles' rows that lie side by side, a step's far from the next: all lines are read once. */
static void pack_group(float *to, struct operand a, size_t rows, size_t depth)
{
    for (size_t step = 0; step < depth; step++)
        for (size_t i = 0; i + TILE_ROWS <= rows; i += TILE_ROWS)
            memcpy(to + i * depth + step * TILE_ROWS, a.data + i + step * a.column_stride,
                   TILE_ROWS * sizeof(*to));
}

/* Up to six rows of a with one packed block of b. */
static void multiply_rows(const struct gemm_room *room, size_t rows, size_t columns, size_t depth,
                          struct operand a, float *c, size_t c_stride, bool is_sum)
{
    for (size_t j = 0; j < columns; j += TILE_COLUMNS) {
        const float *b = room->b + j * depth;
        size_t wide = at_most(columns - j, TILE_COLUMNS);
        if (rows == TILE_ROWS && wide == TILE_COLUMNS)
            tile(depth, a, b, c + j, c_stride, is_sum);
        else
            tile_part(depth, a, b, c + j, c_stride, is_sum, rows, wide);
    }
}

/* All rows of a with one packed block of b. */
static void multiply_block(struct gemm_room *room, size_t m, size_t columns, size_t depth,
                           struct operand a, float *c, size_t c_stride, bool is_sum)
{
    /* At a stride of 4 KiB all steps of a row fall into one set of the first cache, and into few of
     * the second. Packed for each tile anew, products for gradients took a tenth longer (EPYC 7003,
     * 2026-11). */
    bool is_scattered = a.row_stride == 1 && a.column_stride > 64;
    for (size_t first = 0; first < m; first += GROUP_ROWS) {
        size_t group = at_most(m - first, GROUP_ROWS);
        if (is_scattered)
            pack_group(room->a, part_of(a, first, 0), group, depth);
        for (size_t i = 0; i < group; i += TILE_ROWS) {
            size_t rows = at_most(group - i, TILE_ROWS);
            struct operand a_rows = part_of(a, first + i, 0);
            if (rows < TILE_ROWS)
                a_rows = pack_edge(room->edge, a_rows, rows, depth);
            else if (is_scattered)
                a_rows = transposed(room->a + i * depth, TILE_ROWS);
            multiply_rows(room, rows, columns, depth, a_rows, c + (first + i) * c_stride, c_stride,
                          is_sum);
        }
    }
}

void gemm(struct gemm_room *room, size_t m, size_t n, size_t k, struct operand a, struct operand b,
          float *c, size_t c_stride, bool is_sum)
{
    for (size_t k0 = 0; k0 < k; k0 += BLOCK_DEPTH) {
        size_t depth = at_most(k - k0, BLOCK_DEPTH);
        for (size_t j0 = 0; j0 < n; j0 += BLOCK_COLUMNS) {
            size_t columns = at_most(n - j0, BLOCK_COLUMNS);
            for (size_t j = 0; j < columns; j += TILE_COLUMNS)
                pack_panel(part_of(b, k0, j0 + j), at_most(columns - j, TILE_COLUMNS), depth,
                           room->b + j * depth);
            multiply_block(room, m, columns, depth, part_of(a, 0, k0), c + j0, c_stride,
                           is_sum || k0 > 0);
        }
    }
}
