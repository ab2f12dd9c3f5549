/* little - little-endian integers in byte strings, on any machine, at any alignment. Pure. */
#pragma once

#include <stdint.h>

static inline void little_put16(char *bytes, uint16_t value)
{
    bytes[0] = (char)(value & 0xff);
    bytes[1] = (char)(value >> 8);
}

static inline void little_put32(char *bytes, uint32_t value)
{
    little_put16(bytes, (uint16_t)(value & 0xffff));
    little_put16(bytes + 2, (uint16_t)(value >> 16));
}

static inline void little_put64(char *bytes, uint64_t value)
{
    little_put32(bytes, (uint32_t)(value & 0xffffffff));
    little_put32(bytes + 4, (uint32_t)(value >> 32));
}

static inline uint16_t little_get16(const char *bytes)
{
    const unsigned char *from = (const unsigned char *)bytes;
    return (uint16_t)(from[0] | from[1] << 8);
}

static inline uint32_t little_get32(const char *bytes)
{
    return little_get16(bytes) | (uint32_t)little_get16(bytes + 2) << 16;
}

static inline uint64_t little_get64(const char *bytes)
{
    return little_get32(bytes) | (uint64_t)little_get32(bytes + 4) << 32;
}
