/* schema_object - objects and arrays.
 *
 * Of an object with properties p0, p1, ... the rule sN names what may come first: each property up
 * to and with the first that is required. sN-K is what may come behind the property before K:
 * property K, with its comma, or not if it is not required, and then what may come behind that. */
#include "base/utf8.h"
#include "grammar/schema_impl.h"

#include <stdlib.h>

enum { KEYS_MAX = 2048 };

struct object {
    json_t *properties;     /* NULL: it has none */
    json_t *additional;     /* a schema, or NULL: no others */
    size_t count;           /* of properties */
    struct slice *required; /* in the order of their bytes */
    size_t required_count;
};

static int compare_names(const void *a, const void *b)
{
    const struct slice *left = a, *right = b;
    int order = memcmp(left->data, right->data, left->len < right->len ? left->len : right->len);
    return order != 0 ? order : left->len < right->len ? -1 : left->len > right->len;
}

static bool is_required(const struct object *object, const char *name)
{
    struct slice key = slice_str(name);
    return bsearch(&key, object->required, object->required_count, sizeof(key), compare_names);
}

static enum err read_required(struct conversion *conversion, const json_t *required,
                              struct object *object)
{
    size_t count = json_array_size(required);
    if (required && !json_is_array(required))
        return schema_fail(conversion, ERR_PROTOCOL, "required: expected a list of names");
    if (count > KEYS_MAX || object->count > KEYS_MAX)
        return schema_fail(conversion, ERR_LIMIT, "more than %d properties", KEYS_MAX);
    object->required = arena_array(conversion->arena, count + 1, sizeof(*object->required));
    if (!object->required)
        return schema_fail_room(conversion);
    for (size_t i = 0; i < count; i++) {
        json_t *name = json_array_get(required, i);
        if (!json_is_string(name))
            return schema_fail(conversion, ERR_PROTOCOL, "required: expected a list of names");
        if (!json_object_get(object->properties, json_string_value(name)))
            return schema_fail(conversion, ERR_REFUSED,
                               "required: a name that is not among the properties");
        object->required[object->required_count++] = json_slice(name);
    }
    qsort(object->required, count, sizeof(*object->required), compare_names);
    return ERR_OK;
}

static enum err read_object(struct conversion *conversion, json_t *schema,
                            struct object *out_object)
{
    json_t *properties = json_object_get(schema, "properties");
    json_t *additional = json_object_get(schema, "additionalProperties");
    if (properties && !json_is_object(properties))
        return schema_fail(conversion, ERR_PROTOCOL, "properties: expected an object of schemas");
    if (!additional && !properties) /* nothing is said of them: anything */
        additional = json_true();
    if (json_is_false(additional))
        additional = NULL;
    *out_object = (struct object){properties, additional, json_object_size(properties), NULL, 0};
    return read_required(conversion, json_object_get(schema, "required"), out_object);
}

/* "name": value, and white space behind it. */
static enum err add_property(struct conversion *conversion, const char *name, json_t *schema)
{
    struct text key;
    uint32_t place;
    text_init(&key, GRAMMAR_TEXT_MAX_BYTES);
    json_add_string(&key, slice_str(name));
    text_add_byte(&key, ':');
    enum err err = text_status(&key);
    if (err == ERR_OK)
        schema_add_literal(conversion->out, text_slice(&key));
    text_fini(&key);
    if (err != ERR_OK)
        return schema_fail_room(conversion);
    TRY(schema_place(conversion, schema, "properties", slice_str(name), &place));
    text_add_f(conversion->out, " ws s%u ws", place);
    return ERR_OK;
}

static enum err add_other(struct conversion *conversion, const struct object *object)
{
    uint32_t place;
    TRY(schema_place(conversion, object->additional, "additionalProperties", (struct slice){0},
                     &place));
    if (object->count > 0)
        text_add_f(conversion->out, "\"\\\"\" s%u-x0 \":\" ws s%u ws", conversion->place, place);
    else
        text_add_f(conversion->out, "string \":\" ws s%u ws", place);
    return ERR_OK;
}

/* What may come first. */
static enum err add_first(struct conversion *conversion, const struct object *object)
{
    const char *name;
    json_t *schema;
    size_t index = 0;
    json_object_foreach(object->properties, name, schema)
    {
        TRY(add_property(conversion, name, schema));
        text_add_f(conversion->out, " s%u-%zu", conversion->place, ++index);
        if (is_required(object, name))
            return ERR_OK;
        text_add_str(conversion->out, " | ");
    }
    if (object->additional) {
        TRY(add_other(conversion, object));
        text_add_f(conversion->out, " s%u-%zu |", conversion->place, index);
    }
    return ERR_OK; /* and, last, nothing */
}

enum err schema_add_object(struct conversion *conversion, json_t *schema)
{
    struct object object;
    TRY(read_object(conversion, schema, &object));
    text_add_str(conversion->out, "\"{\" ws (");
    conversion->wants_object = object.count > 0;
    if (object.count > 0) {
        TRY(add_first(conversion, &object));
    } else if (object.additional) {
        TRY(add_other(conversion, &object));
        text_add_str(conversion->out, " (\",\" ws ");
        TRY(add_other(conversion, &object));
        text_add_str(conversion->out, ")* |");
    }
    text_add_str(conversion->out, ") \"}\"");
    return ERR_OK;
}

/* --- keys that are none of the properties --- */

struct keys {
    struct slice *names; /* in the order of their bytes */
    uint32_t number;     /* the next rule's */
};

