/* log - one event, one line, logfmt, to stderr (a single write(2) each). Any thread.
 *
 * error: someone must act; warn: we coped; info: life cycle and one line per finished request;
 * debug: the rest. Never prompts, outputs, keys, or anything per token.
 *
 * On a non-blocking stderr (a role's, which its host reads) a line that does not fit is dropped;
 * how many were, says a line event=log_lines_dropped before the next one that fits. */
#pragma once

#include "base/slice.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level max_level); /* default LOG_INFO */
/* Each line then says role=ROLE behind its level: which process of several wrote it. A literal of
 * ours. Main thread, before there are others. */
void log_set_role(const char *role);
MUST_USE enum err log_level_parse(struct slice name, enum log_level *out_level);

/* log_event(LOG_INFO, "request_done", "req=%s status=%d", id, status). `fields` is logfmt made by
 * the caller; a value that comes from outside goes through log_quote(). Lines over 2 KiB are cut.
 */
void log_event(enum log_level level, const char *event, const char *fields, ...) PRINTF_LIKE(3, 4);

/* The value in logfmt: bare if it is plain, else "quoted" with escapes; cut at `max` bytes of
 * input. Returns a slot of a per-thread ring of 8: use it in the same statement. */
const char *log_quote(struct slice value, size_t max);
