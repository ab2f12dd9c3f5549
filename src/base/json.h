/* json - reading (into jansson's values, through one strict door) and writing (append only).
 *
 * Reading takes any one value (RFC 8259), and refuses: duplicate keys, invalid UTF-8, nesting
 * deeper than max_depth, trailing bytes, numbers that a json_t cannot hold, \u0000. A lone
 * surrogate escape (\ud83d without its half: a cut emoji) is read as U+FFFD, not refused: clients
 * that cut text by UTF-16 units send them. Pure; any thread. */
#pragma once

#include "base/slice.h"
#include "base/text.h"

#include <jansson.h>

/* Of the values of one text: "{},{}" is 3 bytes and 72 times as much as an object of jansson's. Two
 * million numbers, the most that a prompt of token ids may have, are 110 MiB. */
enum { JSON_DEPTH_MAX = 64, JSON_VALUES_MAX_BYTES = 128 * 1024 * 1024 };

/* The value is the caller's (json_decref). ERR_PROTOCOL: not JSON, *out_note says where;
 * ERR_LIMIT: deeper than max_depth, more than JSON_VALUES_MAX_BYTES, or out of memory. */
MUST_USE enum err json_read(struct slice bytes, int max_depth, json_t **out_value,
                            struct err_note *out_note);

/* The string's bytes, borrowed from the value; empty if it is not a string. */
struct slice json_slice(const json_t *string);

/* The first member of the object that is none of the known names, borrowed from it; NULL: all are
 * known, or it is no object. Of objects in which a misspelt name must not pass unnoticed. */
const char *json_stranger(json_t *object, const char *const *known, size_t known_count);

/* "..." with quotes: escapes ", \, controls, and nothing else; U+2028/2029 and non-ASCII pass as
 * they are. Invalid UTF-8 becomes U+FFFD, so the output is always valid JSON on one line. */
void json_add_string(struct text *out, struct slice bytes);
/* The same without the quotes. */
void json_add_escaped(struct text *out, struct slice bytes);
/* What json_read() has read, in its order and without spaces; what is a whole number is written as
 * one (1.0: 1). As deep as json_read() let it be. */
void json_add_value(struct text *out, const json_t *value);

/* A small writer that keeps the commas: {"id":"x","n":[1]}.
 *     struct json_out out = json_out_to(&text);
 *     json_out_begin_object(&out);
 *     json_out_key(&out, "id");
 *     json_out_string(&out, id);
 *     json_out_end_object(&out);
 * (Without the json_out_ some of these would be jansson's own names.)
 * Depth up to 32; an unbalanced call is our bug (ASSERT). Errors are those of the text. */
struct json_out {
    struct text *text;
    uint32_t has_item; /* bit per depth: a comma is due */
    uint32_t is_object;
    int depth;
    bool after_key;
};
struct json_out json_out_to(struct text *text);
void json_out_begin_object(struct json_out *json);
void json_out_end_object(struct json_out *json);
void json_out_begin_array(struct json_out *json);
void json_out_end_array(struct json_out *json);
void json_out_key(struct json_out *json, const char *key); /* a literal of ours: not escaped */
void json_out_string(struct json_out *json, struct slice value);
void json_out_u64(struct json_out *json, uint64_t value);
void json_out_i64(struct json_out *json, int64_t value);
/* At most 17 digits, fewer where they read back as the same double; null if not finite. */
void json_out_double(struct json_out *json, double value);
void json_out_bool(struct json_out *json, bool value);
void json_out_null(struct json_out *json);
void json_out_raw(struct json_out *json, struct slice value); /* already JSON */
/* A key with its value: json_out_key() and one of the above. */
void json_out_add_string(struct json_out *json, const char *key, struct slice value);
void json_out_add_u64(struct json_out *json, const char *key, uint64_t value);
void json_out_add_i64(struct json_out *json, const char *key, int64_t value);
void json_out_add_double(struct json_out *json, const char *key, double value);
void json_out_add_bool(struct json_out *json, const char *key, bool value);
