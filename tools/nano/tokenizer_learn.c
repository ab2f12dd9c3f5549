/* tokenizer_learn - counts of pieces, and the merges that shorten them most (Sennrich and others
 * 2016, byte-level as in GPT-2). All pieces are walked for each merge: a second for 1,000 merges of
 * 30,000 pieces, so nothing cleverer is kept. */
#include "nano/tokenizer.h"

#include "base/hash.h"
#include "base/mem.h"
#include "nano/pieces.h"
#include "nano/tokenizer_internal.h"

enum { PIECES_MAX = 1 << 20, SLOTS = 2 * PIECES_MAX };

struct piece {
    uint64_t hash;
    uint32_t begin, bytes; /* in lesson->bytes; later of tokens, in the learner's */
    uint32_t count;
};

struct tokenizer_lesson {
    struct text bytes; /* of the pieces, one behind the other */
    struct piece *pieces;
    size_t piece_count;
    uint32_t *slots; /* an index into pieces plus one; 0: free */
};

struct tokenizer_lesson *tokenizer_lesson_new(void)
{
    struct tokenizer_lesson *lesson = mem_alloc(sizeof(*lesson));
    text_init(&lesson->bytes, (size_t)PIECES_MAX * TOKENIZER_TOKEN_BYTES_MAX);
    lesson->pieces = mem_array(PIECES_MAX, sizeof(*lesson->pieces));
    lesson->slots = mem_array(SLOTS, sizeof(*lesson->slots));
    return lesson;
}

void tokenizer_lesson_free(struct tokenizer_lesson *lesson)
{
    if (!lesson)
        return;
    text_fini(&lesson->bytes);
    mem_free(lesson->pieces);
    mem_free(lesson->slots);
    mem_free(lesson);
}

static bool is_piece(const struct tokenizer_lesson *lesson, const struct piece *piece,
                     struct slice bytes, uint64_t hash)
{
    return piece->hash == hash &&
           slice_eq(slice_of(lesson->bytes.data + piece->begin, piece->bytes), bytes);
}

static void count_piece(struct tokenizer_lesson *lesson, struct slice bytes)
{
    uint64_t hash = hash_bytes(bytes);
    size_t at = hash % SLOTS;
    while (lesson->slots[at] != 0) {
        struct piece *piece = &lesson->pieces[lesson->slots[at] - 1];
        if (is_piece(lesson, piece, bytes, hash)) {
            piece->count++;
            return;
        }
        at = (at + 1) % SLOTS;
    }
    if (lesson->piece_count == PIECES_MAX)
        return;
    uint32_t begin = (uint32_t)lesson->bytes.len;
    text_add(&lesson->bytes, bytes);
    lesson->pieces[lesson->piece_count++] =
        (struct piece){.hash = hash, .begin = begin, .bytes = (uint32_t)bytes.len, .count = 1};
    lesson->slots[at] = (uint32_t)lesson->piece_count;
}

void tokenizer_lesson_add(struct tokenizer_lesson *lesson, struct slice text)
{
    while (text.len > 0) {
        unsigned special;
        struct slice plain = tokenizer_cut(&text, &special);
        while (plain.len > 0) {
            struct slice piece = piece_next(&plain);
            if (piece.len <= TOKENIZER_TOKEN_BYTES_MAX)
                count_piece(lesson, piece);
        }
    }
}

/* -- merges ------------------------------------------------------------------ */

struct learner {
    uint16_t *tokens; /* of all pieces, in the places of their bytes */
    struct piece *pieces;
    size_t piece_count;
    uint64_t *pair_counts; /* [left][right], size x size */
    uint32_t size;
};

static uint64_t *pair_count(struct learner *learner, uint16_t left, uint16_t right)
{
    return &learner->pair_counts[(size_t)left * learner->size + right];
}

static void count_pairs(struct learner *learner, const struct piece *piece, bool adds)
{
    const uint16_t *tokens = learner->tokens + piece->begin;
    for (size_t i = 0; i + 1 < piece->bytes; i++) {
        uint64_t *count = pair_count(learner, tokens[i], tokens[i + 1]);
        *count = adds ? *count + piece->count : *count - piece->count;
    }
}

