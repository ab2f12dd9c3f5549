/* json - writing: strings escaped in runs, and a writer that keeps the commas. */
#include "base/json.h"

#include "base/hex.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Up to here a whole number is written with all of its digits, as by "%.15g". */
#define WHOLE_MAX 999999999999999.0

/* PLAIN goes out as it is, HEX as \u00XX; LONG is part of a longer character, to be checked; any
 * other letter goes out behind a backslash (RFC 8259 section 7). */
enum { PLAIN = 0, HEX = 'u', LONG = '8' };
static const char byte_kind[256] = {
    [0x00 ... 0x07] = HEX, ['\b'] = 'b',  ['\t'] = 't',           ['\n'] = 'n',
    [0x0B] = HEX,          ['\f'] = 'f',  ['\r'] = 'r',           [0x0E ... 0x1F] = HEX,
    ['"'] = '"',           ['\\'] = '\\', [0x80 ... 0xFF] = LONG,
};

/* How many bytes from the front need no escape and are valid UTF-8. */
static size_t plain_run(struct slice bytes)
{
    size_t len = 0;
    while (len < bytes.len) {
        char kind = byte_kind[(uint8_t)bytes.data[len]];
        if (kind == PLAIN) {
            len++;
            continue;
        }
        if (kind != LONG)
            break;
        struct utf8_part part = utf8_first(slice_after(bytes, len));
        if (!part.valid)
            break;
        len += part.len;
    }
    return len;
}

/* Writes what the front of `bytes` becomes, where plain_run() stopped; returns how long it was. */
static size_t add_escape(struct text *out, struct slice bytes)
{
    uint8_t byte = (uint8_t)bytes.data[0];
    char kind = byte_kind[byte];
    if (kind == LONG) {
        text_add(out, SLICE("\xEF\xBF\xBD")); /* U+FFFD */
        return utf8_first(bytes).len;
    }
    char escape[6] = {'\\', kind, '0', '0', hex_digit(byte >> 4), hex_digit(byte)};
    text_add(out, slice_of(escape, kind == HEX ? 6 : 2));
    return 1;
}

void json_add_escaped(struct text *out, struct slice bytes)
{
    for (;;) {
        size_t plain = plain_run(bytes);
        text_add(out, slice_first(bytes, plain));
        bytes = slice_after(bytes, plain);
        if (bytes.len == 0)
            return;
        bytes = slice_after(bytes, add_escape(out, bytes));
    }
}

void json_add_string(struct text *out, struct slice bytes)
{
    text_add_byte(out, '"');
    json_add_escaped(out, bytes);
    text_add_byte(out, '"');
}

enum { WRITER_DEPTH_MAX = 32 };

struct json_out json_out_to(struct text *text)
{
    return (struct json_out){.text = text};
}

static uint32_t depth_bit(const struct json_out *json)
{
    return 1u << (json->depth - 1);
}

static bool is_in_object(const struct json_out *json)
{
    return json->depth > 0 && (json->is_object & depth_bit(json));
}

static void add_comma_if_due(struct json_out *json)
{
    if (json->depth == 0)
        return;
    if (json->has_item & depth_bit(json))
        text_add_byte(json->text, ',');
    json->has_item |= depth_bit(json);
}

/* Comes before every value: in an object the key has already seen to the comma. */
static void before_value(struct json_out *json)
{
    ASSERT_MSG(json->after_key == is_in_object(json), "depth %d", json->depth);
    if (!json->after_key)
        add_comma_if_due(json);
    json->after_key = false;
}

static void begin(struct json_out *json, char bracket)
{
    before_value(json);
    ASSERT_MSG(json->depth < WRITER_DEPTH_MAX, "depth %d", json->depth);
    json->depth++;
    json->has_item &= ~depth_bit(json);
    if (bracket == '{')
        json->is_object |= depth_bit(json);
    else
        json->is_object &= ~depth_bit(json);
    text_add_byte(json->text, bracket);
}

static void end(struct json_out *json, char bracket)
{
    ASSERT_MSG(json->depth > 0 && !json->after_key, "depth %d", json->depth);
    ASSERT_MSG(is_in_object(json) == (bracket == '}'), "depth %d", json->depth);
    json->depth--;
    text_add_byte(json->text, bracket);
}

