/* unicode_class - what a code point is to the pre-tokenizer "qwen2": letter (\p{L}), number
 * (\p{N}), white space (\s) or something else. Knows Latin, Greek and Cyrillic, punctuation and
 * symbols, kana, Han, Hangul, full-width forms and emoji: all that our documents are written in.
 * Pure. */
#pragma once

#include <stdint.h>

enum unicode_class {
    UNICODE_LETTER,
    UNICODE_NUMBER,
    UNICODE_SPACE,
    UNICODE_OTHER,
    UNICODE_UNKNOWN, /* of a block that is not in the table: documents must not use it */
};

enum unicode_class unicode_class_of(uint32_t codepoint);
