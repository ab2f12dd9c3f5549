/* request - the one internal request. Made by a dialect, sent as one submit; JSON on the wire, in
 * two parts: the head, for whoever schedules it, and the body, for whoever runs it. All slices and
 * arrays are borrowed: from the arena it was decoded or built in. Pure. */
#pragma once

#include "base/arena.h"
#include "base/id.h"
#include "base/text.h"
#include "wire/adapters.h"
#include "wire/continuation.h"
#include "wire/form.h"
#include "wire/sampling.h"
#include "wire/task.h"

enum prompt_kind { PROMPT_TEXT, PROMPT_TOKENS, PROMPT_CHAT };

struct chat_message {
    struct slice role;    /* system, developer, user, assistant, tool */
    struct slice content; /* text parts joined */
    struct slice name;    /* may be empty */
};

enum request_priority { PRIORITY_NORMAL, PRIORITY_HIGH, PRIORITY_LOW };

enum {
    REQUEST_STOPS_MAX = 16,
    REQUEST_STOP_MAX_BYTES = 256,
    REQUEST_MESSAGES_MAX = 4096,
    REQUEST_TOKENS_MAX = 2 * 1024 * 1024,
    REQUEST_INBOX_MAX_BYTES = 160,
    REQUEST_NAME_MAX_BYTES = 256,       /* model, tenant, ... */
    REQUEST_HEAD_MAX_BYTES = 16 * 1024, /* more than all of its strings at their limits, escaped */
    REQUEST_TRACE_MAX_BYTES = 55,       /* a W3C traceparent of version 00 */
    REQUEST_CHOICES_MAX = 16            /* that one client's request may become */
};

struct request {
    struct id id;        /* see request_choice_id() */
    uint32_t epoch;      /* 1; one more for each failover */
    struct slice inbox;  /* the reply subject */
    struct slice tenant; /* empty: anonymous */
    struct slice session;
    struct slice label; /* the client's X-Request-Id: for logs only */
    struct slice trace; /* W3C traceparent, as the gateway passes it on; may be empty */
    struct slice model; /* as resolved by the gateway: a known model's name */

    struct task task; /* the head has its kind; with one, nothing down to ignore_eos is looked at */

    enum prompt_kind prompt_kind;
    struct slice prompt;   /* PROMPT_TEXT */
    const int32_t *tokens; /* PROMPT_TOKENS */
    size_t token_count;
    const struct chat_message *messages; /* PROMPT_CHAT */
    size_t message_count;

    struct sampling sampling;
    struct form form;
    struct adapters_wish adapters;
    uint32_t max_tokens; /* 0: the worker's default, bounded by the context */
    const struct slice *stops;
    size_t stop_count;
    bool ignore_eos;
    bool prompt_is_shared; /* others with the same one are on their way: it is worth keeping */
    struct continuation continue_from; /* what of the answer is there already */
    bool want_progress;                /* queued, loading, prefill events */

    enum request_priority priority;
    uint32_t deadline_ms;   /* from arrival; 0: none */
    int64_t arrival_ms;     /* wall clock at the gateway; kept when the submit is repeated */
    uint32_t credit_events; /* the first credit, so that nothing waits for a round trip */
    uint32_t credit_bytes;

    struct slice encoded_body; /* what request_encode_body() made of it; empty: nothing yet */
};

/* A client's request that wants several answers is as many requests here. Their ids differ in the
 * last hex digit alone, which is the number of the choice: of the first, and of a request that is
 * the only one, it is 0. Whoever is asked to cancel that one cancels all of them. */
struct id request_id_new(void);
static inline struct id request_choice_id(struct id id, uint32_t choice)
{
    return (struct id){id.high, id.low + choice};
}
static inline bool request_id_names_all(struct id id)
{
    return id.low % REQUEST_CHOICES_MAX == 0;
}

static inline uint64_t request_stream(const struct request *request)
{
    return request->id.low;
}

/* The payload of a submit: u32 bytes of the head, the head (JSON: everything about the request),
 * the body (JSON: prompt, tokens or messages, sampling, form, adapters, max_tokens, stops,
 * ignore_eos, prompt_is_shared, continue_from; or a task). So whoever only schedules reads the head
 * and passes the bytes on as they came. text overflow shows in text_status(). */
void request_encode(const struct request *request, struct text *out);
/* The body alone, for a large one that another thread encodes: it takes 7 ns a byte where there is
 * much to escape. request_encode() then copies it. */
void request_encode_body(const struct request *request, struct text *out);
/* Another epoch in a payload that request_encode() wrote, in place; the new length. `payload` has
 * room for REQUEST_EPOCH_ROOM bytes more than were encoded. */
enum { REQUEST_EPOCH_ROOM = 9 };
size_t request_set_epoch(char *payload, size_t bytes, uint32_t epoch);
/* Writes such a payload once more, for whoever takes it over in mid-stream: with another first
 * credit, the `numerics` behind all else in its head, and `continue_from` behind all else in its
 * body, which has none and is no task's. */
void request_encode_continued(struct slice payload, const struct continuation *continue_from,
                              uint32_t credit_events, uint32_t credit_bytes, struct text *out);
/* The head alone: what belongs to the body is left as in sampling_default() and empty. Errors as
 * request_decode(). */
MUST_USE enum err request_decode_head(struct slice payload, struct arena *arena,
                                      struct request *out_request, struct err_note *out_note);
/* The body, into what request_decode_head() made of the same payload: for whoever reads the one
 * here and the other there. Errors as request_decode(); *request is then as it was. */
MUST_USE enum err request_decode_body(struct slice payload, struct arena *arena,
                                      struct request *request, struct err_note *out_note);
/* Both. ERR_PROTOCOL/ERR_LIMIT with note: a field is missing, of the wrong type or out of range.
 * The bytes are copied into the arena. */
MUST_USE enum err request_decode(struct slice payload, struct arena *arena,
                                 struct request *out_request, struct err_note *out_note);
