/* utf8_test - every code point, every short sequence, the tables of the Unicode standard. */
#include "base/utf8.h"
#include "testing/test.h"

/* The definition of RFC 3629 taken literally: decode, then ask whether that was allowed. */
static bool oracle_is_character(const uint8_t *byte, size_t len)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t needed = byte[0] < 0x80           ? 1
                    : (byte[0] >> 5) == 0x6  ? 2
                    : (byte[0] >> 4) == 0xE  ? 3
                    : (byte[0] >> 3) == 0x1E ? 4
                                             : 0;
    if (needed != len)
        return false;
    uint32_t codepoint = len == 1 ? byte[0] : byte[0] & (0xFFu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((byte[i] & 0xC0) != 0x80)
            return false;
        codepoint = codepoint << 6 | (byte[i] & 0x3F);
    }
    return codepoint >= smallest[len] && codepoint <= 0x10FFFF &&
           !(codepoint >= 0xD800 && codepoint <= 0xDFFF);
}

/* Is there any text that begins with these bytes? Only asked of 1..3 bytes. */
static bool oracle_is_unfinished(const uint8_t *byte, size_t len)
{
    static const uint8_t edges[] = {0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF};
    uint8_t whole[4];
    memcpy(whole, byte, len);
    for (size_t add = 1; len + add <= 4; add++)
        for (int a = 0; a < 6; a++) {
            memset(whole + len, 0x80, 4 - len);
            whole[len] = edges[a];
            if (oracle_is_character(whole, len + add))
                return true;
        }
    return false;
}

static void check_sequence(const uint8_t *byte, size_t len)
{
    struct slice bytes = slice_of(byte, len);
    struct utf8_part part = utf8_first(bytes);
    bool is_character = oracle_is_character(byte, part.len);
    CHECK_EQ(part.valid, is_character);
    if (part.valid)
        return;
    /* A maximal invalid part: one byte, or the beginning of a character that does not go on. */
    CHECK(part.len == 1 || oracle_is_unfinished(byte, part.len));
    if (part.len < len && oracle_is_unfinished(byte, part.len)) {
        CHECK(!oracle_is_unfinished(byte, part.len + 1));
        CHECK(!oracle_is_character(byte, part.len + 1));
    }
    CHECK(!utf8_is_valid(bytes));
}

TEST(every_code_point_is_one_valid_character)
{
    struct text text;
    text_init(&text, 16);
    for (uint32_t codepoint = 0; codepoint <= 0x110000; codepoint++) {
        text_clear(&text);
        utf8_add_codepoint(&text, codepoint);
        struct utf8_part part = utf8_first(text_slice(&text));
        CHECK(part.valid && part.len == text.len);
        CHECK(oracle_is_character((const uint8_t *)text.data, text.len));
        CHECK_EQ(utf8_count(text_slice(&text)), 1);
        bool is_replaced = (codepoint >= 0xD800 && codepoint <= 0xDFFF) || codepoint > 0x10FFFF;
        CHECK_EQ(utf8_codepoint(text_slice(&text)), is_replaced ? 0xFFFD : codepoint);
    }
    text_fini(&text);
}

TEST(every_sequence_of_up_to_three_bytes_is_judged_as_the_rfc_says)
{
    for (unsigned a = 0; a < 256; a++) {
        check_sequence((uint8_t[]){(uint8_t)a}, 1);
        for (unsigned b = 0; b < 256; b++) {
            uint8_t bytes[3] = {(uint8_t)a, (uint8_t)b};
            check_sequence(bytes, 2);
            if (a >= 0xE0) /* below, the third byte is another character */
                for (unsigned c = 0; c < 256; c++) {
                    bytes[2] = (uint8_t)c;
                    check_sequence(bytes, 3);
                }
        }
    }
}

