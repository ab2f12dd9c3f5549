/* outbox - the events of a worker's streams on their way to the askers: numbered, kept until they
 * are acknowledged, sent again when asked, never ahead of the credit.
 *
 * 1. The events of a stream are numbered from 1 without holes. A number once sent names the same
 *    event for ever.
 * 2. What is not acknowledged is kept: no more than the credit lets out, and the few events that
 *    need none (accepted, started, usage, end; progress only while outbox_has_room_for_progress()).
 *    In rings (kept.h), so that a delta of a stream that runs on costs no allocation.
 * 3. What one turn has to say to one inbox leaves in one frame at its end (a new frame is begun
 *    after OUTBOX_FRAME_BYTES), with our own inbox as the reply subject.
 * 4. A frame that the bus does not take, or that bounces although the receiver lives, counts as
 *    lost: the next heartbeat tells the asker what it misses, and it asks for it. A receiver that
 *    is gone takes its streams with it (on_gone).
 * 5. A heartbeat repeats the highest number sent.
 *
 * Credit. On the wire (struct wire_credit) it speaks of all events of the stream: a delta (here
 * always: or a result, of a task that is not the core's) may be
 * sent if its seq <= seq_limit and the payloads of all events before it sum up to less than
 * byte_limit. Every other event may be sent always, in its turn. The core counts deltas alone, so
 *
 *     delta_events = seq_limit  - events that are no deltas, made so far
 *     delta_bytes  = byte_limit - payload bytes of those events
 *
 * (0 where that is negative). Events made after the core was told (progress, started) make these a
 * little too large: a delta that the wire's credit does not cover yet waits here, and what comes
 * after it waits with it. However much an asker grants, no more than OUTBOX_EVENTS_MAX events and
 * OUTBOX_BYTES_MAX payload bytes are let out ahead of what it acknowledged.
 *
 * Belongs to the loop of its bus. Streams must be closed before the outbox is freed. */
#pragma once

#include "bus/bus.h"
#include "wire/event.h"

enum {
    OUTBOX_EVENTS_MAX = 4096,
    OUTBOX_BYTES_MAX = 4 * 1024 * 1024,
    OUTBOX_FRAME_BYTES = 32 * 1024
};

struct outbox;
/* The asker of the stream opened with `owner` is gone; the stream is still to be closed, and may be
 * from here. */
typedef void outbox_gone_fn(void *ctx, void *owner);

/* Never NULL. */
struct outbox *outbox_new(struct bus *bus, outbox_gone_fn *on_gone, void *ctx);
void outbox_free(struct outbox *outbox); /* NULL is fine */
/* To be told of every frame that comes back to the endpoint (it has one handler, and others send
 * from it too). */
void outbox_bounced(struct outbox *outbox, const struct bus_message *message, enum err why);
/* Sends what waits for the end of the turn now. */
void outbox_flush(struct outbox *outbox);

struct outbox_stream;
struct outbox_stream_options {
    uint64_t stream; /* the handle on the wire */
    uint32_t epoch;
    struct slice inbox;                   /* of the asker; copied; 1..BUS_SUBJECT_MAX_BYTES bytes */
    uint32_t credit_events, credit_bytes; /* the first credit */
    void *owner;
};
/* Never NULL. */
struct outbox_stream *outbox_open(struct outbox *outbox,
                                  const struct outbox_stream_options *options);
/* Forgets what was not sent or not acknowledged. Sets it NULL; NULL inside is fine. */
void outbox_close(struct outbox_stream **stream);

/* Numbers the event (its seq is not looked at), keeps a copy and sends it at the end of the turn.
 * `tokens`: as for event_encode(). Nothing comes after the end event (ASSERT). */
void outbox_add(struct outbox_stream *stream, const struct event *event, const int32_t *tokens);
/* Before the end event of a request that was cancelled: deltas that wait for credit, and what is
 * behind them, are unmade (they were never sent), so that the end does not wait with them. */
void outbox_drop_waiting(struct outbox_stream *stream);
/* May an event that is only progress be made now? (Rule 2: not once half the credit in events is
 * out; the asker acknowledges by then.) */
bool outbox_has_room_for_progress(const struct outbox_stream *stream);

/* The highest numbers win. Numbers that were never sent are nonsense and passed over. */
void outbox_credit(struct outbox_stream *stream, const struct wire_credit *credit, bool resend);
/* Sends everything unacknowledged again. */
void outbox_resend(struct outbox_stream *stream);
/* Says the highest number sent so far, at the end of the turn. */
void outbox_beat(struct outbox_stream *stream);

struct outbox_limits {
    uint64_t delta_events, delta_bytes;
};
struct outbox_limits outbox_limits(const struct outbox_stream *stream);
bool outbox_end_is_sent(const struct outbox_stream *stream);
bool outbox_end_is_acked(const struct outbox_stream *stream);
/* When the asker was last heard, or an event last made: with neither for long it is gone (it
 * answers heartbeats that come without news). */
uint64_t outbox_quiet_since_us(const struct outbox_stream *stream);
size_t outbox_kept_bytes(const struct outbox_stream *stream); /* of payloads: sent or not */
size_t outbox_all_kept_bytes(const struct outbox *outbox);    /* of all its streams */
