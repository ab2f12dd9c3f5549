/* draft - guesses what one stream says next: what followed the last time that its prompt or answer
 * said the same (prompt lookup decoding: Saxena 2023; llama.cpp's lookup example). Pure.
 *
 * Whoever puts the guess into the step behind the stream's own row gets the logits of several
 * places at once; what is then sampled there says how much of the guess was right, and is what
 * would have been said without it.
 *
 * 1. The guess is what stands behind the longest earlier match of the last tokens; of equals behind
 *    the latest. A match has DRAFT_GRAM tokens at least. Where it reaches the end of what is known
 *    it goes on with the guess itself, as a copy in LZ77 does: what repeats is guessed to go on.
 * 2. An earlier match is found by hash chains, as deflate finds them: one insertion a token, at
 * most DRAFT_TRIES candidates and DRAFT_MATCH_MAX tokens compared of each. So a guess takes a
 * bounded time (bench/draft prints it), whatever the text.
 * 3. Memory: 8 bytes a token of the window, a power of two up to DRAFT_WINDOW_MAX. What lies
 *    further back is forgotten.
 * 4. The odds are how often a guessed token was right of late (of about the last four), from
 *    what was said after it, whether it was put into a step or not. So a stream that does not quote
 *    is found out, and one that begins to is as well, without a row. The guess is as long as its
 *    last token is right with a chance of a quarter: none at all below odds of a quarter. */
#pragma once

#include "engine/engine.h"

enum {
    DRAFT_MAX = 15, /* with the stream's own row as wide as step_cost has widths */
    DRAFT_GRAM = 3,
    DRAFT_TRIES = 16,
    DRAFT_MATCH_MAX = 32,
    DRAFT_WINDOW_MAX = 8192,
};

struct draft;
/* For a text of up to tokens_max. NULL: there is no memory, and the stream does without. */
struct draft *draft_new(uint32_t tokens_max);
void draft_free(struct draft *draft); /* NULL is fine */

/* `tokens` is all of the text so far: it begins as it did the last time, and is no shorter. Returns
 * how many tokens are guessed behind it, 0 to DRAFT_MAX; they are in draft_guess(). */
uint32_t draft_follow(struct draft *draft, const token_id *tokens, uint32_t count);
const token_id *draft_guess(const struct draft *draft); /* good until the next draft_follow() */
/* 0..1: that a guessed token is right, if those before it are. */
double draft_odds(const struct draft *draft);
