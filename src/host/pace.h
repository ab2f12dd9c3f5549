/* pace - when to read again what a child writes on stderr. Pure.
 *
 * 1. Who spoke a moment ago is read again only after a pause: a line for each request need not wake
 *    us each time. Not so where a turn was cut by its own bound, for there is more already.
 * 2. In a window not more than PACE_WINDOW_BYTES and what its last turn brought: the rest of a
 *    flood waits for the window's end. So much a second is more than anybody reads. */
#pragma once

#include "base/slice.h"

enum {
    PACE_PAUSE_MS = 10,
    PACE_WINDOW_MS = 100,
    PACE_WINDOW_BYTES = 1024 * 1024, /* 25 000 request lines a second */
};

struct pace { /* all zero: it has not spoken yet */
    uint64_t spoke_us, window_us;
    size_t window_bytes;
};

/* Once for each turn that read something. `is_cut`: it stopped at its own bound. Returns when to
 * listen again; 0: go on listening. */
MUST_USE uint64_t pace_step(struct pace *pace, uint64_t now_us, size_t bytes, bool is_cut);
