/* utf8 - whole characters out of bytes that may be cut or wrong (RFC 3629; Unicode 15 table 3-7).
 * Pure. */
#pragma once

#include "base/slice.h"
#include "base/text.h"

/* What `bytes` (not empty) begin with: one whole character, or a maximal invalid part - the bytes
 * that one U+FFFD stands for, also those of a character cut at the end. */
struct utf8_part {
    size_t len; /* 1..4, never more than there are */
    bool valid;
};
struct utf8_part utf8_first(struct slice bytes);

bool utf8_is_valid(struct slice bytes);

/* How many leading bytes are settled: all but a possibly unfinished character at the very end
 * (at most 3 bytes). Bytes that no continuation could make valid count as settled. */
size_t utf8_settled(struct slice bytes);

/* Appends `bytes` to `out` with every maximal invalid part replaced by U+FFFD (as WHATWG's decoder
 * and Python's errors="replace" do). */
void utf8_add_repaired(struct text *out, struct slice bytes);

/* The number of characters (code points) in valid UTF-8. */
size_t utf8_count(struct slice bytes);
/* The code point of one whole, valid character: of utf8_first()'s. */
uint32_t utf8_codepoint(struct slice character);
/* Appends the code point (a surrogate or a value above 0x10FFFF as U+FFFD). */
void utf8_add_codepoint(struct text *out, uint32_t codepoint);
