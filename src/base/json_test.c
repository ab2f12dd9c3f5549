/* json_test - what is read, what is refused and in which words. */
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "testing/test.h"

/* Reads from a block of exactly that size, so that a look past the end is seen. */
static enum err read_copy(struct slice bytes, json_t **out_value, struct err_note *out_note)
{
    char *copy = mem_grow(NULL, bytes.len);
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    enum err err = json_read(slice_of(copy, bytes.len), JSON_DEPTH_MAX, out_value, out_note);
    mem_free(copy);
    return err;
}

static void check_note_is_clean(const struct err_note *note)
{
    CHECK(note->text[0] && strlen(note->text) < 100);
    for (const char *c = note->text; *c; c++)
        CHECK(*c >= 0x20 && *c < 0x7F);
}

TEST(any_one_value_is_read)
{
    static const char *const texts[] = {
        "null",
        "true",
        " false ",
        "0",
        "-1",
        "1.5e3",
        "\"x\"",
        "[]",
        "{}",
        "\t[1,\n{\"a\":[]}]\r\n",
        "9223372036854775807",
        "-9223372036854775808",
        "\"\xF0\x9F\x98\x80\"",
        "{\"\":1}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        json_t *value = NULL;
        CHECK_OK(read_copy(slice_str(texts[i]), &value, NULL));
        CHECK(value);
        json_decref(value);
    }
}

static const struct {
    struct slice bytes;
    const char *note;
} refused[] = {
    {SLICE(""), "line 1 column 0: unexpected end"},
    {SLICE("  "), "line 1 column 2: unexpected end"},
    {SLICE("["), "unexpected end"},
    {SLICE("{\"a\":\n  tru}"), "line 2 column 5: syntax error"},
    {SLICE("[1,]"), "line 1 column 4: syntax error"},
    {SLICE("[1 2]"), "syntax error"},
    {SLICE("{\"a\" 1}"), "syntax error"},
    {SLICE("{a:1}"), "syntax error"},
    {SLICE("{,}"), "syntax error"},
    {SLICE("'a'"), "syntax error"},
    {SLICE("01"), "line 1 column"},
    {SLICE("+1"), "syntax error"},
    {SLICE(".5"), "syntax error"},
    {SLICE("1."), "syntax error"},
    {SLICE("NaN"), "syntax error"},
    {SLICE("[1] // x"), "more bytes after the end"},
    {SLICE("{} {}"), "more bytes after the end"},
    {SLICE("1 2"), "more bytes after the end"},
    {SLICE("{\"a\":1,\"a\":2}"), "a key occurs twice"},
    {SLICE("{\"a\":1,\"\\u0061\":2}"), "a key occurs twice"},
    {SLICE("{\"a\":1,\"a\":1}"), "a key occurs twice"},
    {SLICE("9223372036854775808"), "number out of range"},
    {SLICE("-9223372036854775809"), "number out of range"},
    {SLICE("1e999"), "number out of range"},
    {SLICE("\"\\u0000\""), "\\u0000 is not allowed"},
    {SLICE("{\"\\u0000\":1}"), "\\u0000 is not allowed"},
    {SLICE("\"\\x41\""), "syntax error"},
    {SLICE("\"\\u12g4\""), "syntax error"},
    {SLICE("\"\\ud83d\\u12g4\""), "syntax error"},
    {SLICE("\"abc"), "unexpected end"},
    {SLICE("\"abc\\\""), "unexpected end"},
    {SLICE("\"a\nb\""), "syntax error"},
    {SLICE("\"a\x01\""), "syntax error"},
    {SLICE("\"\xFF\""), "line 1 column 1: not valid UTF-8"},
    {SLICE("\"\xC0\xAF\""), "not valid UTF-8"},
    {SLICE("\"\xED\xA0\x80\""), "not valid UTF-8"},
    {SLICE("\"\xF0\x9F\x98\""), "not valid UTF-8"},
    {SLICE("\xEF\xBB\xBF{}"), "syntax error"},
    {SLICE("\xFF\xFE{\0}\0"), "a NUL byte"},
    {SLICE("1\0"), "line 1 column 2: a NUL byte"},
    {SLICE("[1\0]"), "line 1 column 3: a NUL byte"},
    {SLICE("[1,\n \xC3\xA9\0"), "line 2 column 3: a NUL byte"},
    {SLICE("\"a\0b\""), "a NUL byte"},
    {SLICE("\\ud83d"), "syntax error"}, /* the repair of surrogates makes nothing valid */
};

