/* schema - one rule for each schema of the document, written one after the other: places are
 * numbered when they are first referred to, and written in that order. So nothing is nested, and
 * what refers to itself needs no care. */
#include "grammar/schema.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "grammar/schema_impl.h"

#include <stdio.h>

/* Of all grammars made here. A string has no U+0000 and no half of a surrogate pair in it. */
#define JSON_RULES                                                                                 \
    "ws ::= \" \"? | \"\\n\" [ \\t]{0,40}\n"                                                       \
    "hex ::= [0-9a-fA-F]\n"                                                                        \
    "char ::= [^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" unit)\n"                \
    "unit ::= \"000\" [1-9a-fA-F] | \"00\" [1-9a-fA-F] hex | \"0\" [1-9a-fA-F] hex{2} | "          \
    "[1-9a-cA-CeEfF] hex{3} | [dD] ([0-7] hex{2} | [89abAB] hex{2} \"\\\\u\" [dD] [c-fC-F] "       \
    "hex{2})\n"                                                                                    \
    "string ::= \"\\\"\" char* \"\\\"\"\n"                                                         \
    "integer ::= \"0\" | \"-\"? [1-9] [0-9]{0,15}\n"                                               \
    "number ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15}) (\".\" [0-9]{1,16})? ([eE] [-+]? "              \
    "[0-9]{1,2})?\n"                                                                               \
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"               \
    "object ::= \"{\" ws (string \":\" ws value ws (\",\" ws string \":\" ws value ws)*)? \"}\"\n" \
    "array ::= \"[\" ws (value ws (\",\" ws value ws)*)? \"]\"\n"

struct slice schema_any_object(void)
{
    return SLICE("root ::= object\n" JSON_RULES);
}

/* --- words --- */

enum err schema_fail(struct conversion *conversion, enum err err, const char *format, ...)
{
    char message[256];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    struct slice path = conversion->places[conversion->place].path;
    return err_note_fail(conversion->note, err, "schema: at " SLICE_FMT ": %s",
                         SLICE_ARG(slice_first(path, 192)), message);
}

enum err schema_fail_room(struct conversion *conversion)
{
    return schema_fail(conversion, ERR_LIMIT, "too large, or there is no memory for it");
}

/* --- places --- */

static enum err path_below(struct conversion *conversion, const char *key, struct slice name,
                           struct slice *out_path)
{
    struct text path;
    text_init(&path, 1024);
    text_add(&path, slice_first(conversion->places[conversion->place].path, 512));
    text_add_byte(&path, '/');
    text_add_str(&path, key);
    if (name.len > 0) {
        text_add_byte(&path, '/');
        schema_add_plain(&path, slice_first(name, 64));
    }
    enum err err = arena_dup(conversion->arena, text_slice(&path), out_path);
    text_fini(&path);
    return err == ERR_OK ? err : schema_fail_room(conversion);
}

static enum err add_place(struct conversion *conversion, json_t *schema, struct slice path,
                          uint32_t *out_place)
{
    if (conversion->place_count == SCHEMA_PLACES_MAX)
        return err_note_fail(conversion->note, ERR_LIMIT, "schema: more than %d schemas in it",
                             SCHEMA_PLACES_MAX);
    TRY(map_put(conversion->numbers, (uintptr_t)schema,
                (void *)(uintptr_t)(conversion->place_count + 1)));
    *out_place = conversion->place_count++;
    conversion->places[*out_place] = (struct place){schema, path};
    return ERR_OK;
}

enum err schema_place(struct conversion *conversion, json_t *schema, const char *key,
                      struct slice name, uint32_t *out_place)
{
    /* true, false and null are each one value in jansson, wherever they stand: and one rule. */
    uintptr_t known = (uintptr_t)map_get(conversion->numbers, (uintptr_t)schema);
    struct slice path;
    if (known != 0) {
        *out_place = (uint32_t)(known - 1);
        return ERR_OK;
    }
    TRY(path_below(conversion, key, name, &path));
    return add_place(conversion, schema, path, out_place);
}

