/* hunger - whether a process would run if it got a processor, or what it reads from the disk. One
 * that waits for its turn on a full machine, or for a page of its own program behind much that is
 * being written, is silent like one that hangs, and deserves more patience. Linux. */
#pragma once

#include "base/slice.h"

/* True if a thread of it is runnable, or sleeps so that no signal wakes it, as in a page fault. A
 * stopped process has none of them, nor has one that is gone.
 * Reads a few files of /proc: only for who is silent already. */
bool hunger_of(int pid);
/* "123 (name) R 1 ...": its state; '?' when it is none. Pure. */
char hunger_parse_state(struct slice stat);
