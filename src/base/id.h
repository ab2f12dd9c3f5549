/* id - 128 random bits that name a request, an inbox, a process generation. Any thread. */
#pragma once

#include "base/slice.h"

struct id {
    uint64_t high, low;
};

enum { ID_TEXT_BYTES = 32 }; /* lower-case hex, no NUL counted */

struct id id_new(void); /* from getrandom(2); aborts if the system has none. Never all zero. */
static inline bool id_eq(struct id a, struct id b)
{
    return a.high == b.high && a.low == b.low;
}
static inline bool id_is_zero(struct id id)
{
    return id.high == 0 && id.low == 0;
}
/* Writes 32 hex digits and a NUL; returns the digits as a slice of out_text. */
struct slice id_format(struct id id, char out_text[ID_TEXT_BYTES + 1]);
/* ERR_PROTOCOL unless exactly 32 hex digits, or all zero. */
MUST_USE enum err id_parse(struct slice text, struct id *out_id);

uint64_t random_u64(void); /* from the same source; for seeds and jitter */
