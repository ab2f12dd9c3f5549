/* pieces - the alternatives of the rule, one function each. */
#include "nano/pieces.h"

#include "base/utf8.h"
#include "nano/unicode_class.h"

struct character {
    uint32_t codepoint; /* 0 at the end of the text */
    size_t bytes;       /* 0 at the end */
    enum unicode_class is;
};

static uint32_t decode(const uint8_t *bytes, size_t len)
{
    static const uint8_t lead_mask[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t codepoint = bytes[0] & lead_mask[len];
    for (size_t i = 1; i < len; i++)
        codepoint = codepoint << 6 | (bytes[i] & 0x3F);
    return codepoint;
}

static struct character character_at(struct slice text, size_t at)
{
    if (at >= text.len)
        return (struct character){.is = UNICODE_UNKNOWN};
    struct utf8_part part = utf8_first(slice_after(text, at));
    ASSERT_MSG(part.valid, "a document is not UTF-8: byte %zu", at);
    uint32_t codepoint = decode((const uint8_t *)text.data + at, part.len);
    enum unicode_class is = unicode_class_of(codepoint);
    ASSERT_MSG(is != UNICODE_UNKNOWN, "U+%04X: not in the table of unicode_class.c", codepoint);
    return (struct character){.codepoint = codepoint, .bytes = part.len, .is = is};
}

static bool is_line_end(struct character character)
{
    return character.codepoint == '\r' || character.codepoint == '\n';
}

static char lower_at(struct slice text, size_t at)
{
    char byte = at < text.len ? text.data[at] : 0;
    return byte >= 'A' && byte <= 'Z' ? (char)(byte + ('a' - 'A')) : byte;
}

/* Each returns the bytes of its alternative at the front of the text; 0: it does not fit. */

static size_t contraction(struct slice text)
{
    if (text.data[0] != '\'')
        return 0;
    char second = lower_at(text, 1), third = lower_at(text, 2);
    if (second == 's' || second == 't' || second == 'm' || second == 'd')
        return 2;
    bool is_two_letters = (second == 'r' && third == 'e') || (second == 'v' && third == 'e') ||
                          (second == 'l' && third == 'l');
    return is_two_letters ? 3 : 0;
}

static size_t word(struct slice text)
{
    struct character first = character_at(text, 0);
    if (is_line_end(first) || first.is == UNICODE_NUMBER)
        return 0;
    if (first.is != UNICODE_LETTER && character_at(text, first.bytes).is != UNICODE_LETTER)
        return 0;
    size_t end = first.bytes;
    for (struct character next; (next = character_at(text, end)).is == UNICODE_LETTER;)
        end += next.bytes;
    return end;
}

static size_t digit(struct slice text)
{
    struct character first = character_at(text, 0);
    return first.is == UNICODE_NUMBER ? first.bytes : 0;
}

static size_t punctuation(struct slice text)
{
    size_t begin = text.data[0] == ' ', end = begin;
    struct character next;
    while ((next = character_at(text, end)).is == UNICODE_OTHER)
        end += next.bytes;
    if (end == begin)
        return 0;
    while (is_line_end(character_at(text, end)))
        end++;
    return end;
}

static size_t spaces(struct slice text)
{
    size_t end = 0, last_bytes = 0, after_line_end = 0, count = 0;
    struct character next;
    while ((next = character_at(text, end)).is == UNICODE_SPACE) {
        end += next.bytes;
        last_bytes = next.bytes;
        count++;
        if (is_line_end(next))
            after_line_end = end;
    }
    if (after_line_end > 0)
        return after_line_end;
    /* The last space goes with what follows it. */
    return count > 1 && end < text.len ? end - last_bytes : end;
}

struct slice piece_next(struct slice *rest)
{
    static size_t (*const alternatives[])(struct slice) = {contraction, word, digit, punctuation,
                                                           spaces};
    size_t bytes = 0;
    for (size_t i = 0; bytes == 0 && i < ARRAY_COUNT(alternatives); i++)
        bytes = alternatives[i](*rest);
    ASSERT(bytes > 0);
    struct slice piece = slice_first(*rest, bytes);
    *rest = slice_after(*rest, bytes);
    return piece;
}
