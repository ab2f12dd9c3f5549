/* json_write_test - escapes, numbers, commas. */
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "testing/test.h"

#include <math.h>
#include <float.h>
#include <stdlib.h>

static void check_string(struct slice bytes, struct slice expected)
{
    struct text text;
    text_init(&text, 10000);
    json_add_string(&text, bytes);
    CHECK_OK(text_status(&text));
    CHECK_SLICES(text_slice(&text), expected);
    text_fini(&text);
}

TEST(strings_escape_what_they_must_and_nothing_else)
{
    check_string(SLICE(""), SLICE("\"\""));
    check_string((struct slice){0}, SLICE("\"\""));
    check_string(SLICE("\"\\/'"), SLICE("\"\\\"\\\\/'\""));
    check_string(SLICE("\b\t\n\f\r\x0b\x1f\x7f"), SLICE("\"\\b\\t\\n\\f\\r\\u000b\\u001f\x7f\""));
    check_string(slice_of("\0a", 2), SLICE("\"\\u0000a\""));
    check_string(SLICE("\xE2\x80\xA8\xE2\x80\xA9 \xF0\x9F\x98\x80"),
                 SLICE("\"\xE2\x80\xA8\xE2\x80\xA9 \xF0\x9F\x98\x80\""));
    check_string(SLICE("a\xFF\xF0\x9F\"\xE2\x82"),
                 SLICE("\"a\xEF\xBF\xBD\xEF\xBF\xBD\\\"\xEF\xBF\xBD\""));
}

/* It is written in blocks of 256 bytes. */
TEST(an_escape_stays_whole_wherever_it_falls)
{
    static const char *const pieces[][2] = {
        {"\"", "\\\""},           {"\x01", "\\u0001"},
        {"\xC3\xA9", "\xC3\xA9"}, {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
        {"\xFF", "\xEF\xBF\xBD"}, {"\n\n\n", "\\n\\n\\n"}};
    for (size_t i = 0; i < ARRAY_COUNT(pieces); i++) {
        for (size_t lead = 0; lead < 600; lead++) {
            struct text plain, expected;
            text_init(&plain, 1000);
            text_init(&expected, 1000);
            text_add_byte(&expected, '"');
            for (size_t at = 0; at < lead; at++) {
                text_add_byte(&plain, (char)('a' + at % 26));
                text_add_byte(&expected, (char)('a' + at % 26));
            }
            text_add_str(&plain, pieces[i][0]);
            text_add_str(&expected, pieces[i][1]);
            text_add_byte(&expected, '"');
            check_string(text_slice(&plain), text_slice(&expected));
            text_fini(&plain);
            text_fini(&expected);
        }
    }
}

TEST(escaped_is_the_string_without_quotes)
{
    struct text text;
    text_init(&text, 100);
    json_add_escaped(&text, SLICE("a\"b"));
    json_add_escaped(&text, SLICE(""));
    CHECK_SLICE(text_slice(&text), "a\\\"b");
    text_fini(&text);
}

TEST(random_bytes_read_back_repaired)
{
    uint64_t seed = 42;
    for (int run = 0; run < 3000; run++) {
        uint8_t bytes[40];
        size_t len = test_random(&seed) % sizeof(bytes);
        for (size_t i = 0; i < len; i++) /* 1..255, half of it ASCII */
            bytes[i] = (uint8_t)(1 + test_random(&seed) % (test_random(&seed) % 2 ? 255 : 127));
        struct text json, repaired;
        text_init(&json, 1000);
        text_init(&repaired, 1000);
        json_add_string(&json, slice_of(bytes, len));
        utf8_add_repaired(&repaired, slice_of(bytes, len));
        json_t *value = NULL;
        CHECK_OK(json_read(text_slice(&json), 1, &value, NULL));
        CHECK_SLICES(json_slice(value), text_slice(&repaired));
        json_decref(value);
        text_fini(&json);
        text_fini(&repaired);
    }
}

TEST(writer_keeps_the_commas)
{
    struct text text;
    text_init(&text, 1000);
    struct json_out out = json_out_to(&text);
    json_out_begin_object(&out);
    json_out_key(&out, "id");
    json_out_string(&out, SLICE("x\n"));
    json_out_key(&out, "list");
    json_out_begin_array(&out);
    json_out_begin_object(&out);
    json_out_end_object(&out);
    json_out_begin_array(&out);
    json_out_end_array(&out);
    json_out_u64(&out, UINT64_MAX);
    json_out_i64(&out, INT64_MIN);
    json_out_bool(&out, true);
    json_out_bool(&out, false);
    json_out_null(&out);
    json_out_raw(&out, SLICE("{\"raw\":1}"));
    json_out_double(&out, 0.5);
    json_out_end_array(&out);
    json_out_key(&out, "end");
    json_out_u64(&out, 0);
    json_out_end_object(&out);
    CHECK_OK(text_status(&text));
    CHECK_SLICE(text_slice(&text), "{\"id\":\"x\\n\",\"list\":[{},[],18446744073709551615,"
                                   "-9223372036854775808,true,false,null,{\"raw\":1},0.5],"
                                   "\"end\":0}");
    text_fini(&text);
}

TEST(a_member_is_a_key_and_its_value)
{
    struct text text;
    text_init(&text, 1000);
    struct json_out json = json_out_to(&text);
    json_out_begin_object(&json);
    json_out_add_string(&json, "a", SLICE("x\"y"));
    json_out_add_u64(&json, "b", UINT64_MAX);
    json_out_add_i64(&json, "c", INT64_MIN);
    json_out_add_double(&json, "d", 0.5);
    json_out_add_bool(&json, "e", false);
    json_out_end_object(&json);
    CHECK_SLICE(text_slice(&text), "{\"a\":\"x\\\"y\",\"b\":18446744073709551615,"
                                   "\"c\":-9223372036854775808,\"d\":0.5,\"e\":false}");
    text_fini(&text);
}

TEST(writer_reaches_depth_32_and_not_33)
{
    struct text text;
    text_init(&text, 1000);
    struct json_out out = json_out_to(&text);
    for (int depth = 0; depth < 32; depth++)
        json_out_begin_array(&out);
    CHECK_ABORTS(json_out_begin_array(&out), "depth 32");
    json_out_u64(&out, 1);
    json_out_u64(&out, 2);
    for (int depth = 0; depth < 32; depth++)
        json_out_end_array(&out);
    json_t *value = NULL;
    CHECK_OK(json_read(text_slice(&text), 32, &value, NULL));
    json_decref(value);
    text_fini(&text);
}

TEST(unbalanced_writing_is_our_bug)
{
    struct text text;
    text_init(&text, 1000);
    struct json_out out = json_out_to(&text);
    CHECK_ABORTS(json_out_end_object(&out), "depth 0");
    CHECK_ABORTS(json_out_key(&out, "k"), "key k at depth 0");
    json_out_begin_object(&out);
    CHECK_ABORTS(json_out_u64(&out, 1), "depth 1");
    CHECK_ABORTS(json_out_end_array(&out), "depth 1");
    json_out_key(&out, "k");
    CHECK_ABORTS(json_out_key(&out, "l"), "key l at depth 1");
    CHECK_ABORTS(json_out_end_object(&out), "depth 1");
    json_out_begin_array(&out);
    CHECK_ABORTS(json_out_key(&out, "k"), "key k at depth 2");
    CHECK_ABORTS(json_out_end_object(&out), "depth 2");
    text_fini(&text);
}

static struct slice double_text(struct text *text, double value)
{
    text_clear(text);
    struct json_out out = json_out_to(text);
    json_out_double(&out, value);
    return text_slice(text);
}

TEST(doubles_are_short_and_read_back)
{
    struct text text;
    text_init(&text, 100);
    CHECK_SLICE(double_text(&text, 0.1), "0.1");
    CHECK_SLICE(double_text(&text, 1), "1");
    CHECK_SLICE(double_text(&text, 0), "0");
    CHECK_SLICE(double_text(&text, -64), "-64");
    CHECK_SLICE(double_text(&text, 999999999999999.0), "999999999999999");
    CHECK_SLICE(double_text(&text, 1e15), "1e+15");
    CHECK_SLICE(double_text(&text, -0.0), "-0");
    CHECK_SLICE(double_text(&text, 1e21), "1e+21");
    CHECK_SLICE(double_text(&text, 0.1 + 0.2), "0.30000000000000004");
    CHECK_SLICE(double_text(&text, 5e-324), "4.94065645841247e-324");
    CHECK_SLICE(double_text(&text, -DBL_MAX), "-1.7976931348623157e+308");
    CHECK_SLICE(double_text(&text, NAN), "null");
    CHECK_SLICE(double_text(&text, INFINITY), "null");
    CHECK_SLICE(double_text(&text, -INFINITY), "null");
    uint64_t seed = 7;
    for (int run = 0; run < 20000; run++) {
        uint64_t bits = test_random(&seed);
        double value;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value))
            continue;
        (void)double_text(&text, value); /* stays in `text` */
        text_add_byte(&text, '\0');
        CHECK(strtod(text.data, NULL) == value);
    }
    text_fini(&text);
}

