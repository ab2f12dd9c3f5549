/* slice - borrowed bytes. Never owns, never NUL-terminated by promise.
 * Keeping one past the call that lent it means copying it (arena, text, buf). */
#pragma once

#include "base/err.h"

#include <string.h>

struct slice {
    const char *data; /* may be NULL when len is 0 */
    size_t len;
};

#define SLICE(literal)   ((struct slice){(literal), sizeof(literal) - 1})
#define SLICE_FMT        "%.*s" /* printf("... " SLICE_FMT, SLICE_ARG(slice)) */
#define SLICE_ARG(slice) (int)(slice).len, (slice).len ? (slice).data : ""

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){data, len};
}

static inline struct slice slice_str(const char *text) /* NULL gives the empty slice */
{
    return (struct slice){text, text ? strlen(text) : 0};
}

static inline bool slice_is_empty(struct slice slice)
{
    return slice.len == 0;
}

static inline struct slice slice_first(struct slice slice, size_t len) /* at most what is there */
{
    return (struct slice){slice.data, len < slice.len ? len : slice.len};
}

static inline struct slice slice_after(struct slice slice, size_t skip)
{
    if (skip > slice.len)
        skip = slice.len;
    return (struct slice){skip ? slice.data + skip : slice.data, slice.len - skip};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_eq_str(struct slice slice, const char *text)
{
    return slice_eq(slice, slice_str(text));
}

bool slice_eq_ci(struct slice a, struct slice b); /* ASCII letters without case */
bool slice_starts_with(struct slice slice, struct slice prefix);
bool slice_ends_with(struct slice slice, struct slice suffix);
struct slice slice_trim(struct slice slice); /* spaces and tabs off both ends */

#define SLICE_NPOS ((size_t)-1)
size_t slice_find_byte(struct slice slice, char byte); /* index, or SLICE_NPOS */
size_t slice_find(struct slice slice, struct slice needle);

/* Cuts at the first `byte`: *out_head is what comes before it, *out_tail what comes after. False
 * (and head = all, tail = empty) when it is not there. */
bool slice_cut(struct slice slice, char byte, struct slice *out_head, struct slice *out_tail);

/* Whole slice as a decimal number without sign; ERR_PROTOCOL: not digits only or empty,
 * ERR_LIMIT: above `max`. */
MUST_USE enum err slice_parse_u64(struct slice slice, uint64_t max, uint64_t *out_value);
