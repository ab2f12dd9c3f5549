/* rows - what a step of training reads: whole documents, one behind the other, until there are
 * row_tokens; the last one is not cut, so a row is longer by part of it. (Rows of one size would
 * leave out the long ones more often.)
 *
 * 1. Row i of a source is a pure function of i: there is no corpus and no epoch, and a run that
 * goes on needs to know its step only.
 * 2. A document longer than ROW_DOCUMENT_TOKENS_MAX is left out, and counted: it is a family's
 *    mistake, but a rare one must not end a training of an hour. */
#pragma once

#include "nano/sample.h"
#include "nano/tokenizer.h"

enum {
    ROW_DOCUMENT_TOKENS_MAX = 1024, /* what the model is trained for, and says so (export.h) */
    ROW_DOCUMENTS_MAX = 128,
    ROW_KINDS_MAX = 16,
};

/* Documents of training by index; returns which kind it is of (below ROW_KINDS_MAX). Pure; called
 * from several threads, each with its own `out`. */
typedef unsigned document_fn(void *ctx, uint64_t index, struct rendering *out);

struct row {
    size_t token_count, token_max;
    uint16_t *tokens;
    uint8_t *weights; /* percent, of predicting this token; 0 for a document's first */
    size_t document_count;
    uint32_t document_ends[ROW_DOCUMENTS_MAX];
    uint8_t document_kinds[ROW_DOCUMENTS_MAX];
    uint64_t weight_sum;
    size_t left_out; /* documents (rule 2) */
};

void row_init(struct row *row, size_t row_tokens);
void row_fini(struct row *row);
void row_clear(struct row *row);

/* Appends one document; false: it was left out. */
bool row_add(struct row *row, const struct tokenizer *tokenizer, const struct rendering *document,
             unsigned kind);
/* Makes it row `index`. */
void row_fill(struct row *row, size_t row_tokens, const struct tokenizer *tokenizer,
              document_fn *draw, void *ctx, uint64_t index);
