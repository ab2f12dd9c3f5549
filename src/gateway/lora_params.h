/* lora_params - with which of a model's adapters an answer is to be made: `lora`, as llama-server
 * has it, [{"id": 0, "scale": 0.5}], and {"name": "sql"} for who knows no numbers; without a scale
 * it is 1. Which there are, the worker knows: it refuses others by the name `lora`. Pure. */
#pragma once

#include "gateway/dialect.h"

/* Absent and null leave call->request.adapters as it was. ERR_REFUSED as in params.h. */
MUST_USE enum err lora_params(struct call *call, const json_t *body, struct api_error *out_error);
