/* said - what an ask keeps of an answer, so that another worker can go on with it: the ids of its
 * tokens, how much text came with them, the seed, by whose numbers. Nothing of the text itself. */
#pragma once

#include "wire/continuation.h"
#include "wire/event.h"

struct said {
    int32_t *tokens; /* NULL: none yet */
    size_t count, max;
    uint64_t text_bytes;
    uint64_t seed;
    char numerics[NODE_FINGERPRINT_BYTES + 1]; /* of the worker that began it; "": not known */
    bool has_begun;                            /* a delta was delivered */
};

/* NULL: no memory. */
struct said *said_new(void);
void said_free(struct said *said); /* NULL is fine */
/* What `started` says of an answer of which nothing has come yet. */
void said_begin(struct said *said, const struct event *started);
size_t said_bytes(const struct said *said);
/* How many bytes more it will be with this delta. */
size_t said_more_bytes(const struct said *said, const struct event *delta);
/* ERR_FULL: no memory, or an answer that is none of one: what comes cannot be gone on with. */
MUST_USE enum err said_add(struct said *said, const struct event *delta);
/* Borrows the tokens, and itself. */
struct continuation said_continuation(const struct said *said);
