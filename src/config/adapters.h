/* adapters - the value of the key `llama_lora`: a JSON list of objects, to and from an array of
 * struct config_adapter. */
#pragma once

#include "config/config.h"

/* Sets config->llama_lora and llama_lora_count. The note names the entry and member:
 * "llama_lora[1].scale must be a number in -100..100". */
MUST_USE enum err config_adapters_read(struct slice text, struct config *config,
                                       struct err_note *out_note);
/* As JSON that config_adapters_read() takes. */
void config_adapters_write(const struct config *config, struct text *out);
