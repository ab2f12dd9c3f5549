/* llama_cells - which slots' cells may hold numbers that are not finite. Pure.
 *
 * libllama only marks cells as empty, and reads them on: a row's attention goes over all cells of
 * its stream, up to a multiple of 256, with -inf added to the scores of those that are not its own
 * and their values times 0. What is not finite comes through both, so it must not lie there when
 * the slot's next user comes (engine.h rule 9). Only an adapter, with a scale that a client chose,
 * can bring it there: a model's own numbers are what its maker tried.
 *
 * It is told by the logits: a row that attends to such a cell has none that are finite, so those of
 * a row clear all rows before it in its slot. (What they cannot tell: a key of -inf to every later
 * row of its own sequence that is +inf to somebody else's. docs/design/027.) */
#pragma once

#include "engine/engine.h"

enum llama_cells { /* a slot's */
                   LLAMA_CELLS_CLEAN,
                   LLAMA_CELLS_UNSEEN, /* put in with adapters, and no logits since */
                   LLAMA_CELLS_SPOILT
};

/* Before they are put in; what fails leaves the slots so. */
void llama_cells_begin(enum llama_cells *slots, const struct engine_row *rows, size_t count,
                       bool has_adapters);
/* They are in; `logits` are of each that wanted them, vocab_size long. */
void llama_cells_done(enum llama_cells *slots, const struct engine_row *rows, size_t count,
                      bool has_adapters, const float *const *logits, uint32_t vocab_size);