TEST(what_is_not_json_is_refused_in_clean_words)
{
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        json_t *value = NULL;
        struct err_note note = {""};
        CHECK_ERR(read_copy(refused[i].bytes, &value, &note), ERR_PROTOCOL);
        CHECK(!value);
        if (!strstr(note.text, refused[i].note))
            CHECK_STR(note.text, refused[i].note);
        CHECK(strncmp(note.text, "invalid JSON at line ", 21) == 0);
        check_note_is_clean(&note);
        CHECK_ERR(read_copy(refused[i].bytes, &value, NULL), ERR_PROTOCOL);
    }
}

TEST(every_beginning_of_a_document_is_refused)
{
    struct slice whole = SLICE("{\"a\":[1,-2.5e1,true,null,\"\\ud83d\\ude00\\ud83d \xC3\xA9\\n\"],"
                               "\"b\":{\"c\":\"\"}}");
    json_t *value = NULL;
    for (size_t len = 0; len < whole.len; len++) {
        struct err_note note = {""};
        CHECK_ERR(read_copy(slice_first(whole, len), &value, &note), ERR_PROTOCOL);
        check_note_is_clean(&note);
    }
    CHECK_OK(read_copy(whole, &value, NULL));
    json_decref(value);
}

static void add_times(struct text *text, const char *piece, int times)
{
    while (times-- > 0)
        text_add_str(text, piece);
}

TEST(depth_is_limited_to_the_level)
{
    for (int depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX + 1; depth++)
        for (int kind = 0; kind < 2; kind++) {
            struct text text;
            text_init(&text, 10000);
            add_times(&text, kind ? "{\"a\":" : "[", depth);
            add_times(&text, "1", kind);
            add_times(&text, kind ? "}" : "]", depth);
            json_t *value = NULL;
            struct err_note note;
            bool fits = depth <= JSON_DEPTH_MAX;
            CHECK_ERR(read_copy(text_slice(&text), &value, &note), fits ? ERR_OK : ERR_LIMIT);
            CHECK(fits || strcmp(note.text, "JSON nested deeper than 64 levels") == 0);
            json_decref(value);
            text_fini(&text);
        }
}

TEST(brackets_in_strings_are_not_depth)
{
    json_t *value = NULL;
    CHECK_OK(json_read(SLICE("[\"[[[{{{\\\"[[[\\\\\",[],[\"]\"]]"), 2, &value, NULL));
    CHECK_EQ(json_array_size(value), 3);
    json_decref(value);
    CHECK_ERR(json_read(SLICE("[\"\\\\\",[[1]]]"), 2, &value, NULL), ERR_LIMIT);
}

TEST(siblings_are_not_depth)
{
    struct text text;
    text_init(&text, 100000);
    text_add_str(&text, "[");
    add_times(&text, "[],", 10000);
    text_add_str(&text, "{}]");
    json_t *value = NULL;
    CHECK_OK(json_read(text_slice(&text), 2, &value, NULL));
    json_decref(value);
    text_fini(&text);
}

/* A body of 8 MiB of them took 640 MiB, and one is free to send it. */
TEST(values_that_take_too_much_memory_are_refused_and_two_million_numbers_are_not)
{
    static const struct {
        const char *piece;
        int count;
        bool fits;
    } cases[] = {{"1,", 2 * 1024 * 1024, true}, {"{},", 700000, false}, {"[],", 1500000, false}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct text text;
        struct err_note note;
        json_t *value = NULL;
        text_init(&text, 8 * 1024 * 1024);
        text_add_str(&text, "[");
        add_times(&text, cases[i].piece, cases[i].count);
        text_add_str(&text, "0]");
        CHECK_ERR(json_read(text_slice(&text), 2, &value, &note),
                  cases[i].fits ? ERR_OK : ERR_LIMIT);
        if (!cases[i].fits)
            CHECK_STR(note.text, "JSON that has more values than 128 MiB hold");
        json_decref(value);
        text_fini(&text);
    }
}

TEST(hundred_thousand_levels_cost_no_more_than_those_allowed)
{
    enum { ALLOCATIONS_PER_ARRAY = 2 };
    struct text text;
    text_init(&text, 1000000);
    add_times(&text, "[", 100000);
    add_times(&text, "]", 100000);
    uint64_t before = mem_peer_count();
    json_t *value = NULL;
    CHECK_ERR(json_read(text_slice(&text), JSON_DEPTH_MAX, &value, NULL), ERR_LIMIT);
    CHECK(mem_peer_count() - before <= ALLOCATIONS_PER_ARRAY * JSON_DEPTH_MAX);
    text_fini(&text);
}

