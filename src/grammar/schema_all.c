/* schema_all - allOf of objects as the one object that they are together. */
#include "grammar/schema_impl.h"

/* Each schema goes in once, however many parts lead to it: parts that each refer twice to the same
 * next ones would else be as many as 2 to the power of how deep they are. */
struct merge {
    struct conversion *conversion;
    json_t *merged;
    struct map *done;    /* schemas that are in it, with all that they refer to */
    size_t closed_count; /* the fewest properties of a part that says something of all others;
                          * SIZE_MAX: none does */
};

static enum err merge_into(struct merge *merge, json_t *schema, int depth);

enum { MERGE_DEPTH_MAX = 16, MERGED_MAX = 256, MERGED_KEYS_MAX = 1 << 14 };

/* More than the grammar has room for: bounds what parts that many refer to can cost. */
static enum err count_keys(struct merge *merge, size_t count)
{
    merge->conversion->merged_keys += count;
    if (merge->conversion->merged_keys <= MERGED_KEYS_MAX)
        return ERR_OK;
    return schema_fail(merge->conversion, ERR_LIMIT,
                       "allOf: more than %d properties in the parts of all of them",
                       MERGED_KEYS_MAX);
}

static enum err merge_properties(struct merge *merge, json_t *properties)
{
    json_t *all = json_object_get(merge->merged, "properties"), *schema;
    const char *name;
    TRY(count_keys(merge, json_object_size(properties)));
    if (!all) {
        all = json_object();
        /* Fails for no memory, and that does not return: json_read. */
        (void)json_object_set_new(merge->merged, "properties", all);
    }
    json_object_foreach(properties, name, schema)
    {
        json_t *before = json_object_get(all, name);
        if (before && !json_equal(before, schema))
            return schema_fail(merge->conversion, ERR_REFUSED,
                               "allOf: a property that two of them describe differently");
        (void)json_object_set(all, name, schema);
    }
    return ERR_OK;
}

/* additionalProperties is about whatever its own part does not name, the properties of the other
 * parts too. */
static void note_additional(struct merge *merge, json_t *schema)
{
    json_t *additional = json_object_get(schema, "additionalProperties");
    size_t count = json_object_size(json_object_get(schema, "properties"));
    bool is_open = !additional || json_is_true(additional) ||
                   (json_is_object(additional) && json_object_size(additional) == 0);
    if (!is_open && count < merge->closed_count)
        merge->closed_count = count;
}

static enum err check_additional(struct merge *merge)
{
    if (merge->closed_count >= json_object_size(json_object_get(merge->merged, "properties")))
        return ERR_OK;
    return schema_fail_keyword(merge->conversion, "additionalProperties",
                               "is not supported in a part of allOf that does not name all "
                               "properties");
}

static enum err merge_required(struct merge *merge, json_t *required)
{
    json_t *all = json_object_get(merge->merged, "required");
    TRY(count_keys(merge, json_array_size(required)));
    if (!all) {
        all = json_array();
        (void)json_object_set_new(merge->merged, "required", all);
    }
    (void)json_array_extend(all, required);
    return ERR_OK;
}

static enum err merge_keyword(struct merge *merge, const char *name, json_t *value)
{
    json_t *before = json_object_get(merge->merged, name);
    if (strcmp(name, "properties") == 0 && json_is_object(value))
        return merge_properties(merge, value);
    if (strcmp(name, "required") == 0 && json_is_array(value))
        return merge_required(merge, value);
    if (schema_keyword_group(name) == ANNOTATION || strcmp(name, "allOf") == 0)
        return ERR_OK;
    if (before && !json_equal(before, value))
        return schema_fail_keyword(merge->conversion, name, "differs among the parts of allOf");
    (void)json_object_set(merge->merged, name, value);
    return ERR_OK;
}

static enum err merge_parts(struct merge *merge, json_t *parts, int depth)
{
    if (!json_is_array(parts) || json_array_size(parts) == 0)
        return schema_fail(merge->conversion, ERR_PROTOCOL, "allOf: expected a list of schemas");
    for (size_t i = 0; i < json_array_size(parts); i++)
        TRY(merge_into(merge, json_array_get(parts, i), depth + 1));
    return ERR_OK;
}

static enum err merge_schema(struct merge *merge, json_t *schema, int depth)
{
    struct conversion *conversion = merge->conversion;
    uint32_t groups;
    const char *name;
    json_t *value;
    if (!json_is_object(schema))
        return schema_fail(conversion, ERR_REFUSED, "allOf: a part that is no object");
    TRY(schema_read_groups(conversion, schema, &groups));
    if (groups & REFERENCE) {
        TRY(schema_allow_only(conversion, schema, REFERENCE, "$ref"));
        TRY(schema_find_reference(conversion, schema, &schema));
        return merge_into(merge, schema, depth + 1);
    }
    if (groups & ~(uint32_t)(ANNOTATION | TYPE | OBJECT | ALL))
        return schema_fail(conversion, ERR_REFUSED, "allOf: only objects can be put together");
    json_object_foreach(schema, name, value)
    {
        TRY(merge_keyword(merge, name, value));
    }
    note_additional(merge, schema);
    if (groups & ALL)
        return merge_parts(merge, json_object_get(schema, "allOf"), depth);
    return ERR_OK;
}

/* It is done when it has been left, so what leads back to itself ends at the depth. */
static enum err merge_into(struct merge *merge, json_t *schema, int depth)
{
    if (map_get(merge->done, (uintptr_t)schema))
        return ERR_OK;
    if (depth > MERGE_DEPTH_MAX)
        return schema_fail(merge->conversion, ERR_LIMIT,
                           "allOf: more than %d references and parts deep", MERGE_DEPTH_MAX);
    TRY(merge_schema(merge, schema, depth));
    if (map_count(merge->done) == SCHEMA_PLACES_MAX)
        return schema_fail(merge->conversion, ERR_LIMIT, "allOf: more than %d schemas in it",
                           SCHEMA_PLACES_MAX);
    return map_put(merge->done, (uintptr_t)schema, schema);
}

static enum err merge_all(struct conversion *conversion, json_t *schema, json_t *merged)
{
    struct merge merge = {conversion, merged, map_new(SCHEMA_PLACES_MAX), SIZE_MAX};
    enum err err = merge_into(&merge, schema, 0);
    if (err == ERR_OK)
        err = check_additional(&merge);
    map_free(merge.done);
    return err;
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
    TRY(merge_all(conversion, schema, merged));
    TRY(schema_place(conversion, merged, "allOf", (struct slice){0}, &place));
    return schema_add_alias(conversion, place);
}
