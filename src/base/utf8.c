/* utf8 - by Unicode 15 table 3-7: the first byte decides how many follow and narrows the second. */
#include "base/utf8.h"

#define REPLACEMENT SLICE("\xEF\xBF\xBD") /* U+FFFD */

struct lead {
    uint8_t len; /* of the whole character; 0 = can begin none */
    uint8_t second_min, second_max;
};

static struct lead lead_of(uint8_t byte)
{
    if (byte < 0x80)
        return (struct lead){1, 0, 0};
    if (byte < 0xC2) /* a continuation, or the overlong C0 and C1 */
        return (struct lead){0, 0, 0};
    if (byte < 0xE0)
        return (struct lead){2, 0x80, 0xBF};
    if (byte < 0xF0) /* E0: overlong below A0; ED: surrogates above 9F */
        return (struct lead){3, byte == 0xE0 ? 0xA0 : 0x80, byte == 0xED ? 0x9F : 0xBF};
    if (byte < 0xF5) /* F0: overlong below 90; F4: above U+10FFFF from 90 on */
        return (struct lead){4, byte == 0xF0 ? 0x90 : 0x80, byte == 0xF4 ? 0x8F : 0xBF};
    return (struct lead){0, 0, 0};
}

struct utf8_part utf8_first(struct slice bytes)
{
    ASSERT(bytes.len > 0);
    const uint8_t *byte = (const uint8_t *)bytes.data;
    struct lead lead = lead_of(byte[0]);
    if (lead.len <= 1)
        return (struct utf8_part){1, lead.len == 1};
    uint8_t min = lead.second_min, max = lead.second_max;
    size_t len = 1;
    while (len < lead.len && len < bytes.len && byte[len] >= min && byte[len] <= max) {
        len++;
        min = 0x80;
        max = 0xBF;
    }
    return (struct utf8_part){len, len == lead.len};
}

/* How many bytes from the front are ASCII; eight at a time. */
static size_t ascii_run(struct slice bytes)
{
    size_t len = 0;
    for (uint64_t word; bytes.len - len >= sizeof(word); len += sizeof(word)) {
        memcpy(&word, bytes.data + len, sizeof(word));
        if (word & UINT64_C(0x8080808080808080))
            break;
    }
    while (len < bytes.len && (uint8_t)bytes.data[len] < 0x80)
        len++;
    return len;
}

/* How many bytes from the front are whole, valid characters. */
static size_t valid_run(struct slice bytes)
{
    size_t len = 0;
    for (;;) {
        len += ascii_run(slice_after(bytes, len));
        if (len == bytes.len)
            return len;
        struct utf8_part part = utf8_first(slice_after(bytes, len));
        if (!part.valid)
            return len;
        len += part.len;
    }
}

bool utf8_is_valid(struct slice bytes)
{
    return valid_run(bytes) == bytes.len;
}

size_t utf8_settled(struct slice bytes)
{
    for (size_t back = 1; back <= 3 && back <= bytes.len; back++) {
        size_t start = bytes.len - back;
        uint8_t byte = (uint8_t)bytes.data[start];
        if ((byte & 0xC0) == 0x80)
            continue; /* a continuation: the beginning is further back */
        struct utf8_part part = utf8_first(slice_after(bytes, start));
        bool is_unfinished = !part.valid && part.len == back && lead_of(byte).len > back;
        return is_unfinished ? start : bytes.len;
    }
    return bytes.len;
}

void utf8_add_repaired(struct text *out, struct slice bytes)
{
    for (;;) {
        size_t valid = valid_run(bytes);
        text_add(out, slice_first(bytes, valid));
        bytes = slice_after(bytes, valid);
        if (bytes.len == 0)
            return;
        text_add(out, REPLACEMENT);
        bytes = slice_after(bytes, utf8_first(bytes).len);
    }
}

size_t utf8_count(struct slice bytes)
{
    size_t count = 0;
    for (size_t i = 0; i < bytes.len; i++)
        count += ((uint8_t)bytes.data[i] & 0xC0) != 0x80; /* all but continuations */
    return count;
}

uint32_t utf8_codepoint(struct slice character)
{
    static const uint8_t lead_masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t codepoint = (uint8_t)character.data[0] & lead_masks[character.len];
    for (size_t i = 1; i < character.len; i++)
        codepoint = codepoint << 6 | ((uint8_t)character.data[i] & 0x3F);
    return codepoint;
}

void utf8_add_codepoint(struct text *out, uint32_t codepoint)
{
    if (codepoint > 0x10FFFF || (codepoint >= 0xD800 && codepoint <= 0xDFFF))
        codepoint = 0xFFFD;
    char bytes[4];
    size_t len = codepoint < 0x80 ? 1 : codepoint < 0x800 ? 2 : codepoint < 0x10000 ? 3 : 4;
    static const uint8_t lead_bits[] = {0, 0x00, 0xC0, 0xE0, 0xF0};
    for (size_t i = len - 1; i > 0; i--) {
        bytes[i] = (char)(0x80 | (codepoint & 0x3F));
        codepoint >>= 6;
    }
    bytes[0] = (char)(lead_bits[len] | codepoint);
    text_add(out, slice_of(bytes, len));
}
