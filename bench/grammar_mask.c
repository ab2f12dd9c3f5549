/* grammar_mask - what a grammar costs per token, with made-up vocabularies of 32 000 and 152 000
 * pieces: microseconds (best of 15) of a mask for a place whose steps are not known (cold), are
 * known (warm), whose mask is kept (kept), and of a check of one token. One thread, no I/O. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/splitmix.h"
#include "grammar/grammar_mask.h"
#include "grammar/schema.h"

#include <stdio.h>
#include <stdlib.h>

enum { RUNS = 15, KEPT = 2, CHECKS = 1000 };

/* --- a vocabulary: all bytes, an end, then what merges of common text look like: words of
 * syllables with and without a blank, numbers, punctuation of code and JSON, two or three
 * characters of CJK ---
 */

struct vocabulary {
    uint64_t random;
    char piece[64];
};

static size_t add(char *piece, size_t len, const char *part)
{
    size_t part_len = strlen(part);
    memcpy(piece + len, part, part_len);
    return len + part_len;
}

static size_t add_word(struct vocabulary *vocabulary, char *piece)
{
    static const char *const syllables[] = {"an", "ing", "er",   "con", "st",  "re",  "in", "tion",
                                            "al", "de",  "ment", "ex",  "pro", "s",   "ly", "com",
                                            "le", "un",  "ra",   "ti",  "ma",  "ver", "o",  "ed"};
    uint64_t count = 1 + splitmix_next(&vocabulary->random) % 4;
    size_t len = add(piece, 0, splitmix_next(&vocabulary->random) % 2 ? " " : "");
    for (uint64_t i = 0; i < count; i++)
        len =
            add(piece, len, syllables[splitmix_next(&vocabulary->random) % ARRAY_COUNT(syllables)]);
    if (splitmix_next(&vocabulary->random) % 4 == 0 && piece[0] >= 'a')
        piece[0] = (char)(piece[0] - 'a' + 'A');
    return len;
}

static size_t add_signs(struct vocabulary *vocabulary, char *piece)
{
    static const char *const signs[] = {"\"", "\":", "{", "}", ",", "\n",
                                        "  ", "[",   "]", "(", "_", "="};
    size_t len = 0;
    for (uint64_t i = 1 + splitmix_next(&vocabulary->random) % 4; i > 0; i--)
        len = add(piece, len, signs[splitmix_next(&vocabulary->random) % ARRAY_COUNT(signs)]);
    return len;
}

static size_t add_cjk(struct vocabulary *vocabulary, char *piece)
{
    size_t len = 0;
    for (uint64_t i = 1 + splitmix_next(&vocabulary->random) % 3; i > 0; i--) {
        uint64_t bits = splitmix_next(&vocabulary->random);
        piece[len++] = (char)(0xE4 + bits % 5);
        piece[len++] = (char)(0x80 + (bits >> 8) % 64);
        piece[len++] = (char)(0x80 + (bits >> 16) % 64);
    }
    return len;
}

static enum grammar_token_kind piece_of(void *ctx, uint32_t token, struct slice *out_piece)
{
    struct vocabulary *vocabulary = ctx;
    size_t len = 1;
    uint64_t kind = splitmix_next(&vocabulary->random) % 20;
    if (token < 256)
        vocabulary->piece[0] = (char)token;
    else if (kind < 14)
        len = add_word(vocabulary, vocabulary->piece);
    else if (kind < 17)
        len = add_cjk(vocabulary, vocabulary->piece);
    else if (kind < 19)
        len = add_signs(vocabulary, vocabulary->piece);
    else
        len = (size_t)snprintf(vocabulary->piece, sizeof(vocabulary->piece), "%u",
                               (uint32_t)(splitmix_next(&vocabulary->random) % 1000));
    *out_piece = slice_of(vocabulary->piece, len);
    return token == 256 ? GRAMMAR_TOKEN_END : GRAMMAR_TOKEN_TEXT;
}

/* --- places --- */

static const char person[] =
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":200},"
    "\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":150},\"tags\":{\"type\":\"array\","
    "\"items\":{\"type\":\"string\"}}},\"required\":[\"name\",\"age\",\"tags\"]}";

