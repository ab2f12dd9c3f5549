/* dialect - one surface of the API: parses its own request into the one internal request, and
 * formats the one internal event stream into its own bytes. One dialect = one file in dialect/;
 * adding one touches nothing else but the route table (routes.c).
 *
 * 1. A dialect is pure: no I/O, no clock, no bus. It gets a `struct call`, bytes and events, and
 * appends to a text.
 * 2. stream_end() is called exactly once in every ending; stream_fault() at most once, before it.
 * 3. A surface that asks for tasks (wire/task.h) never streams: call->stream stays false.
 * 4. Errors before the head are answered for it by api_error.c: one structure on every surface. */
#pragma once

#include "base/arena.h"
#include "base/json.h"
#include "gateway/api_error.h"
#include "http/http.h"
#include "wire/event.h"
#include "wire/request.h"

enum { CALL_CHOICES_MAX = REQUEST_CHOICES_MAX };

/* One HTTP request on its way through: what the dialect read, and what has happened so far. */
struct call {
    struct arena *arena; /* everything parsed lives here, until the workers have been asked */
    const struct dialect *dialect;
    struct request request;     /* prompt of choice 0 */
    struct slice *more_prompts; /* prompts 1.. (PROMPT_TEXT), NULL if one; prompts that no answer
                                   repeats are gone when the workers have been asked */
    struct slice *encoded;      /* of each choice, when the pool has encoded it; may be empty */
    uint32_t choices;           /* 1..CALL_CHOICES_MAX, of all prompts together */
    uint32_t per_prompt;        /* `n`: so many of these in a row are of one prompt; at least 1 */
    bool stream;
    bool query_stream; /* streaming was asked for by the query and not by the body ("Serving v2") */
    bool include_usage;
    bool include_progress; /* stream_options.include_progress */
    bool echo;
    bool seed_is_drawn; /* and not the client's: reply_choices.h rule 2 */
    bool is_base64;     /* embeddings are given so, and not as numbers */
    int64_t created_s;  /* wall clock of arrival */
    int64_t started_ms; /* wall clock when a worker started it; 0 before */
    char id_text[ID_TEXT_BYTES + 1];
    void *own; /* the dialect's own state, from the arena */

    struct call_choice { /* as events go by; `choices` of them once it is parsed, NULL before */
        bool is_started; /* what `started` says of it is known */
        uint64_t seed;
        uint32_t prompt_tokens, cached_tokens, completion_tokens, pieces;
        bool done;
        enum done_reason reason;
        uint64_t queue_us, prefill_us, decode_us;
        struct text whole; /* the gathered text, for non-stream answers */
    } * choice;
};

/* What a choice goes on from (PROMPT_TEXT). */
static inline struct slice call_prompt(const struct call *call, uint32_t choice)
{
    uint32_t prompt = choice / call->per_prompt;
    return prompt == 0 ? call->request.prompt : call->more_prompts[prompt - 1];
}

/* What came in. Slices live in call->arena; parse() may run on a pool thread. */
struct dialect_input {
    const json_t *body;        /* the parsed JSON body; NULL for GET */
    struct slice query;        /* still percent-encoded: http_query_value() */
    bool accepts_event_stream; /* Accept names text/event-stream */
    struct slice session_id;   /* X-Session-Id, or empty */
};

struct dialect {
    const char *name;
    bool is_ndjson;         /* stream is application/x-ndjson without pings; else SSE */
    bool can_end_cancelled; /* its end event has a word for it; others get a fault */
    bool repeats_prompt;    /* in its answers, whether call->echo is set or not */

    /* NULL for one that only formats. Fills call->request (all but id, tenant, arrival: the gateway
     * does those; an empty model means the default one) and the flags. ERR_OK, or anything else
     * with *out_error filled. */
    enum err (*parse)(struct call *call, const struct dialect_input *input,
                      struct api_error *out_error);

    /* Streaming; each appends whole events/lines of its surface, or nothing. NULL: nothing. */
    void (*stream_begin)(struct call *call, uint32_t choice,
                         struct text *out); /* once per choice, at `started` */
    void (*stream_event)(struct call *call, uint32_t choice, const struct event *event,
                         struct text *out);
    void (*stream_fault)(struct call *call, const struct api_error *error, struct text *out);
    void (*stream_end)(struct call *call, struct text *out);

    /* A part of what was found for an input of call->request.task, in order: appends to
     * choice[0].whole what whole() will need of it. NULL: this surface asks for no tasks. */
    void (*take_result)(struct call *call, const struct result *result);

    /* Not streaming: everything has ended well; the texts are in choice[].whole. */
    void (*whole)(struct call *call, struct text *out);
};
