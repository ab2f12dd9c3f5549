/* schema_all - allOf of objects as the one object that they are together. */
#include "grammar/schema_impl.h"

static enum err merge_into(struct conversion *conversion, json_t *merged, json_t *schema,
                           int depth);

static enum err merge_properties(struct conversion *conversion, json_t *merged, json_t *properties)
{
    json_t *all = json_object_get(merged, "properties"), *schema;
    const char *name;
    if (!all) {
        all = json_object();
        (void)json_object_set_new(merged, "properties", all); /* fails for no memory: json_read */
    }
    json_object_foreach(properties, name, schema)
    {
        json_t *before = json_object_get(all, name);
        if (before && !json_equal(before, schema))
            return schema_fail(conversion, ERR_REFUSED,
                               "allOf: a property that two of them describe differently");
        (void)json_object_set(all, name, schema);
    }
    return ERR_OK;
}

static void merge_required(json_t *merged, json_t *required)
{
    json_t *all = json_object_get(merged, "required");
    if (!all) {
        all = json_array();
        (void)json_object_set_new(merged, "required", all);
    }
    (void)json_array_extend(all, required);
}

static enum err merge_keyword(struct conversion *conversion, json_t *merged, const char *name,
                              json_t *value)
{
    json_t *before = json_object_get(merged, name);
    if (strcmp(name, "properties") == 0 && json_is_object(value))
        return merge_properties(conversion, merged, value);
    if (strcmp(name, "required") == 0 && json_is_array(value)) {
        merge_required(merged, value);
        return ERR_OK;
    }
    if (schema_keyword_group(name) == ANNOTATION || strcmp(name, "allOf") == 0)
        return ERR_OK;
    if (before && !json_equal(before, value))
        return schema_fail_keyword(conversion, name, "differs among the parts of allOf");
    (void)json_object_set(merged, name, value);
    return ERR_OK;
}

static enum err merge_parts(struct conversion *conversion, json_t *merged, json_t *parts, int depth)
{
    if (!json_is_array(parts) || json_array_size(parts) == 0)
        return schema_fail(conversion, ERR_PROTOCOL, "allOf: expected a list of schemas");
    for (size_t i = 0; i < json_array_size(parts); i++)
        TRY(merge_into(conversion, merged, json_array_get(parts, i), depth + 1));
    return ERR_OK;
}

enum { MERGE_DEPTH_MAX = 16, MERGED_MAX = 256 };

static enum err merge_into(struct conversion *conversion, json_t *merged, json_t *schema, int depth)
{
    uint32_t groups;
    const char *name;
    json_t *value;
    if (depth > MERGE_DEPTH_MAX)
        return schema_fail(conversion, ERR_LIMIT, "allOf: more than %d references and parts deep",
                           MERGE_DEPTH_MAX);
    if (!json_is_object(schema))
        return schema_fail(conversion, ERR_REFUSED, "allOf: a part that is no object");
    TRY(schema_read_groups(conversion, schema, &groups));
    if (groups & REFERENCE) {
        TRY(schema_allow_only(conversion, schema, REFERENCE, "$ref"));
        TRY(schema_find_reference(conversion, schema, &schema));
        return merge_into(conversion, merged, schema, depth + 1);
    }
    if (groups & ~(uint32_t)(ANNOTATION | TYPE | OBJECT | ALL))
        return schema_fail(conversion, ERR_REFUSED, "allOf: only objects can be put together");
    json_object_foreach(schema, name, value)
    {
        TRY(merge_keyword(conversion, merged, name, value));
    }
    if (groups & ALL)
        return merge_parts(conversion, merged, json_object_get(schema, "allOf"), depth);
    return ERR_OK;
}

/* One part alone is what it is, of whatever type. */
enum err schema_add_all(struct conversion *conversion, json_t *schema)
{
    json_t *parts = json_object_get(schema, "allOf"), *merged;
    uint32_t place;
    if (json_array_size(parts) == 1 && !schema_other_keyword(schema, ALL)) {
        TRY(schema_place(conversion, json_array_get(parts, 0), "allOf", SLICE("0"), &place));
        return schema_add_alias(conversion, place);
    }
    if (json_array_size(conversion->merged) == MERGED_MAX)
        return schema_fail(conversion, ERR_LIMIT, "more than %d allOf", MERGED_MAX);
    merged = json_object();
    (void)json_array_append_new(conversion->merged, merged);
    TRY(merge_into(conversion, merged, schema, 0));
    TRY(schema_place(conversion, merged, "allOf", (struct slice){0}, &place));
    return schema_add_alias(conversion, place);
}
