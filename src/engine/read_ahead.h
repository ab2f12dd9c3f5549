/* read_ahead - a file into the page cache, piece by piece, before it is mapped.
 *
 * libllama maps a model with MAP_POPULATE: one system call reads all of it, which takes seconds to
 * minutes from a disk, tells nothing and cannot be stopped; its own progress then runs from 0 to 1
 * within a millisecond (110m at f16, 220 MB). And a page that the disk does not give kills a
 * process that has it mapped. So the bytes are read first, here, where each piece can be counted,
 * stopped at, and fail in words. What it costs where all of it is cached already: a copy through a
 * buffer. */
#pragma once

#include "engine/engine.h"

enum { READ_AHEAD_PIECE = 1 << 20 }; /* bytes between two questions whether to go on */

/* on_progress() is asked after each piece, with 1 last. ERR_CANCELLED: it said stop; ERR_PROTOCOL:
 * the file cannot be read as far as its size (note). */
MUST_USE enum err read_ahead(const char *path, engine_progress_fn *on_progress, void *ctx,
                             struct err_note *out_note);
