/* load_request - the bytes that load sends. Pure but for reading --body-file. */
#pragma once

#include "load_options.h"

enum { LOAD_BODY_MAX_BYTES = 64 << 20 };

/* Head and body of what is asked. ERR_LIMIT, ERR_SYSTEM + note: the body cannot be so short; the
 * file cannot be read. out is the caller's. */
MUST_USE enum err load_request_write(const struct load_options *options, struct text *out,
                                     struct err_note *out_note);
/* A GET of `path`. */
void load_request_write_get(const struct load_options *options, const char *path, struct text *out);
