/* model_table - which models there are, as the workers' broadcasts tell it. */
#include "gateway/model_table.h"

#include "base/mem.h"
#include "wire/frame.h"

enum { NODE_ARENA_BYTES = 64 * 1024 };

struct node {
    struct arena *arena; /* holds the state's strings */
    struct node_state state;
    uint64_t heard_us;
};

struct model_table {
    struct loop *loop;
    struct bus_subscription *subscription;
    struct node nodes[MODEL_TABLE_NODES_MAX];
    size_t count;
};

static bool is_dead(const struct model_table *table, const struct node *node)
{
    return loop_now_us(table->loop) - node->heard_us > NODE_STATE_DEAD_MS * 1000ull;
}

static void bury_the_dead(struct model_table *table)
{
    for (size_t i = 0; i < table->count;) {
        if (is_dead(table, &table->nodes[i])) {
            arena_free(table->nodes[i].arena);
            table->nodes[i] = table->nodes[--table->count];
        } else {
            i++;
        }
    }
}

static struct node *place_for(struct model_table *table, struct slice name)
{
    for (size_t i = 0; i < table->count; i++)
        if (slice_eq(table->nodes[i].state.node, name))
            return &table->nodes[i];
    if (table->count == MODEL_TABLE_NODES_MAX)
        bury_the_dead(table);
    if (table->count == MODEL_TABLE_NODES_MAX)
        return NULL;
    table->nodes[table->count] = (struct node){0};
    return &table->nodes[table->count++];
}

static void take_state(struct model_table *table, const struct wire_record *record)
{
    struct arena *arena = arena_new(NODE_ARENA_BYTES);
    struct node_state state;
    struct node *node = NULL;
    if (node_state_decode(record->payload, arena, &state) == ERR_OK)
        node = place_for(table, state.node);
    if (!node) { /* not a state, or one node too many: the table stays as it was */
        arena_free(arena);
        return;
    }
    arena_free(node->arena);
    *node = (struct node){arena, state, loop_now_us(table->loop)};
}

static void on_state(void *ctx, const struct bus_message *message)
{
    struct wire_reader reader;
    struct wire_record record;
    if (wire_open(message->frame, &reader) != ERR_OK || reader.kind != WIRE_STATE)
        return;
    while (wire_next(&reader, &record) == ERR_OK)
        if (record.type == WIRE_NODE_STATE)
            take_state(ctx, &record);
}

enum err model_table_new(struct bus *bus, struct model_table **out_table)
{
    struct model_table *table = mem_alloc(sizeof(*table));
    table->loop = bus_loop(bus);
    enum err err = bus_subscribe(bus, SLICE("state.nodes"), (struct slice){NULL, 0}, on_state,
                                 table, &table->subscription);
    if (err != ERR_OK) {
        mem_free(table);
        return err;
    }
    *out_table = table;
    return ERR_OK;
}

void model_table_free(struct model_table *table)
{
    if (!table)
        return;
    bus_unsubscribe(&table->subscription);
    for (size_t i = 0; i < table->count; i++)
        arena_free(table->nodes[i].arena);
    mem_free(table);
}

const struct node_state *model_table_next(struct model_table *table, size_t *cursor)
{
    while (*cursor < table->count) {
        const struct node *node = &table->nodes[(*cursor)++];
        if (!is_dead(table, node))
            return &node->state;
    }
    return NULL;
}

/* The order in which a phase is preferred, best first. */
static int rank(enum node_phase phase)
{
    static const int ranks[NODE_PHASE_COUNT] = {
        [NODE_READY] = 0, [NODE_LOADING] = 1, [NODE_DRAINING] = 2, [NODE_FAILED] = 3};
    return ranks[phase];
}

const struct node_state *model_table_find(struct model_table *table, struct slice model)
{
    const struct node_state *best = NULL, *state;
    for (size_t cursor = 0; (state = model_table_next(table, &cursor));)
        if (slice_eq(state->model, model) && (!best || rank(state->phase) < rank(best->phase)))
            best = state;
    return best;
}

bool model_table_is_empty(struct model_table *table)
{
    size_t cursor = 0;
    return model_table_next(table, &cursor) == NULL;
}
