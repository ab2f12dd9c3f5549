/* Tests of what rows and their logits say of the cells of slots. */
#include "engine/llama_cells.h"

#include "testing/test.h"

#include <math.h>

enum { WORDS = 5 };

static const float fine[WORDS] = {0, -3e38f, 3e38f, 1e-40f, -0.0f};

static void put_in(enum llama_cells *slots, const float *logits, bool has_adapters)
{
    struct engine_row row = {.slot = 1, .wants_logits = logits != NULL};
    llama_cells_begin(slots, &row, 1, has_adapters);
    llama_cells_done(slots, &row, 1, has_adapters, &logits, WORDS);
}

TEST(without_adapters_nobody_looks)
{
    enum llama_cells slots[2] = {0};
    const float bad[WORDS] = {NAN};
    put_in(slots, bad, false);
    put_in(slots, NULL, false);
    CHECK_EQ(slots[1], LLAMA_CELLS_CLEAN);
}

TEST(finite_logits_clear_what_was_put_in_before_them)
{
    enum llama_cells slots[2] = {0};
    put_in(slots, NULL, true);
    CHECK_EQ(slots[1], LLAMA_CELLS_UNSEEN);
    put_in(slots, NULL, false); /* still */
    CHECK_EQ(slots[1], LLAMA_CELLS_UNSEEN);
    put_in(slots, fine, true);
    CHECK_EQ(slots[1], LLAMA_CELLS_CLEAN);
    CHECK_EQ(slots[0], LLAMA_CELLS_CLEAN);
}

TEST(others_spoil_them_whatever_comes_later)
{
    static const float numbers[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        enum llama_cells slots[2] = {0};
        float bad[WORDS] = {0};
        bad[i] = numbers[i];
        put_in(slots, bad, true);
        CHECK_EQ(slots[1], LLAMA_CELLS_SPOILT);
        put_in(slots, fine, true);
        put_in(slots, NULL, true);
        CHECK_EQ(slots[1], LLAMA_CELLS_SPOILT);
    }
}

TEST(a_row_behind_the_logits_is_unseen)
{
    enum llama_cells slots[2] = {0};
    const struct engine_row rows[] = {{.slot = 0, .wants_logits = true},
                                      {.slot = 1, .wants_logits = true},
                                      {.slot = 1, .position = 1}};
    const float *logits[] = {fine, fine, NULL};
    llama_cells_begin(slots, rows, ARRAY_COUNT(rows), true);
    CHECK(slots[0] == LLAMA_CELLS_UNSEEN && slots[1] == LLAMA_CELLS_UNSEEN); /* were it to fail */
    llama_cells_done(slots, rows, ARRAY_COUNT(rows), true, logits, WORDS);
    CHECK_EQ(slots[0], LLAMA_CELLS_CLEAN);
    CHECK_EQ(slots[1], LLAMA_CELLS_UNSEEN);
}
