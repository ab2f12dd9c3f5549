/* coin - words that look like English and mostly are not: "reforment", "subtracture". Lists of real
 * words are learned by heart, however long they are; what is drawn from parts must be read. Append
 * to a text; a word belongs to one split (words.h). */
#pragma once

#include "nano/family.h"

/* One word of small letters. */
void coin_add_word(struct text *out, struct choice *choice, enum split split);
/* Two or three of them, everyday ones and syllables as names are written: line_count, userRate,
 * max-kalutos. */
void coin_add_name(struct text *out, struct choice *choice, enum split split);
/* What somebody may call a field of theirs: a word, a name, or syllables. */
void coin_add_field(struct text *out, struct choice *choice, enum split split);
