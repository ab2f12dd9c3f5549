/* kept - the events of one stream that its asker may still ask for: two rings, of what they are and
 * of their payloads' bytes. A running stream adds and drops events for ever in the same memory.
 *
 * 1. Events are numbered without holes. Kept are acked_seq + 1 .. made_seq, and of all payload
 * bytes of the stream, laid end to end, acked_bytes .. made_bytes. Number and byte are the places
 * in the rings.
 * 2. A ring doubles when it is full and never shrinks: at most twice what was kept at once, which
 *    the credit bounds (outbox.h rule 2; with the usual 64 events of a token each 2.5 KiB).
 * Pure. Belongs to one thread. */
#pragma once

#include "base/slice.h"
#include "base/text.h"

struct kept_event {
    uint32_t payload_bytes;
    uint16_t type; /* of the record */
};

struct kept { /* lives in its owner; zeroed memory holds nothing */
    uint64_t acked_seq, made_seq;
    uint64_t acked_bytes, made_bytes;
    struct kept_event *events;
    char *payloads;
    size_t events_max, payloads_max; /* powers of two, or 0 */
};

void kept_fini(struct kept *kept);
/* Copies the payload. Its number is the new made_seq. */
void kept_add(struct kept *kept, uint16_t type, struct slice payload);
/* acked_seq < seq <= made_seq (ASSERT). */
struct kept_event kept_at(const struct kept *kept, uint64_t seq);
/* Appends `bytes` of the payloads from the byte `at` on; they are kept (ASSERT). */
void kept_write(const struct kept *kept, uint64_t at, size_t bytes, struct text *out);
void kept_drop_first(struct kept *kept);
void kept_drop_last(struct kept *kept); /* its number and its bytes are free again */
