/* grammar_vocab - pieces are sorted; then each adds the bytes that it does not share with the one
 * before it. So those that end at a node are the ones from its first_token up to the next node's.
 */
#include "grammar/grammar_vocab.h"

#include "base/mem.h"

#include <stdlib.h>

struct copy {
    struct grammar_vocab *vocab;
    size_t capacity;
};

static void add_bytes(struct copy *copy, size_t at, struct slice piece)
{
    ASSERT(at + piece.len <= UINT32_MAX);
    while (at + piece.len > copy->capacity) {
        copy->capacity = 2 * copy->capacity + 4096;
        copy->vocab->bytes = mem_grow(copy->vocab->bytes, copy->capacity);
    }
    if (piece.len > 0)
        memcpy(copy->vocab->bytes + at, piece.data, piece.len);
}

static void copy_pieces(struct grammar_vocab *vocab, grammar_token_fn *token_of, void *ctx)
{
    struct copy copy = {.vocab = vocab};
    add_bytes(&copy, 0, SLICE(" ")); /* so that there is memory, even for nothing */
    for (uint32_t token = 0; token < vocab->count; token++) {
        struct slice piece = {0};
        enum grammar_token_kind kind = token_of(ctx, token, &piece);
        if (kind == GRAMMAR_TOKEN_TEXT && piece.len > GRAMMAR_PIECE_MAX_BYTES)
            kind = GRAMMAR_TOKEN_NEVER;
        if (kind != GRAMMAR_TOKEN_TEXT)
            piece.len = 0;
        vocab->kinds[token] = (uint8_t)kind;
        add_bytes(&copy, vocab->offsets[token], piece);
        vocab->offsets[token + 1] = vocab->offsets[token] + (uint32_t)piece.len;
        if (kind == GRAMMAR_TOKEN_END)
            vocab->ends[vocab->end_count++] = token;
        else if (piece.len > 0)
            vocab->tokens[vocab->token_count++] = token;
    }
}

static int compare_tokens(const void *a, const void *b, void *ctx)
{
    struct slice left = vocab_piece(ctx, *(const uint32_t *)a);
    struct slice right = vocab_piece(ctx, *(const uint32_t *)b);
    size_t shorter = left.len < right.len ? left.len : right.len;
    int order = memcmp(left.data, right.data, shorter);
    if (order != 0)
        return order;
    return left.len < right.len ? -1 : left.len > right.len;
}

static size_t shared_bytes(struct slice a, struct slice b)
{
    size_t len = 0;
    while (len < a.len && len < b.len && a.data[len] == b.data[len])
        len++;
    return len;
}

static void make_tree(struct grammar_vocab *vocab)
{
    uint32_t open[GRAMMAR_PIECE_MAX_BYTES + 1]; /* by depth: the node that is being filled */
    size_t depth = 0;
    struct slice before = {0};
    for (uint32_t i = 0; i < vocab->token_count; i++) {
        struct slice piece = vocab_piece(vocab, vocab->tokens[i]);
        size_t shared = shared_bytes(before, piece);
        for (; depth > shared; depth--)
            vocab->nodes[open[depth]].after = vocab->node_count;
        while (depth < piece.len) {
            struct piece_node node = {.first_token = i,
                                      .byte = (uint8_t)piece.data[depth],
                                      .depth = (uint8_t)(depth + 1)};
            open[++depth] = vocab->node_count;
            vocab->nodes[vocab->node_count++] = node;
        }
        before = piece;
    }
    for (; depth > 0; depth--)
        vocab->nodes[open[depth]].after = vocab->node_count;
    vocab->nodes[vocab->node_count] =
        (struct piece_node){.after = vocab->node_count, .first_token = vocab->token_count};
}

struct grammar_vocab *grammar_vocab_new(uint32_t count, grammar_token_fn *token_of, void *ctx)
{
    ASSERT(count >= 1 && count <= GRAMMAR_VOCAB_MAX);
    struct grammar_vocab *vocab = mem_alloc(sizeof(*vocab));
    vocab->count = count;
    vocab->offsets = mem_array((size_t)count + 1, sizeof(*vocab->offsets));
    vocab->kinds = mem_array(count, 1);
    vocab->tokens = mem_array(count, sizeof(*vocab->tokens));
    vocab->ends = mem_array(count, sizeof(*vocab->ends));
    copy_pieces(vocab, token_of, ctx);
    qsort_r(vocab->tokens, vocab->token_count, sizeof(*vocab->tokens), compare_tokens, vocab);
    vocab->nodes = mem_array((size_t)vocab->offsets[count] + 1, sizeof(*vocab->nodes));
    make_tree(vocab);
    vocab->nodes = mem_grow(vocab->nodes, ((size_t)vocab->node_count + 1) * sizeof(*vocab->nodes));
    return vocab;
}

void grammar_vocab_free(struct grammar_vocab *vocab)
{
    if (!vocab)
        return;
    mem_free(vocab->nodes);
    mem_free(vocab->tokens);
    mem_free(vocab->ends);
    mem_free(vocab->bytes);
    mem_free(vocab->offsets);
    mem_free(vocab->kinds);
    mem_free(vocab);
}

size_t grammar_vocab_nodes(const struct grammar_vocab *vocab)
{
    return vocab->node_count;
}
