/* rows - documents become tokens and their weights. */
#include "nano/rows.h"

#include "base/mem.h"

void row_init(struct row *row, size_t row_tokens)
{
    *row = (struct row){.token_max = row_tokens + ROW_DOCUMENT_TOKENS_MAX};
    row->tokens = mem_array(row->token_max, sizeof(*row->tokens));
    row->weights = mem_array(row->token_max, sizeof(*row->weights));
}

void row_fini(struct row *row)
{
    mem_free(row->tokens);
    mem_free(row->weights);
}

void row_clear(struct row *row)
{
    row->token_count = row->document_count = row->left_out = 0;
    row->weight_sum = 0;
}

/* Spans end where tokens end: between them stands a special, which cuts. */
static void weigh(struct row *row, const struct rendering *document, const uint32_t *ends,
                  size_t count)
{
    size_t span = 0;
    for (size_t i = 0; i < count; i++) {
        while (span + 1 < document->span_count && ends[i] > document->spans[span].end)
            span++;
        uint8_t weight = i == 0 ? 0 : document->spans[span].weight;
        row->weights[row->token_count + i] = weight;
        row->weight_sum += weight;
    }
}

bool row_add(struct row *row, const struct tokenizer *tokenizer, const struct rendering *document,
             unsigned kind)
{
    uint32_t ends[ROW_DOCUMENT_TOKENS_MAX];
    ASSERT(row->token_max - row->token_count >= ROW_DOCUMENT_TOKENS_MAX);
    ASSERT(row->document_count < ROW_DOCUMENTS_MAX && kind < ROW_KINDS_MAX);
    size_t count = tokenizer_encode(tokenizer, text_slice(&document->text),
                                    row->tokens + row->token_count, ends, ROW_DOCUMENT_TOKENS_MAX);
    if (count > ROW_DOCUMENT_TOKENS_MAX) {
        row->left_out++;
        return false;
    }
    weigh(row, document, ends, count);
    row->token_count += count;
    row->document_ends[row->document_count] = (uint32_t)row->token_count;
    row->document_kinds[row->document_count++] = (uint8_t)kind;
    return true;
}

void row_fill(struct row *row, size_t row_tokens, const struct tokenizer *tokenizer,
              document_fn *draw, void *ctx, uint64_t index)
{
    struct rendering document;
    rendering_init(&document);
    row_clear(row);
    for (size_t i = 0; row->token_count < row_tokens && i < ROW_DOCUMENTS_MAX; i++) {
        unsigned kind = draw(ctx, index * ROW_DOCUMENTS_MAX + i, &document);
        (void)row_add(row, tokenizer, &document, kind); /* it counts what it leaves out */
    }
    rendering_fini(&document);
}
