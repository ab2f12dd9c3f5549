/* slice - looking at borrowed bytes. */
#include "base/slice.h"

static unsigned char ascii_lower(char byte)
{
    unsigned char c = (unsigned char)byte;
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

bool slice_eq_ci(struct slice a, struct slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (ascii_lower(a.data[i]) != ascii_lower(b.data[i]))
            return false;
    return true;
}

bool slice_starts_with(struct slice slice, struct slice prefix)
{
    return slice.len >= prefix.len && slice_eq(slice_first(slice, prefix.len), prefix);
}

bool slice_ends_with(struct slice slice, struct slice suffix)
{
    return slice.len >= suffix.len && slice_eq(slice_after(slice, slice.len - suffix.len), suffix);
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

struct slice slice_trim(struct slice slice)
{
    size_t first = 0, end = slice.len;
    while (first < end && is_blank(slice.data[first]))
        first++;
    while (end > first && is_blank(slice.data[end - 1]))
        end--;
    return slice_first(slice_after(slice, first), end - first);
}

size_t slice_find_byte(struct slice slice, char byte)
{
    const char *found = slice.len ? memchr(slice.data, (unsigned char)byte, slice.len) : NULL;
    return found ? (size_t)(found - slice.data) : SLICE_NPOS;
}

size_t slice_find(struct slice slice, struct slice needle)
{
    if (needle.len == 0)
        return 0;
    if (needle.len > slice.len)
        return SLICE_NPOS;
    const char *found = memmem(slice.data, slice.len, needle.data, needle.len);
    return found ? (size_t)(found - slice.data) : SLICE_NPOS;
}

bool slice_cut(struct slice slice, char byte, struct slice *out_head, struct slice *out_tail)
{
    size_t index = slice_find_byte(slice, byte);
    if (index == SLICE_NPOS) {
        *out_head = slice;
        *out_tail = slice_after(slice, slice.len);
        return false;
    }
    *out_head = slice_first(slice, index);
    *out_tail = slice_after(slice, index + 1);
    return true;
}

enum err slice_parse_u64(struct slice slice, uint64_t max, uint64_t *out_value)
{
    if (slice.len == 0)
        return ERR_PROTOCOL;
    uint64_t value = 0;
    bool above_max = false;
    for (size_t i = 0; i < slice.len; i++) {
        if (slice.data[i] < '0' || slice.data[i] > '9')
            return ERR_PROTOCOL;
        uint64_t digit = (uint64_t)(slice.data[i] - '0');
        /* Once above, it stays above: the rest is only asked whether it is digits. */
        above_max = above_max || digit > max || value > (max - digit) / 10;
        if (!above_max)
            value = value * 10 + digit;
    }
    if (above_max)
        return ERR_LIMIT;
    *out_value = value;
    return ERR_OK;
}
