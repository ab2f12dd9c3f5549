/* heap - what this program holds of the heap now: for tests that hold a thing to a budget of bytes,
 * by how much there is more with many of them than with one. All threads; shared libraries, too. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

size_t heap_bytes(void); /* with or without ASan */
/* With ASan the number is what was asked for; without it has what malloc adds to each block, and
 * what it keeps free for a thread, which differs from run to run. */
bool heap_bytes_are_exact(void);
