/* task_params - what the surfaces that ask for a task (wire/task.h) read of a body under the same
 * names, with an error that names the member and, in a list, the index. Pure. */
#pragma once

#include "gateway/params.h"

/* An object; model, priority; `stream` is refused: a task is answered whole. */
MUST_USE enum err task_param_common(struct call *call, const struct dialect_input *input,
                                    enum task_kind kind, struct api_error *out_error);
/* A list of token ids. `key` is what the client calls it, "input[3]". *room: how many ids all
 * inputs of the call may still have. */
MUST_USE enum err task_param_tokens(struct call *call, const json_t *list, const char *key,
                                    size_t *room, struct task_input *out_input,
                                    struct api_error *out_error);
MUST_USE enum err task_param_text(struct call *call, const json_t *text, const char *key,
                                  struct task_input *out_input, struct api_error *out_error);
/* Memory for `count` of them, which become the call's; ERR_REFUSED with an error that names `key`
 * if the count is not 1..TASK_INPUTS_MAX. */
MUST_USE enum err task_param_inputs(struct call *call, size_t count, const char *key,
                                    struct task_input **out_inputs, struct api_error *out_error);
