/* bus_framing - messages on a stream of bytes: how they are cut out of what was read. Pure: no I/O.
 *
 * A message is its length (u32, little-endian, of what follows), an envelope (bus_envelope.h) and,
 * of PUBLISH, DELIVER and BOUNCE, the frame: what the length leaves.
 *
 * 1. Bytes may come cut anywhere; what comes out does not depend on the cuts.
 * 2. A message that lies whole in what was read is handed over where it lies. Of one that does not,
 *    memory for all of it is taken as soon as its length is known, and the rest is read into place:
 *    a large frame is copied by the kernel only. There is never more than one, of message_max.
 * 3. on_message() may take more itself (a callback of the bus that waits for an answer does): the
 *    inner call goes on where the outer one stands, which then finds nothing left.
 * One thread. */
#pragma once

#include "bus/bus_envelope.h"

enum {
    FRAMING_LENGTH_BYTES = 4,
    FRAMING_HEAD_BYTES = FRAMING_LENGTH_BYTES + ENVELOPE_HEAD_BYTES,
    FRAMING_MESSAGE_MAX_BYTES = ENVELOPE_MAX_BYTES + BUS_FRAME_MAX_BYTES,
};

/* --- a message's bytes, without the length; shared by all who wait for it --- */

struct parcel {
    size_t refs; /* of one thread */
    size_t len;
    char bytes[];
};
/* NULL: no memory (the size is a peer's). The bytes are not set. */
MUST_USE struct parcel *parcel_new(size_t len);
struct parcel *parcel_ref(struct parcel *parcel);
void parcel_unref(struct parcel *parcel); /* NULL is fine */

/* --- a message --- */

struct framed {
    struct envelope envelope;
    struct slice bytes;    /* envelope and frame */
    struct slice frame;    /* empty of kinds without */
    struct parcel *parcel; /* where they lie; NULL: in a buffer that is gone soon */
};
/* A reference to its parcel, or to a new one. NULL: no memory. */
MUST_USE struct parcel *framed_keep(const struct framed *framed);
/* Borrows it. False: no more of them (the owner has closed it, or is about to). */
typedef bool framed_fn(void *ctx, const struct framed *framed);

/* --- cutting --- */

struct framing {
    size_t message_max;
    struct slice rest; /* of what was given last, not looked at yet; borrowed (rule 3) */
    size_t length_got; /* of a length that was cut */
    char length[FRAMING_LENGTH_BYTES];
    struct parcel *partial; /* the message that is not whole yet */
    size_t partial_got;
};

void framing_init(struct framing *framing, size_t message_max);
void framing_fini(struct framing *framing); /* also from on_message(); what is left is dropped */

/* Something is left of an outer call: take it, with nothing new, before more is read. */
static inline bool framing_has_rest(const struct framing *framing)
{
    return framing->rest.len > 0;
}
/* Where the next bytes belong: the rest of the message that is not whole; empty when there is none.
 * What lies behind it in the stream goes into a buffer of the caller's. */
size_t framing_room(struct framing *framing, char **out_bytes);
/* The first `in_room` bytes were put there, `more` came behind them; all is consumed, or dropped
 * when on_message() says so. ERR_PROTOCOL: not a message, or longer than message_max; ERR_LIMIT: no
 * memory for it. Only fini() is useful after an error. */
MUST_USE enum err framing_take(struct framing *framing, size_t in_room, struct slice more,
                               framed_fn *on_message, void *ctx);

/* The length and the envelope's head; subject, reply and frame follow. */
void framing_put_head(const struct envelope *envelope, size_t frame_bytes,
                      char out_head[FRAMING_HEAD_BYTES]);
