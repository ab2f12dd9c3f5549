/* chat_talk - what people say that asks for nothing much, and what to say to it. */
#pragma once

#include "nano/family.h"

struct talk {
    const char *const *wordings; /* phrase.h; a LIST_PART() of the splits */
    size_t count;
    const char *answer;
    const char *need; /* a rule of the judge (chat.c) */
    char mark;        /* how it ends, for opening_ask(); 0: as it is */
};

/* One of the talks: greetings, thanks, feelings, insults, .. */
const struct talk *talk_draw(struct choice *choice);
/* Appends a wording of it. */
void talk_add(struct text *out, struct choice *choice, const struct talk *talk, enum split split);

/* Small things that everybody knows, as a sentence and as one word. */
struct common {
    const char *asked, *sentence, *word;
};
extern const struct common commons[];
extern const size_t common_count;

/* The same few things in other languages. */
struct tongue {
    const char *name; /* English, as in "Answer in German." */
    const char *hello, *hello_answer, *thanks, *thanks_answer, *who, *who_answer, *bye, *bye_answer;
};
extern const struct tongue tongues[];
extern const size_t tongue_count;
