/* task_work - does a task (wire/task.h): reads the submit, asks the engine, makes the results.
 *
 * 1. Everything that can be wrong with a task for *this model* is refused here, by the name that
 *    the client gave the field, and for an input among several by its index.
 * 2. Results are bounded: TASK_RESULTS_MAX_BYTES of payloads.
 * 3. Any thread, while the engine is open; of tasks for which task_computes() one at a time. What
 *    takes long looks at `cancel` as it goes.
 * 4. Vectors are of length 1. */
#pragma once

#include "wire/task.h"
#include "worker/prep.h"

struct task_answer {
    struct text parts; /* task_answer_next() */
    uint32_t prompt_tokens;
};

/* `submit`: head and body, as it came; `kind` is what its head says. *out_answer is to be released
 * on ERR_OK only. ERR_REFUSED: *out_refusal says why; ERR_CANCELLED. */
MUST_USE enum err task_work_do(struct engine *engine, struct slice submit, enum task_kind kind,
                               struct cancel_flag *cancel, struct task_answer *out_answer,
                               struct prep_refusal *out_refusal);
/* Takes the first part off `rest`, which begins as text_slice(&answer->parts). False: it was the
 * last. */
bool task_answer_next(struct slice *rest, struct result *out_result);
void task_answer_fini(struct task_answer *answer);

/* It has the model read: seconds of all cores, and one such call at a time (engine_embed()). */
static inline bool task_computes(enum task_kind kind)
{
    return kind == TASK_EMBED || kind == TASK_RERANK;
}
