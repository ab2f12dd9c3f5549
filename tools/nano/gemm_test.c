/* Tests of matrix products against three loops. */
#include "nano/gemm.h"

#include "base/mem.h"
#include "nano/cpu.h"
#include "testing/test.h"

#include <math.h>

static float *random_floats(size_t count, uint64_t *state)
{
    float *floats = mem_array(count, sizeof(*floats));
    for (size_t i = 0; i < count; i++)
        floats[i] = (float)(test_random(state) % 2001) / 1000.0f - 1.0f;
    return floats;
}

static float at(struct operand operand, size_t i, size_t j)
{
    return operand.data[i * operand.row_stride + j * operand.column_stride];
}

static void check_product(size_t m, size_t n, size_t k, bool a_transposed, bool b_transposed,
                          bool is_sum, uint64_t *state)
{
    float *a_data = random_floats(m * k, state), *b_data = random_floats(k * n, state);
    size_t stride = n + 3; /* what lies between the rows of c stays */
    float *c = random_floats(m * stride, state), *before = mem_array(m * stride, sizeof(*before));
    memcpy(before, c, m * stride * sizeof(*c));
    struct operand a = a_transposed ? transposed(a_data, m) : rows_of(a_data, k);
    struct operand b = b_transposed ? transposed(b_data, k) : rows_of(b_data, n);
    struct gemm_room *room = gemm_room_new();
    gemm(room, m, n, k, a, b, c, stride, is_sum);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < stride; j++) {
            double expected = j < n && !is_sum ? 0 : before[i * stride + j];
            for (size_t step = 0; j < n && step < k; step++)
                expected += (double)at(a, i, step) * at(b, step, j);
            CHECK_NEAR(c[i * stride + j], expected, 1e-6 * (double)(k + 10));
        }
    }
    gemm_room_free(room);
    mem_free(a_data);
    mem_free(b_data);
    mem_free(c);
    mem_free(before);
}

TEST(product_is_that_of_three_loops_at_every_edge)
{
    static const size_t sizes[][3] = {
        {1, 1, 1},     {5, 15, 7},     {6, 16, 32},    {7, 17, 33},     {96, 32, 256},
        {97, 33, 257}, {13, 1040, 19}, {200, 64, 600}, {31, 1025, 255},
    };
    cpu_or_skip();
    uint64_t state = 11;
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++)
        for (unsigned way = 0; way < 8; way++)
            check_product(sizes[i][0], sizes[i][1], sizes[i][2], way & 1, way & 2, way & 4, &state);
}
