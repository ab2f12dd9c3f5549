/* A mask is what the check of each token says, by whatever way it came about. */
#include "base/mem.h"
#include "base/text.h"
#include "grammar/grammar_mask.h"
#include "testing/test.h"

enum { TOKENS = 700 };

struct pieces {
    char bytes[TOKENS][8];
    uint8_t lens[TOKENS];
    uint8_t kinds[TOKENS];
};

static enum grammar_token_kind piece_of(void *ctx, uint32_t token, struct slice *out_piece)
{
    const struct pieces *pieces = ctx;
    *out_piece = slice_of(pieces->bytes[token], pieces->lens[token]);
    return pieces->kinds[token];
}

/* All bytes, ends, a control token, an empty piece, and short random ones of few letters, so that
 * many share beginnings and some are equal. */
static void make_pieces(struct pieces *pieces, uint64_t *random)
{
    static const char letters[] = "ab1{}[]\",:. \n-\xC3\xA9\xE2\x82";
    *pieces = (struct pieces){0};
    for (uint32_t token = 0; token < TOKENS; token++) {
        if (token < 256) {
            pieces->bytes[token][0] = (char)token;
            pieces->lens[token] = 1;
            continue;
        }
        pieces->lens[token] = (uint8_t)(token == 259 ? 0 : 1 + test_random(random) % 7);
        for (uint8_t i = 0; i < pieces->lens[token]; i++)
            pieces->bytes[token][i] = letters[test_random(random) % (sizeof(letters) - 1)];
    }
    pieces->kinds[256] = pieces->kinds[258] = GRAMMAR_TOKEN_END;
    pieces->kinds[257] = GRAMMAR_TOKEN_NEVER;
}

static bool is_allowed(struct grammar_match *match, const struct pieces *pieces, uint32_t token)
{
    enum grammar_token_kind kind = pieces->kinds[token];
    struct slice piece = slice_of(pieces->bytes[token], pieces->lens[token]);
    if (grammar_match_is_bound(match)) {
        if (kind != GRAMMAR_TOKEN_TEXT)
            return kind == GRAMMAR_TOKEN_END && grammar_match_can_end(match);
        if (piece.len == 0)
            return false;
    } else if (kind != GRAMMAR_TOKEN_TEXT) {
        piece.len = 0;
    }
    enum err err = grammar_match_check(match, token, piece);
    CHECK(err == ERR_OK || err == ERR_REFUSED);
    return err == ERR_OK;
}

/* Returns how many are allowed, and one of them that is not an end. */
static uint32_t check_mask(struct grammar_masker *masker, struct grammar_match *match,
                           const struct pieces *pieces, uint64_t *random, uint32_t *out_pick)
{
    const uint64_t *bits = NULL;
    uint32_t count = 0;
    CHECK_OK(grammar_mask(masker, match, &bits));
    for (uint32_t token = 0; token < TOKENS; token++) {
        if (grammar_mask_has(bits, token) != is_allowed(match, pieces, token))
            CHECK_EQ(token, -1);
        bool is_text = pieces->kinds[token] == GRAMMAR_TOKEN_TEXT && pieces->lens[token] > 0;
        if (grammar_mask_has(bits, token) && is_text && test_random(random) % ++count == 0)
            *out_pick = token;
    }
    CHECK_EQ(bits[TOKENS / 64] >> (TOKENS % 64), 0);
    return count;
}

static const char *const grammars[] = {
    "root ::= value\n"
    "value ::= \"{\" (pair (\",\" pair)*)? \"}\" | \"[\" (value (\",\" value)*)? \"]\" | string | "
    "[0-9]{1,3}\npair ::= string \":\" value\nstring ::= \"\\\"\" [^\"\\n]* \"\\\"\"",
    "root ::= (\"a\" | \"ab\" | [\xC3\xA9\xE2\x82\xAC])* \"1\"?",
    "root ::= .{0,40}",
    "root ::= \"a\" root \"b\" | \"\"",
    "root ::= line+\nline ::= \"- \" [^\\n]+ \"\\n\"",
};

