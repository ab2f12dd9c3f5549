/* api_keys - one entry after the other, each mistake with its place. */
#include "config/api_keys.h"

#include "base/json.h"
#include "base/sha256.h"
#include "base/utf8.h"

#include <stdio.h>

/* Where a mistake is, so that its sentence can say so. */
struct place {
    size_t index;
    struct err_note *out_note;
};

MUST_USE static enum err wrong(const struct place *place, const char *member, const char *must)
{
    return err_note_fail(place->out_note, ERR_REFUSED, "keys[%zu].%s must be %s", place->index,
                         member, must);
}

/* It stands in log lines and in headers. */
static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f)
            return false;
    return utf8_is_valid(text);
}

MUST_USE static enum err read_name(const struct place *place, const char *member,
                                   const json_t *value, size_t max_bytes, struct arena *arena,
                                   const char **out_name)
{
    struct slice text = json_slice(value), copy;
    char must[64];
    snprintf(must, sizeof(must), "a string of 1..%zu bytes without control characters", max_bytes);
    if (text.len < 1 || text.len > max_bytes || !is_plain(text))
        return wrong(place, member, must);
    TRY(arena_dup(arena, text, &copy));
    *out_name = copy.data;
    return ERR_OK;
}

MUST_USE static enum err read_weight(const struct place *place, const json_t *value,
                                     struct config_api_key *key)
{
    json_int_t weight = value ? json_integer_value(value) : 1; /* 0 when it is no integer */
    if (weight < 1 || weight > CONFIG_WEIGHT_MAX)
        return wrong(place, "weight", "a whole number in 1..1000");
    key->weight = (uint32_t)weight;
    return ERR_OK;
}
_Static_assert(CONFIG_WEIGHT_MAX == 1000, "the sentence above says so");

MUST_USE static enum err check_members(const struct place *place, json_t *entry)
{
    static const char *const known[] = {"name", "sha256", "tenant", "weight"};
    const char *stranger = json_stranger(entry, known, ARRAY_COUNT(known));
    if (!stranger)
        return ERR_OK;
    return err_note_fail(place->out_note, ERR_REFUSED,
                         "keys[%zu]: unknown member '%.64s': name, sha256, tenant and "
                         "weight are known",
                         place->index, stranger);
}

MUST_USE static enum err read_entry(const struct place *place, json_t *entry, struct arena *arena,
                                    struct config_api_key *key)
{
    if (!json_is_object(entry))
        return err_note_fail(place->out_note, ERR_REFUSED, "keys[%zu] must be an object",
                             place->index);
    TRY(check_members(place, entry));
    TRY(read_name(place, "name", json_object_get(entry, "name"), CONFIG_API_KEY_NAME_MAX_BYTES,
                  arena, &key->name));
    if (sha256_parse(json_slice(json_object_get(entry, "sha256")), key->sha256) != ERR_OK)
        return wrong(place, "sha256", "64 hex digits");
    const json_t *tenant = json_object_get(entry, "tenant");
    key->tenant = key->name;
    if (tenant)
        TRY(read_name(place, "tenant", tenant, CONFIG_TENANT_MAX_BYTES, arena, &key->tenant));
    return read_weight(place, json_object_get(entry, "weight"), key);
}

/* Two names for one key would make it a matter of chance whose it is. */
MUST_USE static enum err check_unique(const struct place *place, const struct config_api_key *keys)
{
    const struct config_api_key *key = &keys[place->index];
    for (size_t i = 0; i < place->index; i++) {
        bool same_name = strcmp(keys[i].name, key->name) == 0;
        if (same_name || memcmp(keys[i].sha256, key->sha256, sizeof(key->sha256)) == 0)
            return err_note_fail(place->out_note, ERR_REFUSED,
                                 "keys[%zu].%s is the same as keys[%zu].%s", place->index,
                                 same_name ? "name" : "sha256", i, same_name ? "name" : "sha256");
    }
    return ERR_OK;
}

MUST_USE static enum err read_list(json_t *list, struct config *config, struct err_note *out_note)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list))
        return err_note_fail(out_note, ERR_REFUSED, "keys must be a list of objects");
    if (count > CONFIG_API_KEYS_MAX)
        return err_note_fail(out_note, ERR_REFUSED, "keys has %zu entries: allowed are 0..%d",
                             count, CONFIG_API_KEYS_MAX);
    struct config_api_key *keys = arena_array(config->arena, count + 1, sizeof(*keys));
    if (!keys)
        return err_note_fail(out_note, ERR_LIMIT, "keys: no room");
    for (size_t i = 0; i < count; i++) {
        struct place place = {i, out_note};
        TRY(read_entry(&place, json_array_get(list, i), config->arena, &keys[i]));
        TRY(check_unique(&place, keys));
    }
    config->keys = keys;
    config->key_count = count;
    return ERR_OK;
}

enum err api_keys_read(struct slice text, struct config *config, struct err_note *out_note)
{
    json_t *list;
    struct err_note why;
    if (json_read(text, 4, &list, &why) != ERR_OK)
        return err_note_fail(out_note, ERR_REFUSED, "keys: %.400s", why.text);
    enum err err = read_list(list, config, out_note);
    json_decref(list);
    return err;
}

void api_keys_write(const struct config *config, bool is_masked, struct text *out)
{
    struct json_out json = json_out_to(out);
    json_out_begin_array(&json);
    for (size_t i = 0; i < config->key_count; i++) {
        const struct config_api_key *key = &config->keys[i];
        char hex[SHA256_HEX_BYTES + 1];
        struct slice digest = sha256_format(key->sha256, hex);
        json_out_begin_object(&json);
        json_out_add_string(&json, "name", slice_str(key->name));
        json_out_add_string(&json, "sha256", is_masked ? SLICE("(masked)") : digest);
        json_out_add_string(&json, "tenant", slice_str(key->tenant));
        json_out_add_u64(&json, "weight", key->weight);
        json_out_end_object(&json);
    }
    json_out_end_array(&json);
}
