/* pace - when to read again what a child writes on stderr. See pace.h. */
#include "host/pace.h"

enum { US_PER_MS = 1000 };

uint64_t pace_step(struct pace *pace, uint64_t now_us, size_t bytes, bool is_cut)
{
    uint64_t quiet_us = now_us - pace->spoke_us;
    pace->spoke_us = now_us;
    if (now_us - pace->window_us >= PACE_WINDOW_MS * US_PER_MS) {
        pace->window_us = now_us;
        pace->window_bytes = 0;
    }
    pace->window_bytes += bytes;
    if (pace->window_bytes >= PACE_WINDOW_BYTES)
        return pace->window_us + PACE_WINDOW_MS * US_PER_MS;
    if (is_cut || quiet_us >= 2 * PACE_PAUSE_MS * US_PER_MS)
        return 0;
    return now_us + PACE_PAUSE_MS * US_PER_MS;
}
