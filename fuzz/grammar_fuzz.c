/* grammar_fuzz - whatever the grammar and the text: nothing dies, what is refused is refused in
 * clean words, a mask is what the checks say, and the place does not depend on how the text was
 * cut, nor on memory that failed in between. Input: GBNF, a NUL, text. */
#include "base/mem.h"
#include "grammar/grammar_mask.h"

#include "choice.h"

enum { TEXT_MAX = 96, LETTERS = 24, TOKENS = LETTERS + 40 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The vocabulary: some single bytes, and pieces of the text. */
struct pieces {
    struct slice text;
    uint64_t choice;
    char letter;
};

static enum grammar_token_kind piece_of(void *ctx, uint32_t token, struct slice *out_piece)
{
    static const char letters[LETTERS + 1] = "ab01{}[]\",:. \n\\-()\xC3\xA9\xE2\x82x";
    struct pieces *pieces = ctx;
    uint64_t choice = pieces->choice + token;
    if (token < LETTERS) {
        pieces->letter = letters[token];
        *out_piece = slice_of(&pieces->letter, 1);
    } else {
        *out_piece = slice_after(pieces->text, choice_next(&choice, pieces->text.len + 1));
        *out_piece = slice_first(*out_piece, choice_next(&choice, 8));
    }
    return token == LETTERS ? GRAMMAR_TOKEN_END : GRAMMAR_TOKEN_TEXT;
}

static void check_mask(struct grammar_match *match, struct slice text, uint64_t choice)
{
    struct pieces pieces = {.text = text, .choice = choice};
    struct grammar_vocab *vocab = grammar_vocab_new(TOKENS, piece_of, &pieces);
    struct grammar_masker *masker = grammar_masker_new(vocab, 1);
    const uint64_t *bits;
    ASSERT(grammar_mask(masker, match, &bits) == ERR_OK);
    for (uint32_t token = 0; token < TOKENS; token++) {
        struct slice piece;
        bool is_allowed = piece_of(&pieces, token, &piece) == GRAMMAR_TOKEN_END
                              ? grammar_match_can_end(match)
                              : piece.len > 0 && grammar_match_check(match, token, piece) == ERR_OK;
        ASSERT(grammar_mask_has(bits, token) == is_allowed);
    }
    grammar_masker_free(masker);
    grammar_vocab_free(vocab);
}

/* As much of the text as is allowed, in pieces; returns how much that is. */
static size_t follow(struct grammar_match *match, struct slice text, uint64_t choice)
{
    size_t at = 0;
    while (at < text.len) {
        struct slice piece = slice_first(slice_after(text, at), 1 + choice_next(&choice, 5));
        if (choice_next(&choice, 8) == 0)
            mem_test_fail_nth(1 + choice_next(&choice, 4));
        enum err err = grammar_match_accept(match, GRAMMAR_NO_TOKEN, piece);
        mem_test_fail_nth(0);
        if (err == ERR_FULL)
            err = grammar_match_accept(match, GRAMMAR_NO_TOKEN, piece);
        if (err != ERR_OK && piece.len > 1) {
            piece.len = 1;
            err = grammar_match_accept(match, GRAMMAR_NO_TOKEN, piece);
        }
        ASSERT(err == ERR_OK || err == ERR_REFUSED || err == ERR_LIMIT);
        if (err != ERR_OK)
            break;
        at += piece.len;
    }
    return at;
}

static void check_grammar(struct grammar *grammar, struct slice text, uint64_t choice)
{
    struct grammar_match *first, *second, *clone;
    if (grammar_match_new(grammar, NULL, &first) != ERR_OK)
        return; /* its beginning is beyond the limits */
    ASSERT(grammar_match_new(grammar, NULL, &second) == ERR_OK);
    size_t taken = follow(first, text, choice);
    ASSERT(follow(second, text, choice + 1) == taken);
    ASSERT(grammar_match_clone(first, &clone) == ERR_OK);
    ASSERT(grammar_match_hash(first) == grammar_match_hash(second));
    ASSERT(grammar_match_hash(first) == grammar_match_hash(clone));
    ASSERT(grammar_match_can_end(first) == grammar_match_can_end(clone));
    check_mask(clone, text, choice);
    ASSERT(grammar_match_hash(first) == grammar_match_hash(clone));
    grammar_match_free(first);
    grammar_match_free(second);
    grammar_match_free(clone);
}

static void check_refusal(enum err err, const struct err_note *note)
{
    ASSERT(err == ERR_PROTOCOL || err == ERR_LIMIT || err == ERR_REFUSED);
    ASSERT(note->text[0]);
    for (const char *c = note->text; *c; c++)
        ASSERT_MSG(*c >= 0x20 && *c < 0x7F, "%s", note->text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text, said;
    struct err_note note = {{0}};
    struct grammar *grammar = NULL;
    uint64_t choice = choice_of(data, size);
    (void)slice_cut(slice_of(data, size), '\0', &text, &said);
    said = slice_first(said, TEXT_MAX);
    mem_test_fail_nth(choice % 64); /* mostly none */
    enum err err = grammar_parse(text, &grammar, &note);
    mem_test_fail_nth(0);
    if (err == ERR_FULL)
        err = grammar_parse(text, &grammar, &note);
    if (err != ERR_OK) {
        check_refusal(err, &note);
        return 0;
    }
    check_grammar(grammar, said, choice);
    grammar_unref(grammar);
    return 0;
}
