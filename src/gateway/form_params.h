/* form_params - the form that an answer must have, as OpenAI (response_format) and llama-server
 * (grammar, json_schema, grammar_lazy, grammar_triggers) ask for it. docs/sampling.md has the list.
 * What the texts mean is not looked at here: the worker refuses what is no grammar or no schema,
 * by the name that it has here (form.param). Pure. */
#pragma once

#include "gateway/dialect.h"

/* Absent and null leave call->request.form as it was. ERR_REFUSED as in params.h. */
MUST_USE enum err form_params(struct call *call, const json_t *body, struct api_error *out_error);
