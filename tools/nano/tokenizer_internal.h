/* tokenizer_internal - how a tokenizer is put together: by learning, or from a file. */
#pragma once

#include "nano/tokenizer.h"

struct merge {
    uint16_t left, right;
};

/* `merges` in order of rank, all of lower tokens (ASSERT). Copies them. */
struct tokenizer *tokenizer_of(const struct merge *merges, size_t count);

/* Cuts at the next special: returns the plain text before it, *out_special is which one
 * (TOKENIZER_SPECIAL_COUNT: there is none), and *rest what comes after. */
struct slice tokenizer_cut(struct slice *rest, unsigned *out_special);
