/* wheel - a hierarchical timer wheel: entries by tick, in O(1), for any distance.
 *
 * Eleven levels of 64 slots: level 0 has a slot per tick, each next level one that is 64 times as
 * wide, so that 64-bit ticks fit and nothing ever overflows.
 * 1. An entry that lies ahead sits on the level of the highest 6-bit digit in which its tick
 *    differs from `now`, in the slot of that digit. So its place follows from (now, tick), every
 *    used slot is ahead of now's own digit, and a lower level is always due before a higher one.
 * 2. Moving time into a slot of a higher level spreads its entries over the levels below.
 * 3. Entries come out by tick; those of one tick in the order in which they were added. One that
 *    was added late (tick <= now) comes out with the next wheel_advance(), before all others.
 * Pure: no clock; the unit of a tick is the caller's. Owns no entry. Belongs to one thread. */
#pragma once

#include "base/list.h"

enum { WHEEL_LEVELS = 11, WHEEL_SLOTS = 64 };
#define WHEEL_NEVER UINT64_MAX

struct wheel_entry { /* public so that it lives inside its owner */
    struct list link;
    uint64_t tick;
};

struct wheel {
    uint64_t now;
    uint64_t used[WHEEL_LEVELS]; /* bit s: slot s of that level has entries */
    struct list late;
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel, uint64_t now);
/* The entry must not be in a wheel; its memory need not be initialised. O(1). */
void wheel_add(struct wheel *wheel, struct wheel_entry *entry, uint64_t tick);
/* An entry of this wheel, or of a list that wheel_advance() filled. O(1). */
void wheel_remove(struct wheel *wheel, struct wheel_entry *entry);
/* When to call wheel_advance() next: at the first due tick; before it, at most once per level, when
 * more than a few entries lie together and are spread first (rule 2). WHEEL_NEVER: no entries. */
uint64_t wheel_next(const struct wheel *wheel);
/* Moves time forward (never back) and appends what is due (tick <= now) to `due`, as `link`s. */
void wheel_advance(struct wheel *wheel, uint64_t now, struct list *due);
