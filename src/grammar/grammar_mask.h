/* grammar_mask - which tokens of a model may come next.
 *
 * grammar_vocab is all pieces of a vocabulary as one tree, made once per model: pieces that begin
 * alike are looked at once, and where the grammar refuses a byte, all that begin so are passed
 * over. grammar_masker walks it, and keeps the masks of places it has been at: inside a string,
 * say, or behind the comma of the hundredth element, the place is the same again.
 *
 * What is in a mask is exactly what grammar_match_check() allows. Beside that:
 * 1. An end token is in it when the match may end. A token without bytes is never in it while the
 *    match is bound (it could go on for ever), nor one of more than GRAMMAR_PIECE_MAX_BYTES.
 * 2. While the match waits for a trigger, all tokens are in it but those that complete a trigger
 * and go on in a way that the grammar refuses.
 *
 * A mask costs a walk; a check of one token costs its bytes. So a draw is best made in this order,
 * and stays a function of (logits, history, seed, index) and the place:
 *     pick without a mask -> grammar_match_check() -> if it is refused: grammar_mask(), and pick
 *     again among those, with another number of the same (seed, index).
 * For greedy that is the best of those allowed; with temperature each allowed token has its
 * probability among the allowed, for the second draw knows nothing of the first (only top_k, top_p
 * and min_p, which see all tokens at first and the allowed then, make it a mixture of both). A
 * sampler with a state of its own (mirostat) makes the second pick from the state before the first.
 */
#pragma once

#include "grammar/grammar_match.h"

enum {
    GRAMMAR_PIECE_MAX_BYTES = 255,
    GRAMMAR_VOCAB_MAX = 1 << 24,    /* tokens */
    GRAMMAR_MASK_WORK_MAX = 1 << 21 /* a place in an enum of 4000 words takes half a million */
};

enum grammar_token_kind { GRAMMAR_TOKEN_TEXT, GRAMMAR_TOKEN_END, GRAMMAR_TOKEN_NEVER };
/* The piece is borrowed until the next call. NEVER: control tokens that are no text. */
typedef enum grammar_token_kind grammar_token_fn(void *ctx, uint32_t token,
                                                 struct slice *out_piece);

struct grammar_vocab; /* immutable, any thread; about 40 bytes a token */
struct grammar_vocab *grammar_vocab_new(uint32_t count, grammar_token_fn *token_of, void *ctx);
void grammar_vocab_free(struct grammar_vocab *vocab);          /* NULL is fine */
size_t grammar_vocab_nodes(const struct grammar_vocab *vocab); /* distinct beginnings of pieces */

struct grammar_masker; /* belongs to one thread; borrows the vocabulary */
/* Keeps up to cache_max masks of count / 8 bytes (at least one); the longest unused goes first. */
struct grammar_masker *grammar_masker_new(const struct grammar_vocab *vocab, size_t cache_max);
void grammar_masker_free(struct grammar_masker *masker); /* NULL is fine */

/* A bit per token: word token / 64, bit token % 64; those behind the last token are 0. Good until
 * the next call. ERR_FULL: no memory; ERR_LIMIT: more than GRAMMAR_MASK_WORK_MAX steps of work,
 * some 100 ms: so ambiguous a grammar would hold up everybody else, and its request has to end.
 * (How many there are depends on which are known already, so this is not a matter of the place
 * alone.) Not const: as grammar_match_check(). */
MUST_USE enum err grammar_mask(struct grammar_masker *masker, struct grammar_match *match,
                               const uint64_t **out_bits);

static inline bool grammar_mask_has(const uint64_t *bits, uint32_t token)
{
    return bits[token / 64] >> (token % 64) & 1;
}

/* How many masks came from the cache, and how many were walked for. */
struct grammar_masker_counts {
    uint64_t hits, walks;
};
struct grammar_masker_counts grammar_masker_counts(const struct grammar_masker *masker);
