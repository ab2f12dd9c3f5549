#include "testing/test.h"
#include "base/utf8.h"
#include "worker/text_out.h"

enum { OUT_MAX_BYTES = 4096, STOPS_MAX = 4 };

struct stops {
    struct slice stop[STOPS_MAX];
    size_t count;
};

static const struct stops NO_STOPS = {.count = 0};

/* What should come out of all bytes, and which stop ends it: by definition, not by automaton. */
static int plain(struct slice bytes, const struct stops *stops, struct text *out)
{
    utf8_add_repaired(out, bytes);
    for (size_t end = 1; end <= out->len; end++) {
        int longest = TEXT_OUT_NO_STOP;
        for (size_t i = 0; i < stops->count; i++) {
            struct slice so_far = slice_of(out->data, end), stop = stops->stop[i];
            if (stop.len > 0 && slice_ends_with(so_far, stop) &&
                (longest < 0 || stop.len > stops->stop[longest].len))
                longest = (int)i;
        }
        if (longest < 0)
            continue;
        text_shrink(out, end - stops->stop[longest].len);
        return longest;
    }
    return TEXT_OUT_NO_STOP;
}

/* Feeds one piece and checks what each single step promises. */
static int feed(struct text_out *text_out, struct slice piece, struct text *out)
{
    size_t before = out->len;
    int stop = text_out_add(text_out, piece, out);
    CHECK(out->len >= before);
    CHECK(utf8_is_valid(slice_after(text_slice(out), before)));
    return stop;
}

/* Cuts the bytes where `cuts` has a bit (bit i: before byte i + 1), and compares with plain(). */
static void check_split(struct slice bytes, const struct stops *stops, uint64_t cuts)
{
    struct text expected, actual;
    text_init(&expected, OUT_MAX_BYTES);
    text_init(&actual, OUT_MAX_BYTES);
    int expected_stop = plain(bytes, stops, &expected);
    struct text_out *text_out = text_out_new(stops->stop, stops->count);
    int stop = TEXT_OUT_NO_STOP;
    size_t begin = 0;
    for (size_t end = 1; end <= bytes.len && stop < 0; end++) {
        if (end < bytes.len && !(cuts >> (end - 1) & 1))
            continue;
        stop = feed(text_out, slice_of(bytes.data + begin, end - begin), &actual);
        begin = end;
    }
    if (stop < 0)
        stop = text_out_end(text_out, &actual);
    CHECK_SLICES(text_slice(&actual), text_slice(&expected));
    CHECK_EQ(stop, expected_stop);
    CHECK_EQ(text_out_add(text_out, SLICE("more"), &actual), TEXT_OUT_NO_STOP);
    CHECK_EQ(text_out_end(text_out, &actual), TEXT_OUT_NO_STOP);
    CHECK_EQ(actual.len, expected.len);
    text_out_free(text_out);
    text_fini(&actual);
    text_fini(&expected);
}

/* Every way to cut up to 12 bytes; of longer ones every way in two and in three, and bytewise. */
static void check_every_split(struct slice bytes, const struct stops *stops)
{
    CHECK(bytes.len <= 64);
    for (uint64_t cuts = 0; bytes.len <= 12 && cuts < UINT64_C(1) << bytes.len; cuts++)
        check_split(bytes, stops, cuts);
    for (size_t i = 0; i < bytes.len; i++) {
        for (size_t j = i; j < bytes.len; j++)
            check_split(bytes, stops, UINT64_C(1) << i | UINT64_C(1) << j);
    }
    check_split(bytes, stops, UINT64_MAX);
}

