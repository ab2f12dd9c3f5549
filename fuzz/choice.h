/* choice - numbers that a fuzz target needs besides its input (where to cut, which limit), drawn
 * from the input itself: so a seed is just the bytes of the protocol, and a crash replays. */
#pragma once

#include "base/hash.h"
#include "base/splitmix.h"

/* splitmix64 over the hash: a start value, then choice_next() as often as needed. */
static inline uint64_t choice_of(const uint8_t *data, size_t size)
{
    return hash_bytes(slice_of(data, size));
}

static inline size_t choice_next(uint64_t *choice, size_t below)
{
    return (size_t)(splitmix_next(choice) % below);
}
