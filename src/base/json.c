/* json - reading, behind one strict door. The writer is json_write.c. */
#include "base/json.h"

#include "base/hex.h"
#include "base/mem.h"
#include "base/utf8.h"

static _Thread_local bool is_out_of_memory; /* an allocation failed during this json_read() */

/* jansson must never see NULL: 2.14 ignores a failed append to the token it is collecting
 * (load.c, lex_save) and would read past it, or run into an assert. So the failure is noted, the
 * bytes come from the memory that aborts when there is none, and json_read() fails at its end. */
static void *jansson_alloc(size_t bytes)
{
    void *pointer = mem_peer_alloc(bytes);
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

/* True when arrays and objects nest deeper than max_depth. Counts brackets outside strings, which
 * is exact for valid JSON; invalid JSON is refused either way. jansson would find out as well,
 * but only after having built all of it. */
static bool is_too_deep(struct slice bytes, int max_depth)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < bytes.len; i++) {
        char byte = bytes.data[i];
        if (byte == '"') {
            in_string = !in_string;
        } else if (in_string) {
            i += byte == '\\'; /* what is escaped ends nothing */
        } else if (byte == '[' || byte == '{') {
            if (++depth > max_depth)
                return true;
        } else if (byte == ']' || byte == '}') {
            depth--;
        }
    }
    return false;
}

/* The code unit of the \uXXXX that `bytes` begin with; -1 if they do not. */
static int escaped_unit(struct slice bytes)
{
    if (bytes.len < 6 || bytes.data[0] != '\\' || bytes.data[1] != 'u')
        return -1;
    int unit = 0;
    for (int i = 2; i < 6; i++) {
        int digit = hex_value(bytes.data[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

enum { UNIT_ESCAPE_BYTES = 6 };

static bool is_high_half(int unit)
{
    return unit >= 0xD800 && unit <= 0xDBFF;
}

static bool is_low_half(int unit)
{
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

/* Where the next lone surrogate escape at or after `from` begins; SLICE_NPOS when there is none.
 * Backslashes outside strings need no care: such JSON is refused, before and after the repair. */
static size_t next_lone_surrogate(struct slice bytes, size_t from)
{
    for (;;) {
        size_t skip = slice_find_byte(slice_after(bytes, from), '\\');
        if (skip == SLICE_NPOS)
            return SLICE_NPOS;
        from += skip;
        struct slice rest = slice_after(bytes, from);
        int unit = escaped_unit(rest);
        if (is_high_half(unit) && is_low_half(escaped_unit(slice_after(rest, UNIT_ESCAPE_BYTES))))
            from += 2 * UNIT_ESCAPE_BYTES;
        else if (is_high_half(unit) || is_low_half(unit))
            return from;
        else
            from += unit < 0 ? 2 : UNIT_ESCAPE_BYTES; /* 2: also over an escaped backslash */
    }
}

/* A copy in which every lone surrogate is U+FFFD. The escapes are of equal length, so positions in
 * error notes stay true. NULL: out of memory. */
static char *copy_repaired(struct slice bytes, size_t first_lone)
{
    char *copy = mem_peer_alloc(bytes.len);
    if (!copy)
        return NULL;
    memcpy(copy, bytes.data, bytes.len);
    struct slice repaired = slice_of(copy, bytes.len);
    for (size_t at = first_lone; at != SLICE_NPOS; at = next_lone_surrogate(repaired, at))
        memcpy(copy + at, "\\ufffd", UNIT_ESCAPE_BYTES);
    return copy;
}

/* jansson's own text quotes the input, so ours is made from the code alone. */
static const char *reason_of(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_invalid_utf8:
        return "not valid UTF-8";
    case json_error_premature_end_of_input:
        return "unexpected end";
    case json_error_end_of_input_expected:
        return "more bytes after the end";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "\\u0000 is not allowed";
    case json_error_duplicate_key:
        return "a key occurs twice in one object";
    case json_error_numeric_overflow:
        return "number out of range";
    default:
        return "syntax error";
    }
}

static enum err fail_out_of_memory(struct err_note *out_note)
{
    return err_note_fail(out_note, ERR_LIMIT, "JSON not read: out of memory");
}

static enum err parse(struct slice bytes, json_t **out_value, struct err_note *out_note)
{
    json_error_t error;
    is_out_of_memory = false;
    json_t *value = json_loadb(bytes.len ? bytes.data : "", bytes.len,
                               JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (is_out_of_memory) {
        json_decref(value);
        return fail_out_of_memory(out_note);
    }
    if (!value)
        return err_note_fail(out_note, ERR_PROTOCOL, "invalid JSON at line %d column %d: %s",
                             error.line, error.column, reason_of(&error));
    *out_value = value;
    return ERR_OK;
}

/* jansson 2.14 swallows a NUL that follows a number (stream_unget puts it back as "nothing"). */
static enum err fail_at_nul(struct slice before, struct err_note *out_note)
{
    int line = 1;
    struct slice head, tail;
    for (; slice_cut(before, '\n', &head, &tail); before = tail)
        line++;
    return err_note_fail(out_note, ERR_PROTOCOL, "invalid JSON at line %d column %zu: a NUL byte",
                         line, utf8_count(head) + 1);
}

enum err json_read(struct slice bytes, int max_depth, json_t **out_value, struct err_note *out_note)
{
    size_t nul = slice_find_byte(bytes, '\0');
    if (nul != SLICE_NPOS)
        return fail_at_nul(slice_first(bytes, nul), out_note);
    if (is_too_deep(bytes, max_depth))
        return err_note_fail(out_note, ERR_LIMIT, "JSON nested deeper than %d levels", max_depth);
    size_t first_lone = next_lone_surrogate(bytes, 0);
    if (first_lone == SLICE_NPOS)
        return parse(bytes, out_value, out_note);
    char *copy = copy_repaired(bytes, first_lone);
    if (!copy)
        return fail_out_of_memory(out_note);
    enum err err = parse(slice_of(copy, bytes.len), out_value, out_note);
    mem_free(copy);
    return err;
}

struct slice json_slice(const json_t *string)
{
    if (!json_is_string(string))
        return (struct slice){0};
    return slice_of(json_string_value(string), json_string_length(string));
}
