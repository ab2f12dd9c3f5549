/* chat_impl - what the files of the family chat share. A conversation is made of rounds: a question
 * and its answer, with the rules (chat.c) that an answer of the last round must keep. */
#pragma once

#include "nano/family.h"

/* One conversation in the making. */
struct chat {
    struct sample *sample;
    struct choice *choice;
    enum split split;
    struct text asked, answer, rule; /* of the round in hand */
};

/* One more rule of the round: a sign and a value. */
void chat_need(struct chat *chat, const char *sign, struct slice value);
void chat_begin_round(struct chat *chat);
void chat_end_round(struct chat *chat); /* both texts are made: says them */
/* A question as people type it (opening.h). */
void chat_ask(struct chat *chat, const char *question, char mark);

/* Rounds that need nothing of what was said before (chat_rounds.c): any of them, or talk. */
void chat_any_round(struct chat *chat);
void chat_talk_round(struct chat *chat);

/* Whole conversations with a system prompt that decides something (chat_prompts.c). */
void chat_obeying(struct chat *chat);
void chat_persona(struct chat *chat);
void chat_in_tongue(struct chat *chat);
void chat_secret(struct chat *chat);
