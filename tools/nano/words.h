/* words - what samples are filled with: made-up words, numbers, ids, names.
 *
 * What is made up belongs to one split by the hash of its bytes: of those of WORD_HELD_BYTES and
 * more every fifth is the test's, and never drawn for training. Names are lists cut by list_part().
 * All append to a text. */
#pragma once

#include "nano/family.h"

enum { WORD_HELD_BYTES = 4 };

/* low..high, small ones as often as large ones: as many in 1..2 as in 20..40. low >= 1. */
size_t word_log_uniform(struct choice *choice, size_t low, size_t high);

/* "bina", "tolvere": consonants and vowels. */
void word_add_syllables(struct text *out, struct choice *choice, enum split split,
                        size_t least_syllables, size_t most_syllables);
/* One of a list of everyday English words (both splits draw them all). */
void word_add_english(struct text *out, struct choice *choice);
/* Decimal digits, the first of them not 0 unless it is alone. */
void word_add_digits(struct text *out, struct choice *choice, size_t digits);
void word_add_hex(struct text *out, struct choice *choice, size_t digits);
/* 7, 4711, -12, 3.25, 1,204, 007. */
void word_add_number(struct text *out, struct choice *choice);
/* 7f3a09, req-81b2, a_4c, v1.20.3, 10.4.0.17, 2026-03-09, 14:05:33, mira@tolve.org, src/bina.c */
void word_add_id(struct text *out, struct choice *choice, enum split split);
/* A word with an accent, a few characters of Chinese, an emoji. */
void word_add_foreign(struct text *out, struct choice *choice);
/* Any of the above, as they come: what lists for copying are made of. */
void word_add_any(struct text *out, struct choice *choice, enum split split);
/* A sentence of everyday words with commas and an end: no sense in it. */
void word_add_sentence(struct text *out, struct choice *choice, enum split split);

const char *word_person(struct choice *choice, enum split split); /* Mira */
const char *word_surname(struct choice *choice, enum split split);
const char *word_city(struct choice *choice, enum split split);  /* also of two words */
const char *word_thing(struct choice *choice, enum split split); /* lamp: a noun, no article */
const char *word_emoji(struct choice *choice);

/* Whether words like this belong to the split. */
bool word_is_of(struct slice word, enum split split);

/* A name as it is spoken: "start_date" -> "start date". */
void word_add_spaced(struct text *out, const char *name);

/* Changes of what stands in the text from `begin` on. */
void word_upper(struct text *text, size_t begin);   /* ASCII letters */
void word_lower(struct text *text, size_t begin);   /* ASCII letters */
void word_capital(struct text *text, size_t begin); /* the first letter */
void word_mixed_case(struct text *text, size_t begin, struct choice *choice);
/* One slip of the typing hand in a word of five letters or more: two letters swapped, one missing,
 * one twice. Words with anything but lower-case letters in them are left alone. */
void word_typo(struct text *text, size_t begin, struct choice *choice);
