/* lessons - the families' samples as documents to learn from, and test cases to examine. */
#pragma once

#include "nano/rows.h"

/* What a kind (rows.h) is called; NULL: there is no such kind. */
const char *lesson_kind_name(unsigned kind);

/* A document_fn; ctx: struct lessons. */
struct lessons {
    uint64_t seed;
};
unsigned lesson_draw(void *ctx, uint64_t index, struct rendering *out);

/* The index-th test case of a kind. */
void lesson_examine(unsigned kind, uint64_t seed, uint64_t index, struct rendering *out);
