/* stacks_impl - what stacks are made of: for stacks, and for grammar_mask, whose walks take 200 000
 * steps that are nearly all known: a call for each made a mask in a string 2.2 ms instead of 1.5
 * (bench/grammar_mask, 152 000 pieces). */
#pragma once

#include "grammar/stacks.h"

struct entry {
    uint32_t position; /* of a set that lies below another: the node to go on at, state 0 */
    uint32_t below;    /* a set */
};

struct set {
    uint64_t hash; /* of what it means, not of its numbers */
    uint32_t first, count;
    uint32_t row;     /* known steps: index of its row, and one; 0 = none */
    uint32_t entries; /* its own and those below, each as often as it is below something; saturates
                       */
    uint16_t depth;
    bool has_empty;
};

/* A node to go on at, with what lies below. */
struct task {
    uint32_t node, below;
};

struct stacks {
    const struct grammar *grammar;
    struct set *sets;
    struct entry *entries;
    uint32_t *table; /* of set numbers, by hash; 0 = free (nobody looks for STACKS_DEAD) */
    uint32_t set_count, set_capacity, entry_count, entry_capacity, table_capacity;
    uint32_t collected_entries; /* that were left by the last collection */

    uint32_t *rows; /* of byte_kind_count steps each: a set, and one; 0 = not known */
    uint32_t row_count, row_capacity;

    /* One step's. */
    struct task *tasks; /* done ones stay, so that none is done twice */
    uint32_t *task_table;
    uint32_t task_count, task_capacity, task_table_capacity;
    struct entry *found; /* a stack of lists: the step's own, then those of unions */
    uint32_t found_count, found_capacity;
    bool found_empty;
    uint32_t work;

    uint64_t total_work; /* of all steps: nodes visited, entries looked at and joined */

    uint32_t *marks; /* per set: the count it was last part of */
    uint32_t mark_capacity, mark;
};

/* The same step, and from then on it is known. Beyond the limits is dead. */
MUST_USE enum err stacks_learn_step(struct stacks *stacks, uint32_t number, uint8_t byte,
                                    uint32_t *out_set);

/* stacks_step() with a memory, for walks that take the same steps often. */
MUST_USE static inline enum err stacks_step_known(struct stacks *stacks, uint32_t number,
                                                  uint8_t byte, uint32_t *out_set)
{
    const struct set *set = &stacks->sets[number];
    if (set->row != 0) {
        const uint32_t *row =
            stacks->rows + (size_t)(set->row - 1) * stacks->grammar->byte_kind_count;
        uint32_t step = row[stacks->grammar->byte_kind[byte]];
        if (step != 0) {
            *out_set = step - 1;
            return ERR_OK;
        }
    }
    return stacks_learn_step(stacks, number, byte, out_set);
}