TEST(four_byte_sequences_are_judged_as_the_rfc_says)
{
    static const uint8_t edges[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
    for (unsigned a = 0xEE; a < 256; a++)
        for (unsigned b = 0; b < 256; b++)
            for (size_t c = 0; c < sizeof(edges); c++)
                for (size_t d = 0; d < sizeof(edges); d++)
                    check_sequence((uint8_t[]){(uint8_t)a, (uint8_t)b, edges[c], edges[d]}, 4);
}

/* Unicode 15, tables 3-8 to 3-11, and the ends. */
TEST(repair_replaces_maximal_parts)
{
#define R "\xEF\xBF\xBD"
    static const struct {
        struct slice broken, repaired;
    } rows[] = {
        {SLICE(""), SLICE("")},
        {SLICE("plain"), SLICE("plain")},
        {SLICE("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), SLICE(R R R R R R R R "A")},
        {SLICE("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), SLICE(R R R R R R R R "A")},
        {SLICE("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), SLICE(R R R R R "A" R R "B")},
        {SLICE("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), SLICE(R R R R "A")},
        {SLICE("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
         SLICE("a" R R R "b" R "c" R R "d")},
        {SLICE("12345678\x80"
               "12345678"),
         SLICE("12345678" R "12345678")},
        {SLICE("\xF0\x9F\x98"), SLICE(R)},
        {SLICE("\xF0\x9F\x98\x80\xF0\x9F\x98"), SLICE("\xF0\x9F\x98\x80" R)},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct text text;
        text_init(&text, 100);
        utf8_add_repaired(&text, rows[i].broken);
        CHECK_SLICES(text_slice(&text), rows[i].repaired);
        CHECK(utf8_is_valid(text_slice(&text)));
        CHECK_EQ(utf8_is_valid(rows[i].broken), slice_eq(rows[i].broken, rows[i].repaired));
        text_fini(&text);
    }
}

TEST(only_a_character_that_could_still_be_finished_is_unsettled)
{
    static const struct {
        const char *bytes;
        size_t unsettled;
    } rows[] = {
        {"", 0},
        {"abc", 0},
        {"abc\xC3", 1},
        {"abc\xC3\xA9", 0},
        {"\xE2\x82", 2},
        {"\xE2\x82\xAC", 0},
        {"\xF0", 1},
        {"x\xF0\x9F\x98", 3},
        {"x\xF0\x9F\x98\x80", 0},
        {"\xC0", 0},             /* begins no character */
        {"\xF5", 0},             /* nor does this */
        {"\xE0\x80", 0},         /* overlong, whatever follows */
        {"\xED\xA0", 0},         /* a surrogate, whatever follows */
        {"\xF4\x90", 0},         /* above U+10FFFF, whatever follows */
        {"\xC3\xA9\xA9", 0},     /* a stray continuation */
        {"\x80\x80\x80\x80", 0}, /* only such */
        {"\xF0\x9F\x98\x80\x80\x80\x80", 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct slice bytes = slice_str(rows[i].bytes);
        CHECK_EQ(bytes.len - utf8_settled(bytes), rows[i].unsettled);
    }
}

/* How a stream is repaired piece by piece: what is settled goes out, the rest waits. */
TEST(repair_does_not_depend_on_where_the_bytes_were_cut)
{
    struct slice bytes =
        SLICE("a\xF0\x9F\x98\x80\xE2\x82\xACz\xF0\x9F\x98z\xE2\x82\xC3\xA9\xFF\xF0\x9F");
    struct text whole;
    text_init(&whole, 200);
    utf8_add_repaired(&whole, bytes);
    for (size_t cut = 0; cut <= bytes.len; cut++) {
        struct text parts;
        text_init(&parts, 200);
        size_t settled = utf8_settled(slice_first(bytes, cut));
        CHECK(cut - settled <= 3);
        utf8_add_repaired(&parts, slice_first(bytes, settled));
        utf8_add_repaired(&parts, slice_after(bytes, settled));
        CHECK_SLICES(text_slice(&parts), text_slice(&whole));
        text_fini(&parts);
    }
    text_fini(&whole);
}

TEST(count_is_in_characters)
{
    CHECK_EQ(utf8_count(SLICE("")), 0);
    CHECK_EQ(utf8_count(SLICE("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80")), 4);
}
