/* bus_envelope - what precedes an opaque frame between an endpoint and the switch (bus_unix). On
 * the connection it comes behind a length (bus_framing.h); of PUBLISH, DELIVER and BOUNCE the frame
 * follows. Pure: no I/O, no memory of its own.
 *
 * Little-endian: version u8 = 1, kind u8, why u8, subject length u8, reply length u8, three bytes
 * 0, number u64, value u64, extra u64; then the subject, then the reply. Both sides are of one
 * release on one machine, so another version is a protocol error.
 *
 *   kind         from      number           value              extra    subject  reply  why
 *   HELLO        endpoint  token
 *   WELCOME      switch    that token       peer_bytes_max     dead_ms                  refused?
 *   SUBSCRIBE    endpoint  subscription                                 yes      group
 *   CONFIRM      switch    subscription                                                 outcome
 *   UNSUBSCRIBE  endpoint  subscription
 *   PUBLISH      endpoint                                               yes      yes
 *   DELIVER      switch    of the delivery  subscription                yes      yes
 *   BOUNCE       switch    of the delivery  bytes it settles            yes      yes    why
 *   ACK          endpoint  of the last delivery or bounce that was handled
 *   REJECT       endpoint  of a delivery: all before it were handled, its subscription is gone
 *   SETTLED      switch                     bytes
 *   PING         endpoint  token; 0 is a beat, which wants no answer
 *   PONG         switch    that token
 *   CLOSE        endpoint  of the last delivery or bounce that was handled */
#pragma once

#include "bus/bus.h"

enum envelope_kind {
    ENVELOPE_HELLO = 1,
    ENVELOPE_WELCOME,
    ENVELOPE_SUBSCRIBE,
    ENVELOPE_CONFIRM,
    ENVELOPE_UNSUBSCRIBE,
    ENVELOPE_PUBLISH,
    ENVELOPE_DELIVER,
    ENVELOPE_BOUNCE,
    ENVELOPE_ACK,
    ENVELOPE_REJECT,
    ENVELOPE_SETTLED,
    ENVELOPE_PING,
    ENVELOPE_PONG,
    ENVELOPE_CLOSE,
    ENVELOPE_KIND_END
};

enum { ENVELOPE_HEAD_BYTES = 32, ENVELOPE_MAX_BYTES = 32 + 2 * BUS_SUBJECT_MAX_BYTES };

struct envelope {
    enum envelope_kind kind;
    enum err why;
    uint64_t number, value, extra;
    struct slice subject, reply; /* borrowed */
};

bool envelope_has_frame(enum envelope_kind kind);

/* Returns the length. ASSERTs that subject and reply are within BUS_SUBJECT_MAX_BYTES. */
size_t envelope_encode(const struct envelope *envelope, char out_bytes[ENVELOPE_MAX_BYTES]);
/* Only what precedes subject and reply. */
void envelope_encode_head(const struct envelope *envelope, char out_bytes[ENVELOPE_HEAD_BYTES]);
/* The slices of *out_envelope point into `bytes`. ERR_PROTOCOL: not exactly one envelope; nothing
 * is written. What decodes encodes to the same bytes. */
MUST_USE enum err envelope_decode(struct slice bytes, struct envelope *out_envelope);
/* The one at the front of `bytes`; what comes behind it. */
MUST_USE enum err envelope_decode_front(struct slice bytes, struct envelope *out_envelope,
                                        struct slice *out_rest);
