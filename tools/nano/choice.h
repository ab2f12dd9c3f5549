/* choice - what a sample draws. Everything random in it comes from one seeded state, with integers
 * only: the same seed gives the same bytes on every machine. Belongs to one thread. */
#pragma once

#include "base/slice.h"
#include "base/splitmix.h"

struct choice {
    uint64_t state;
};

/* 0 <= x < count; count >= 1. */
static inline size_t choice_below(struct choice *choice, size_t count)
{
    return (size_t)(((unsigned __int128)splitmix_next(&choice->state) * count) >> 64);
}

/* low <= x <= high. */
static inline int64_t choice_between(struct choice *choice, int64_t low, int64_t high)
{
    return low + (int64_t)choice_below(choice, (size_t)(high - low) + 1);
}

static inline bool choice_percent(struct choice *choice, unsigned percent)
{
    return choice_below(choice, 100) < percent;
}

/* One of an array of strings. */
#define CHOICE_OF(choice, array)                                                                   \
    ((array)[choice_below((choice), sizeof(array) / sizeof((array)[0]))])
