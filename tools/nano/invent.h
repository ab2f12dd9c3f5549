/* invent - the things that requests, results and logs speak of: from lists (cut by the split) and
 * made of random syllables and digits, so that a reader must copy what it cannot know. Appends to
 * a text, which must have room. Pure functions of the choice. */
#pragma once

#include "nano/family.h"

/* X(name): what a place of a wording may hold. */
#define THINGS(X)                                                                                  \
    X(WORD)       /* kaluto */                                                                     \
    X(TERM)       /* a word of a list or made up: invoice, kaluto */                               \
    X(TITLE)      /* Kaluto, or Blue Harbor Plan */                                                \
    X(PHRASE)     /* two to six words: late orders from kaluto */                                  \
    X(SENTENCE)   /* four to nine words: the morning report is not ready yet */                    \
    X(PERSON)     /* Mara, or Leo Kaluto */                                                        \
    X(CITY)       /* Lisbon, or New Kaluto */                                                      \
    X(SERVICE)    /* billing, or kaluto-api */                                                     \
    X(HOST)       /* web-07.kaluto.net */                                                          \
    X(IP)         /* 10.42.0.17 */                                                                 \
    X(URL)        /* https://kaluto.org/a/b */                                                     \
    X(EMAIL)      /* leo.kaluto@example.com */                                                     \
    X(PATH)       /* /var/log/kaluto.txt */                                                        \
    X(FILE)       /* kaluto_notes.csv */                                                           \
    X(ID)         /* INV-20931, 7f3a9c */                                                          \
    X(VERSION)    /* 2.14.3 */                                                                     \
    X(DATE)       /* 2026-03-14 */                                                                 \
    X(TIME)       /* 08:45 */                                                                      \
    X(INTEGER)    /* 1 to 6 digits */                                                              \
    X(COUNT)      /* 1..60 */                                                                      \
    X(NUMBER)     /* integers, decimals, some negative */                                          \
    X(DECIMAL)    /* 21.75, -3.5 */                                                                \
    X(EXPRESSION) /* 17 * (204 - 3.5) */                                                           \
    X(LANGUAGE) X(CURRENCY) X(ZONE) X(METRIC)

enum thing {
#define X(name) THING_##name,
    THINGS(X)
#undef X
        THING_KINDS,
};

void invent(struct text *out, enum thing thing, struct choice *choice, enum split split);
