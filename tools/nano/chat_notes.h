/* chat_notes - things told about somebody or something, and asked for later. */
#pragma once

#include "nano/family.h"

enum { NOTE_TEXT_MAX = 192 };

/* One thing that is so: "Mira lives in Oslo". */
struct note {
    char told[NOTE_TEXT_MAX], asked[NOTE_TEXT_MAX], answer[NOTE_TEXT_MAX], value[NOTE_TEXT_MAX];
    size_t subject_kind; /* two notes of one kind and subject would contradict each other */
    char subject[NOTE_TEXT_MAX];
};

/* Of others: "the code for bina is 4711". */
void note_make(struct note *out, struct choice *choice, enum split split);
/* Of the one who speaks: "my name is Mira", "What is my name?", "Your name is Mira." */
void note_make_own(struct note *out, struct choice *choice, enum split split);
bool note_contradicts(const struct note *a, const struct note *b);