void json_out_begin_object(struct json_out *json)
{
    begin(json, '{');
}

void json_out_end_object(struct json_out *json)
{
    end(json, '}');
}

void json_out_begin_array(struct json_out *json)
{
    begin(json, '[');
}

void json_out_end_array(struct json_out *json)
{
    end(json, ']');
}

void json_out_key(struct json_out *json, const char *key)
{
    ASSERT_MSG(is_in_object(json) && !json->after_key, "key %s at depth %d", key, json->depth);
    add_comma_if_due(json);
    text_add_byte(json->text, '"');
    text_add_str(json->text, key);
    text_add(json->text, SLICE("\":"));
    json->after_key = true;
}

void json_out_string(struct json_out *json, struct slice value)
{
    before_value(json);
    json_add_string(json->text, value);
}

void json_out_u64(struct json_out *json, uint64_t value)
{
    before_value(json);
    text_add_u64(json->text, value);
}

void json_out_i64(struct json_out *json, int64_t value)
{
    before_value(json);
    text_add_i64(json->text, value);
}

void json_out_double(struct json_out *json, double value)
{
    before_value(json);
    if (!isfinite(value)) {
        text_add(json->text, SLICE("null"));
        return;
    }
    /* What most values are, 0 and 1, without printf and strtod. (-0 is another one.) */
    if (value >= -WHOLE_MAX && value <= WHOLE_MAX && value == (double)(int64_t)value &&
        (value != 0 || !signbit(value))) {
        text_add_i64(json->text, (int64_t)value);
        return;
    }
    char digits[32];                                         /* -1.7976931348623157e+308 */
    for (int precision = 15; precision <= 17; precision++) { /* 17 always reads back */
        snprintf(digits, sizeof(digits), "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    text_add_str(json->text, digits);
}

void json_out_bool(struct json_out *json, bool value)
{
    before_value(json);
    text_add(json->text, value ? SLICE("true") : SLICE("false"));
}

void json_out_null(struct json_out *json)
{
    before_value(json);
    text_add(json->text, SLICE("null"));
}

void json_out_raw(struct json_out *json, struct slice value)
{
    before_value(json);
    text_add(json->text, value);
}

void json_out_add_string(struct json_out *json, const char *key, struct slice value)
{
    json_out_key(json, key);
    json_out_string(json, value);
}

void json_out_add_u64(struct json_out *json, const char *key, uint64_t value)
{
    json_out_key(json, key);
    json_out_u64(json, value);
}

void json_out_add_i64(struct json_out *json, const char *key, int64_t value)
{
    json_out_key(json, key);
    json_out_i64(json, value);
}

void json_out_add_double(struct json_out *json, const char *key, double value)
{
    json_out_key(json, key);
    json_out_double(json, value);
}

void json_out_add_bool(struct json_out *json, const char *key, bool value)
{
    json_out_key(json, key);
    json_out_bool(json, value);
}

void json_add_value(struct text *out, const json_t *value)
{
    struct json_out number = json_out_to(out);
    const char *separator = "";
    if (json_is_object(value)) {
        const char *key;
        json_t *item;
        text_add_byte(out, '{');
        json_object_foreach((json_t *)value, key, item)
        {
            text_add_str(out, separator);
            json_add_string(out, slice_str(key));
            text_add_byte(out, ':');
            json_add_value(out, item);
            separator = ",";
        }
        text_add_byte(out, '}');
    } else if (json_is_array(value)) {
        text_add_byte(out, '[');
        for (size_t i = 0; i < json_array_size(value); i++) {
            text_add_str(out, separator);
            json_add_value(out, json_array_get(value, i));
            separator = ",";
        }
        text_add_byte(out, ']');
    } else if (json_is_string(value)) {
        json_add_string(out, json_slice(value));
    } else if (json_is_integer(value)) {
        text_add_i64(out, json_integer_value(value));
    } else if (json_is_real(value)) {
        json_out_double(&number, json_real_value(value));
    } else {
        text_add_str(out, json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
    }
}
