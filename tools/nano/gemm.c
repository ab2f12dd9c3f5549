/* gemm - after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008):
 * a block of b is packed in panels of 16 columns and one of a in panels of 6 rows; the kernel holds
 * 6 x 16 sums in 12 of the 16 registers that AVX2 has. A panel of b (16 KiB) stays in the first
 * cache while all panels of a's block (96 KiB, second cache) pass it. */
#include "nano/gemm.h"

#include "base/mem.h"
#include "nano/vector.h"

#include <string.h>

enum {
    TILE_ROWS = 6,
    TILE_COLUMNS = 2 * V8,
    BLOCK_ROWS = 16 * TILE_ROWS,
    BLOCK_DEPTH = 256,
    BLOCK_COLUMNS = 1024,
};

struct gemm_room {
    float a[BLOCK_ROWS * BLOCK_DEPTH];
    float b[BLOCK_COLUMNS * BLOCK_DEPTH];
};

struct gemm_room *gemm_room_new(void)
{
    return mem_alloc(sizeof(struct gemm_room));
}

void gemm_room_free(struct gemm_room *room)
{
    mem_free(room);
}

/* Panels of `width` lines, each step of depth beside the next; missing lines are zeros. A line is a
 * row of a or a column of b: lines are line_stride apart, steps step_stride. */
static inline void pack(const float *from, size_t line_stride, size_t step_stride, size_t lines,
                        size_t depth, size_t width, float *to)
{
    for (size_t first = 0; first < lines; first += width, to += width * depth) {
        size_t count = lines - first < width ? lines - first : width;
        const float *panel = from + first * line_stride;
        if (count < width)
            memset(to, 0, width * depth * sizeof(*to));
        if (line_stride == 1 && count == width) {
            for (size_t step = 0; step < depth; step++) /* of known size: two vector moves */
                memcpy(to + step * width, panel + step * step_stride, width * sizeof(*to));
        } else {
            for (size_t line = 0; line < count; line++)
                for (size_t step = 0; step < depth; step++)
                    to[step * width + line] = panel[line * line_stride + step * step_stride];
        }
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
static void tile(size_t depth, const float *restrict a, const float *restrict b, float *restrict c,
                 size_t c_stride, bool is_sum)
{
#define ZERO(i) v8 low##i = {0}, high##i = {0};
    EACH_ROW(ZERO)
#undef ZERO
    for (size_t step = 0; step < depth; step++, a += TILE_ROWS, b += TILE_COLUMNS) {
        v8 b_low = v8_load(b), b_high = v8_load(b + V8);
#define ADD(i)                                                                                     \
    low##i += a[i] * b_low;                                                                        \
    high##i += a[i] * b_high;
        EACH_ROW(ADD)
#undef ADD
    }
#define PUT(i) put_row(c + (i)*c_stride, low##i, high##i, is_sum);
    EACH_ROW(PUT)
#undef PUT
}

/* A tile at the edge of c goes through a whole one. */
static void tile_part(size_t depth, const float *a, const float *b, float *c, size_t c_stride,
                      bool is_sum, size_t rows, size_t columns)
{
    float whole[TILE_ROWS * TILE_COLUMNS];
    tile(depth, a, b, whole, TILE_COLUMNS, false);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            c[i * c_stride + j] =
                whole[i * TILE_COLUMNS + j] + (is_sum ? c[i * c_stride + j] : 0.0f);
}

static void multiply_blocks(const struct gemm_room *room, size_t rows, size_t columns, size_t depth,
                            float *c, size_t c_stride, bool is_sum)
{
    for (size_t j = 0; j < columns; j += TILE_COLUMNS) {
        for (size_t i = 0; i < rows; i += TILE_ROWS) {
            const float *a = room->a + i * depth, *b = room->b + j * depth;
            float *to = c + i * c_stride + j;
            if (rows - i >= TILE_ROWS && columns - j >= TILE_COLUMNS)
                tile(depth, a, b, to, c_stride, is_sum);
            else
                tile_part(depth, a, b, to, c_stride, is_sum,
                          rows - i < TILE_ROWS ? rows - i : TILE_ROWS,
                          columns - j < TILE_COLUMNS ? columns - j : TILE_COLUMNS);
        }
    }
}

static size_t at_most(size_t left, size_t most)
{
    return left < most ? left : most;
}

void gemm(struct gemm_room *room, size_t m, size_t n, size_t k, struct operand a, struct operand b,
          float *c, size_t c_stride, bool is_sum)
{
    for (size_t k0 = 0; k0 < k; k0 += BLOCK_DEPTH) {
        size_t depth = at_most(k - k0, BLOCK_DEPTH);
        for (size_t j0 = 0; j0 < n; j0 += BLOCK_COLUMNS) {
            size_t columns = at_most(n - j0, BLOCK_COLUMNS);
            pack(b.data + k0 * b.row_stride + j0 * b.column_stride, b.column_stride, b.row_stride,
                 columns, depth, TILE_COLUMNS, room->b);
            for (size_t i0 = 0; i0 < m; i0 += BLOCK_ROWS) {
                size_t rows = at_most(m - i0, BLOCK_ROWS);
                pack(a.data + i0 * a.row_stride + k0 * a.column_stride, a.row_stride,
                     a.column_stride, rows, depth, TILE_ROWS, room->a);
                multiply_blocks(room, rows, columns, depth, c + i0 * c_stride + j0, c_stride,
                                is_sum || k0 > 0);
            }
        }
    }
}
