/* fields - reads the members of a JSON payload by name, with sticky errors. */
#include "wire/fields.h"

#include <math.h>

enum err fields_parse(struct slice payload, json_t **out_root, struct err_note *note)
{
    json_t *root = NULL;
    TRY(json_read(payload, FIELDS_DEPTH_MAX, &root, note));
    if (!json_is_object(root)) {
        json_decref(root);
        return err_note_fail(note, ERR_PROTOCOL, "the payload is not a JSON object");
    }
    *out_root = root;
    return ERR_OK;
}

struct fields fields_inside(const struct fields *parent, const json_t *object)
{
    struct fields inside = *parent;
    inside.object = object;
    if (inside.err == ERR_OK && !json_is_object(object))
        inside.err = err_note_fail(inside.note, ERR_PROTOCOL, "an object was expected");
    return inside;
}

void fields_fail(struct fields *fields, enum err err, const char *key, const char *what)
{
    if (fields->err == ERR_OK)
        fields->err = err_note_fail(fields->note, err, "%s: %s", key, what);
}

static const json_t *member(const struct fields *fields, const char *key)
{
    return fields->err == ERR_OK ? json_object_get(fields->object, key) : NULL;
}

bool fields_has(const struct fields *fields, const char *key)
{
    return member(fields, key) != NULL;
}

int64_t fields_i64(struct fields *fields, const char *key, int64_t min, int64_t max)
{
    const json_t *value = member(fields, key);
    if (!json_is_integer(value)) {
        fields_fail(fields, ERR_PROTOCOL, key, "an integer is required");
        return 0;
    }
    int64_t number = json_integer_value(value);
    if (number >= min && number <= max)
        return number;
    if (fields->err == ERR_OK)
        fields->err = err_note_fail(fields->note, ERR_LIMIT, "%s is %lld: allowed are %lld..%lld",
                                    key, (long long)number, (long long)min, (long long)max);
    return 0;
}

uint32_t fields_u32(struct fields *fields, const char *key)
{
    return (uint32_t)fields_i64(fields, key, 0, UINT32_MAX);
}

uint64_t fields_u64(struct fields *fields, const char *key)
{
    return (uint64_t)fields_i64(fields, key, 0, FIELDS_INTEGER_MAX);
}

uint64_t fields_u64_text(struct fields *fields, const char *key)
{
    uint64_t number = 0;
    const json_t *value = member(fields, key);
    if (!json_is_string(value) || slice_parse_u64(json_slice(value), UINT64_MAX, &number) != ERR_OK)
        fields_fail(fields, ERR_PROTOCOL, key, "a decimal number in quotes is required");
    return number;
}

float fields_float(struct fields *fields, const char *key, double min, double max)
{
    const json_t *value = member(fields, key);
    if (!json_is_number(value)) {
        fields_fail(fields, ERR_PROTOCOL, key, "a number is required");
        return 0;
    }
    double number = json_number_value(value);
    if (number >= min && number <= max && isfinite((float)number))
        return fields_to_float(number);
    if (fields->err == ERR_OK)
        fields->err = err_note_fail(fields->note, ERR_LIMIT, "%s is %g: allowed are %g..%g", key,
                                    number, min, max);
    return 0;
}

bool fields_bool(struct fields *fields, const char *key)
{
    const json_t *value = member(fields, key);
    if (!json_is_boolean(value))
        fields_fail(fields, ERR_PROTOCOL, key, "true or false is required");
    return json_is_true(value);
}

static struct slice keep(struct fields *fields, const char *key, struct slice source)
{
    struct slice copy = {0};
    if (!fields->arena) {
        /* Room for the whole payload was reserved, so that what was lent before does not move. */
        copy = slice_of(fields->scratch->data + fields->scratch->len, source.len);
        ASSERT(fields->scratch->capacity - fields->scratch->len >= source.len);
        text_add(fields->scratch, source);
        return copy;
    }
    if (arena_dup(fields->arena, source, &copy) != ERR_OK)
        fields_fail(fields, ERR_LIMIT, key, "no room for it");
    return copy;
}

struct slice fields_item_string(struct fields *fields, const char *key, const json_t *item,
                                size_t max_bytes)
{
    if (fields->err != ERR_OK)
        return (struct slice){0};
    if (!json_is_string(item)) {
        fields_fail(fields, ERR_PROTOCOL, key, "a string is required");
        return (struct slice){0};
    }
    struct slice value = json_slice(item);
    if (value.len <= max_bytes)
        return keep(fields, key, value);
    fields->err = err_note_fail(fields->note, ERR_LIMIT, "%s has %zu bytes: at most %zu", key,
                                value.len, max_bytes);
    return (struct slice){0};
}

struct slice fields_string(struct fields *fields, const char *key, size_t max_bytes)
{
    return fields_item_string(fields, key, member(fields, key), max_bytes);
}

struct slice fields_optional_string(struct fields *fields, const char *key, size_t max_bytes)
{
    return fields_has(fields, key) ? fields_string(fields, key, max_bytes) : (struct slice){0};
}

int fields_choice(struct fields *fields, const char *key, const char *const *names, int count)
{
    struct slice value = json_slice(member(fields, key));
    for (int i = 0; i < count; i++) {
        if (slice_eq_str(value, names[i]))
            return i;
    }
    fields_fail(fields, ERR_PROTOCOL, key, "not one of the known names");
    return 0;
}

const json_t *fields_optional_array(struct fields *fields, const char *key, size_t max_items)
{
    const json_t *value = member(fields, key);
    if (!value)
        return NULL;
    if (!json_is_array(value)) {
        fields_fail(fields, ERR_PROTOCOL, key, "an array is required");
        return NULL;
    }
    if (json_array_size(value) <= max_items)
        return value;
    fields->err = err_note_fail(fields->note, ERR_LIMIT, "%s has %zu items: at most %zu", key,
                                json_array_size(value), max_items);
    return NULL;
}

const json_t *fields_object(struct fields *fields, const char *key)
{
    const json_t *value = member(fields, key);
    if (json_is_object(value))
        return value;
    fields_fail(fields, ERR_PROTOCOL, key, "an object is required");
    return NULL;
}

void *fields_memory(struct fields *fields, const char *key, size_t count, size_t item_bytes)
{
    void *items = arena_array(fields->arena, count, item_bytes);
    if (!items)
        fields_fail(fields, ERR_LIMIT, key, "no room for it");
    return items;
}

int32_t fields_token(struct fields *fields, const char *key, const json_t *item)
{
    json_int_t token = json_integer_value(item);
    if (!json_is_integer(item) || token < 0 || token > INT32_MAX) {
        fields_fail(fields, ERR_PROTOCOL, key, "token ids are integers from 0 to 2147483647");
        return 0;
    }
    return (int32_t)token;
}