TEST(what_was_read_is_written_as_it_was)
{
    static const struct {
        const char *read, *written;
    } cases[] = {
        {"{ \"b\" : [1, 2.5e0 ,true,false, null],\n\"a\":{\"\\u00e9\\n\":{}},\"\":[[]]}",
         "{\"b\":[1,2.5,true,false,null],\"a\":{\"\xC3\xA9\\n\":{}},\"\":[[]]}"},
        {"[-9223372036854775808,9223372036854775807,0.1,1.0,1e300]",
         "[-9223372036854775808,9223372036854775807,0.1,1,1e+300]"},
        {"\"\"", "\"\""},
        {"7", "7"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct text text;
        json_t *value = NULL;
        CHECK_OK(json_read(slice_str(cases[i].read), JSON_DEPTH_MAX, &value, NULL));
        for (size_t room = 0; room <= strlen(cases[i].written); room++) {
            text_init(&text, room);
            json_add_value(&text, value);
            if (room < strlen(cases[i].written))
                CHECK_ERR(text_status(&text), ERR_LIMIT);
            else
                CHECK_SLICES(text_slice(&text), slice_str(cases[i].written));
            text_fini(&text);
        }
        json_decref(value);
    }
}

TEST(overflow_and_no_memory_show_in_the_text)
{
    for (size_t max = 0; max < 12; max++) {
        struct text text;
        text_init(&text, max);
        json_add_string(&text, SLICE("0123\n6789"));
        CHECK_ERR(text_status(&text), ERR_LIMIT); /* it takes 12 */
        text_fini(&text);
    }
    struct text text;
    text_init(&text, 1000);
    mem_test_fail_nth(1);
    json_add_string(&text, SLICE("x"));
    CHECK_ERR(text_status(&text), ERR_LIMIT);
    CHECK_EQ(text.len, 0);
    text_fini(&text);
}