static struct learner learner_of(const struct tokenizer_lesson *lesson, uint32_t size)
{
    struct learner learner = {.piece_count = lesson->piece_count, .size = size};
    learner.tokens = mem_array(lesson->bytes.len + 1, sizeof(*learner.tokens));
    for (size_t i = 0; i < lesson->bytes.len; i++)
        learner.tokens[i] = (uint16_t)(TOKENIZER_FIRST_BYTE + (uint8_t)lesson->bytes.data[i]);
    learner.pieces = mem_array(lesson->piece_count + 1, sizeof(*learner.pieces));
    memcpy(learner.pieces, lesson->pieces, lesson->piece_count * sizeof(*learner.pieces));
    learner.pair_counts = mem_array((size_t)size * size, sizeof(*learner.pair_counts));
    for (size_t i = 0; i < learner.piece_count; i++)
        count_pairs(&learner, &learner.pieces[i], true);
    return learner;
}

static void learner_fini(struct learner *learner)
{
    mem_free(learner->tokens);
    mem_free(learner->pieces);
    mem_free(learner->pair_counts);
}

/* False: no pair occurs twice. Rising ids, and only a greater count displaces (rule 2). */
static bool most_frequent(struct learner *learner, uint32_t token_count, struct merge *out_merge)
{
    uint64_t most = 1;
    for (uint16_t left = 0; left < token_count; left++) {
        for (uint16_t right = 0; right < token_count; right++) {
            if (*pair_count(learner, left, right) > most) {
                most = *pair_count(learner, left, right);
                *out_merge = (struct merge){left, right};
            }
        }
    }
    return most > 1;
}

static bool has_pair(const struct learner *learner, const struct piece *piece, struct merge merge)
{
    const uint16_t *tokens = learner->tokens + piece->begin;
    for (size_t i = 0; i + 1 < piece->bytes; i++)
        if (tokens[i] == merge.left && tokens[i + 1] == merge.right)
            return true;
    return false;
}

static void merge_piece(struct learner *learner, struct piece *piece, struct merge merge,
                        uint16_t token)
{
    count_pairs(learner, piece, false);
    uint16_t *tokens = learner->tokens + piece->begin;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < piece->bytes; i++) {
        bool joins =
            i + 1 < piece->bytes && tokens[i] == merge.left && tokens[i + 1] == merge.right;
        tokens[kept++] = joins ? token : tokens[i];
        i += joins;
    }
    piece->bytes = kept;
    count_pairs(learner, piece, true);
}

static bool learn_merge(struct learner *learner, uint16_t token, struct merge *out_merge)
{
    if (!most_frequent(learner, token, out_merge))
        return false;
    for (size_t i = 0; i < learner->piece_count; i++)
        if (has_pair(learner, &learner->pieces[i], *out_merge))
            merge_piece(learner, &learner->pieces[i], *out_merge, token);
    return true;
}

enum err tokenizer_learn(const struct tokenizer_lesson *lesson, uint32_t size,
                         struct tokenizer **out_tokenizer, struct err_note *out_note)
{
    if (size < TOKENIZER_SIZE_MIN || size > TOKENIZER_SIZE_MAX || size % 32 != 0)
        return err_note_fail(out_note, ERR_REFUSED,
                             "a vocabulary of %u: allowed are multiples of 32, %d..%d", size,
                             TOKENIZER_SIZE_MIN, TOKENIZER_SIZE_MAX);
    struct learner learner = learner_of(lesson, size);
    struct merge *merges = mem_array(size, sizeof(*merges));
    size_t count = 0;
    while (TOKENIZER_FIRST_MERGE + count < size &&
           learn_merge(&learner, (uint16_t)(TOKENIZER_FIRST_MERGE + count), &merges[count]))
        count++;
    bool is_full = TOKENIZER_FIRST_MERGE + count == size;
    if (is_full)
        *out_tokenizer = tokenizer_of(merges, count);
    mem_free(merges);
    learner_fini(&learner);
    return is_full ? ERR_OK
                   : err_note_fail(out_note, ERR_REFUSED,
                                   "only %zu tokens of %u can be learned from so little text",
                                   TOKENIZER_FIRST_MERGE + count, size);
}
