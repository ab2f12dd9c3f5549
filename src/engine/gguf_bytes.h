/* gguf_bytes - GGUF by hand, for tests whose files must be able to lie in just one place: the
 * pieces of its header, little endian (ggml/docs/gguf.md). Whole files: nano/gguf_write.h. */
#pragma once

#include "base/text.h"

static inline void put(struct text *file, uint64_t number, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        text_add_byte(file, (char)(number >> 8 * i));
}

static inline void put_string(struct text *file, const char *string)
{
    put(file, strlen(string), 8);
    text_add_str(file, string);
}

/* `type`: of the value, which comes next. */
static inline void put_key(struct text *file, const char *key, uint32_t type)
{
    put_string(file, key);
    put(file, type, 4);
}
