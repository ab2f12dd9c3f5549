/* api_keys - the value of the key `keys`: a JSON list of objects, to and from an array of
 * struct config_api_key. */
#pragma once

#include "config/config.h"

/* Sets config->keys and key_count. The note names the entry and member: "keys[2].sha256 must be 64
 * hex digits". */
MUST_USE enum err api_keys_read(struct slice text, struct config *config,
                                struct err_note *out_note);
/* As JSON that api_keys_read() takes; is_masked: for humans, without the digests. */
void api_keys_write(const struct config *config, bool is_masked, struct text *out);
