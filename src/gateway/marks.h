/* marks - the deltas of one reply whose bytes are on their way to the client, in the order in which
 * they were written: when the last byte of one has left, its credit goes back. A ring that grows to
 * what is under way at once, which is little for a client that reads. Belongs to one thread. */
#pragma once

#include "base/err.h"

struct mark {
    uint64_t end_bytes; /* of the reply's body, counted from its start */
    uint32_t choice, payload_bytes;
};

struct marks { /* zeroed memory is an empty one */
    struct mark *ring;
    uint32_t first, count, capacity;
};

void marks_fini(struct marks *marks); /* releases all; it is empty and usable after */

/* Never more at once than the credit allows: the caller's bound. */
void marks_push(struct marks *marks, struct mark mark);
/* NULL when there is none; good until the next call. */
static inline const struct mark *marks_front(const struct marks *marks)
{
    return marks->count > 0 ? &marks->ring[marks->first] : NULL;
}
void marks_pop(struct marks *marks); /* the front, which must be there */