/* How many of names[first..end) share the character at `at` with the first of them. */
static size_t same_char(const struct keys *keys, size_t first, size_t end, size_t at,
                        size_t *out_len)
{
    struct slice rest = slice_after(keys->names[first], at);
    *out_len = utf8_first(rest).len;
    size_t count = 1;
    while (first + count < end && slice_starts_with(slice_after(keys->names[first + count], at),
                                                    slice_first(rest, *out_len)))
        count++;
    return count;
}

/* In a class: what stands there for itself, or not. */
static void add_class_char(struct text *out, struct slice character)
{
    if (strchr("]\\^-[", character.data[0]))
        text_add_f(out, "\\x%02X", (uint8_t)character.data[0]);
    else
        text_add(out, character);
}

/* The rest of a key that began as names[first..end) do, up to `at`, with the quote. Names that are
 * a beginning of others come first. As deep as a name is long. */
static void add_key_rule(struct conversion *conversion, struct keys *keys, uint32_t number,
                         size_t first, size_t end, size_t at)
{
    struct text *out = conversion->out;
    size_t len;
    bool is_name = first < end && keys->names[first].len == at;
    text_add_f(out, "s%u-x%u ::= [^\"\\\\\\x7F\\x00-\\x1F", conversion->place, number);
    first += is_name;
    for (size_t i = first; i < end; i += same_char(keys, i, end, at, &len)) {
        (void)same_char(keys, i, end, at, &len);
        add_class_char(out, slice_first(slice_after(keys->names[i], at), len));
    }
    text_add_f(out, "] s%u-y%s", conversion->place, is_name ? "" : " | \"\\\"\"");
    uint32_t child = keys->number;
    for (size_t i = first; i < end; i += same_char(keys, i, end, at, &len)) {
        (void)same_char(keys, i, end, at, &len);
        text_add_str(out, " | ");
        schema_add_literal(out, slice_first(slice_after(keys->names[i], at), len));
        text_add_f(out, " s%u-x%u", conversion->place, keys->number++);
    }
    text_add_byte(out, '\n');
    for (size_t i = first, next; i < end && !out->overflowed; i = next) {
        next = i + same_char(keys, i, end, at, &len);
        add_key_rule(conversion, keys, child++, i, next, at + len);
    }
}

/* Keys are written without escapes there, so names that need one cannot be among them. */
static bool needs_escape(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t byte = (uint8_t)name.data[i];
        if (byte < 0x20 || byte == '"' || byte == '\\' || byte == 0x7F)
            return true;
    }
    return false;
}

static enum err add_key_rules(struct conversion *conversion, const struct object *object)
{
    struct keys keys = {.number = 1};
    const char *name;
    json_t *schema;
    size_t count = 0;
    keys.names = arena_array(conversion->arena, object->count, sizeof(*keys.names));
    if (!keys.names)
        return schema_fail_room(conversion);
    json_object_foreach(object->properties, name, schema)
    {
        if (strlen(name) > SCHEMA_NAME_MAX_BYTES)
            return schema_fail(conversion, ERR_LIMIT,
                               "beside additionalProperties a name has at most %d bytes",
                               SCHEMA_NAME_MAX_BYTES);
        if (!needs_escape(slice_str(name)))
            keys.names[count++] = slice_str(name);
    }
    qsort(keys.names, count, sizeof(*keys.names), compare_names);
    text_add_f(conversion->out, "s%u-y ::= [^\"\\\\\\x7F\\x00-\\x1F]* \"\\\"\"\n",
               conversion->place);
    add_key_rule(conversion, &keys, 0, 0, count, 0);
    return ERR_OK;
}

enum err schema_add_object_rules(struct conversion *conversion, json_t *schema)
{
    struct object object;
    const char *name;
    json_t *property;
    size_t index = 1;
    TRY(read_object(conversion, schema, &object));
    json_object_foreach(object.properties, name, property)
    {
        if (index > 1) {
            bool must = is_required(&object, name);
            text_add_f(conversion->out, "s%u-%zu ::= %s\",\" ws ", conversion->place, index - 1,
                       must ? "" : "(");
            TRY(add_property(conversion, name, property));
            text_add_f(conversion->out, "%s s%u-%zu\n", must ? "" : ")?", conversion->place, index);
        }
        index++;
    }
    text_add_f(conversion->out, "s%u-%zu ::= ", conversion->place, object.count);
    if (object.additional) {
        text_add_str(conversion->out, "(\",\" ws ");
        TRY(add_other(conversion, &object));
        text_add_str(conversion->out, ")*");
    }
    text_add_str(conversion->out, object.additional ? "\n" : "\"\"\n"); /* a rule that is nothing */
    return object.additional && object.count > 0 ? add_key_rules(conversion, &object) : ERR_OK;
}

/* --- arrays --- */

enum err schema_add_array(struct conversion *conversion, json_t *schema)
{
    json_t *items = json_object_get(schema, "items");
    uint32_t min = 0, max = UINT32_MAX, place;
    TRY(schema_read_count(conversion, schema, "minItems", &min));
    TRY(schema_read_count(conversion, schema, "maxItems", &max));
    if (min > max)
        return schema_fail(conversion, ERR_REFUSED, "nothing satisfies its counts of items");
    if (max == 0) {
        text_add_str(conversion->out, "\"[\" ws \"]\"");
        return ERR_OK;
    }
    TRY(schema_place(conversion, items ? items : json_true(), "items", (struct slice){0}, &place));
    text_add_f(conversion->out, "\"[\" ws (s%u ws (\",\" ws s%u ws){%u,", place, place,
               min > 0 ? min - 1 : 0);
    if (max != UINT32_MAX)
        text_add_u64(conversion->out, max - 1);
    text_add_f(conversion->out, "})%s \"]\"", min > 0 ? "" : "?");
    return ERR_OK;
}
