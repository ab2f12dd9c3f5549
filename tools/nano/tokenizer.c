/* tokenizer - tokens of texts: cut at specials, then into pieces, then merged by rank. */
#include "nano/tokenizer.h"

#include "base/hash.h"
#include "base/mem.h"
#include "nano/pieces.h"
#include "nano/tokenizer_internal.h"

enum { PAIR_SLOTS = 4 * TOKENIZER_SIZE_MAX /* at most a quarter full; a power of two */ };

struct pair_slot {
    struct merge merge;
    uint16_t token; /* 0: free */
};

struct tokenizer {
    uint32_t size;
    struct merge *merges;
    uint32_t *ends; /* of each token's bytes */
    struct text bytes;
    struct pair_slot pairs[PAIR_SLOTS];
};

static const struct slice specials[] = {
#define X(name, text) {text, sizeof(text) - 1},
    TOKENIZER_SPECIALS(X)
#undef X
};

static size_t first_slot(struct merge merge)
{
    uint64_t key = (uint64_t)merge.left << 16 | merge.right;
    return (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 50) % PAIR_SLOTS;
}

static struct pair_slot *find_slot(struct tokenizer *tokenizer, struct merge merge)
{
    size_t at = first_slot(merge);
    for (;; at = (at + 1) % PAIR_SLOTS) {
        struct pair_slot *slot = &tokenizer->pairs[at];
        if (slot->token == 0 ||
            (slot->merge.left == merge.left && slot->merge.right == merge.right))
            return slot;
    }
}

/* The token that the pair becomes; 0: none. */
static uint16_t merged(const struct tokenizer *tokenizer, uint16_t left, uint16_t right)
{
    struct merge merge = {left, right};
    return find_slot((struct tokenizer *)tokenizer, merge)->token;
}

static void add_token(struct tokenizer *tokenizer, struct slice bytes)
{
    text_add(&tokenizer->bytes, bytes);
    ASSERT(!tokenizer->bytes.overflowed);
    tokenizer->ends[tokenizer->size++] = (uint32_t)tokenizer->bytes.len;
}

static void add_merge(struct tokenizer *tokenizer, struct merge merge)
{
    uint32_t token = tokenizer->size;
    ASSERT(merge.left < token && merge.right < token);
    char joined[2 * TOKENIZER_TOKEN_BYTES_MAX];
    struct slice left = tokenizer_token(tokenizer, merge.left);
    struct slice right = tokenizer_token(tokenizer, merge.right);
    ASSERT(left.len + right.len <= TOKENIZER_TOKEN_BYTES_MAX);
    memcpy(joined, left.data, left.len);
    memcpy(joined + left.len, right.data, right.len);
    add_token(tokenizer, slice_of(joined, left.len + right.len));
    struct pair_slot *slot = find_slot(tokenizer, merge);
    ASSERT_MSG(slot->token == 0, "the pair %u %u twice", merge.left, merge.right);
    *slot = (struct pair_slot){.merge = merge, .token = (uint16_t)token};
}

struct tokenizer *tokenizer_of(const struct merge *merges, size_t count)
{
    size_t size = TOKENIZER_FIRST_MERGE + count;
    ASSERT(size <= TOKENIZER_SIZE_MAX);
    struct tokenizer *tokenizer = mem_alloc(sizeof(*tokenizer));
    tokenizer->ends = mem_array(size, sizeof(*tokenizer->ends));
    tokenizer->merges = mem_array(count + 1, sizeof(*tokenizer->merges));
    if (count > 0)
        memcpy(tokenizer->merges, merges, count * sizeof(*merges));
    text_init(&tokenizer->bytes, size * TOKENIZER_TOKEN_BYTES_MAX);
    for (size_t i = 0; i < ARRAY_COUNT(specials); i++)
        add_token(tokenizer, specials[i]);
    for (unsigned byte = 0; byte < 256; byte++)
        add_token(tokenizer, slice_of(&(char){(char)byte}, 1));
    for (size_t i = 0; i < count; i++)
        add_merge(tokenizer, merges[i]);
    return tokenizer;
}

void tokenizer_free(struct tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    text_fini(&tokenizer->bytes);
    mem_free(tokenizer->ends);
    mem_free(tokenizer->merges);
    mem_free(tokenizer);
}

uint32_t tokenizer_size(const struct tokenizer *tokenizer)
{
    return tokenizer->size;
}

struct slice tokenizer_token(const struct tokenizer *tokenizer, uint16_t token)
{
    ASSERT(token < tokenizer->size);
    uint32_t begin = token ? tokenizer->ends[token - 1] : 0;
    return slice_of(tokenizer->bytes.data + begin, tokenizer->ends[token] - begin);
}

