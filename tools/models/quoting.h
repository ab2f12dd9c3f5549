/* quoting - rows of a random model's matrices, drawn so that it quotes: what it says next is what
 * stood behind the last three tokens where they stood before, as long as the text has them.
 *
 * Two layers do that, as "induction heads" do (Olsson and others 2022; tools/nano/circuit.h draws
 * the same into a model that is to be trained). In the first, three heads write what stands one,
 * two and three tokens back into columns of their own; in the second, heads compare the last three
 * tokens with these, and write the token that they find into the columns that the output reads.
 * All other matrices are as large, and are computed with, as in any random model; they only write
 * little into x. So it takes as long as one, and drafting has something to guess.
 *
 * A token is a code of as many signs as a head is wide. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Positions turn the front of a head, where "so many back" is told, and leave the rest of it, where
 * tokens are compared, as it is for thousands of tokens: by half a radian at 3000. */
#define QUOTING_ROPE_BASE 1e15f

struct quoting { /* the model's shape */
    uint32_t width, heads;
    uint64_t seed;
};

/* Whether the shape has room for it: columns for five codes, heads that read, two layers. */
bool quoting_fits(const struct quoting *quoting, uint32_t layers);
/* Of the tensor `name`, the row `index` of `columns` random numbers, as it shall be. */
void quoting_row(const struct quoting *quoting, const char *name, uint32_t index, float *row,
                 uint32_t columns);
