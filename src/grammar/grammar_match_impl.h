/* grammar_match_impl - what a match is made of, for grammar_match and grammar_mask. */
#pragma once

#include "grammar/grammar_match.h"
#include "grammar/stacks.h"

/* Where a match is. While it waits, `set` is where it will begin. */
struct place {
    uint32_t set;
    bool is_bound;
    bool has_text; /* other than blanks: triggers that come only at the start are out */
    uint8_t matched[GRAMMAR_TRIGGERS_MAX]; /* of each word, that the text ends with */
};

struct grammar_match {
    struct grammar *grammar;
    struct grammar_triggers *triggers; /* NULL: none */
    struct stacks *stacks;
    struct place place;
};