void tokenizer_merge(const struct tokenizer *tokenizer, uint16_t token, uint16_t *out_left,
                     uint16_t *out_right)
{
    ASSERT(token >= TOKENIZER_FIRST_MERGE && token < tokenizer->size);
    struct merge merge = tokenizer->merges[token - TOKENIZER_FIRST_MERGE];
    *out_left = merge.left;
    *out_right = merge.right;
}

uint64_t tokenizer_hash(const struct tokenizer *tokenizer)
{
    size_t merge_count = tokenizer->size - TOKENIZER_FIRST_MERGE;
    uint64_t hash = hash_add(HASH_START, text_slice(&tokenizer->bytes));
    return hash_add(hash, slice_of(tokenizer->merges, merge_count * sizeof(struct merge)));
}

/* -- encoding --------------------------------------------------------------- */

struct encoding {
    const struct tokenizer *tokenizer;
    uint16_t *tokens;
    uint32_t *ends;
    size_t max, count;
    uint32_t end; /* in the text, of what was put out so far */
};

static void put(struct encoding *out, uint16_t token)
{
    out->end += (uint32_t)tokenizer_token(out->tokenizer, token).len;
    if (out->count < out->max) {
        out->tokens[out->count] = token;
        if (out->ends)
            out->ends[out->count] = out->end;
    }
    out->count++;
}

/* The lowest rank between neighbours; 0: nothing is left to merge. */
static uint16_t lowest_merge(const struct tokenizer *tokenizer, const uint16_t *tokens,
                             size_t count)
{
    uint16_t lowest = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        uint16_t token = merged(tokenizer, tokens[i], tokens[i + 1]);
        if (token != 0 && (lowest == 0 || token < lowest))
            lowest = token;
    }
    return lowest;
}

/* All places of one merge at once: a pair that its result makes has a higher rank, so none of them
 * could have come before. Returns how many tokens are left. */
static size_t apply_merge(struct merge merge, uint16_t token, uint16_t *tokens, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool joins = i + 1 < count && tokens[i] == merge.left && tokens[i + 1] == merge.right;
        tokens[kept++] = joins ? token : tokens[i];
        i += joins;
    }
    return kept;
}

static void put_piece(struct encoding *out, struct slice piece)
{
    const struct tokenizer *tokenizer = out->tokenizer;
    uint16_t on_stack[256];
    uint16_t *tokens = on_stack;
    if (piece.len > ARRAY_COUNT(on_stack)) /* a long word or a rule of dashes */
        tokens = mem_array(piece.len, sizeof(*tokens));
    size_t count = piece.len;
    for (size_t i = 0; i < count; i++)
        tokens[i] = (uint16_t)(TOKENIZER_FIRST_BYTE + (uint8_t)piece.data[i]);
    for (uint16_t token; (token = lowest_merge(tokenizer, tokens, count)) != 0;)
        count = apply_merge(tokenizer->merges[token - TOKENIZER_FIRST_MERGE], token, tokens, count);
    for (size_t i = 0; i < count; i++)
        put(out, tokens[i]);
    if (tokens != on_stack)
        mem_free(tokens);
}

/* The special at the front of the text; TOKENIZER_SPECIAL_COUNT: none. */
static unsigned special_at(struct slice text)
{
    unsigned special = 0;
    while (special < TOKENIZER_SPECIAL_COUNT && !slice_starts_with(text, specials[special]))
        special++;
    return special;
}

struct slice tokenizer_cut(struct slice *rest, unsigned *out_special)
{
    struct slice text = *rest;
    size_t at = 0;
    *out_special = TOKENIZER_SPECIAL_COUNT;
    while (at < text.len) {
        size_t next = slice_find_byte(slice_after(text, at), '<'); /* all of them begin so */
        at = next == SLICE_NPOS ? text.len : at + next;
        *out_special = special_at(slice_after(text, at));
        if (*out_special < TOKENIZER_SPECIAL_COUNT)
            break;
        at += at < text.len;
    }
    size_t taken = at;
    if (*out_special < TOKENIZER_SPECIAL_COUNT)
        taken += specials[*out_special].len;
    *rest = slice_after(text, taken);
    return slice_first(text, at);
}

size_t tokenizer_encode(const struct tokenizer *tokenizer, struct slice text, uint16_t *out_tokens,
                        uint32_t *out_ends, size_t max_tokens)
{
    struct encoding out = {
        .tokenizer = tokenizer, .tokens = out_tokens, .ends = out_ends, .max = max_tokens};
    while (text.len > 0) {
        unsigned special;
        struct slice plain = tokenizer_cut(&text, &special);
        while (plain.len > 0)
            put_piece(&out, piece_next(&plain));
        if (special < TOKENIZER_SPECIAL_COUNT)
            put(&out, (uint16_t)special);
    }
    return out.count;
}
