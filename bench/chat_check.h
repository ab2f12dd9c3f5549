/* chat_check - is this a right stream of /v1/chat/completions? Fed with what came, event by event;
 * remembers the first thing that is wrong. No I/O, no clock. */
#pragma once

#include "sse/sse.h"

struct chat_check { /* zeroed: nothing came yet */
    char id[80];    /* of the first chunk: all must have it */
    char finish_reason[32];
    bool is_done;      /* [DONE] came */
    bool has_content;  /* text came, in any chunk so far */
    uint64_t events;   /* [DONE] among them */
    char problem[200]; /* empty: fine so far */
};

void chat_check_event(struct chat_check *check, const struct sse_event *event);
/* The stream is over: were a finish reason and the terminator there? */
void chat_check_end(struct chat_check *check);
/* A 429 or 503: the error object of its kind, and a Retry-After of at least a second.
 * `retry_after` is the field's value; data NULL: there was none. */
void chat_check_refusal(struct chat_check *check, int status, struct slice retry_after,
                        struct slice body);
static inline bool chat_check_is_fine(const struct chat_check *check)
{
    return check->problem[0] == 0;
}
/* Sets the problem, unless there is an earlier one. */
void chat_check_fail(struct chat_check *check, const char *format, ...) PRINTF_LIKE(2, 3);
