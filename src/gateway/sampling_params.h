/* sampling_params - what a request says about sampling, under the names that OpenAI, llama-server
 * and Ollama (its `options`) have for it; they do not contradict each other. docs/sampling.md has
 * the list. Pure. */
#pragma once

#include "gateway/dialect.h"

/* Absent and null leave call->request.sampling as it was. ERR_REFUSED as in params.h. */
MUST_USE enum err sampling_params(struct call *call, const json_t *body,
                                  struct api_error *out_error);
