/* lora_params - see lora_params.h. */
#include "gateway/lora_params.h"

#include "gateway/params.h"

static const char LORA[] = "lora";

MUST_USE static enum err wrong(struct api_error *out_error, size_t index, const char *what)
{
    return api_error_set(out_error, 400, "invalid_value", LORA, "lora[%zu] %s", index, what);
}

MUST_USE static enum err read_which(struct call *call, const json_t *value, size_t index,
                                    struct adapter_wish *item, struct api_error *out_error)
{
    const json_t *name = param_member(value, "name"), *id = param_member(value, "id");
    if ((name != NULL) == (id != NULL))
        return wrong(out_error, index, "must have either a name or an id");
    if (name) {
        struct slice text = json_slice(name);
        if (text.len < 1 || text.len > ADAPTER_NAME_MAX_BYTES)
            return wrong(out_error, index, "has a name that is not a string of 1..64 bytes");
        if (arena_dup(call->arena, text, &item->name) != ERR_OK)
            return api_error_set(out_error, 413, "body_too_large", LORA, "lora is too large");
        return ERR_OK;
    }
    json_int_t number = json_integer_value(id);
    if (!json_is_integer(id) || number < 0 || number >= ADAPTERS_WISHED_MAX)
        return wrong(out_error, index, "has an id that is not an integer in 0..15");
    item->id = (uint32_t)number;
    return ERR_OK;
}
_Static_assert(ADAPTER_NAME_MAX_BYTES == 64 && ADAPTERS_WISHED_MAX == 16, "the sentences say so");

/* A scale that is passed over would be one of 1. */
MUST_USE static enum err check_members(json_t *value, size_t index, struct api_error *out_error)
{
    static const char *const known[] = {"id", "name", "scale"};
    const char *stranger = json_stranger(value, known, ARRAY_COUNT(known));
    if (!stranger)
        return ERR_OK;
    return api_error_set(out_error, 400, "invalid_value", LORA,
                         "lora[%zu] has an unknown member '%.64s': id, name and scale are known",
                         index, stranger);
}

MUST_USE static enum err read_item(struct call *call, json_t *value, size_t index,
                                   struct adapter_wish *item, struct api_error *out_error)
{
    if (!json_is_object(value))
        return wrong(out_error, index, "must be an object with a name or an id, and a scale");
    TRY(check_members(value, index, out_error));
    item->scale = 1;
    TRY(read_which(call, value, index, item, out_error));
    const json_t *scale = param_member(value, "scale");
    double number = json_number_value(scale);
    if (!scale)
        return ERR_OK;
    if (!json_is_number(scale) || !(number >= -ADAPTER_SCALE_MAX && number <= ADAPTER_SCALE_MAX))
        return wrong(out_error, index, "has a scale that is not a number in -100..100");
    item->scale = (float)number + 0.0f; /* -0 is 0 */
    return ERR_OK;
}
_Static_assert(ADAPTER_SCALE_MAX == 100, "the sentence says so");

enum err lora_params(struct call *call, const json_t *body, struct api_error *out_error)
{
    const json_t *list = param_member(body, LORA);
    size_t count = json_array_size(list);
    if (!list)
        return ERR_OK;
    if (!json_is_array(list))
        return param_wrong_type(out_error, LORA, "a list of objects with id (or name) and scale");
    if (count > ADAPTERS_WISHED_MAX)
        return api_error_set(out_error, 400, "invalid_value", LORA,
                             "lora has %zu entries: allowed are %d", count, ADAPTERS_WISHED_MAX);
    struct adapter_wish *items = arena_array(call->arena, count + 1, sizeof(*items));
    if (!items)
        return api_error_set(out_error, 413, "body_too_large", LORA, "lora is too large");
    for (size_t i = 0; i < count; i++)
        TRY(read_item(call, json_array_get(list, i), i, &items[i], out_error));
    call->request.adapters = (struct adapters_wish){true, items, count};
    return ERR_OK;
}
