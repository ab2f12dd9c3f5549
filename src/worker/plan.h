/* plan - which tokens go into the next decode(): one of every decoding sequence first, then chunks
 * of prompts. Pure: plan_step(state) -> batch; no clock, no memory of its own.
 *
 * 1. A batch holds at most batch_tokens rows. It is empty only when there is nothing to do.
 * 2. Decoding goes first: every decoding sequence gets its row. Should they not all fit, those at
 *    the front of the list do; the caller then moves them to its back, and all get their turn.
 * 3. Prompts share what is left, and no more than prefill_tokens of it when something decodes
 * (their work makes everyone's next token later), prefill_alone_tokens when nothing does.
 * 4. No prompt starves. While one waits, a row is kept for it, even if rule 2 has to give way; the
 *    oldest gets three quarters of the budget in every step. The last quarter goes to the one with
 *    the fewest tokens left, so that a short prompt need not see the end of a long one. What these
 *    two do not use goes on to the others, oldest first.
 * 5. A part begins at the position its sequence has reached and has no holes. */
#pragma once

#include "base/err.h"

struct plan_seq {
    uint32_t position; /* tokens its slot holds = position of the next one */
    uint32_t left;     /* tokens to put in before it can be sampled; >= 1; 1 when it decodes */
};

struct plan_state {
    uint32_t batch_tokens;          /* >= 1 */
    uint32_t prefill_tokens;        /* 0 counts as 1 */
    uint32_t prefill_alone_tokens;  /* 0 counts as 1 */
    const struct plan_seq *decodes; /* longest without a row first */
    uint32_t decode_count;
    const struct plan_seq *prompts; /* oldest first */
    uint32_t prompt_count;
};

struct plan_part {  /* rows of one sequence */
    uint32_t index; /* into decodes, or into prompts */
    bool is_prompt;
    bool wants_logits; /* of its last row: nothing is left after it, so a token is sampled there */
    uint32_t position; /* of its first row */
    uint32_t count;    /* >= 1 */
};

struct plan_batch {
    struct plan_part *parts; /* decodes in their order, then prompts in theirs */
    uint32_t part_count, row_count;
    uint32_t decode_count; /* parts that decode: decodes[0] up to this one */
};

/* out_parts has room for decode_count + prompt_count of them. */
struct plan_batch plan_step(const struct plan_state *state, struct plan_part *out_parts);
