/* parallel - pieces of work on a few threads. */
#pragma once

#include <stddef.h>

enum { PARALLEL_THREADS_MAX = 64 };

/* work(ctx, thread, piece) for piece 0 .. pieces - 1; a thread takes every threads-th, so that
 * which one does what is always the same. Returns when all is done. Threads are made anew (50 us
 * each): for pieces of milliseconds. */
typedef void parallel_fn(void *ctx, unsigned thread, size_t piece);
void parallel_run(unsigned threads, size_t pieces, parallel_fn *work, void *ctx);
