/* choice - numbers that a fuzz target needs besides its input (where to cut, which limit), drawn
 * from the input itself: so a seed is just the bytes of the protocol, and a crash replays. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* splitmix64 over FNV-1a: a start value, then choice_next() as often as needed. */
static inline uint64_t choice_of(const uint8_t *data, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static inline size_t choice_next(uint64_t *choice, size_t below)
{
    uint64_t z = (*choice += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (size_t)((z ^ (z >> 31)) % below);
}
