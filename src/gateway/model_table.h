/* model_table - which models there are, as the workers' broadcasts tell it (wire/node_state.h), and
 * how many requests wait for each, as the manager's do (wire/manager_state.h). State that is
 * repeated: what has been silent for NODE_STATE_DEAD_MS, or MANAGER_SILENT_MS, is gone. One per
 * gateway; its loop only. */
#pragma once

#include "bus/bus.h"
#include "wire/manager_state.h"
#include "wire/node_state.h"

enum {
    MANAGER_SILENT_MS = 4 * MANAGER_STATE_INTERVAL_MS, /* then nobody knows what waits */
    MODEL_TABLE_NODES_MAX = 256,
    MODEL_PAGE_MAX_BYTES = MODEL_TABLE_NODES_MAX * 32 * 1024, /* all of them in JSON, escaped */
};

struct model_table;
/* Subscribes to "state.nodes" and "state.manager", and asks those who are there for their states on
 * "state.wanted". Nodes beyond MODEL_TABLE_NODES_MAX are ignored. */
MUST_USE enum err model_table_new(struct bus *bus, struct model_table **out_table);
void model_table_free(struct model_table *table);
/* From now on called behind each frame that told of nodes; from its turn. NULL: nobody is. Silence,
 * of which nodes die as well, calls nobody. */
void model_table_on_change(struct model_table *table, void (*on_change)(void *ctx), void *ctx);

/* The best node of that model: ready before loading before failed. NULL: nobody has it. The state
 * is valid until the end of this turn. */
const struct node_state *model_table_find(struct model_table *table, struct slice model);
/* What may be relied on of that model, whichever of its workers gets the request: of all living
 * nodes in the phase of the best, the weakest word and the smallest width. Of two fingerprints
 * there is no exact: which worker computes then decides, too. A profile or fingerprint that is
 * empty is not known of one of them, or not the same. Valid as above. */
struct model_numerics {
    bool is_told; /* one of them says something */
    struct node_numerics common;
};
struct model_numerics model_table_numerics(struct model_table *table, struct slice model);
/* A node has it, or had it until NODE_STATE_DEAD_MS ago: between the death of a worker and the
 * first word of its successor the model exists, and its requests are the manager's to hold. */
bool model_table_knows(const struct model_table *table, struct slice model);
/* Visits each living node; start with *cursor = 0; NULL at the end. */
const struct node_state *model_table_next(struct model_table *table, size_t *cursor);

/* All living nodes of one model together. */
struct model_sum {
    uint32_t workers; /* that are ready */
    uint32_t slots, slots_busy, parked;
    uint32_t queued; /* at the manager (0 when it is silent), and at the workers */
    uint64_t tokens_total;
};
struct model_sum model_table_sum(struct model_table *table, struct slice model);
bool model_table_is_empty(struct model_table *table);
/* Nodes that it remembers: the living, and the dead until the next new one comes. */
size_t model_table_kept(const struct model_table *table);