TEST(every_split_of_any_text_gives_the_same_concatenation)
{
    static const struct slice texts[] = {
        {0},
        {"plain", 5},
        {"\xF0\x9F\x98\x80\xF0\x9F\x91\x8D", 8},                  /* two emoji */
        {"\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96", 12}, /* Chinese */
        {"a\xC3\xA9z\xC2\xA0\xE2\x82\xAC", 9},
        {"\xF0\x9F\x98", 3},                 /* cut at the end */
        {"\xE2\x82", 2},                     /* also */
        {"\xE2\x82\xE2\x82\xAC", 5},         /* cut, and a whole one */
        {"\xF0\x9F\x98Z\xF0\x9FQ", 7},       /* cut by ASCII */
        {"\x80\xBF\xFF\xC0\xAF", 5},         /* never valid */
        {"\xED\xA0\xBD\xED\xB8\x80", 6},     /* surrogates */
        {"\xF4\x90\x80\x80\xE0\x80\x80", 7}, /* too large, overlong */
        {"\xF0\xF0\xF0\x9F\x98\x80\xC3", 7},
        {"a\0b\xC3\xA9\0", 6},
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
        check_every_split(texts[i], &NO_STOPS);
}

TEST(a_stop_is_found_wherever_the_tokens_cut_it)
{
    static const struct {
        const char *text;
        struct stops stops;
    } cases[] = {
        {"hello STOP more", {{SLICE("STOP")}, 1}},
        {"STOP", {{SLICE("STOP")}, 1}},
        {"STO", {{SLICE("STOP")}, 1}},                 /* the end lets go of it */
        {"STSTOP", {{SLICE("STOP")}, 1}},              /* a false start */
        {"aabaabaaab", {{SLICE("aabaaa")}, 1}},        /* falls back within itself */
        {"aaaaaab", {{SLICE("aab")}, 1}},              /* and again and again */
        {"xabcdy", {{SLICE("abcd"), SLICE("bc")}, 2}}, /* the first complete: bc */
        {"xabcy", {{SLICE("bc"), SLICE("abc")}, 2}},   /* at the same byte: the longer */
        {"xabcy", {{SLICE("abc"), SLICE("bc")}, 2}},   /* in whatever order */
        {"one\n\nUser: two", {{SLICE("\n\n"), SLICE("\nUser:")}, 2}},
        {"abab", {{{NULL, 0}, SLICE("ba")}, 2}},         /* an empty one is none */
        {"abcabd", {{SLICE("abcabe"), SLICE("bd")}, 2}}, /* two held at a time */
        {"\xE4\xBD\xA0\xE5\xA5\xBD", {{SLICE("\xE5\xA5\xBD")}, 1}},
        {"\xE4\xBD\xA0\xE4\xBD\xA1", {{SLICE("\xE4\xBD\xA1")}, 1}}, /* same first two bytes */
        {"a\xF0\x9F\x98\x80z", {{SLICE("\xF0\x9F\x98\x81"), SLICE("z")}, 2}},
        {"ab\xFFz", {{SLICE("\xEF\xBF\xBD")}, 1}}, /* the replacement itself */
        {"\xE2\x82\xE2\x82\xAC", {{SLICE("\xEF\xBF\xBD")}, 1}},
        {"ab\xE2\x82", {{SLICE("b\xEF\xBF\xBD")}, 1}}, /* that only the end makes */
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        check_every_split(slice_str(cases[i].text), &cases[i].stops);
}

TEST(random_texts_with_overlapping_stops_come_out_right)
{
    static const char *const symbols[] = {
        "a", "b", "\xC3\xA9", "\xE4\xBD\xA0", "\xF0\x9F\x98\x80", "\xFF", "\xE4"};
    uint64_t random = 7;
    for (int round = 0; round < 20000; round++) {
        char text[64], stop[STOPS_MAX][32];
        size_t len = 0, kinds = 2 + test_random(&random) % (ARRAY_COUNT(symbols) - 1);
        while (len < 50 && test_random(&random) % 24) {
            const char *symbol = symbols[test_random(&random) % kinds];
            memcpy(text + len, symbol, strlen(symbol));
            len += strlen(symbol);
        }
        struct stops stops = {.count = test_random(&random) % (STOPS_MAX + 1)};
        for (size_t i = 0; i < stops.count; i++) {
            size_t stop_len = 0, parts = 1 + test_random(&random) % 5;
            for (size_t part = 0; part < parts; part++) {
                const char *symbol = symbols[test_random(&random) % (kinds < 5 ? kinds : 5)];
                memcpy(stop[i] + stop_len, symbol, strlen(symbol));
                stop_len += strlen(symbol);
            }
            stops.stop[i] = slice_of(stop[i], stop_len);
        }
        check_split(slice_of(text, len), &stops, test_random(&random));
        check_split(slice_of(text, len), &stops, UINT64_MAX);
        check_split(slice_of(text, len), &stops, 0);
    }
}

/* Feeds the pieces; what came out after each is written with a bar behind it. */
static void trace(const struct stops *stops, const char *const *pieces, size_t count,
                  struct text *out)
{
    struct text_out *text_out = text_out_new(stops->stop, stops->count);
    for (size_t i = 0; i < count; i++) {
        if (text_out_add(text_out, slice_str(pieces[i]), out) >= 0)
            text_add_str(out, "!");
        text_add_str(out, "|");
    }
    if (text_out_end(text_out, out) >= 0)
        text_add_str(out, "!");
    text_out_free(text_out);
}

static void check_trace(const struct stops *stops, const char *const *pieces, size_t count,
                        const char *expected)
{
    struct text out;
    text_init(&out, OUT_MAX_BYTES);
    trace(stops, pieces, count, &out);
    CHECK_SLICES(text_slice(&out), slice_str(expected));
    text_fini(&out);
}

TEST(nothing_is_held_back_without_need)
{
    struct stops stops = {{SLICE("END"), SLICE("\n\n")}, 2};
    check_trace(&stops, (const char *[]){"a", "b\n", "c", "E", "N", "x", "\n"}, 7,
                "a|b|\nc|||ENx||\n");
    check_trace(&stops, (const char *[]){"E", "E", "N", "D", "y"}, 5, "|E||!||");
    check_trace(&stops, (const char *[]){"one END two"}, 1, "one !|");
    check_trace(&NO_STOPS, (const char *[]){"\xE4", "\xBD", "\xA0x", "\xE4", "y"}, 5,
                "||\xE4\xBD\xA0x||\xEF\xBF\xBDy|");
    check_trace(&NO_STOPS, (const char *[]){"\xE2\x82", "\xE2", "\x82\xAC"}, 3,
                "|\xEF\xBF\xBD|\xE2\x82\xAC|");
    check_trace(&NO_STOPS, (const char *[]){"a\xF0\x9F", "", "\x98"}, 3, "a|||\xEF\xBF\xBD");
}

TEST(text_that_does_not_fit_is_told_and_does_no_harm)
{
    struct stops stops = {{SLICE("xyz")}, 1};
    struct text_out *text_out = text_out_new(stops.stop, stops.count);
    struct text out;
    text_init(&out, 4);
    CHECK_EQ(text_out_add(text_out, SLICE("abxy"), &out), TEXT_OUT_NO_STOP);
    CHECK_SLICE(text_slice(&out), "ab");
    CHECK_OK(text_status(&out));
    CHECK_EQ(text_out_add(text_out, SLICE("abcdefgh"), &out), TEXT_OUT_NO_STOP);
    CHECK_ERR(text_status(&out), ERR_LIMIT);
    CHECK_EQ(text_out_add(text_out, SLICE("z"), &out), TEXT_OUT_NO_STOP);
    CHECK_EQ(text_out_end(text_out, &out), TEXT_OUT_NO_STOP);
    text_out_free(text_out);
    text_fini(&out);
}

TEST(freeing_nothing_is_fine)
{
    text_out_free(NULL);
}
