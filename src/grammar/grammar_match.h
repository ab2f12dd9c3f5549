/* grammar_match - where in its grammar one sequence is: the bytes of its tokens go in, and whether
 * they may, and whether it may end, come out. A token may end inside a character; that is a place
 * like any other.
 *
 *     WAITING --a trigger--> BOUND          without triggers it begins BOUND
 *     waiting: everything is allowed; bound: what the grammar says
 *
 * 1. Its state is a function of (grammar, triggers, what was accepted): put in the same again,
 *    however it was cut into tokens (but for triggers that are tokens), and it is where it was.
 * 2. What was refused, for whatever reason, has changed nothing.
 * 3. Bounds (stacks.h): calls 1024 deep; a state of 4096 places; 16384 steps of work for one byte.
 *    What lies beyond is refused with ERR_LIMIT, and is not in a mask: also a function of the
 *    state, so that a replay is refused the same.
 * 4. It costs memory by the depth of what is open, not by what was accepted: some KiB.
 *
 * Belongs to one thread; holds references to the grammar and the triggers. */
#pragma once

#include "grammar/grammar.h"

/* --- lazy grammars: what has to appear before one binds --- */

enum { GRAMMAR_TRIGGERS_MAX = 16, GRAMMAR_TRIGGER_MAX_BYTES = 128 };
enum { GRAMMAR_NO_TOKEN = UINT32_MAX };

/* The first one that is complete binds; of two at the same byte the longer, then the first. What
 * comes behind it in the same token is bound already. */
struct grammar_trigger {
    struct slice word; /* not empty, unless it is a token */
    uint32_t token;    /* it is this token, whatever its bytes; GRAMMAR_NO_TOKEN: it is the word */
    bool
        only_at_start; /* the word, with nothing but blanks and line ends before it in the answer */
    bool is_included;  /* the grammar describes the trigger too; else what comes behind it */
};

struct grammar_triggers; /* immutable, any thread */
/* Copies. ERR_LIMIT: too many, or a word is too long; ERR_PROTOCOL: none, or an empty word;
 * ERR_REFUSED: a word that is included is not how anything in the grammar begins; ERR_FULL: no
 * memory. With a note. */
MUST_USE enum err grammar_triggers_new(struct grammar *grammar,
                                       const struct grammar_trigger *triggers, size_t count,
                                       struct grammar_triggers **out_triggers,
                                       struct err_note *out_note);
struct grammar_triggers *grammar_triggers_ref(struct grammar_triggers *triggers);
void grammar_triggers_unref(struct grammar_triggers *triggers); /* NULL is fine */

/* --- one sequence --- */

struct grammar_match;

/* At the beginning; `triggers` NULL: bound from there. ERR_LIMIT: the grammar's beginning alone is
 * beyond rule 3; ERR_FULL: no memory. */
MUST_USE enum err grammar_match_new(struct grammar *grammar, struct grammar_triggers *triggers,
                                    struct grammar_match **out_match);
/* At the same place. A copy of what is open, so as cheap as that is small. ERR_FULL: no memory. */
MUST_USE enum err grammar_match_clone(const struct grammar_match *match,
                                      struct grammar_match **out_clone);
void grammar_match_free(struct grammar_match *match); /* NULL is fine */

/* A token and its bytes (GRAMMAR_NO_TOKEN when it is just bytes). ERR_REFUSED: not allowed here;
 * ERR_LIMIT: rule 3; ERR_FULL: no memory. No bytes: nothing changes, unless the token is a trigger.
 */
MUST_USE enum err grammar_match_accept(struct grammar_match *match, uint32_t token,
                                       struct slice bytes);
/* What accept would say. Not const: it may move what is in memory, never where the match is. */
MUST_USE enum err grammar_match_check(struct grammar_match *match, uint32_t token,
                                      struct slice bytes);

bool grammar_match_is_bound(const struct grammar_match *match);
/* The sequence may end here (always, while it waits). */
bool grammar_match_can_end(const struct grammar_match *match);
/* And there is nothing else that it may do. */
bool grammar_match_is_over(const struct grammar_match *match);
/* Equal for equal places, in other matches of the same grammar and other processes, too. */
uint64_t grammar_match_hash(const struct grammar_match *match);
size_t grammar_match_bytes(const struct grammar_match *match); /* memory that it holds */
