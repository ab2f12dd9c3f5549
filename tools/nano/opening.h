/* opening - how conversations begin whatever they are about: a system prompt that asks for nothing
 * in particular, or none; and how a plain request is dressed up. */
#pragma once

#include "nano/family.h"

/* With a chance of `percent` a system prompt ("You are a helpful assistant."). Only before the
 * first turn; where tools are offered, after them or before, both are fine. */
void opening_add(struct sample *sample, struct choice *choice, enum split split, unsigned percent);
/* The same text for a family that adds something of its own to it. */
void opening_add_words(struct text *out, struct choice *choice, enum split split);

/* A question as people type it: greeted, polite, capitals or none, its end with or without a mark,
 * now and then a slip. `question` begins with a capital only where it must, and has no end mark.
 * slips: percent of questions with one. */
void opening_ask(struct text *out, struct choice *choice, struct slice question, char mark,
                 unsigned slips);
