/* draft - an index of where each gram ended last, and before that. See draft.h. */
#include "worker/draft.h"

#include "base/mem.h"

enum { WINDOW_MIN = 64 };
#define ODDS_FIRST 0.5
#define ODDS_GAIN  0.25
#define ODDS_LEAST 0.25 /* of the last token of a guess, and all before it */

/* A place is where a gram ends: the number of tokens up to there, so that 0 is none. */
struct draft {
    uint32_t window; /* a power of two */
    uint32_t seen;   /* tokens that are indexed */
    uint32_t guess_at, guess_count;
    token_id guess[DRAFT_MAX]; /* of the tokens from guess_at on */
    double odds;
    uint32_t *older;   /* of a place, modulo the window: the one before it with the same hash */
    uint32_t newest[]; /* of each hash; `window` of them */
};

struct draft *draft_new(uint32_t tokens_max)
{
    uint32_t window = WINDOW_MIN;
    while (window < tokens_max && window < DRAFT_WINDOW_MAX)
        window *= 2;
    size_t bytes = sizeof(struct draft) + 2 * window * sizeof(uint32_t);
    struct draft *draft = mem_peer_alloc(bytes);
    if (!draft)
        return NULL;
    memset(draft, 0, bytes);
    draft->window = window;
    draft->odds = ODDS_FIRST;
    draft->older = draft->newest + window;
    return draft;
}

void draft_free(struct draft *draft)
{
    mem_free(draft);
}

const token_id *draft_guess(const struct draft *draft)
{
    return draft->guess;
}

double draft_odds(const struct draft *draft)
{
    return draft->odds;
}

/* Of the gram that ends at the place; Knuth's multiplicative hashing. */
static uint32_t hash_at(const struct draft *draft, const token_id *tokens, uint32_t place)
{
    uint32_t hash = 0;
    for (uint32_t i = place - DRAFT_GRAM; i < place; i++)
        hash = (hash + (uint32_t)tokens[i]) * UINT32_C(2654435761);
    return (hash >> 16) & (draft->window - 1);
}

static void add_place(struct draft *draft, const token_id *tokens, uint32_t place)
{
    uint32_t *newest = &draft->newest[hash_at(draft, tokens, place)];
    draft->older[place & (draft->window - 1)] = *newest;
    *newest = place;
}

/* Rule 4: what was said at `at`, if a guess reached there and was right so far. */
static void check_guess(struct draft *draft, uint32_t at, token_id said)
{
    if (at < draft->guess_at || at - draft->guess_at >= draft->guess_count)
        return;
    bool is_right = draft->guess[at - draft->guess_at] == said;
    draft->odds += ODDS_GAIN * ((is_right ? 1.0 : 0.0) - draft->odds);
    if (!is_right)
        draft->guess_count = 0;
}

/* How many tokens before the two places are the same. */
static uint32_t match_length(const token_id *tokens, uint32_t earlier, uint32_t later)
{
    uint32_t length = 0;
    uint32_t most = earlier < DRAFT_MATCH_MAX ? earlier : DRAFT_MATCH_MAX;
    while (length < most && tokens[earlier - 1 - length] == tokens[later - 1 - length])
        length++;
    return length;
}

/* The place where the longest match ends; 0: there is none. */
static uint32_t find(const struct draft *draft, const token_id *tokens, uint32_t count)
{
    uint32_t best = 0, best_length = DRAFT_GRAM - 1, place = count;
    for (uint32_t tries = 0; tries < DRAFT_TRIES && best_length < DRAFT_MATCH_MAX; tries++) {
        uint32_t older = draft->older[place & (draft->window - 1)];
        if (older == 0 || older >= place || count - older >= draft->window)
            break; /* what lies outside the window has lost its link */
        uint32_t length = match_length(tokens, older, count);
        if (length > best_length) {
            best = older;
            best_length = length;
        }
        place = older;
    }
    return best;
}

/* Rule 4. */
static uint32_t guess_length(double odds)
{
    uint32_t length = 0;
    for (double chance = odds; length < DRAFT_MAX && chance >= ODDS_LEAST; chance *= odds)
        length++;
    return length;
}

uint32_t draft_follow(struct draft *draft, const token_id *tokens, uint32_t count)
{
    ASSERT(count >= draft->seen);
    for (uint32_t at = draft->seen; at < count; at++) {
        check_guess(draft, at, tokens[at]);
        if (at + 1 >= DRAFT_GRAM)
            add_place(draft, tokens, at + 1);
    }
    draft->seen = count;
    draft->guess_at = count;
    draft->guess_count = 0;
    uint32_t from = count >= DRAFT_GRAM ? find(draft, tokens, count) : 0;
    if (from == 0)
        return 0;
    draft->guess_count = DRAFT_MAX; /* all are checked, however many are of use */
    for (uint32_t i = 0; i < DRAFT_MAX; i++)
        draft->guess[i] = from + i < count ? tokens[from + i] : draft->guess[from + i - count];
    return guess_length(draft->odds);
}
