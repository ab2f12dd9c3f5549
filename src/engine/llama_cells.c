/* llama_cells - see llama_cells.h. */
#include "engine/llama_cells.h"

void llama_cells_begin(enum llama_cells *slots, const struct engine_row *rows, size_t count,
                       bool has_adapters)
{
    for (size_t i = 0; i < count && has_adapters; i++)
        if (slots[rows[i].slot] == LLAMA_CELLS_CLEAN)
            slots[rows[i].slot] = LLAMA_CELLS_UNSEEN;
}

/* By their bits: as comparisons of floats this is no loop of whole vectors. */
static bool are_finite(const float *numbers, uint32_t count)
{
    const uint32_t endless = 0x7f800000; /* without the sign: more is no number */
    uint32_t largest = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof(bits));
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    return largest < endless;
}

void llama_cells_done(enum llama_cells *slots, const struct engine_row *rows, size_t count,
                      bool has_adapters, const float *const *logits, uint32_t vocab_size)
{
    for (size_t i = 0; i < count; i++) {
        enum llama_cells *cells = &slots[rows[i].slot];
        llama_cells_begin(slots, &rows[i], 1, has_adapters);
        if (*cells == LLAMA_CELLS_CLEAN || !rows[i].wants_logits)
            continue;
        if (!are_finite(logits[i], vocab_size))
            *cells = LLAMA_CELLS_SPOILT;
        else if (*cells == LLAMA_CELLS_UNSEEN)
            *cells = LLAMA_CELLS_CLEAN;
    }
}
