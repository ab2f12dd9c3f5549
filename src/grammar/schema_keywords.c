/* schema_keywords - which keywords there are, what they are about, and which types they leave. */
#include "grammar/schema_impl.h"

#include <stdio.h>

void schema_add_plain(struct text *out, struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.data[i];
        text_add_byte(out, byte > 0x20 && byte < 0x7F ? byte : '?');
    }
}

static const struct keyword {
    const char *name;
    uint32_t group;
} keywords[] = {
    {"title", ANNOTATION},
    {"description", ANNOTATION},
    {"default", ANNOTATION},
    {"examples", ANNOTATION},
    {"example", ANNOTATION},
    {"$comment", ANNOTATION},
    {"$schema", ANNOTATION},
    {"$id", ANNOTATION},
    {"$anchor", ANNOTATION},
    {"$defs", ANNOTATION},
    {"definitions", ANNOTATION},
    {"deprecated", ANNOTATION},
    {"readOnly", ANNOTATION},
    {"writeOnly", ANNOTATION},
    {"contentEncoding", ANNOTATION},
    {"contentMediaType", ANNOTATION},
    {"type", TYPE},
    {"enum", VALUES},
    {"const", VALUES},
    {"anyOf", CHOICE},
    {"oneOf", CHOICE},
    {"allOf", ALL},
    {"$ref", REFERENCE},
    {"minLength", STRING},
    {"maxLength", STRING},
    {"pattern", STRING},
    {"format", STRING},
    {"minimum", NUMBER},
    {"maximum", NUMBER},
    {"exclusiveMinimum", NUMBER},
    {"exclusiveMaximum", NUMBER},
    {"items", ARRAY},
    {"minItems", ARRAY},
    {"maxItems", ARRAY},
    {"properties", OBJECT},
    {"required", OBJECT},
    {"additionalProperties", OBJECT},
};

uint32_t schema_keyword_group(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(keywords); i++) {
        if (strcmp(keywords[i].name, name) == 0)
            return keywords[i].group;
    }
    return 0;
}

enum err schema_fail_keyword(struct conversion *conversion, const char *keyword, const char *why)
{
    struct text name;
    text_init(&name, 128);
    schema_add_plain(&name, slice_first(slice_str(keyword), 64));
    enum err err = schema_fail(conversion, ERR_REFUSED, "the keyword " SLICE_FMT " %s",
                               SLICE_ARG(text_slice(&name)), why);
    text_fini(&name);
    return err;
}

enum err schema_read_groups(struct conversion *conversion, json_t *schema, uint32_t *out_groups)
{
    const char *name;
    json_t *value;
    *out_groups = 0;
    json_object_foreach(schema, name, value)
    {
        uint32_t group = schema_keyword_group(name);
        if (group == 0)
            return schema_fail_keyword(conversion, name, "is not supported");
        *out_groups |= group;
    }
    return ERR_OK;
}

const char *schema_other_keyword(json_t *schema, uint32_t groups)
{
    const char *name;
    json_t *value;
    json_object_foreach(schema, name, value)
    {
        if (!(schema_keyword_group(name) & (groups | ANNOTATION)))
            return name;
    }
    return NULL;
}

enum err schema_allow_only(struct conversion *conversion, json_t *schema, uint32_t groups,
                           const char *beside)
{
    const char *other = schema_other_keyword(schema, groups);
    char why[64];
    if (!other)
        return ERR_OK;
    snprintf(why, sizeof(why), "is not supported beside %s", beside);
    return schema_fail_keyword(conversion, other, why);
}

/* --- types --- */

const char *const schema_types[SCHEMA_TYPES] = {"object",  "array",   "string", "number",
                                                "integer", "boolean", "null"};
/* Of which keywords are about it. An integer is a number that somebody has called so. */
static const uint32_t type_groups[SCHEMA_TYPES] = {OBJECT, ARRAY, STRING, NUMBER};

bool schema_fits_type(const json_t *value, const char *type)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return strcmp(type, "object") == 0;
    case JSON_ARRAY:
        return strcmp(type, "array") == 0;
    case JSON_STRING:
        return strcmp(type, "string") == 0;
    case JSON_INTEGER:
        return strcmp(type, "integer") == 0 || strcmp(type, "number") == 0;
    case JSON_REAL:
        return strcmp(type, "number") == 0;
    case JSON_TRUE:
    case JSON_FALSE:
        return strcmp(type, "boolean") == 0;
    default:
        return strcmp(type, "null") == 0;
    }
}

enum err schema_read_types(struct conversion *conversion, json_t *schema, uint32_t groups,
                           uint32_t *out_types)
{
    json_t *type = json_object_get(schema, "type");
    size_t count = json_is_array(type) ? json_array_size(type) : 1;
    *out_types = 0;
    for (size_t i = 0; i < SCHEMA_TYPES && !type; i++)
        *out_types |= (uint32_t)((groups & type_groups[i]) != 0) << i;
    if (type && count == 0)
        return schema_fail(conversion, ERR_REFUSED, "no type is named: nothing satisfies it");
    for (size_t i = 0; type && i < count; i++) {
        json_t *item = json_is_array(type) ? json_array_get(type, i) : type;
        uint32_t bit = 0;
        for (size_t j = 0; j < SCHEMA_TYPES && json_is_string(item); j++)
            bit |= (uint32_t)slice_eq_str(json_slice(item), schema_types[j]) << j;
        if (bit == 0)
            return schema_fail(conversion, ERR_PROTOCOL,
                               "type: expected object, array, string, number, integer, boolean or "
                               "null, or a list of them");
        *out_types |= bit;
    }
    return ERR_OK;
}
