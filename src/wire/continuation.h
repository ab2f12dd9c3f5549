/* continuation - of a request that goes on in mid-stream: what was sampled already, elsewhere, and
 * how much of its text the asker has. It travels as `continue_from` in the body of a submit. The
 * worker takes the tokens as sampled, and what it says begins behind them. Pure. */
#pragma once

#include "base/json.h"
#include "base/slice.h"

struct fields;

struct continuation {
    bool is_wanted; /* false: from the beginning; the rest is not looked at */
    uint64_t seed;  /* in force there (EVENT_STARTED); stands before the one of the sampling */
    const int32_t *tokens; /* of the answer, in their order; no end token */
    size_t token_count;    /* at most CONTINUATION_TOKENS_MAX */
    uint64_t text_bytes;   /* of the answer's text that came with them */
};

enum { CONTINUATION_TOKENS_MAX = 2 * 1024 * 1024 };

/* One object; only when it is wanted. */
void continuation_encode(const struct continuation *continuation, struct json_out *json);
/* Failures are the fields'; *out_continuation is then as it was. */
void continuation_decode(struct fields *fields, struct continuation *out_continuation);
