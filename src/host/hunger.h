/* hunger - whether a process would run if it got a processor. One that waits for its turn on a full
 * machine is silent like one that hangs, and deserves more patience. Linux. */
#pragma once

#include "base/slice.h"

/* True if a thread of it is runnable. A stopped process has none, and one that is gone neither.
 * Reads a few files of /proc: only for who is silent already. */
bool hunger_of(int pid);
/* "123 (name) R 1 ...": its state; '?' when it is none. Pure. */
char hunger_parse_state(struct slice stat);
