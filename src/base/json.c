/* json - reading. The writer is json_write.c.
 *
 * The lexer is our own and makes jansson's values. jansson 2.14's takes every byte through three
 * functions (about 150 instructions a byte; 57 % of all that a one-token request cost: callgrind,
 * 2026-11); this one looks at eight at a time inside strings, and copies each string once. */
#include "base/json.h"

#include "base/hex.h"
#include "base/json_number.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { BLOCK_BYTES = 16 /* what malloc() adds to each, about */ };

static _Thread_local bool is_out_of_memory; /* an allocation failed during this json_read() */
static _Thread_local size_t values_bytes;   /* allocated during it; what grew counts each time */

/* jansson 2.14 does not survive every failed allocation. So the failure is noted, the bytes come
 * from the memory that aborts when there is none, and json_read() fails at its end. */
static void *jansson_alloc(size_t bytes)
{
    void *pointer = mem_peer_alloc(bytes);
    values_bytes += bytes + BLOCK_BYTES;
    if (pointer)
        return pointer;
    is_out_of_memory = true;
    return mem_grow(NULL, bytes);
}

/* Before main(), so that nothing jansson holds ever came from elsewhere. */
__attribute__((constructor)) static void give_jansson_our_memory(void)
{
    json_set_alloc_funcs(jansson_alloc, mem_free);
}

struct reader {
    struct slice bytes;
    size_t at;
    int depth_left;
    struct text unescaped; /* the last string that had escapes */
    enum err err;          /* the first that went wrong, with its words; `at` tells where */
    const char *why;
};

/* Returns NULL, for whoever makes values. */
static json_t *fail(struct reader *reader, const char *why)
{
    if (reader->err == ERR_OK) {
        reader->err = ERR_PROTOCOL;
        reader->why = why;
    }
    return NULL;
}

/* NULL: too deep, and by how much is said at the door. */
static json_t *fail_limit(struct reader *reader, const char *why)
{
    reader->err = ERR_LIMIT;
    reader->why = why;
    return NULL;
}

/* At a byte that cannot be there, which counts as read; or at the end. */
static json_t *fail_here(struct reader *reader)
{
    if (reader->at == reader->bytes.len)
        return fail(reader, "unexpected end");
    reader->at++;
    return fail(reader, "syntax error");
}

static struct slice rest(const struct reader *reader)
{
    return slice_after(reader->bytes, reader->at);
}

/* '\0' at the end: the bytes have none themselves (json_read()). */
static char next_byte(const struct reader *reader)
{
    return reader->at < reader->bytes.len ? reader->bytes.data[reader->at] : '\0';
}

static void skip_space(struct reader *reader)
{
    for (char byte;
         (byte = next_byte(reader)) == ' ' || byte == '\n' || byte == '\r' || byte == '\t';)
        reader->at++;
}

static bool take_byte(struct reader *reader, char wanted)
{
    if (next_byte(reader) != wanted)
        return false;
    reader->at++;
    return true;
}

/* --- strings --- */

#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* The top bit of each byte that is zero; above the first such byte it may lie, below it never. */
static uint64_t zero_bytes(uint64_t word)
{
    return (word - EACH_BYTE(0x01)) & ~word & EACH_BYTE(0x80);
}