static const struct {
    const char *what, *schema, *said; /* schema NULL: any object */
} places[] = {
    {"any object: its beginning", NULL, ""},
    {"any object: in a string", NULL, "{\"key\": [\"so it was"},
    {"any object: behind a value", NULL, "{\"key\": 12"},
    {"schema: in the name of a key", person, "{\"na"},
    {"schema: in a string of at most 200", person, "{\"name\": \"Ad"},
    {"schema: in a number", person, "{\"name\": \"Ada\", \"age\": 3"},
    {"schema: in a string", person, "{\"name\": \"Ada\", \"age\": 36, \"tags\": [\"a"},
};

static struct grammar *grammar_at(const char *schema)
{
    struct text text;
    struct grammar *grammar = NULL;
    struct err_note note;
    text_init(&text, 1 << 20);
    enum err err = ERR_OK;
    if (schema)
        err = schema_to_grammar(slice_str(schema), &text, &note);
    else
        text_add(&text, schema_any_object());
    if (err == ERR_OK)
        err = grammar_parse(text_slice(&text), &grammar, &note);
    ASSERT_MSG(err == ERR_OK, "%s", note.text);
    text_fini(&text);
    return grammar;
}

static double less(double best, uint64_t start_us, double times)
{
    double us = (double)(clock_monotonic_us() - start_us) / times;
    return us < best ? us : best;
}

static size_t bits_in(const uint64_t *bits, uint32_t count)
{
    size_t found = 0;
    for (uint32_t token = 0; token < count; token++)
        found += grammar_mask_has(bits, token);
    return found;
}

static void measure(const struct grammar_vocab *vocab, uint32_t count, size_t place)
{
    struct grammar *grammar = grammar_at(places[place].schema);
    struct grammar_match *match;
    double cold = 1e9, warm = 1e9, kept = 1e9, check = 1e9;
    const uint64_t *bits = NULL;
    ASSERT(grammar_match_new(grammar, NULL, &match) == ERR_OK);
    ASSERT(grammar_match_accept(match, GRAMMAR_NO_TOKEN, slice_str(places[place].said)) == ERR_OK);
    for (int run = 0; run < RUNS; run++) {
        struct grammar_masker *first = grammar_masker_new(vocab, KEPT);
        struct grammar_masker *second = grammar_masker_new(vocab, KEPT);
        struct grammar_match *clone;
        ASSERT(grammar_match_clone(match, &clone) == ERR_OK);
        uint64_t start = clock_monotonic_us();
        ASSERT(grammar_mask(first, clone, &bits) == ERR_OK);
        cold = less(cold, start, 1);
        start = clock_monotonic_us();
        ASSERT(grammar_mask(second, clone, &bits) == ERR_OK);
        warm = less(warm, start, 1);
        start = clock_monotonic_us();
        for (int i = 0; i < CHECKS; i++)
            ASSERT(grammar_mask(second, clone, &bits) == ERR_OK);
        kept = less(kept, start, CHECKS);
        start = clock_monotonic_us();
        for (int i = 0; i < CHECKS; i++)
            (void)!grammar_match_check(clone, 0, SLICE(" word")); /* allowed or not */
        check = less(check, start, CHECKS);
        if (run == RUNS - 1)
            printf("  %-36s %7zu %8.0f %8.0f %7.2f %7.2f %7zu\n", places[place].what,
                   bits_in(bits, count), cold, warm, kept, check, grammar_match_bytes(clone));
        grammar_match_free(clone);
        grammar_masker_free(first);
        grammar_masker_free(second);
    }
    grammar_match_free(match);
    grammar_unref(grammar);
}

int main(void)
{
    static const uint32_t counts[] = {32000, 152000};
    for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
        struct vocabulary vocabulary = {.random = 1};
        uint64_t start = clock_monotonic_us();
        struct grammar_vocab *vocab = grammar_vocab_new(counts[i], piece_of, &vocabulary);
        printf("%u pieces, %zu distinct beginnings, made in %.0f ms\n", counts[i],
               grammar_vocab_nodes(vocab), (double)(clock_monotonic_us() - start) / 1000);
        printf("  %-36s %7s %8s %8s %7s %7s %7s\n", "microseconds", "allowed", "cold", "warm",
               "kept", "check", "bytes");
        for (size_t place = 0; place < ARRAY_COUNT(places); place++)
            measure(vocab, counts[i], place);
        grammar_vocab_free(vocab);
    }
    return 0;
}
