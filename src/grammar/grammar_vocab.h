/* grammar_vocab - the tree of all pieces, as grammar_mask walks it: its nodes in the order of a
 * walk that takes a node before what lies below it, and what lies below in the order of bytes. */
#pragma once

#include "grammar/grammar_mask.h"

struct piece_node {       /* one more byte of a beginning */
    uint32_t after;       /* the next node that is not below this one */
    uint32_t first_token; /* in `tokens`; those that end here are up to the next node's */
    uint8_t depth;        /* bytes so far, with this one */
    uint8_t byte;
};

struct grammar_vocab {
    uint32_t count;
    struct piece_node *nodes; /* and one more, for its first_token */
    uint32_t node_count;
    uint32_t *tokens; /* those in the tree, in the order of their bytes */
    uint32_t token_count;
    uint32_t *ends;
    uint32_t end_count;
    /* For waiting matches, which look at every token by itself. */
    char *bytes;
    uint32_t *offsets; /* per token, and one more */
    uint8_t *kinds;
};

static inline struct slice vocab_piece(const struct grammar_vocab *vocab, uint32_t token)
{
    return slice_of(vocab->bytes + vocab->offsets[token],
                    vocab->offsets[token + 1] - vocab->offsets[token]);
}
