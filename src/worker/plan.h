/* plan - which tokens go into the next decode(): one of every decoding sequence first, then chunks
 * of prompts. Pure: plan_step(state) -> batch; no clock, no memory of its own.
 *
 * 1. A batch holds at most batch_tokens rows. It is empty only when there is nothing to do.
 * 2. Decoding goes first: every decoding sequence gets its row. Should they not all fit, those at
 *    the front of the list do; the caller then moves them to its back, and all get their turn.
 *    Without prompts, and where narrower steps are faster for all (step_cost_decode_width()), so
 *    many of the front as are best do: with n that decode and w rows everyone has its turn within
 *    ceil(n / w) steps.
 * 3. Prompts share what is left, and no more than prefill_tokens of it when something decodes
 * (their work makes everyone's next token later), prefill_alone_tokens when nothing does. With a
 *    `cost`, a step in which something decodes also takes no longer than step_cost_target_us(), as
 *    far as step_cost_us() knows, and less what the step has spent before; but for the first row of
 *    the oldest prompt.
 * 4. No prompt starves. While one waits, a row is kept for it, even if rule 2 has to give way. The
 *    oldest moves in every step and gets half of the budget (of the time, when it is the time that
 *    ends). The other half goes to the one with the fewest tokens left, so that a short prompt need
 *    not see the end of a long one. What these two do not use goes on to the others, oldest first.
 *    (Half, not less: with a quarter, of 32 that come at once the 16th waits a tenth longer.)
 * 5. A part begins at the position its sequence has reached and has no holes.
 * 6. A part ends at its sequence's `save_at`, where the caller wants to save the cells of exactly
 *    so many tokens (prefix_tree.h); what is left of the prompt goes in from the next step on.
 * 7. From `singles_from` on tokens go in one a step: each wants logits, and an engine has room for
 *    those of one row of a sequence.
 * 8. Where a row alone gives other bits than one among others (engine_info.single_rows_differ),
 *    each token goes in as it would in a request that is alone: those before `pairs_until` never as
 *    the only row of a part, those behind it, which were sampled, one a step. Then a batch keeps
 *    PLAN_PAIR_ROWS for the oldest prompt instead of one (rules 3 and 4), and a save_at that would
 *    leave a single row on either side is passed over.
 * 9. Guessed tokens (draft.h) are filler. A decoding sequence gets rows for some behind its own
 *    only in a step without prompts in which all that decode have their row: at most draft_rows for
 *    all of them, and PLAN_DRAFT_WIDTH rows in the whole step.
 * 10. Of those, with a `cost`, only as many as are expected to bring the most tokens in the step's
 *    time, a sixteenth more than none would; the step keeps to the target of rule 3, and makes no
 *    sequence slower, by its own odds, than a sixteenth. So who is not guessed right does not pay
 *    for who is, and a step that is wide already takes none. Without a `cost` the likeliest get
 *    what there is, the front of equals.
 * 11. Answers that settle (core_settle.c) are filler, too, and keep to rule 8. A step has at most
 *    PLAN_SETTLE_ROWS of them, out of what its prompts leave of rows and time (rule 3). With a
 *    `cost` a step with prompts becomes longer by no more than a quarter for them, or by 20 ms: it
 *    is somebody's first token. With nothing else in it, it has that many rows, and whoever comes
 *    meanwhile need not wait for its end (core.h rule 12). */
#pragma once

#include "worker/step_cost.h"

struct plan_seq {
    uint32_t position;     /* tokens its slot holds = position of the next one */
    uint32_t left;         /* tokens to put in before it can be sampled; >= 1; 1 when it decodes */
    uint32_t save_at;      /* of a prompt: rule 6; > position, or 0: nowhere */
    uint32_t pairs_until;  /* of a prompt: rule 8, a position; 0: rows do not differ */
    uint32_t singles_from; /* of a prompt: rule 7, a position; 0: none such */
    uint32_t drafts;       /* of one that decodes: rule 9, guessed behind its row; <= DRAFT_MAX */
    double draft_odds;     /* 0..1: each is right, if those before it are */
};

enum {
    PLAN_PAIR_ROWS = 3, /* to get on by two, and to end with what is left when that is one */
    PLAN_DRAFT_WIDTH = STEP_COST_WIDTHS, /* wider steps are not measured one by one */
    PLAN_SETTLE_ROWS = 64,
    PLAN_SETTLES_MAX = PLAN_SETTLE_ROWS / 2, /* by two at least */
};

struct plan_state {
    uint32_t batch_tokens;          /* >= 1; > PLAN_PAIR_ROWS with rule 8 */
    uint32_t prefill_tokens;        /* 0 counts as 1; UINT32_MAX leaves it to `cost` */
    uint32_t prefill_alone_tokens;  /* 0 counts as 1 */
    const struct step_cost *cost;   /* NULL: the counts above alone decide */
    uint64_t itl_us;                /* target_itl_ms; 0: by itself (step_cost_target_us()) */
    uint64_t spent_us;              /* what was saved and restored in this step took so long */
    uint32_t draft_rows;            /* rule 9; 0: none */
    const struct plan_seq *decodes; /* longest without a row first */
    uint32_t decode_count;
    const struct plan_seq *prompts; /* oldest first */
    uint32_t prompt_count;
    const struct plan_seq *settles; /* rule 11, first come first; left >= 2, pairs_until is set */
    uint32_t settle_count;          /* <= PLAN_SETTLES_MAX */
};

struct plan_part {  /* rows of one sequence */
    uint32_t index; /* into decodes, into prompts, or into settles */
    bool is_prompt;
    bool wants_logits; /* of its last row: nothing is left after it, so a token is sampled there;
                          with drafts of each */
    uint32_t position; /* of its first row */
    uint32_t count;    /* >= 1; of a decode: its row and its drafts */
};

struct plan_batch {
    struct plan_part *parts; /* decodes in their order, then prompts in theirs */
    uint32_t part_count;     /* without those of settles, which follow them */
    uint32_t settle_count;   /* so many parts */
    uint32_t row_count, draft_count;
    uint32_t decode_count;   /* parts that decode: decodes[0] up to this one */
    struct step_shape shape; /* for step_cost_learn(), with the time of a decode() that went well */
};

/* out_parts has room for decode_count + prompt_count + settle_count of them. */
struct plan_batch plan_step(const struct plan_state *state, struct plan_part *out_parts);
