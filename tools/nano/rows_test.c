/* Tests of documents becoming rows. */
#include "nano/rows.h"

#include "testing/test.h"

static struct tokenizer *bytes_only(void)
{
    struct tokenizer_lesson *lesson = tokenizer_lesson_new();
    for (int i = 0; i < 2; i++)
        tokenizer_lesson_add(lesson, SLICE("Ii Ii Jj Jj Kk Kk Ll Ll Mm Mm Nn Nn Oo Oo Pp Pp Qq Qq "
                                           "Rr Rr Ss Ss Tt Tt Uu Uu Vv Vv Ww Ww Xx Xx Yy Yy"));
    struct tokenizer *tokenizer = NULL;
    CHECK_OK(tokenizer_learn(lesson, TOKENIZER_SIZE_MIN, &tokenizer, NULL));
    tokenizer_lesson_free(lesson);
    return tokenizer;
}

static void set_document(struct rendering *out, size_t letters)
{
    text_clear(&out->text);
    text_add_str(&out->text, "ab<|im_start|>");
    out->spans[0] = (struct span){.end = (uint32_t)out->text.len, .weight = 10};
    for (size_t i = 0; i < letters; i++)
        text_add_byte(&out->text, 'c');
    text_add_str(&out->text, "<|im_end|>");
    out->spans[1] = (struct span){.end = (uint32_t)out->text.len, .weight = 100};
    text_add_str(&out->text, "\n");
    out->spans[2] = (struct span){.end = (uint32_t)out->text.len, .weight = 10};
    out->span_count = 3;
}

TEST(tokens_weigh_what_their_span_says)
{
    struct tokenizer *tokenizer = bytes_only();
    struct rendering document;
    struct row row;
    rendering_init(&document);
    row_init(&row, 8);
    set_document(&document, 2);
    CHECK(row_add(&row, tokenizer, &document, 3));
    static const uint8_t expected[] = {0, 10, 10, 100, 100, 100, 10}; /* a b <> c c <> \n */
    CHECK_EQ(row.token_count, sizeof(expected));
    CHECK(memcmp(row.weights, expected, sizeof(expected)) == 0);
    CHECK_EQ(row.weight_sum, 330);
    CHECK_EQ(row.document_kinds[0], 3);
    CHECK_EQ(row.document_ends[0], sizeof(expected));
    row_fini(&row);
    rendering_fini(&document);
    tokenizer_free(tokenizer);
}

/* 5 tokens beside the letters. */
TEST(document_that_fills_a_row_is_kept_and_a_longer_one_left_out)
{
    struct tokenizer *tokenizer = bytes_only();
    struct rendering document;
    struct row row;
    rendering_init(&document);
    row_init(&row, 0);
    set_document(&document, ROW_DOCUMENT_TOKENS_MAX - 5 + 1);
    CHECK(!row_add(&row, tokenizer, &document, 0));
    CHECK_EQ(row.left_out, 1);
    CHECK_EQ(row.token_count, 0);
    CHECK_EQ(row.document_count, 0);
    set_document(&document, ROW_DOCUMENT_TOKENS_MAX - 5);
    CHECK(row_add(&row, tokenizer, &document, 0));
    CHECK_EQ(row.token_count, ROW_DOCUMENT_TOKENS_MAX);
    row_fini(&row);
    rendering_fini(&document);
    tokenizer_free(tokenizer);
}

static unsigned draw_by_index(void *ctx, uint64_t index, struct rendering *out)
{
    (void)ctx;
    set_document(out, 1 + index % 30);
    return index % 5;
}

TEST(row_takes_whole_documents_until_it_is_full)
{
    enum { ROW_TOKENS = 100 };
    struct tokenizer *tokenizer = bytes_only();
    struct row row;
    row_init(&row, ROW_TOKENS);
    for (uint64_t index = 0; index < 50; index++) {
        row_fill(&row, ROW_TOKENS, tokenizer, draw_by_index, NULL, index);
        CHECK(row.token_count >= ROW_TOKENS);
        CHECK(row.document_count >= 2);
        CHECK(row.document_ends[row.document_count - 2] < ROW_TOKENS);
        CHECK_EQ(row.document_ends[row.document_count - 1], row.token_count);
        CHECK_EQ(row.tokens[row.token_count - 1], TOKENIZER_FIRST_BYTE + '\n');
    }
    row_fini(&row);
    tokenizer_free(tokenizer);
}