static void walk(struct grammar_triggers *triggers, struct grammar *grammar,
                 struct grammar_masker *masker, const struct pieces *pieces, uint64_t *random)
{
    struct grammar_match *match = NULL;
    uint32_t pick = 0;
    CHECK_OK(grammar_match_new(grammar, triggers, &match));
    for (int step = 0; step < 40 && check_mask(masker, match, pieces, random, &pick) > 0; step++)
        CHECK_OK(
            grammar_match_accept(match, pick, slice_of(pieces->bytes[pick], pieces->lens[pick])));
    grammar_match_free(match);
}

TEST(a_mask_is_what_the_checks_of_all_tokens_say)
{
    static struct pieces pieces;
    uint64_t random = 3;
    for (int round = 0; round < 6; round++) {
        make_pieces(&pieces, &random);
        struct grammar_vocab *vocab = grammar_vocab_new(TOKENS, piece_of, &pieces);
        struct grammar_masker *masker = grammar_masker_new(vocab, 1 + (size_t)round * 4);
        for (size_t i = 0; i < ARRAY_COUNT(grammars); i++) {
            struct grammar *grammar = NULL;
            CHECK_OK(grammar_parse(slice_str(grammars[i]), &grammar, NULL));
            walk(NULL, grammar, masker, &pieces, &random);
            grammar_unref(grammar);
        }
        grammar_masker_free(masker);
        grammar_vocab_free(vocab);
    }
}

TEST(a_mask_while_waiting_refuses_only_what_goes_wrong_behind_the_trigger)
{
    static struct pieces pieces;
    uint64_t random = 5;
    make_pieces(&pieces, &random);
    memcpy(pieces.bytes[300], "ab1{x", 5);
    memcpy(pieces.bytes[301], "ab1x", 4);
    pieces.lens[300] = 5;
    pieces.lens[301] = 4;
    struct grammar_vocab *vocab = grammar_vocab_new(TOKENS, piece_of, &pieces);
    struct grammar_masker *masker = grammar_masker_new(vocab, 8);
    struct grammar_trigger trigger = {.word = SLICE("b1"), .token = GRAMMAR_NO_TOKEN};
    struct grammar *grammar = NULL;
    struct grammar_triggers *triggers = NULL;
    struct grammar_match *match = NULL;
    const uint64_t *bits = NULL;
    CHECK_OK(grammar_parse(SLICE("root ::= \"{\" .*"), &grammar, NULL));
    CHECK_OK(grammar_triggers_new(grammar, &trigger, 1, &triggers, NULL));
    CHECK_OK(grammar_match_new(grammar, triggers, &match));
    CHECK_OK(grammar_mask(masker, match, &bits));
    CHECK(grammar_mask_has(bits, 300) && !grammar_mask_has(bits, 301));
    CHECK(grammar_mask_has(bits, 257) && grammar_mask_has(bits, 259)); /* rule 2: all others */
    for (int i = 0; i < 20; i++)
        walk(triggers, grammar, masker, &pieces, &random);
    grammar_match_free(match);
    grammar_triggers_unref(triggers);
    grammar_unref(grammar);
    grammar_masker_free(masker);
    grammar_vocab_free(vocab);
}

TEST(a_place_that_was_there_before_comes_from_the_cache)
{
    static struct pieces pieces;
    uint64_t random = 9;
    make_pieces(&pieces, &random);
    struct grammar_vocab *vocab = grammar_vocab_new(TOKENS, piece_of, &pieces);
    struct grammar_masker *masker = grammar_masker_new(vocab, 2);
    const uint64_t *bits = NULL;
    for (int i = 0; i < 3; i++) { /* a grammar of its own each time, with the same text */
        struct grammar *grammar = NULL;
        struct grammar_match *match = NULL;
        CHECK_OK(grammar_parse(SLICE("root ::= [0-9]+ ([a-z] [0-9])*"), &grammar, NULL));
        CHECK_OK(grammar_match_new(grammar, NULL, &match));
        CHECK_OK(grammar_mask(masker, match, &bits));
        for (int step = 0; step < 5; step++) {
            CHECK_OK(grammar_match_accept(match, '7', SLICE("7")));
            CHECK_OK(grammar_mask(masker, match, &bits));
        }
        grammar_match_free(match);
        grammar_unref(grammar);
    }
    struct grammar_masker_counts counts = grammar_masker_counts(masker);
    CHECK_EQ(counts.walks, 2);
    CHECK_EQ(counts.hits, 16);
    grammar_masker_free(masker);
    grammar_vocab_free(vocab);
}

