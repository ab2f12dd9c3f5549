/* api_error - every error an HTTP client can get: one table of status, type and code (spec
 * http-api.md section 1), and the one writer of its JSON. Text for humans is made here and by the
 * parsers, nowhere else. */
#pragma once

#include "base/text.h"
#include "wire/event.h"

struct api_error {
    int status;       /* 400 ... */
    const char *type; /* "invalid_request_error" */
    const char *code; /* "invalid_messages" */
    char message[512];
    char param[64];          /* "" : none */
    uint32_t retry_after_ms; /* 0: no Retry-After */
};

/* Fills *out_error and returns ERR_REFUSED, so that a parser can
 * `return api_error_set(out_error, 400, "invalid_messages", "messages", "messages must be array");`
 * The type follows from the status. */
MUST_USE enum err api_error_set(struct api_error *out_error, int status, const char *code,
                                const char *param, const char *format, ...) PRINTF_LIKE(5, 6);
/* From an error event. */
void api_error_from_event(const struct event *error, struct api_error *out_error);
/* {"error":{"message":...,"type":...,"param":...,"code":...}} */
void api_error_write(const struct api_error *error, struct text *out);
/* "Retry-After: 2\r\n" (whole seconds, rounded up, at least 1) or nothing. */
void api_error_fields(const struct api_error *error, struct text *out);
