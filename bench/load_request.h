/* load_request - the bytes that load sends. Pure but for reading --body-file. */
#pragma once

#include "load_options.h"

enum { LOAD_BODY_MAX_BYTES = 64 << 20, LOAD_REQUESTS_MAX = 10000 };

/* Head and body of what is asked. ERR_LIMIT, ERR_SYSTEM + note: the body cannot be so short; the
 * file cannot be read. out is the caller's. */
MUST_USE enum err load_request_write(const struct load_options *options, struct text *out,
                                     struct err_note *out_note);
/* Of --bodies: what is asked, in turn. Zeroed: none. */
struct load_requests {
    struct text *texts;
    uint32_t count, next;
};

/* ERR_SYSTEM, ERR_LIMIT, ERR_PROTOCOL + note: it cannot be read; it is too long, or has no lines or
 * more than LOAD_REQUESTS_MAX; a line is no object. */
MUST_USE enum err load_requests_read(const struct load_options *options,
                                     struct load_requests *out_requests, struct err_note *out_note);
/* The next one; behind the last comes the first. Good until free(). */
struct slice load_requests_next(struct load_requests *requests);
void load_requests_free(struct load_requests *requests);
/* A GET of `path`. */
void load_request_write_get(const struct load_options *options, const char *path, struct text *out);