TEST(lone_surrogates_become_replacement_characters)
{
#define R     "\xEF\xBF\xBD"
#define SMILE "\xF0\x9F\x98\x80"
    static const struct {
        const char *json, *expected;
    } rows[] = {
        {"\"\\ud83d\\ude00\"", SMILE},
        {"\"\\uD83D\\uDE00\"", SMILE},
        {"\"\\ud83d\"", R},
        {"\"\\ude00\"", R},
        {"\"a\\ud83d b\"", "a" R " b"},
        {"\"\\ud83d\\n\"", R "\n"},
        {"\"\\ud83d\\u0041\"", R "A"},
        {"\"\\ude00\\ud83d\"", R R},
        {"\"\\ud83d\\ud83d\\ude00\"", R SMILE},
        {"\"\\ud83d\\ude00\\ude00\"", SMILE R},
        {"\"\\uD800\\uDBFF\\uDC00\\uDFFF\"", R "\xF4\x8F\xB0\x80" R},
        {"\"\\\\ud83d\"", "\\ud83d"},          /* an escaped backslash, then letters */
        {"\"\\\\\\ud83d\"", "\\" R},           /* an escaped backslash, then an escape */
        {"\"\\ud83d\\\\ude00\"", R "\\ude00"}, /* no pair: the second is letters */
        {"\"\\ud7ff\\ue000\"", "\xED\x9F\xBF\xEE\x80\x80"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        json_t *value = NULL;
        CHECK_OK(read_copy(slice_str(rows[i].json), &value, NULL));
        CHECK_SLICES(json_slice(value), slice_str(rows[i].expected));
        json_decref(value);
    }
}

TEST(lone_surrogates_in_keys_may_collide)
{
    json_t *value = NULL;
    CHECK_OK(json_read(SLICE("{\"\\ud83d\":1}"), 4, &value, NULL));
    CHECK(json_object_get(value, R));
    json_decref(value);
    CHECK_ERR(json_read(SLICE("{\"\\ud83d\":1,\"\\ud83e\":2}"), 4, &value, NULL), ERR_PROTOCOL);
}

static uint64_t allocations_of(struct slice bytes)
{
    json_t *value = NULL;
    uint64_t before = mem_peer_count();
    CHECK_OK(json_read(bytes, 4, &value, NULL));
    uint64_t count = mem_peer_count() - before;
    json_decref(value);
    return count;
}

/* What the document's size does to the count of allocations: its values, and nothing beside. */
TEST(only_strings_with_escapes_are_copied_twice)
{
    CHECK_EQ(
        allocations_of(SLICE("\"plain, \xC3\xA9 and long enough to be in a block of its own\"")),
        2);
    CHECK_EQ(allocations_of(SLICE("\"\\n\"")), 3);
    CHECK_EQ(allocations_of(SLICE("[\"\\n\",\"\\ud83d\",\"\\t\"]")), 2 + 3 * 2 + 1);
}

/* The nearest double, however it is written. */
TEST(reals_are_exact)
{
    static const struct {
        const char *json;
        double expected;
    } rows[] = {
        {"0.1", 0.1},
        {"-0.0", -0.0},
        {"1e22", 1e22},
        {"1e23", 1e23},
        {"1E-22", 1e-22},
        {"123456789.125e-3", 123456.789125},
        {"9007199254740993.0", 9007199254740992.0}, /* 2^53 + 1: between two, to the even one */
        {"9007199254740993.00000000000000000000000000000000000000000000000000000001",
         9007199254740994.0},
        {"18446744073709551616.5", 18446744073709551616.0},
        {"2.2250738585072014e-308", 0x1p-1022},
        {"4.9e-324", 0x1p-1074},
        {"1e-400", 0},
        {"1.7976931348623157e308", 0x1.fffffffffffffp1023},
        {"0.000000000000000000000000000000000000000000000000000000000000000000001e69", 1},
        {"1e-99999999999999999999", 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        json_t *value = NULL;
        CHECK_OK(read_copy(slice_str(rows[i].json), &value, NULL));
        CHECK(json_is_real(value));
        double read = json_real_value(value);
        if (memcmp(&read, &rows[i].expected, sizeof(read)) != 0)
            CHECK_STR(rows[i].json, "read exactly");
        json_decref(value);
    }
}

/* Wherever a string's special byte lies within the eight that are looked at together. */
TEST(strings_end_at_their_quote_at_every_place)
{
    static const char *const inner[] = {"", "\\n", "\\\"", "\xC3\xA9", "\xF0\x9F\x98\x80", "\x7F"};
    static const char *const read[] = {"", "\n", "\"", "\xC3\xA9", "\xF0\x9F\x98\x80", "\x7F"};
    for (size_t kind = 0; kind < ARRAY_COUNT(inner); kind++)
        for (int before = 0; before < 20; before++)
            for (int after = 0; after < 10; after++) {
                struct text json, expected;
                text_init(&json, 100);
                text_init(&expected, 100);
                text_add_str(&json, "\"");
                add_times(&json, "a", before);
                text_add_str(&json, inner[kind]);
                add_times(&json, "~", after);
                text_add_str(&json, "\"");
                add_times(&expected, "a", before);
                text_add_str(&expected, read[kind]);
                add_times(&expected, "~", after);
                json_t *value = NULL;
                CHECK_OK(read_copy(text_slice(&json), &value, NULL));
                CHECK_SLICES(json_slice(value), text_slice(&expected));
                json_decref(value);
                text_fini(&json);
                text_fini(&expected);
            }
}

/* As above, for what may not be in it. */
TEST(strings_are_refused_for_a_bad_byte_at_every_place)
{
    static const char *const bad[] = {"\n", "\x1F", "\x01", "\xFF", "\xC3", "\\q", "\\u12x4"};
    for (size_t kind = 0; kind < ARRAY_COUNT(bad); kind++)
        for (int before = 0; before < 20; before++)
            for (int after = 0; after < 10; after++) {
                struct text json;
                text_init(&json, 100);
                text_add_str(&json, "\"");
                add_times(&json, "a", before);
                text_add_str(&json, bad[kind]);
                add_times(&json, "~", after);
                text_add_str(&json, "\"");
                json_t *value = NULL;
                CHECK_ERR(read_copy(text_slice(&json), &value, NULL), ERR_PROTOCOL);
                text_fini(&json);
            }
}

/* Every allocation fails once, jansson's too: a refusal, and nothing is lost (LeakSanitizer). */
TEST(no_memory_is_a_refusal_at_every_allocation)
{
    struct slice bytes =
        SLICE("{\"long_key_that_needs_growth_0123456789\":[1,2.5,\"\\ud83d "
              "0123456789012345678901234567890123456789\",{\"a\":null}],\"b\":[],\"\\u0063\":"
              "0.0000000000000000000000000000000000000000000000000000000000000000000001}");
    uint64_t nth = 1;
    for (;; nth++) {
        json_t *value = NULL;
        struct err_note note = {""};
        uint64_t before = mem_peer_count();
        mem_test_fail_nth(nth);
        enum err err = json_read(bytes, JSON_DEPTH_MAX, &value, &note);
        if (mem_peer_count() - before < nth) {
            CHECK_OK(err);
            json_decref(value);
            break;
        }
        CHECK_ERR(err, ERR_LIMIT);
        CHECK_STR(note.text, "JSON not read: out of memory");
        CHECK(!value);
    }
    mem_test_fail_nth(0);
    CHECK(nth > 10);
}

TEST(a_stranger_is_the_first_member_of_no_known_name)
{
    static const char *const known[] = {"id", "name"};
    json_t *all, *other, *list;
    CHECK_OK(json_read(SLICE("{\"name\":1,\"id\":null}"), 4, &all, NULL));
    CHECK_OK(json_read(SLICE("{\"id\":1,\"nam\":2,\"x\":3}"), 4, &other, NULL));
    CHECK_OK(json_read(SLICE("[\"x\"]"), 4, &list, NULL));
    CHECK(json_stranger(all, known, ARRAY_COUNT(known)) == NULL);
    CHECK_STR(json_stranger(other, known, ARRAY_COUNT(known)), "nam");
    CHECK_STR(json_stranger(other, known, 0), "id");
    CHECK(json_stranger(list, known, ARRAY_COUNT(known)) == NULL);
    json_decref(all);
    json_decref(other);
    json_decref(list);
}

TEST(slice_of_what_is_no_string_is_empty)
{
    json_t *value = json_integer(1);
    CHECK(slice_is_empty(json_slice(value)));
    CHECK(slice_is_empty(json_slice(NULL)));
    json_decref(value);
}
