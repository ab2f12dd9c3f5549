/* http1_input - bytes received and not used yet, in one piece, as the head parser wants them.
 * 1. Costs no memory while empty.
 * 2. Holds at most what append() was allowed.
 * Slices of it are good until the next append. Belongs to one connection. */
#pragma once

#include "base/slice.h"

struct http1_input { /* zeroed memory is an empty one */
    char *data;
    size_t start, len; /* the bytes held are data[start .. start + len) */
    size_t capacity;
};

void http1_input_fini(struct http1_input *input); /* empty and usable after */

/* Copies, all or nothing. ERR_FULL: more than max_bytes in all; ERR_LIMIT: no memory. */
MUST_USE enum err http1_input_append(struct http1_input *input, struct slice bytes,
                                     size_t max_bytes);
/* Drops `bytes` from the front; ASSERTs that they are there. */
void http1_input_consume(struct http1_input *input, size_t bytes);
/* Drops everything behind the first `len` bytes. */
void http1_input_truncate(struct http1_input *input, size_t len);

static inline struct slice http1_input_bytes(const struct http1_input *input)
{
    return slice_of(input->len ? input->data + input->start : NULL, input->len);
}