TEST(a_mask_that_finds_no_memory_says_so_and_the_next_one_is_right)
{
    static struct pieces pieces;
    uint64_t random = 11;
    make_pieces(&pieces, &random);
    struct grammar_vocab *vocab = grammar_vocab_new(TOKENS, piece_of, &pieces);
    struct grammar *grammar = NULL;
    CHECK_OK(grammar_parse(slice_str(grammars[0]), &grammar, NULL));
    bool has_failed = true;
    for (uint64_t nth = 1; has_failed; nth++) {
        struct grammar_masker *masker = grammar_masker_new(vocab, 4);
        struct grammar_match *match = NULL;
        const uint64_t *bits = NULL;
        uint32_t pick;
        CHECK_OK(grammar_match_new(grammar, NULL, &match));
        uint64_t before = mem_peer_count();
        mem_test_fail_nth(nth);
        enum err err = grammar_mask(masker, match, &bits);
        mem_test_fail_nth(0);
        has_failed = mem_peer_count() - before >= nth;
        CHECK_ERR(err, has_failed ? ERR_FULL : ERR_OK);
        (void)check_mask(masker, match, &pieces, &random, &pick);
        grammar_match_free(match);
        grammar_masker_free(masker);
    }
    grammar_unref(grammar);
    grammar_vocab_free(vocab);
}

/* Where the tenth letter from the end matters, each beginning is at a place of its own: all steps
 * are new, and of hundreds of such rules each is much work. */
TEST(a_walk_that_would_hold_up_everybody_is_given_up)
{
    static struct pieces pieces;
    static const char letters[] = "abc";
    pieces = (struct pieces){0};
    for (uint32_t token = 0; token < TOKENS; token++) {
        pieces.lens[token] = 6;
        for (uint32_t i = 0, digits = token; i < 6; i++, digits /= 3)
            pieces.bytes[token][i] = letters[digits % 3];
    }
    struct grammar_vocab *vocab = grammar_vocab_new(TOKENS, piece_of, &pieces);
    struct grammar_masker *masker = grammar_masker_new(vocab, 1);
    for (int is_too_much = 0; is_too_much < 2; is_too_much++) {
        struct grammar *grammar = NULL;
        struct grammar_match *match = NULL;
        const uint64_t *bits = NULL;
        struct text text;
        text_init(&text, 1 << 18);
        text_add_str(&text, "root ::= \"\"");
        for (int i = 0; i < (is_too_much ? 200 : 20); i++)
            text_add_str(&text, " | [abc]* \"a\" [abc]{9} | [abc]* \"b\" [abc]{9}");
        CHECK_OK(grammar_parse(text_slice(&text), &grammar, NULL));
        CHECK_OK(grammar_match_new(grammar, NULL, &match));
        CHECK_ERR(grammar_mask(masker, match, &bits), is_too_much ? ERR_LIMIT : ERR_OK);
        /* The lesser one collects its memory on the way, more than once. */
        for (uint32_t token = 0; token < TOKENS && !is_too_much; token++)
            CHECK_EQ(grammar_mask_has(bits, token), is_allowed(match, &pieces, token));
        grammar_match_free(match);
        grammar_unref(grammar);
        text_fini(&text);
    }
    grammar_masker_free(masker);
    grammar_vocab_free(vocab);
}

TEST(a_vocabulary_knows_its_distinct_beginnings)
{
    static struct pieces pieces;
    pieces =
        (struct pieces){.bytes = {"a", "ab", "abc", "abd", "b", "ab"}, .lens = {1, 2, 3, 3, 1, 2}};
    struct grammar_vocab *vocab = grammar_vocab_new(6, piece_of, &pieces);
    CHECK_EQ(grammar_vocab_nodes(vocab), 5);
    grammar_vocab_free(vocab);
    grammar_vocab_free(NULL);
}
