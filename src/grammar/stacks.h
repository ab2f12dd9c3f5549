/* stacks - the places in a grammar where a text may be: sets of stacks, kept as numbers. For the
 * files of this folder.
 *
 * The stacks of a set share what they share: a set is a list of (position, set of what lies below),
 * each position once, ordered, and the flag that the empty stack is in it too. Equal sets are one
 * set with one number, so what looks like many stacks is a small graph without cycles, and a
 * million ways to read the same text that end alike are one entry.
 *
 * 1. A set's number and its memory are a matter of what was made before. What a step leads to, the
 *    limits below, and stacks_hash() are not: they are functions of the set and the byte.
 * 2. A step that fails changes nothing but numbers that nobody has.
 * 3. Numbers are good until stacks_collect(). */
#pragma once

#include "grammar/grammar_impl.h"

enum {
    STACKS_DEAD = 0,               /* no stack at all: no text leads on */
    STACKS_BELOW = 1,              /* only the empty stack: what lies below the first rule */
    STACKS_DEPTH_MAX = 1024,       /* calls inside each other */
    STACKS_ENTRIES_MAX = 4096,     /* of a set with all that lies below it */
    STACKS_STEP_WORK_MAX = 1 << 14 /* nodes visited and entries joined in one step */
};

struct stacks;

/* Borrows the grammar. ERR_FULL: no memory; ERR_LIMIT: its beginning is beyond the limits above. */
MUST_USE enum err stacks_new(const struct grammar *grammar, struct stacks **out_stacks,
                             uint32_t *out_start);
void stacks_free(struct stacks *stacks); /* NULL is fine */
/* A copy that has `set` and nothing else; its number there. ERR_FULL: no memory. */
MUST_USE enum err stacks_clone(const struct stacks *stacks, uint32_t set,
                               struct stacks **out_stacks, uint32_t *out_set);

/* Where the byte leads: maybe to STACKS_DEAD. ERR_LIMIT: beyond the limits; ERR_FULL: no memory. */
MUST_USE enum err stacks_step(struct stacks *stacks, uint32_t set, uint8_t byte, uint32_t *out_set);

bool stacks_can_end(const struct stacks *stacks, uint32_t set); /* the empty stack is in it */
/* And no other. */
static inline bool stacks_is_over(uint32_t set)
{
    return set == STACKS_BELOW;
}
uint64_t stacks_hash(const struct stacks *stacks, uint32_t set);

/* True when it has grown to more than twice what it had after the last stacks_collect(). */
bool stacks_want_collect(const struct stacks *stacks);
/* Forgets all but the sets in roots[], whose numbers it changes. ERR_FULL: no memory to do it;
 * nothing has changed. */
MUST_USE enum err stacks_collect(struct stacks *stacks, uint32_t *roots, size_t count);

size_t stacks_bytes(const struct stacks *stacks); /* memory that it holds */