/* --- values --- */

void schema_add_literal(struct text *out, struct slice bytes)
{
    text_add_byte(out, '"');
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = (uint8_t)bytes.data[i];
        if (byte == '"' || byte == '\\') {
            text_add_byte(out, '\\');
            text_add_byte(out, (char)byte);
        } else if (byte < 0x20) {
            text_add_f(out, "\\x%02X", byte);
        } else {
            text_add_byte(out, (char)byte);
        }
    }
    text_add_byte(out, '"');
}

static enum err add_value(struct conversion *conversion, const json_t *value)
{
    struct text json;
    text_init(&json, GRAMMAR_TEXT_MAX_BYTES);
    json_add_value(&json, value);
    enum err err = text_status(&json);
    if (err == ERR_OK)
        schema_add_literal(conversion->out, text_slice(&json));
    text_fini(&json);
    return err == ERR_OK ? err : schema_fail_room(conversion);
}

/* --- what a schema says --- */

static enum err add_type(struct conversion *conversion, json_t *schema, const char *type)
{
    if (strcmp(type, "object") == 0)
        return schema_add_object(conversion, schema);
    if (strcmp(type, "array") == 0)
        return schema_add_array(conversion, schema);
    if (strcmp(type, "string") == 0)
        return schema_add_string(conversion, schema);
    if (strcmp(type, "number") == 0)
        return schema_add_number(conversion, schema);
    if (strcmp(type, "integer") == 0)
        return schema_add_integer(conversion, schema);
    text_add_str(conversion->out, strcmp(type, "null") == 0 ? "\"null\"" : "\"true\" | \"false\"");
    return ERR_OK;
}

static enum err add_types(struct conversion *conversion, json_t *schema, uint32_t set)
{
    const char *separator = "";
    for (size_t i = 0; i < SCHEMA_TYPES; i++) {
        if (!(set >> i & 1))
            continue;
        text_add_str(conversion->out, separator);
        TRY(add_type(conversion, schema, schema_types[i]));
        separator = " | ";
    }
    return ERR_OK;
}

static enum err add_values(struct conversion *conversion, json_t *schema, uint32_t type_set)
{
    json_t *list = json_object_get(schema, "enum"), *only = json_object_get(schema, "const");
    size_t count = list ? json_array_size(list) : 1, added = 0;
    TRY(schema_allow_only(conversion, schema, TYPE | VALUES, list ? "enum" : "const"));
    if (list && only)
        return schema_fail_keyword(conversion, "const", "is not supported beside enum");
    if (list && !json_is_array(list))
        return schema_fail(conversion, ERR_PROTOCOL, "enum: expected a list");
    for (size_t i = 0; i < count; i++) {
        json_t *value = list ? json_array_get(list, i) : only;
        bool fits = type_set == 0;
        for (size_t j = 0; j < SCHEMA_TYPES; j++)
            fits |= (type_set >> j & 1) && schema_fits_type(value, schema_types[j]);
        if (!fits)
            continue;
        text_add_str(conversion->out, added++ > 0 ? " | " : "");
        TRY(add_value(conversion, value));
    }
    if (added == 0)
        return schema_fail(conversion, ERR_REFUSED,
                           "no value of %s is of its type: nothing "
                           "satisfies it",
                           list ? "enum" : "const");
    return ERR_OK;
}

enum err schema_add_alias(struct conversion *conversion, uint32_t to)
{
    if (conversion->alias_count == ALIASES_MAX)
        return err_note_fail(conversion->note, ERR_LIMIT,
                             "schema: more than %d references and alternatives", ALIASES_MAX);
    conversion->aliases[conversion->alias_count++] = (struct alias){conversion->place, to};
    text_add_f(conversion->out, "s%u", to);
    return ERR_OK;
}

