/* grammar - what a model may say, as a context-free grammar in GBNF (llama.cpp's notation), read
 * from outside text and made into a table that grammar_match follows byte by byte.
 *
 *     # a list of words
 *     root ::= word ("," word)*
 *     word ::= [a-zA-Z]{1,12} | "\"" [^"\x00-\x1f]* "\""
 *
 * Rules `name ::= alternatives` end with their line, but inside ( ) and behind | a line may break;
 * "literals" and [classes] with \n \r \t \\ \" \[ \] \- \xHH \uHHHH \UHHHHHHHH; [^...]; `.`; ( );
 * | and after an item ? * + {n} {n,} {,n} {n,m}. The text begins with the rule `root`.
 *
 * Otherwise than in llama.cpp:
 * - a rule that is defined twice, a range that runs backwards, and an empty class are refused;
 * - references to tokens (<name>, <[id]>, !<...>) are refused: what is matched are bytes;
 * - only valid UTF-8 is ever matched, and `.` and [^...] do not match U+0000.
 * As there, left recursion is refused, and rules that nothing refers to are allowed.
 *
 * Immutable once parsed; any thread may hold references and follow it. */
#pragma once

#include "base/sha256.h"
#include "base/slice.h"

/* Limits of what comes from outside; beyond is ERR_LIMIT with a note. What is repeated is copied
 * only if it is a single class or rule, so repetition inside repetition adds up, never multiplies.
 */
enum {
    GRAMMAR_TEXT_MAX_BYTES = 256 << 10,
    GRAMMAR_RULES_MAX = 8192,
    GRAMMAR_ITEMS_MAX = 1 << 17,   /* characters of literals, classes, references, groups */
    GRAMMAR_NODES_MAX = 1 << 17,   /* 12 bytes each, of the table that comes out */
    GRAMMAR_REPEAT_MAX = 16384,    /* n and m of {n,m} */
    GRAMMAR_NESTING_MAX = 64,      /* parentheses */
    GRAMMAR_CLASS_RANGES_MAX = 512 /* of one class */
};

struct grammar;

/* One reference is the caller's. ERR_PROTOCOL: not GBNF, or `root` or another rule is missing;
 * ERR_REFUSED: understood, and not done (tokens, left recursion); ERR_LIMIT: above; ERR_FULL: no
 * memory. The note says line, column and what was expected. */
MUST_USE enum err grammar_parse(struct slice text, struct grammar **out_grammar,
                                struct err_note *out_note);
struct grammar *grammar_ref(struct grammar *grammar); /* returns its argument */
void grammar_unref(struct grammar *grammar);          /* NULL is fine */

/* Of the text: the same text, the same grammar (whoever keeps masks asks for it). */
const uint8_t *grammar_digest(const struct grammar *grammar); /* SHA256_BYTES */
size_t grammar_bytes(const struct grammar *grammar);          /* memory that it holds */
