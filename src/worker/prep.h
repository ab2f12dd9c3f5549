/* prep - makes a request ready for the core: chat template, tokens, checks, limits, seed.
 *
 * 1. Everything that can be wrong with a request for *this model* is refused here, before a slot is
 *    taken: the core gets jobs that cannot fail for their form.
 * 2. The job is complete in its own arena; the request and its memory may go.
 * 3. A seed made here has at most 53 bits, so that it survives JSON clients and can be replayed.
 *
 * prep_job() is the work itself: it may take milliseconds per 100 KB of prompt and belongs on the
 * pool. prep_start() puts it there. */
#pragma once

#include "loop/loop.h"
#include "worker/core.h"

struct prep_limits {
    uint32_t default_max_tokens; /* when the request gives none; 0: as many as fit */
    uint32_t context_margin;     /* tokens that must be left for the answer then */
};

struct prep_refusal {
    enum fault fault;
    char message[512];
    const char *param; /* a literal: the request's field to blame, or NULL */
};

/* Any thread, while the engine is open. The job has no key, cancel flag or credit yet.
 * ERR_REFUSED: *out_refusal says why. */
MUST_USE enum err prep_job(struct engine *engine, const struct request *request,
                           const struct prep_limits *limits, struct core_job **out_job,
                           struct prep_refusal *out_refusal);

struct prep;
/* The loop's thread. On ERR_OK the job is the callee's. Called exactly once, from the loop, also
 * after prep_cancel() (with ERR_CANCELLED, or whatever it was that came before). */
typedef void prep_done_fn(void *ctx, enum err err, struct core_job *job,
                          const struct prep_refusal *refusal);
/* Takes *arena, which holds *request. Never NULL; gone when on_done returns. The engine must stay
 * open until then. */
struct prep *prep_start(struct loop *loop, struct engine *engine, struct arena **arena,
                        const struct request *request, const struct prep_limits *limits,
                        prep_done_fn *on_done, void *ctx);
void prep_cancel(struct prep *prep);
