/* adapters - one entry after the other, each mistake with its place. */
#include "config/adapters.h"

#include "base/json.h"
#include "base/utf8.h"

#include <stdio.h>

enum { PATH_MAX_BYTES = 4096, SCALE_MAX = 100, DEFAULTS_MAX = CONFIG_ADAPTERS_AT_ONCE };

/* Where a mistake is, so that its sentence can say so. */
struct place {
    size_t index;
    struct err_note *out_note;
};

MUST_USE static enum err wrong(const struct place *place, const char *member, const char *must)
{
    return err_note_fail(place->out_note, ERR_REFUSED, "llama_lora[%zu].%s must be %s",
                         place->index, member, must);
}

/* It stands in requests, in error messages and in a list of names. */
static bool is_name(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_plain && c != '-' && c != '_' && c != '.')
            return false;
    }
    return text.len >= 1 && text.len <= CONFIG_ADAPTER_NAME_MAX_BYTES;
}

static bool is_path(struct slice text)
{
    return text.len >= 1 && text.len <= PATH_MAX_BYTES && utf8_is_valid(text);
}

MUST_USE static enum err check_members(const struct place *place, json_t *entry)
{
    static const char *const known[] = {"name", "path", "scale"};
    const char *stranger = json_stranger(entry, known, ARRAY_COUNT(known));
    if (!stranger)
        return ERR_OK;
    return err_note_fail(place->out_note, ERR_REFUSED,
                         "llama_lora[%zu]: unknown member '%.64s': name, path and scale "
                         "are known",
                         place->index, stranger);
}

MUST_USE static enum err read_entry(const struct place *place, json_t *entry, struct arena *arena,
                                    struct config_adapter *adapter)
{
    struct slice name = json_slice(json_object_get(entry, "name"));
    struct slice path = json_slice(json_object_get(entry, "path"));
    const json_t *scale = json_object_get(entry, "scale");
    double number = json_number_value(scale);
    if (!json_is_object(entry))
        return err_note_fail(place->out_note, ERR_REFUSED, "llama_lora[%zu] must be an object",
                             place->index);
    TRY(check_members(place, entry));
    if (!is_name(name))
        return wrong(place, "name", "1..64 letters, digits, - _ .");
    if (!is_path(path))
        return wrong(place, "path", "a string of 1..4096 bytes of UTF-8");
    if (scale && (!json_is_number(scale) || !(number >= -SCALE_MAX && number <= SCALE_MAX)))
        return wrong(place, "scale", "a number in -100..100");
    TRY(arena_dup(arena, name, &name));
    TRY(arena_dup(arena, path, &path));
    *adapter = (struct config_adapter){name.data, path.data, (float)number + 0.0f};
    return ERR_OK;
}
_Static_assert(CONFIG_ADAPTER_NAME_MAX_BYTES == 64, "the sentence above says so");

MUST_USE static enum err check_unique(const struct place *place,
                                      const struct config_adapter *adapters)
{
    for (size_t i = 0; i < place->index; i++)
        if (strcmp(adapters[i].name, adapters[place->index].name) == 0)
            return err_note_fail(place->out_note, ERR_REFUSED,
                                 "llama_lora[%zu].name is the same as llama_lora[%zu].name",
                                 place->index, i);
    return ERR_OK;
}

MUST_USE static enum err check_scales(const struct config_adapter *adapters, size_t count,
                                      struct err_note *out_note)
{
    size_t scaled = 0;
    for (size_t i = 0; i < count; i++)
        scaled += adapters[i].scale != 0;
    if (scaled <= DEFAULTS_MAX)
        return ERR_OK;
    return err_note_fail(out_note, ERR_REFUSED,
                         "llama_lora has %zu entries with a scale other than 0: allowed are 0..%d",
                         scaled, DEFAULTS_MAX);
}

MUST_USE static enum err read_list(json_t *list, struct config *config, struct err_note *out_note)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list))
        return err_note_fail(out_note, ERR_REFUSED, "llama_lora must be a list of objects");
    if (count > CONFIG_ADAPTERS_MAX)
        return err_note_fail(out_note, ERR_REFUSED, "llama_lora has %zu entries: allowed are 0..%d",
                             count, CONFIG_ADAPTERS_MAX);
    struct config_adapter *adapters = arena_array(config->arena, count + 1, sizeof(*adapters));
    if (!adapters)
        return err_note_fail(out_note, ERR_LIMIT, "llama_lora: no room");
    for (size_t i = 0; i < count; i++) {
        struct place place = {i, out_note};
        TRY(read_entry(&place, json_array_get(list, i), config->arena, &adapters[i]));
        TRY(check_unique(&place, adapters));
    }
    TRY(check_scales(adapters, count, out_note));
    config->llama_lora = adapters;
    config->llama_lora_count = count;
    return ERR_OK;
}

enum err config_adapters_read(struct slice text, struct config *config, struct err_note *out_note)
{
    json_t *list;
    struct err_note why;
    if (json_read(text, 4, &list, &why) != ERR_OK)
        return err_note_fail(out_note, ERR_REFUSED, "llama_lora: %.400s", why.text);
    enum err err = read_list(list, config, out_note);
    json_decref(list);
    return err;
}

void config_adapters_write(const struct config *config, struct text *out)
{
    struct json_out json = json_out_to(out);
    json_out_begin_array(&json);
    for (size_t i = 0; i < config->llama_lora_count; i++) {
        const struct config_adapter *adapter = &config->llama_lora[i];
        json_out_begin_object(&json);
        json_out_add_string(&json, "name", slice_str(adapter->name));
        json_out_add_string(&json, "path", slice_str(adapter->path));
        json_out_add_double(&json, "scale", (double)adapter->scale);
        json_out_end_object(&json);
    }
    json_out_end_array(&json);
}
