/* prep - makes a submit ready for the core: decoding, chat template, tokens, checks, limits, seed.
 *
 * 1. Everything that can be wrong with a request for *this model* is refused here, before a slot is
 *    taken: the core gets jobs that cannot fail for their form.
 * 2. The job is complete; the request and its memory may go.
 * 3. A seed made here has at most 53 bits, so that it survives JSON clients and can be replayed.
 *
 * prep_job() is the work behind the decoding: it may take milliseconds per 100 KB of prompt.
 * prep_start() puts all of it on the pool: at 100 MB/s the JSON of a large submit alone would hold
 * up everybody's tokens. For a small one the way to the pool and back, two wake-ups, is what costs:
 * the caller may have it prepared at the end of the turn instead, and bounds how many. */
#pragma once

#include "loop/loop.h"
#include "worker/core.h"
#include "worker/forms.h"

struct prep_limits {
    uint32_t default_max_tokens; /* when the request gives none; 0: as many as fit */
    uint32_t context_margin;     /* tokens that must be left for the answer then */
    uint32_t mark_tokens;        /* where a system prompt ends behind so many is said; 0: nowhere */
};

struct prep_refusal {
    enum fault fault;
    char message[512];
    const char *param; /* the request's field to blame, or NULL: a literal, or what is in */
    char form_param[FORM_PARAM_MAX_BYTES + 1];
};

/* Any thread, while the engine is open. The job has no key, cancel flag, credit or grammar yet; of
 * what is said already it has the tokens, and replay.h is still to come.
 * ERR_REFUSED: *out_refusal says why. */
MUST_USE enum err prep_job(struct engine *engine, const struct request *request,
                           const struct prep_limits *limits, struct core_job **out_job,
                           struct prep_refusal *out_refusal);

struct prep_options {
    struct prep_limits limits;
    bool want_progress; /* of the head, which the caller has read: the body alone is read here */
    bool in_line;       /* on the loop, at the end of the turn; but what its form needs (forms.h) */
    struct forms *forms; /* NULL: who asks for a form is refused */
};

struct prep;
/* The loop's thread. On ERR_OK the job is the callee's. Called exactly once, from the loop, also
 * after prep_cancel() (with ERR_CANCELLED, or whatever it was that came before). */
typedef void prep_done_fn(void *ctx, enum err err, struct core_job *job,
                          const struct prep_refusal *refusal);
/* Copies `submit` (request.h: head and body). Gone when on_done returns; the engine must stay open
 * until then. NULL: no memory for the copy. */
struct prep *prep_start(struct loop *loop, struct engine *engine, struct slice submit,
                        const struct prep_options *options, prep_done_fn *on_done, void *ctx);
void prep_cancel(struct prep *prep);
