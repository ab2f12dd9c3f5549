/* continuation - of a request that goes on in mid-stream: what was sampled already, elsewhere, and
 * how much of its text the asker has. It travels as `continue_from` in the body of a submit (but
 * `numerics` in its head, for whoever chooses the worker). The worker takes the tokens as sampled,
 * and what it says begins behind them. Pure. */
#pragma once

#include "base/json.h"
#include "base/slice.h"
#include "wire/node_state.h"

struct fields;

struct continuation {
    bool is_wanted; /* false: from the beginning; the rest is not looked at */
    uint64_t seed;  /* in force there (EVENT_STARTED); stands before the one of the sampling */
    const int32_t *tokens; /* of the answer, in their order; no end token */
    size_t token_count;    /* at most CONTINUATION_TOKENS_MAX */
    uint64_t text_bytes;   /* of the answer's text that came with them */
    /* Fingerprint of who said them (node_state.h): with another one the rest would be the rest of
     * another answer. Empty: not known. */
    struct slice numerics;
};

enum { CONTINUATION_TOKENS_MAX = 2 * 1024 * 1024 };

/* One object; only when it is wanted. Without `numerics`. */
void continuation_encode(const struct continuation *continuation, struct json_out *json);
/* Of what it writes. */
size_t continuation_bytes(const struct continuation *continuation);
/* All but `numerics`, which becomes empty. Failures are the fields'; *out_continuation is then as
 * it was. */
void continuation_decode(struct fields *fields, struct continuation *out_continuation);
