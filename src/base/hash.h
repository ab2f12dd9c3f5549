/* hash - FNV-1a, 64 bits: for tables of names. Whoever chooses the bytes can make two of them
 * collide; so tables of names that come from outside are bounded and say what they do then. */
#pragma once

#include "base/slice.h"

#define HASH_START UINT64_C(0xcbf29ce484222325)

/* Of several pieces: HASH_START first, then what came out. Nothing stands between the pieces. */
static inline uint64_t hash_add(uint64_t hash, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ (uint8_t)bytes.data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static inline uint64_t hash_bytes(struct slice bytes)
{
    return hash_add(HASH_START, bytes);
}
