/* adapters - see adapters.h. */
#include "worker/adapters.h"

#include "base/log.h"
#include "base/sha256.h"
#include "worker/prefix_tree.h"

#include <stdio.h>

/* --- what is wished --- */

/* "0 'sql', 1 'chat'": what there is, for complaints. */
static void list_names(const struct engine_info *info, struct text *out)
{
    if (info->adapter_count == 0)
        text_add_str(out, "none");
    for (uint32_t i = 0; i < info->adapter_count; i++)
        text_add_f(out, "%s%u '%s'", i > 0 ? ", " : "", i, info->adapters[i].name);
}

MUST_USE static enum err unknown(const struct engine_info *info, const struct adapter_wish *item,
                                 struct err_note *note)
{
    struct text names;
    char id[16];
    text_init(&names, 2048); /* of all */
    list_names(info, &names);
    snprintf(id, sizeof(id), "%u", item->id);
    enum err err =
        err_note_fail(note, ERR_NOT_FOUND, "the model has no adapter %.80s: it has " SLICE_FMT,
                      item->name.len > 0 ? log_quote(item->name, ADAPTER_NAME_MAX_BYTES) : id,
                      SLICE_ARG(text_slice(&names)));
    text_fini(&names);
    return err;
}

static uint32_t index_of(const struct engine_info *info, const struct adapter_wish *item)
{
    if (item->name.len == 0)
        return item->id;
    uint32_t index = 0;
    while (index < info->adapter_count && !slice_eq_str(item->name, info->adapters[index].name))
        index++;
    return index;
}

MUST_USE static enum err read_scales(const struct engine_info *info,
                                     const struct adapters_wish *wish,
                                     float scales[ENGINE_ADAPTERS_MAX], struct err_note *note)
{
    bool is_named[ENGINE_ADAPTERS_MAX] = {false};
    for (size_t i = 0; i < wish->count; i++) {
        uint32_t index = index_of(info, &wish->items[i]);
        if (index >= info->adapter_count)
            return unknown(info, &wish->items[i], note);
        if (is_named[index])
            return err_note_fail(note, ERR_REFUSED, "the adapter '%s' is named twice",
                                 info->adapters[index].name);
        is_named[index] = true;
        scales[index] = wish->items[i].scale;
    }
    return ERR_OK;
}

enum err adapters_resolve(const struct engine_info *info, const struct adapters_wish *wish,
                          struct engine_adapter_set *out_set, struct err_note *out_note)
{
    struct engine_adapter_set set = {0};
    float scales[ENGINE_ADAPTERS_MAX] = {0};
    if (!wish->is_said) {
        *out_set = engine_default_adapters(info);
        return ERR_OK;
    }
    TRY(read_scales(info, wish, scales, out_note));
    for (uint32_t i = 0; i < info->adapter_count; i++) {
        if (scales[i] == 0)
            continue;
        if (set.count == ENGINE_ADAPTERS_AT_ONCE)
            return err_note_fail(out_note, ERR_LIMIT,
                                 "more than %d adapters at once, with a scale other than 0",
                                 ENGINE_ADAPTERS_AT_ONCE);
        set.uses[set.count++] = (struct engine_adapter_use){i, scales[i]};
    }
    *out_set = set;
    return ERR_OK;
}

/* --- scopes --- */

/* Tenants must not be able to make theirs equal to another's: hence no quick hash of the name. */
uint64_t adapters_scope(const struct engine_info *info, struct slice tenant,
                        const struct engine_adapter_set *set)
{
    struct { /* without holes: all of it is hashed */
        uint8_t tenant[SHA256_BYTES];
        struct {
            uint8_t adapter[SHA256_BYTES];
            float scale;
        } uses[ENGINE_ADAPTERS_AT_ONCE];
    } key = {0};
    uint8_t digest[SHA256_BYTES];
    uint64_t scope;
    if (tenant.len == 0 && set->count == 0)
        return PREFIX_NOBODYS;
    sha256_of(tenant, digest);
    if (set->count > 0) {
        memcpy(key.tenant, digest, sizeof(key.tenant));
        for (uint32_t i = 0; i < set->count && i < ENGINE_ADAPTERS_AT_ONCE; i++) {
            const struct engine_adapter_use *use = &set->uses[i];
            memcpy(key.uses[i].adapter, info->adapters[use->index].digest, SHA256_BYTES);
            key.uses[i].scale = use->scale;
        }
        sha256_of(slice_of(&key, sizeof(key)), digest);
    }
    memcpy(&scope, digest, sizeof(scope));
    return scope == PREFIX_NOBODYS ? scope + 1 : scope;
}
