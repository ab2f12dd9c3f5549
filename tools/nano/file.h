/* file - whole files in and out. */
#pragma once

#include "base/text.h"

/* Whole or not at all: written beside it, synced, and renamed over what was there. ERR_SYSTEM: the
 * note says what failed. One writer of a path at a time. */
MUST_USE enum err file_write(const char *path, const struct slice *parts, size_t count,
                             struct err_note *out_note);
/* Appends to `out`. ERR_NOT_FOUND, ERR_SYSTEM, ERR_LIMIT: more than out's max_bytes. */
MUST_USE enum err file_read(const char *path, struct text *out, struct err_note *out_note);
