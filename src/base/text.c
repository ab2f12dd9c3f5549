/* text - growing by doubling, and what does not fit in a register. */
#include "base/text.h"

#include "base/mem.h"

#include <stdio.h>

enum { FIRST_CAPACITY = 128 };

void text_init(struct text *text, size_t max_bytes)
{
    *text = (struct text){.max_bytes = max_bytes};
}

void text_fini(struct text *text)
{
    mem_free(text->data);
    text_init(text, text->max_bytes);
}

void text_clear(struct text *text)
{
    text->len = 0;
    text->overflowed = false;
}

void text_shrink(struct text *text, size_t len)
{
    ASSERT_MSG(len <= text->len, "%zu of %zu", len, text->len);
    text->len = len;
}

static size_t next_capacity(const struct text *text, size_t needed)
{
    size_t capacity = text->capacity ? 2 * text->capacity : FIRST_CAPACITY;
    if (capacity < needed)
        capacity = needed;
    return capacity < text->max_bytes ? capacity : text->max_bytes;
}

char *text_reserve(struct text *text, size_t bytes)
{
    if (text->overflowed)
        return NULL;
    if (text->data && bytes <= text->capacity - text->len)
        return text->data + text->len;
    if (bytes <= text->max_bytes - text->len) {
        size_t capacity = next_capacity(text, text->len + bytes);
        /* One byte more than we speak of, for the NUL that vsnprintf() insists on. */
        char *data = capacity < SIZE_MAX ? mem_peer_grow(text->data, capacity + 1) : NULL;
        if (data) {
            text->data = data;
            text->capacity = capacity;
            return data + text->len;
        }
    }
    text->overflowed = true;
    return NULL;
}

void text_add_slow(struct text *text, struct slice bytes)
{
    if (bytes.len == 0)
        return;
    char *room = text_reserve(text, bytes.len);
    if (!room)
        return;
    memcpy(room, bytes.data, bytes.len);
    text->len += bytes.len;
}

void text_add_str(struct text *text, const char *string)
{
    text_add(text, slice_str(string));
}

void text_add_u64(struct text *text, uint64_t value)
{
    char digits[20]; /* of 18446744073709551615 */
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    text_add(text, slice_of(digits + at, sizeof(digits) - at));
}

void text_add_i64(struct text *text, int64_t value)
{
    if (value >= 0) {
        text_add_u64(text, (uint64_t)value);
        return;
    }
    char digits[20]; /* of -9223372036854775808 */
    size_t at = sizeof(digits);
    uint64_t magnitude = -(uint64_t)value; /* defined for INT64_MIN too */
    do {
        digits[--at] = (char)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude);
    digits[--at] = '-';
    text_add(text, slice_of(digits + at, sizeof(digits) - at));
}

void text_add_f(struct text *text, const char *format, ...)
{
    if (!text_reserve(text, 0))
        return;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    size_t room = text->capacity - text->len + 1;
    int needed = vsnprintf(text->data + text->len, room, format, args);
    va_end(args);
    if (needed < 0) {
        text->overflowed = true;
    } else if (text_reserve(text, (size_t)needed)) {
        if ((size_t)needed >= room)
            vsnprintf(text->data + text->len, (size_t)needed + 1, format, again);
        text->len += (size_t)needed;
    }
    va_end(again);
}

enum err text_status(const struct text *text)
{
    return text->overflowed ? ERR_LIMIT : ERR_OK;
}
