/* model_table - which models there are, as the workers' broadcasts tell it (wire/node_state.h).
 * State that is refreshed every second: who has been silent for NODE_STATE_DEAD_MS is gone. One per
 * gateway; its loop only. */
#pragma once

#include "bus/bus.h"
#include "wire/node_state.h"

enum {
    MODEL_TABLE_NODES_MAX = 256,
    MODEL_PAGE_MAX_BYTES = MODEL_TABLE_NODES_MAX * 32 * 1024, /* all of them in JSON, escaped */
};

struct model_table;
/* Subscribes to "state.nodes". Nodes beyond MODEL_TABLE_NODES_MAX are ignored. */
MUST_USE enum err model_table_new(struct bus *bus, struct model_table **out_table);
void model_table_free(struct model_table *table);

/* The best node of that model: ready before loading before failed. NULL: nobody has it. The state
 * is valid until the end of this turn. */
const struct node_state *model_table_find(struct model_table *table, struct slice model);
/* Visits each living node; start with *cursor = 0; NULL at the end. */
const struct node_state *model_table_next(struct model_table *table, size_t *cursor);
bool model_table_is_empty(struct model_table *table);
