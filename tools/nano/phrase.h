/* phrase - many wordings out of one line: "[Please |]tell me [what|which] {thing} is".
 *
 *   [a|b|c]  one of them, each as likely; they nest (up to 8 deep) and may be empty
 *   {key}    the slot's text, as it is
 *   \x       x itself: \[ \] \{ \} \| and \\ (n is a line's end)
 *
 * A pattern of ours that is not so is our bug (ASSERT); one from a file is checked first. */
#pragma once

#include "base/text.h"
#include "nano/choice.h"

struct slot {
    const char *key;
    struct slice value;
};

/* ERR_PROTOCOL: *out_note says what is wrong. keys ends with NULL: the slots there will be. */
MUST_USE enum err phrase_check(struct slice pattern, const char *const *keys,
                               struct err_note *out_note);

/* Appends one wording. */
void phrase_add(struct text *out, struct choice *choice, struct slice pattern,
                const struct slot *slots, size_t slot_count);
/* The same, with the slots named on the spot: PHRASE(out, choice, pattern, {"name", name}). */
#define PHRASE(out, choice, pattern, ...)                                                          \
    phrase_add((out), (choice), slice_str(pattern), (const struct slot[]){__VA_ARGS__},            \
               sizeof((const struct slot[]){__VA_ARGS__}) / sizeof(struct slot))

/* How many wordings there are, slots aside (at most SIZE_MAX). */
size_t phrase_count(struct slice pattern);
