/* text - contiguous bytes being written: JSON bodies, SSE frames, log lines.
 * Grows by doubling up to max_bytes. Errors are sticky: after the first append that does not fit,
 * the text is `overflowed`, keeps what it had and ignores the rest, so that a formatter needs one
 * check at its end. Belongs to one thread. */
#pragma once

#include "base/slice.h"

struct text {
    char *data; /* NULL until the first append; no NUL is kept behind the bytes */
    size_t len, capacity;
    size_t max_bytes;
    bool overflowed;
};

void text_init(struct text *text, size_t max_bytes);
void text_fini(struct text *text);
void text_clear(struct text *text);              /* empty and not overflowed; keeps its memory */
void text_shrink(struct text *text, size_t len); /* back to an earlier length */

/* What is added is all or nothing, and never a part of the same text. */
static inline void text_add(struct text *text, struct slice bytes);
static inline void text_add_byte(struct text *text, char byte);
void text_add_str(struct text *text, const char *string);
void text_add_u64(struct text *text, uint64_t value);
void text_add_i64(struct text *text, int64_t value);
void text_add_f(struct text *text, const char *format, ...) PRINTF_LIKE(2, 3);

/* Room for `bytes` more to be written in place at data + len (then add to len); NULL (and
 * overflowed) when they do not fit. */
MUST_USE char *text_reserve(struct text *text, size_t bytes);

static inline struct slice text_slice(const struct text *text)
{
    return (struct slice){text->data, text->len};
}
/* ERR_LIMIT when something did not fit. */
MUST_USE enum err text_status(const struct text *text);

/* The rest is for speed: every token passes through here several times. */
void text_add_slow(struct text *text, struct slice bytes);

static inline void text_add(struct text *text, struct slice bytes)
{
    /* No bytes wrap to the slow way: there data may be NULL, which memcpy() must not see. */
    if (text->overflowed || bytes.len - 1 >= text->capacity - text->len) {
        text_add_slow(text, bytes);
        return;
    }
    memcpy(text->data + text->len, bytes.data, bytes.len);
    text->len += bytes.len;
}

static inline void text_add_byte(struct text *text, char byte)
{
    text_add(text, slice_of(&byte, 1));
}
