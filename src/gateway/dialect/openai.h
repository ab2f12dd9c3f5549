/* openai - what /v1/completions and /v1/chat/completions have in common: the frame of a chunk,
 * usage, finish reasons, errors in a stream. */
#pragma once

#include "gateway/dialect.h"

/* The two surfaces differ in these words. */
struct openai_kind {
    const char *id_prefix;    /* "chatcmpl-" */
    const char *chunk_object; /* "chat.completion.chunk" */
    const char *whole_object; /* "chat.completion" */
    /* A choice with a piece of text: what stands before and behind its JSON string. */
    void (*open_text)(uint32_t choice, struct text *out);
    void (*close_text)(uint32_t choice, struct text *out);
};

/* Refuses by name what is not there yet (logprobs, tools ...), then reads what is common. */
MUST_USE enum err openai_parse(struct call *call, const struct dialect_input *input,
                               struct api_error *out_error);
/* `n`: as many choices of each of so many prompts. Behind openai_parse(): it looks at the seed. */
MUST_USE enum err openai_choices(struct call *call, const json_t *body, uint32_t prompts,
                                 struct api_error *out_error);

/* The chunk of a piece of text, up to openai_chunk_end(): more members may follow. What stands
 * around the text is made once per call and choice, and copied after that. */
void openai_text(struct call *call, const struct openai_kind *kind, uint32_t choice,
                 struct slice text, struct text *out);

/* data: {"id":...,"object":...,"created":...,"model":...,"system_fingerprint":...,"choices":[ */
void openai_chunk_open(struct call *call, const struct openai_kind *kind, uint32_t choice,
                       struct text *out);
/* ] and, when usage was asked for, "usage":null. More members of the chunk may follow. */
void openai_choices_close(const struct call *call, struct text *out);
/* } and the end of the event. */
void openai_chunk_end(struct text *out);

/* "stop" or "length". */
const char *openai_finish_reason(enum done_reason reason);
/* A chunk without choices and with "progress":{...} for queued, loading, prefill and started. */
void openai_progress(struct call *call, const struct openai_kind *kind, uint32_t choice,
                     const struct event *event, struct text *out);

void openai_stream_fault(struct call *call, const struct api_error *error, struct text *out);
/* The usage chunk if it was asked for and all ended well, then data: [DONE]. */
void openai_stream_end(struct call *call, const struct openai_kind *kind, struct text *out);

/* A whole answer up to "choices":[ and from ] to the end. */
void openai_whole_open(struct call *call, const struct openai_kind *kind, struct text *out);
void openai_whole_close(struct call *call, struct text *out);