static enum err add_choice(struct conversion *conversion, json_t *schema)
{
    const char *key = json_object_get(schema, "anyOf") ? "anyOf" : "oneOf";
    json_t *list = json_object_get(schema, key);
    TRY(schema_allow_only(conversion, schema, CHOICE, key));
    if (json_object_get(schema, "anyOf") && json_object_get(schema, "oneOf"))
        return schema_fail_keyword(conversion, "oneOf", "is not supported beside anyOf");
    if (!json_is_array(list) || json_array_size(list) == 0)
        return schema_fail(conversion, ERR_PROTOCOL, "%s: expected a list of schemas", key);
    for (size_t i = 0; i < json_array_size(list); i++) {
        char index[24];
        uint32_t place;
        snprintf(index, sizeof(index), "%zu", i);
        TRY(schema_place(conversion, json_array_get(list, i), key, slice_str(index), &place));
        text_add_str(conversion->out, i > 0 ? " | " : "");
        TRY(schema_add_alias(conversion, place));
    }
    return ERR_OK;
}

/* One step of a JSON pointer (RFC 6901); NULL: there is nothing. */
static json_t *pointer_step(json_t *value, struct slice token)
{
    char name[SCHEMA_NAME_MAX_BYTES + 1];
    uint64_t index;
    size_t len = 0;
    if (json_is_array(value))
        return slice_parse_u64(token, INT32_MAX, &index) == ERR_OK ? json_array_get(value, index)
                                                                   : NULL;
    for (size_t i = 0; i < token.len; i++, len++) {
        if (len == SCHEMA_NAME_MAX_BYTES)
            return NULL;
        bool is_escape = token.data[i] == '~' && i + 1 < token.len;
        name[len] = token.data[i];
        if (is_escape)
            name[len] = token.data[++i] == '1' ? '/' : '~';
    }
    name[len] = '\0';
    return json_object_get(value, name);
}

enum err schema_find_reference(struct conversion *conversion, json_t *schema, json_t **out_target)
{
    json_t *reference = json_object_get(schema, "$ref"), *target = conversion->root;
    struct slice pointer = json_slice(reference), token;
    if (!json_is_string(reference) || !slice_starts_with(pointer, SLICE("#")))
        return schema_fail(conversion, ERR_REFUSED,
                           "$ref: expected # or #/..., a place in this document");
    if (pointer.len > 1 && pointer.data[1] != '/')
        return schema_fail(conversion, ERR_REFUSED, "$ref: anchors are not supported");
    pointer = slice_after(pointer, 2);
    for (bool has_more = json_slice(reference).len > 1; has_more && target;) {
        has_more = slice_cut(pointer, '/', &token, &pointer);
        target = pointer_step(target, token);
    }
    if (!target)
        return schema_fail(conversion, ERR_PROTOCOL, "$ref: there is nothing at that place");
    *out_target = target;
    return ERR_OK;
}

static enum err add_reference(struct conversion *conversion, json_t *schema)
{
    json_t *target;
    uint32_t place;
    TRY(schema_allow_only(conversion, schema, REFERENCE, "$ref"));
    TRY(schema_find_reference(conversion, schema, &target));
    TRY(schema_place(conversion, target, "$ref",
                     slice_after(json_slice(json_object_get(schema, "$ref")), 2), &place));
    return schema_add_alias(conversion, place);
}

/* --- the document --- */

