/* base64 - bytes as letters. */
#include "gateway/base64.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void encode_group(const char *bytes, size_t count, char *to) /* 1..3 bytes */
{
    uint32_t group = 0;
    for (size_t i = 0; i < 3; i++)
        group = group << 8 | (i < count ? (unsigned char)bytes[i] : 0);
    for (size_t i = 0; i < 4; i++)
        to[i] = i <= count ? letters[group >> (18 - 6 * i) & 63] : '=';
}

void base64_add(struct text *out, struct slice bytes)
{
    size_t groups = (bytes.len + 2) / 3;
    char *to = groups ? text_reserve(out, 4 * groups) : NULL;
    if (!to)
        return; /* nothing to add, or no room: that is sticky */
    for (size_t at = 0; at < bytes.len; at += 3, to += 4)
        encode_group(bytes.data + at, bytes.len - at < 3 ? bytes.len - at : 3, to);
    out->len += 4 * groups;
}
