/* weights - drawn a row at a time, and packed as its tensor wants it. */
#include "models/weights.h"

#include "base/mem.h"
#include "base/splitmix.h"
#include "models/q4.h"
#include "models/quoting.h"
#include "nano/q8.h"

#include <math.h>

/* Four of 16 bits from each draw. */
static void draw(uint64_t *random, float low, float high, float *out, size_t count)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < count; i++, bits >>= 16) {
        if (i % 4 == 0)
            bits = splitmix_next(random);
        out[i] = low + (high - low) * ((float)(bits & 0xffff) * 0x1p-16f);
    }
}

static size_t row_bytes(enum gguf_tensor_type type, size_t columns)
{
    switch (type) {
    case GGUF_TENSOR_F32:
        return columns * sizeof(float);
    case GGUF_TENSOR_F16:
        return columns * sizeof(uint16_t);
    case GGUF_TENSOR_Q4_0:
        return columns / Q4_WEIGHTS * sizeof(struct q4_block);
    case GGUF_TENSOR_Q8_0:
        return columns / Q8_WEIGHTS * sizeof(struct q8_block);
    }
    ASSERT(false);
    return 0;
}

static void pack(enum gguf_tensor_type type, const float *row, size_t columns, void *out)
{
    switch (type) {
    case GGUF_TENSOR_F32:
        memcpy(out, row, columns * sizeof(*row));
        return;
    case GGUF_TENSOR_F16:
        for (size_t i = 0; i < columns; i++)
            ((uint16_t *)out)[i] = half_of(row[i]);
        return;
    case GGUF_TENSOR_Q4_0:
        q4_pack(row, columns, out);
        return;
    case GGUF_TENSOR_Q8_0:
        q8_pack(row, columns, out);
    }
}

static void add(struct weights *weights, const struct quoting *quoting, const char *name,
                enum gguf_tensor_type type, uint32_t rows, uint32_t columns, float low, float high)
{
    size_t bytes = row_bytes(type, columns);
    char *packed = mem_array(rows, bytes);
    float *row = mem_array(columns, sizeof(*row));
    for (uint32_t i = 0; i < rows; i++) {
        draw(&weights->random, low, high, row, columns);
        if (quoting)
            quoting_row(quoting, name, i, row, columns);
        pack(type, row, columns, packed + i * bytes);
    }
    gguf_add_tensor(weights->gguf, name, type, rows, columns, slice_of(packed, rows * bytes));
    mem_free(row);
    mem_free(packed);
}

void weights_add_matrix(struct weights *weights, const char *name, uint32_t rows, uint32_t columns)
{
    float bound = sqrtf(3.0f / (float)columns); /* variance 1/columns */
    bool is_packed = columns % Q8_WEIGHTS == 0;
    add(weights, weights->quoting, name, is_packed ? weights->type : GGUF_TENSOR_F32, rows, columns,
        -bound, bound);
}

void weights_add_f32(struct weights *weights, const char *name, uint32_t rows, uint32_t columns,
                     float low, float high)
{
    add(weights, NULL, name, GGUF_TENSOR_F32, rows, columns, low, high);
}
