/* adapters - to and from JSON. */
#include "wire/adapters.h"

#include "wire/fields.h"

static const char LORA[] = "lora";

void adapters_encode(const struct adapters_wish *adapters, struct json_out *json)
{
    json_out_begin_array(json);
    for (size_t i = 0; i < adapters->count; i++) {
        const struct adapter_wish *item = &adapters->items[i];
        json_out_begin_object(json);
        if (item->name.len > 0)
            json_out_add_string(json, "name", item->name);
        else
            json_out_add_u64(json, "id", item->id);
        json_out_add_double(json, "scale", (double)item->scale);
        json_out_end_object(json);
    }
    json_out_end_array(json);
}

static struct adapter_wish item_from(struct fields *fields, const json_t *value)
{
    struct fields inside = fields_inside(fields, value);
    struct adapter_wish item = {
        .name = fields_optional_string(&inside, "name", ADAPTER_NAME_MAX_BYTES)};
    if (fields_has(&inside, "name") == fields_has(&inside, "id"))
        fields_fail(&inside, ERR_PROTOCOL, LORA, "either a name or an id is required");
    else if (item.name.len == 0)
        item.id = fields_u32(&inside, "id");
    item.scale = fields_float(&inside, "scale", -ADAPTER_SCALE_MAX, ADAPTER_SCALE_MAX);
    fields->err = inside.err;
    return item;
}

void adapters_decode(struct fields *fields, struct adapters_wish *out_adapters)
{
    const json_t *array = fields_optional_array(fields, LORA, ADAPTERS_WISHED_MAX);
    if (!array)
        return;
    size_t count = json_array_size(array);
    struct adapter_wish *items = fields_memory(fields, LORA, count, sizeof(*items));
    for (size_t i = 0; items && i < count; i++)
        items[i] = item_from(fields, json_array_get(array, i));
    if (fields->err == ERR_OK)
        *out_adapters = (struct adapters_wish){.is_said = true, .items = items, .count = count};
}
