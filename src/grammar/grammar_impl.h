/* grammar_impl - the table that a grammar is made into. For the files of this folder.
 *
 * A rule is a little graph of nodes, entered at its first and left at its NODE_RETURN. A character
 * class is an automaton over bytes (grammar_chars), so that a place inside a UTF-8 character is a
 * place like any other: node and state of its class, together a position. */
#pragma once

#include "base/mem.h"
#include "grammar/grammar.h"

#include <stdatomic.h>

enum node_kind {
    NODE_CHARS,  /* one character of class `arg`, then `next` */
    NODE_SPLIT,  /* nothing, then `arg` or `next` */
    NODE_CALL,   /* all of the rule that begins at node `arg`, then `next` */
    NODE_RETURN, /* the rule is over */
};

struct node {
    uint32_t kind, arg, next;
};

struct char_edge { /* bytes low..high lead to state `target` of the same class */
    uint8_t low, high;
    uint16_t target;
};
enum { CHAR_DONE = UINT16_MAX, CHAR_DEAD = UINT16_MAX - 1 }; /* targets that are no states */

struct char_state {
    uint32_t first_edge, edge_count;
};

struct char_class {
    uint32_t first_state;
    uint32_t start; /* counted from first_state, as targets are */
};

struct grammar {
    _Atomic uint32_t refs;
    uint8_t digest[SHA256_BYTES];
    struct node *nodes;
    struct char_class *classes;
    struct char_state *states;
    struct char_edge *edges;
    uint32_t node_count, class_count, state_count, edge_count;
    uint32_t node_capacity, class_capacity, state_capacity, edge_capacity;
    uint32_t start; /* node of the rule `root` */
    /* Bytes that no class tells apart are one kind: tables have a column for each. */
    uint8_t byte_kind[256];
    uint32_t byte_kind_count;
};

enum { POSITION_STATE_BITS = 12, CLASS_STATES_MAX = 1 << POSITION_STATE_BITS };

static inline uint32_t position_of(uint32_t node, uint32_t state)
{
    return node << POSITION_STATE_BITS | state;
}

static inline uint32_t position_node(uint32_t position)
{
    return position >> POSITION_STATE_BITS;
}

static inline uint32_t position_state(uint32_t position)
{
    return position & (CLASS_STATES_MAX - 1);
}

/* Room for one more item, in memory whose size a peer chose; ERR_FULL: there is none. */
static inline enum err grow_for_one(void **items, uint32_t count, uint32_t *capacity,
                                    size_t item_bytes)
{
    if (count < *capacity)
        return ERR_OK;
    uint32_t grown_capacity = *capacity ? 2 * *capacity : 16;
    void *grown = mem_peer_grow(*items, grown_capacity * item_bytes);
    if (!grown)
        return ERR_FULL;
    *items = grown;
    *capacity = grown_capacity;
    return ERR_OK;
}
#define GROW(items, count, capacity)                                                               \
    grow_for_one((void **)&(items), (count), &(capacity), sizeof(*(items)))

/* --- characters (grammar_chars.c) --- */

struct char_range {
    uint32_t low, high; /* code points, both inclusive */
};

/* Sorts, joins, negates if asked to, takes out what is no character of ours; returns how many
 * ranges are left. There is room for one more than `count`, and for CHAR_RANGES_SPARE besides. */
enum { CHAR_RANGES_SPARE = 2 };
uint32_t char_ranges_normalise(struct char_range *ranges, uint32_t count, bool is_negated);

/* The automaton of normalised ranges as a new class. */
MUST_USE enum err char_class_add(struct grammar *grammar, const struct char_range *ranges,
                                 uint32_t count, uint32_t *out_class);
/* Fills in byte_kind, when all classes are there. */
void char_kinds_find(struct grammar *grammar);

/* Where `byte` leads from a state of the class: a state, CHAR_DONE or CHAR_DEAD. */
static inline uint32_t char_step(const struct grammar *grammar, uint32_t class, uint32_t state,
                                 uint8_t byte)
{
    const struct char_state *from = &grammar->states[grammar->classes[class].first_state + state];
    for (uint32_t i = from->first_edge; i < from->first_edge + from->edge_count; i++) {
        struct char_edge edge = grammar->edges[i];
        if (byte <= edge.high)
            return byte >= edge.low ? edge.target : CHAR_DEAD;
    }
    return CHAR_DEAD;
}