/* How many bytes from the front are ASCII that stands for itself in a string; eight at a time. */
static size_t plain_run(struct slice bytes)
{
    size_t len = 0;
    for (uint64_t word; bytes.len - len >= sizeof(word); len += sizeof(word)) {
        memcpy(&word, bytes.data + len, sizeof(word));
        uint64_t special = zero_bytes(word ^ EACH_BYTE('"')) | zero_bytes(word ^ EACH_BYTE('\\')) |
                           ((word - EACH_BYTE(0x20)) & ~word & EACH_BYTE(0x80)) | /* controls */
                           (word & EACH_BYTE(0x80));
        if (special)
            break;
    }
    for (; len < bytes.len; len++) {
        uint8_t byte = (uint8_t)bytes.data[len];
        if (byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\')
            break;
    }
    return len;
}

/* Up to the next quote, backslash, or what must not be in a string. */
static void skip_plain(struct reader *reader)
{
    for (;;) {
        reader->at += plain_run(rest(reader));
        if ((uint8_t)next_byte(reader) < 0x80)
            return;
        struct utf8_part part = utf8_first(rest(reader));
        if (!part.valid) {
            fail(reader, "not valid UTF-8");
            return;
        }
        reader->at += part.len;
    }
}

enum { UNIT_ESCAPE_BYTES = 6 };

/* The code unit of the \uXXXX that `bytes` begin with; -1 if they do not. */
static int escaped_unit(struct slice bytes)
{
    if (bytes.len < UNIT_ESCAPE_BYTES || bytes.data[0] != '\\' || bytes.data[1] != 'u')
        return -1;
    int unit = 0;
    for (int i = 2; i < UNIT_ESCAPE_BYTES; i++) {
        int digit = hex_value(bytes.data[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static bool is_high_half(int unit)
{
    return unit >= 0xD800 && unit <= 0xDBFF;
}

static bool is_low_half(int unit)
{
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

static void unescape_unit(struct reader *reader)
{
    int unit = escaped_unit(rest(reader));
    if (unit < 0) {
        reader->at++; /* behind the backslash: what follows is the culprit */
        fail_here(reader);
        return;
    }
    if (unit == 0) {
        fail(reader, "\\u0000 is not allowed");
        return;
    }
    reader->at += UNIT_ESCAPE_BYTES;
    uint32_t codepoint = (uint32_t)unit; /* a half that stays alone is written as U+FFFD */
    int low = is_high_half(unit) ? escaped_unit(rest(reader)) : -1;
    if (is_low_half(low)) {
        codepoint = 0x10000 + (((uint32_t)unit & 0x3FF) << 10) + ((uint32_t)low & 0x3FF);
        reader->at += UNIT_ESCAPE_BYTES;
    }
    utf8_add_codepoint(&reader->unescaped, codepoint);
}

static void unescape_one(struct reader *reader)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    struct slice escape = slice_first(rest(reader), 2);
    const char *found = escape.len == 2 ? memchr(from, escape.data[1], sizeof(from) - 1) : NULL;
    if (found) {
        text_add_byte(&reader->unescaped, to[found - from]);
        reader->at += 2;
    } else if (escape.len == 2 && escape.data[1] != 'u') {
        reader->at++;
        fail_here(reader);
    } else {
        unescape_unit(reader);
    }
}

/* Behind the opening quote, to behind the closing one. What has no escapes is borrowed from the
 * input, the rest lies in `unescaped` until the next string. False: it is none. */
static bool read_string(struct reader *reader, struct slice *out_string)
{
    size_t begin = reader->at;
    skip_plain(reader);
    if (reader->err == ERR_OK && take_byte(reader, '"')) {
        *out_string = slice_of(reader->bytes.data + begin, reader->at - 1 - begin);
        return true;
    }
    text_clear(&reader->unescaped);
    while (reader->err == ERR_OK) {
        text_add(&reader->unescaped, slice_of(reader->bytes.data + begin, reader->at - begin));
        if (take_byte(reader, '"')) {
            *out_string = text_slice(&reader->unescaped);
            return true;
        }
        if (next_byte(reader) == '\\')
            unescape_one(reader);
        else
            fail_here(reader);
        begin = reader->at;
        if (reader->err == ERR_OK)
            skip_plain(reader);
    }
    return false;
}

/* --- values --- */

static json_t *read_value(struct reader *reader);

static json_t *read_word(struct reader *reader, struct slice word, json_t *value)
{
    for (size_t i = 0; i < word.len; i++) {
        if (!take_byte(reader, word.data[i]))
            return reader->at == reader->bytes.len ? fail_here(reader)
                                                   : fail(reader, "syntax error");
    }
    return value;
}

static json_t *read_number(struct reader *reader)
{
    struct json_number number;
    enum err err = json_number_read(rest(reader), &number);
    reader->at += number.bytes;
    is_out_of_memory |= err == ERR_FULL;
    if (err != ERR_OK)
        return fail(reader, err == ERR_LIMIT ? "number out of range" : "syntax error");
    return number.is_real ? json_real(number.real) : json_integer(number.integer);
}

/* Behind an item: true when another follows. */
static bool has_next(struct reader *reader, char close)
{
    skip_space(reader);
    if (take_byte(reader, close))
        return false;
    if (!take_byte(reader, ','))
        fail_here(reader);
    skip_space(reader);
    return true; /* also after a failure: then the next read fails at once */
}

static json_t *read_array(struct reader *reader)
{
    json_t *array = json_array();
    skip_space(reader);
    bool has_item = !take_byte(reader, ']');
    while (has_item && reader->err == ERR_OK) {
        json_t *item = read_value(reader);
        if (!item)
            break;
        (void)json_array_append_new(array, item); /* fails for no memory only: jansson_alloc() */
        has_item = has_next(reader, ']');
    }
    return array;
}

/* Takes `value`. A key that was there leaves the object as long as it was. */
static void set_member(struct reader *reader, json_t *object, struct slice key, json_t *value)
{
    size_t before = json_object_size(object);
    (void)json_object_setn_new_nocheck(object, key.data, key.len, value); /* as above */
    if (json_object_size(object) == before)
        fail(reader, "a key occurs twice in one object");
}

/* A key with escapes is kept until its value has been read, which may have some, too. */
static void read_member(struct reader *reader, json_t *object)
{
    struct slice key;
    char *copy = NULL;
    if (!take_byte(reader, '"')) {
        fail_here(reader);
        return;
    }
    if (!read_string(reader, &key))
        return;
    if (key.data == reader->unescaped.data && key.len > 0) {
        copy = jansson_alloc(key.len);
        key.data = memcpy(copy, key.data, key.len);
    }
    skip_space(reader);
    if (!take_byte(reader, ':'))
        fail_here(reader);
    skip_space(reader);
    json_t *value = reader->err == ERR_OK ? read_value(reader) : NULL;
    if (value)
        set_member(reader, object, key, value);
    mem_free(copy);
}

static json_t *read_object(struct reader *reader)
{
    json_t *object = json_object();
    skip_space(reader);
    bool has_item = !take_byte(reader, '}');
    while (has_item && reader->err == ERR_OK) {
        read_member(reader, object);
        if (reader->err == ERR_OK)
            has_item = has_next(reader, '}');
    }
    return object;
}

/* Recursion is bounded by max_depth. */
static json_t *read_nested(struct reader *reader, json_t *read(struct reader *reader))
{
    if (reader->depth_left == 0)
        return fail_limit(reader, NULL);
    reader->at++;
    reader->depth_left--;
    json_t *value = read(reader);
    reader->depth_left++;
    if (reader->err == ERR_OK)
        return value;
    json_decref(value);
    return NULL;
}

static json_t *read_value(struct reader *reader)
{
    struct slice string;
    if (values_bytes > JSON_VALUES_MAX_BYTES)
        return fail_limit(reader, "has more values than 128 MiB hold");
    switch (next_byte(reader)) {
    case '{':
        return read_nested(reader, read_object);
    case '[':
        return read_nested(reader, read_array);
    case '"':
        reader->at++;
        return read_string(reader, &string) ? json_stringn_nocheck(string.data, string.len) : NULL;
    case 't':
        return read_word(reader, SLICE("true"), json_true());
    case 'f':
        return read_word(reader, SLICE("false"), json_false());
    case 'n':
        return read_word(reader, SLICE("null"), json_null());
    case '-':
    case '0' ... '9':
        return read_number(reader);
    default:
        return fail_here(reader);
    }
}

/* --- the door --- */

/* Lines and columns count from 1; the column is that of the last character that was read. */
static enum err fail_at(struct slice before, const char *why, struct err_note *out_note)
{
    int line = 1;
    struct slice head, tail;
    for (; slice_cut(before, '\n', &head, &tail); before = tail)
        line++;
    return err_note_fail(out_note, ERR_PROTOCOL, "invalid JSON at line %d column %zu: %s", line,
                         utf8_count(head), why);
}

static enum err result(const struct reader *reader, int max_depth, struct err_note *out_note)
{
    if (is_out_of_memory || text_status(&reader->unescaped) != ERR_OK)
        return err_note_fail(out_note, ERR_LIMIT, "JSON not read: out of memory");
    if (reader->err == ERR_LIMIT && reader->why)
        return err_note_fail(out_note, ERR_LIMIT, "JSON that %s", reader->why);
    if (reader->err == ERR_LIMIT)
        return err_note_fail(out_note, ERR_LIMIT, "JSON nested deeper than %d levels", max_depth);
    if (reader->err != ERR_OK)
        return fail_at(slice_first(reader->bytes, reader->at), reader->why, out_note);
    return ERR_OK;
}

enum err json_read(struct slice bytes, int max_depth, json_t **out_value, struct err_note *out_note)
{
    struct reader reader = {.bytes = bytes, .depth_left = max_depth};
    size_t nul = slice_find_byte(bytes, '\0');
    if (nul != SLICE_NPOS) /* so that next_byte() may stand for the end */
        return fail_at(slice_first(bytes, nul + 1), "a NUL byte", out_note);
    is_out_of_memory = false;
    values_bytes = 0;
    text_init(&reader.unescaped, bytes.len); /* an escape is never shorter than what it says */
    skip_space(&reader);
    json_t *value = read_value(&reader);
    skip_space(&reader);
    if (value && reader.at < bytes.len)
        fail(&reader, "more bytes after the end");
    enum err err = result(&reader, max_depth, out_note);
    text_fini(&reader.unescaped);
    if (err == ERR_OK)
        *out_value = value;
    else
        json_decref(value);
    return err;
}

struct slice json_slice(const json_t *string)
{
    if (!json_is_string(string))
        return (struct slice){0};
    return slice_of(json_string_value(string), json_string_length(string));
}

const char *json_stranger(json_t *object, const char *const *known, size_t known_count)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        size_t i = 0;
        while (i < known_count && strcmp(name, known[i]) != 0)
            i++;
        if (i == known_count)
            return name;
    }
    return NULL;
}
