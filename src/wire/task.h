/* task - what a request asks for that generates nothing: text to tokens and back, the numbers of an
 * embedding, the scores of a rerank; how that travels. The head of a submit names it, the body is
 * it. The answer is in `result` events (result.h). Pure. */
#pragma once

#include "base/json.h"
#include "base/slice.h"

struct fields;

/* TASK_NONE: the request generates, and its body is that of request.h. */
enum task_kind { TASK_NONE, TASK_TOKENIZE, TASK_DETOKENIZE, TASK_EMBED, TASK_RERANK, TASK_COUNT };
const char *task_name(enum task_kind kind); /* "tokenize", ...; "" for TASK_NONE */

/* How the vectors of an input's tokens become one; DEFAULT: as the model says. */
enum task_pooling { TASK_POOLING_DEFAULT, TASK_MEAN, TASK_CLS, TASK_LAST, TASK_POOLING_COUNT };
const char *task_pooling_name(enum task_pooling pooling); /* "" for DEFAULT */

enum {
    TASK_INPUTS_MAX = 2048,            /* as many as OpenAI takes */
    TASK_TOKENS_MAX = 2 * 1024 * 1024, /* ids of all inputs together */
    TASK_RESULTS_MAX_BYTES = 8 << 20,  /* payloads of all results of one task together */
    /* An input whose result is longer has several parts. Of numbers whole ones, and a multiple of 3
     * bytes, so that each part can be put into base64 by itself. */
    TASK_RESULT_PART_BYTES = 16380,
};

struct task_input {
    bool is_tokens;
    struct slice text;
    const int32_t *tokens;
    size_t token_count;
};

struct task {
    enum task_kind kind;
    /* 1..TASK_INPUTS_MAX. TOKENIZE: one text; DETOKENIZE: one list of ids; EMBED: any; RERANK: the
     * documents, texts. */
    const struct task_input *inputs;
    size_t input_count;
    struct slice query;        /* RERANK */
    enum task_pooling pooling; /* EMBED */
    bool add_special;          /* TOKENIZE: with what the model begins and ends a text with */
    bool parse_special;        /* TOKENIZE: control tokens written in the text are those tokens */
    bool with_pieces;          /* TOKENIZE: every id with its bytes */
};

/* One object; not for TASK_NONE. */
void task_encode(const struct task *task, struct json_out *json);
/* The body of a `kind`. Failures are the fields'; *out_task is then as it was. */
void task_decode(struct fields *fields, enum task_kind kind, struct task *out_task);
/* TASK_NONE when there is no member `task`. */
enum task_kind task_decode_kind(struct fields *fields);