static enum err add_schema(struct conversion *conversion, json_t *schema)
{
    uint32_t groups, type_set;
    if (json_is_true(schema)) {
        text_add_str(conversion->out, "value");
        return ERR_OK;
    }
    if (json_is_false(schema))
        return schema_fail(conversion, ERR_REFUSED, "nothing satisfies false");
    if (!json_is_object(schema))
        return schema_fail(conversion, ERR_PROTOCOL, "expected a schema: an object, true or false");
    TRY(schema_read_groups(conversion, schema, &groups));
    if (groups & REFERENCE)
        return add_reference(conversion, schema);
    if (groups & ALL)
        return schema_add_all(conversion, schema);
    if (groups & CHOICE)
        return add_choice(conversion, schema);
    TRY(schema_read_types(conversion, schema, groups, &type_set));
    if (groups & VALUES)
        return add_values(conversion, schema, type_set);
    if (type_set == 0) {
        text_add_str(conversion->out, "value");
        return ERR_OK;
    }
    return add_types(conversion, schema, type_set);
}

static enum err add_place_rules(struct conversion *conversion, uint32_t number)
{
    json_t *schema = conversion->places[number].schema;
    conversion->place = number;
    conversion->wants_object = false;
    text_add_f(conversion->out, "s%u ::= ", number);
    TRY(add_schema(conversion, schema));
    text_add_byte(conversion->out, '\n');
    if (conversion->wants_object)
        TRY(schema_add_object_rules(conversion, schema));
    if (conversion->out->overflowed || conversion->out->len > GRAMMAR_TEXT_MAX_BYTES)
        return err_note_fail(conversion->note, ERR_LIMIT,
                             "schema: as a grammar it has more than %d bytes",
                             GRAMMAR_TEXT_MAX_BYTES);
    return ERR_OK;
}

/* Places that only point to each other, in a ring, say nothing: found by taking away, again and
 * again, those that point to nothing that is left. */
static enum err refuse_rings(struct conversion *conversion)
{
    uint32_t pointing[SCHEMA_PLACES_MAX] = {0}; /* how many aliases are left from it */
    uint32_t left = conversion->alias_count, before;
    for (uint32_t i = 0; i < left; i++)
        pointing[conversion->aliases[i].from]++;
    do {
        before = left;
        for (uint32_t i = 0; i < left;) {
            struct alias *alias = &conversion->aliases[i];
            if (pointing[alias->to] > 0) {
                i++;
                continue;
            }
            pointing[alias->from]--;
            *alias = conversion->aliases[--left];
        }
    } while (left > 0 && left < before);
    if (left == 0)
        return ERR_OK;
    conversion->place = conversion->aliases[0].from;
    return schema_fail(conversion, ERR_REFUSED, "it refers to itself, and to nothing else");
}

static enum err convert(struct conversion *conversion)
{
    uint32_t root;
    TRY(add_place(conversion, conversion->root, SLICE("#"), &root));
    text_add_str(conversion->out, "root ::= s0\n" JSON_RULES);
    for (uint32_t i = 0; i < conversion->place_count; i++)
        TRY(add_place_rules(conversion, i));
    return refuse_rings(conversion);
}

enum { PATHS_MAX_BYTES = 4 << 20 };

enum err schema_to_grammar(struct slice schema, struct text *out, struct err_note *out_note)
{
    struct conversion conversion = {.out = out, .note = out_note};
    if (schema.len > SCHEMA_MAX_BYTES)
        return err_note_fail(out_note, ERR_LIMIT, "schema: %zu bytes: allowed are %d", schema.len,
                             SCHEMA_MAX_BYTES);
    TRY(json_read(schema, JSON_DEPTH_MAX, &conversion.root, out_note));
    conversion.arena = arena_new(PATHS_MAX_BYTES);
    conversion.numbers = map_new(SCHEMA_PLACES_MAX);
    conversion.places = mem_array(SCHEMA_PLACES_MAX, sizeof(*conversion.places));
    conversion.aliases = mem_array(ALIASES_MAX, sizeof(*conversion.aliases));
    conversion.merged = json_array();
    enum err err = convert(&conversion);
    json_decref(conversion.merged);
    json_decref(conversion.root);
    mem_free(conversion.aliases);
    mem_free(conversion.places);
    map_free(conversion.numbers);
    arena_free(conversion.arena);
    return err;
}
