/* adapters - what a request wishes of adapters (wire/adapters.h), as the engine has them; and whose
 * cells those of such a request are. Pure. */
#pragma once

#include "engine/engine.h"
#include "wire/adapters.h"

/* In normal form: a scale of 0 is no wish. ERR_NOT_FOUND: there is no such adapter, ERR_REFUSED:
 * one is named twice, ERR_LIMIT: more at once than can be; the note says which, and what there
 * is. */
MUST_USE enum err adapters_resolve(const struct engine_info *info, const struct adapters_wish *wish,
                                   struct engine_adapter_set *out_set, struct err_note *out_note);
/* The scope (prefix_tree.h rule 8) of a tenant's requests with this set. PREFIX_NOBODYS with
 * neither. What an adapter is counts, not what it is called: of another file under the same name
 * nothing is found. */
uint64_t adapters_scope(const struct engine_info *info, struct slice tenant,
                        const struct engine_adapter_set *set);
