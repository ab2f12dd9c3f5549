/* event - the one internal event stream. Numbered per request and epoch from 1: any number of
 * progress events, `started`, deltas, `usage`, and exactly one end (done or error). Every surface
 * is a formatting of it; a non-stream answer is the same events, gathered. What a manager says of a
 * request that waits (queued, loading) has no number: seq 0. Pure.
 *
 * A task (task.h) has `result` events where others have deltas.
 *
 * Payloads: delta (below) and result (result.h) are binary, the others are JSON.
 * delta: u16 choice, u16 token_count, token_count x i32 token id, then the text (whole UTF-8). */
#pragma once

#include "wire/fault.h"
#include "wire/frame.h"
#include "wire/node_state.h"
#include "wire/result.h"

enum event_type {
    EVENT_ACCEPTED = 0, /* a worker has it: stop repeating the submit */
    EVENT_QUEUED,
    EVENT_LOADING,
    EVENT_PREFILL,
    EVENT_STARTED,
    EVENT_DELTA,
    EVENT_USAGE,
    EVENT_DONE,
    EVENT_ERROR,
    EVENT_RESULT, /* of a task (task.h), in the place of deltas */
    EVENT_TYPE_COUNT
};
const char *event_type_name(enum event_type type);
static inline bool event_is_end(enum event_type type)
{
    return type == EVENT_DONE || type == EVENT_ERROR;
}

/* These are what a producer needs credit for: there may be any number of them. */
static inline bool event_takes_credit(enum event_type type)
{
    return type == EVENT_DELTA || type == EVENT_RESULT;
}

enum done_reason {
    DONE_EOS,    /* the model ended its turn */
    DONE_STOP,   /* a stop string; a task: all of it is done */
    DONE_LENGTH, /* max_tokens or the context is full */
    DONE_CANCELLED,
    DONE_REASON_COUNT
};
const char *done_reason_name(enum done_reason reason); /* "eos", "stop", "length", "cancelled" */

struct event {
    enum event_type type;
    uint64_t seq;
    union {
        struct {
            struct slice worker;  /* name for logs; its control subject is in `control` */
            struct slice control; /* where cancel and credit go from now on */
        } accepted;
        struct {
            uint32_t position; /* 0 = next */
            uint32_t eta_ms;   /* 0: not known */
        } queued;
        struct {
            float fraction; /* 0..1 */
        } loading;
        struct {
            uint32_t done_tokens, total_tokens;
        } prefill;
        struct {
            struct slice model, worker;
            uint32_t prompt_tokens, cached_tokens;
            uint64_t seed;         /* the one in force, so that any answer can be replayed */
            struct slice numerics; /* the worker's fingerprint (node_state.h); empty: not known */
        } started;
        struct {
            uint16_t choice;
            uint16_t token_count;
            struct slice token_bytes; /* token_count little-endian i32; event_delta_token() */
            struct slice text; /* whole characters only; may be empty while text is held back */
        } delta;
        struct result result;
        struct {
            uint32_t prompt_tokens, cached_tokens, completion_tokens;
            uint64_t queue_us, prefill_us, decode_us;
        } usage;
        struct {
            enum done_reason reason;
            struct slice stop; /* the stop string that matched, when reason is DONE_STOP */
        } done;
        struct {
            enum fault fault;
            struct slice message;
            struct slice param;      /* the request's field to blame, or empty */
            uint32_t retry_after_ms; /* 0: not known */
        } error;
    };
};

/* The size of a delta's or result's payload: what it costs of the byte credit. */
uint32_t event_credit_bytes(const struct event *event);
int32_t event_delta_token(const struct event *delta, size_t index);

/* Adds the event as one record to an open EVENTS frame. Tokens of a delta come from `tokens` (may
 * be NULL when token_bytes is already set, e.g. when forwarding). */
void event_encode(struct wire_writer *writer, uint64_t stream, uint32_t epoch,
                  const struct event *event, const int32_t *tokens);
/* The record's type must be WIRE_EVENT + something, its seq may be 0 in queued and loading alone.
 * JSON strings are put in `scratch` (cleared first). Slices are valid as long as record and scratch
 * are. A delta or result allocates nothing. ERR_PROTOCOL; ERR_LIMIT: no room for the strings in
 * `scratch`, or no memory. */
MUST_USE enum err event_decode(const struct wire_record *record, struct text *scratch,
                               struct event *out_event);
