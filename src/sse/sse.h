/* sse - event streams (WHATWG HTML 9.2): bytes in, events out, and back. Pure: no I/O, no clock. */
#pragma once

#include "base/slice.h"
#include "base/text.h"

/* --- encoder --- */

/* Appends one event. `event` and `id` may be empty (left out). Data is split at LF, CR LF and CR
 * into data: lines, as the decoder will join them again by LF. `event` and `id` must not hold CR,
 * LF or NUL (ours; ASSERT). */
void sse_add_event(struct text *out, struct slice event, struct slice id, struct slice data);
/* The hot path: "data: " + data + "\n\n" for data that is known to be one line (our JSON). */
void sse_add_data(struct text *out, struct slice one_line);
/* Keep-alive: exactly ": ping\n" (one LF, no blank line: openai-go fails on a comment followed by
 * an empty dispatch). Only between events. */
void sse_add_ping(struct text *out);

/* --- decoder --- */

struct sse_event {
    struct slice event; /* "message" when the stream named none */
    struct slice data;
    struct slice id; /* the last event id seen so far, maybe empty */
};
typedef void sse_event_fn(void *ctx, const struct sse_event *event);

/* sse_decoder - bytes of an event stream in, whole events out. Bytes may come cut anywhere.
 * Holds at most max_event_bytes of an unfinished event: its name, its data so far and its present
 * line (comments too, until they end). Invalid UTF-8 is passed through as it is;
 * a BOM at the very start is dropped; fields other than event, data, id, retry are ignored. */
struct sse_decoder;
/* ERR_LIMIT: no memory (how many streams there are is the peers' choice). */
MUST_USE enum err sse_decoder_new(size_t max_event_bytes, struct sse_decoder **out_decoder);
void sse_decoder_free(struct sse_decoder *decoder);
/* Consumes all of `input`. on_event() borrows its slices until it returns, and must not free the
 * decoder. ERR_LIMIT: an event outgrew max_event_bytes, or there is no memory for it; only free()
 * is useful after that. */
MUST_USE enum err sse_decoder_feed(struct sse_decoder *decoder, struct slice input,
                                   sse_event_fn *on_event, void *ctx);
/* The reconnection time the stream asked for, in ms; 0: none yet. */
uint32_t sse_decoder_retry_ms(const struct sse_decoder *decoder);
