/* model_table - which models there are, and how many wait for them, as the broadcasts tell it. */
#include "gateway/model_table.h"

#include "base/mem.h"
#include "wire/frame.h"

enum {
    NODE_ARENA_BYTES = 64 * 1024,
    MANAGER_ARENA_BYTES = 256 * 1024,
    WANTED_FRAME_MAX_BYTES = 64,
};

struct node {
    struct arena *arena; /* holds the state's strings */
    struct node_state state;
    uint64_t heard_us;
    bool is_gone; /* the manager said so: it counts no more, but its model is known */
};

struct model_table {
    struct loop *loop;
    struct bus_subscription *node_states, *manager_states;
    struct arena *manager_arena; /* holds the manager's state; NULL: none was heard yet */
    struct manager_state manager;
    uint64_t manager_heard_us;
    void (*on_change)(void *ctx); /* may be NULL */
    void *change_ctx;
    struct node nodes[MODEL_TABLE_NODES_MAX];
    size_t count;
};

static bool is_dead(const struct model_table *table, const struct node *node)
{
    return loop_now_us(table->loop) - node->heard_us > NODE_STATE_DEAD_MS * 1000ull;
}

/* `early`: also those whose model is still known by them. */
static void bury_the_dead(struct model_table *table, bool early)
{
    for (size_t i = 0; i < table->count;) {
        if (is_dead(table, &table->nodes[i]) || (early && table->nodes[i].is_gone)) {
            arena_free(table->nodes[i].arena);
            table->nodes[i] = table->nodes[--table->count];
        } else {
            i++;
        }
    }
}

/* A new one makes those go that nobody asks after any more: a worker that is killed again and again
 * is a new node each time. */
static struct node *place_for(struct model_table *table, struct slice name)
{
    for (size_t i = 0; i < table->count; i++)
        if (slice_eq(table->nodes[i].state.node, name))
            return &table->nodes[i];
    bury_the_dead(table, false);
    if (table->count == MODEL_TABLE_NODES_MAX)
        bury_the_dead(table, true);
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
    *node = (struct node){.arena = arena, .state = state, .heard_us = loop_now_us(table->loop)};
}

/* If it lives after all, its next state brings it back. */
static void take_gone(struct model_table *table, struct slice name)
{
    for (size_t i = 0; i < table->count; i++)
        if (slice_eq(table->nodes[i].state.node, name))
            table->nodes[i].is_gone = true;
}

/* Of two managers, one that goes and one that comes, who spoke last is believed. */
static void take_manager(struct model_table *table, const struct wire_record *record)
{
    struct arena *arena = arena_new(MANAGER_ARENA_BYTES);
    struct manager_state state;
    if (manager_state_decode(record->payload, arena, &state) != ERR_OK) {
        arena_free(arena);
        return;
    }
    arena_free(table->manager_arena);
    table->manager_arena = arena;
    table->manager = state;
    table->manager_heard_us = loop_now_us(table->loop);
}

static void on_state(void *ctx, const struct bus_message *message)
{
    struct model_table *table = ctx;
    struct wire_reader reader;
    struct wire_record record;
    bool is_of_nodes = false;
    if (wire_open(message->frame, &reader) != ERR_OK || reader.kind != WIRE_STATE)
        return;
    while (wire_next(&reader, &record) == ERR_OK) {
        is_of_nodes |= record.type == WIRE_NODE_STATE || record.type == WIRE_NODE_GONE;
        if (record.type == WIRE_NODE_STATE)
            take_state(table, &record);
        else if (record.type == WIRE_NODE_GONE)
            take_gone(table, record.payload);
        else if (record.type == WIRE_MANAGER_STATE)
            take_manager(table, &record);
    }
    if (is_of_nodes && table->on_change)
        table->on_change(table->change_ctx);
}

MUST_USE static enum err subscribe(struct model_table *table, struct bus *bus)
{
    const struct slice no_group = {NULL, 0};
    TRY(bus_subscribe(bus, SLICE("state.nodes"), no_group, on_state, table, &table->node_states));
    return bus_subscribe(bus, SLICE("state.manager"), no_group, on_state, table,
                         &table->manager_states);
}

/* Who is there already has said so before we listened, and would say it again within a second. */
static void ask_for_states(struct bus *bus)
{
    struct text frame;
    struct wire_writer writer;
    text_init(&frame, WANTED_FRAME_MAX_BYTES);
    wire_begin(&writer, &frame, WIRE_STATE);
    wire_add(&writer, &(struct wire_record){.type = WIRE_STATE_WANTED});
    if (wire_finish(&writer) == ERR_OK)
        (void)bus_publish(bus, SLICE("state.wanted"), (struct slice){0},
                          text_slice(&frame)); /* lost: we hear of them a little later */
    text_fini(&frame);
}

enum err model_table_new(struct bus *bus, struct model_table **out_table)
{
    struct model_table *table = mem_alloc(sizeof(*table));
    table->loop = bus_loop(bus);
    enum err err = subscribe(table, bus);
    if (err != ERR_OK) {
        model_table_free(table);
        return err;
    }
    ask_for_states(bus);
    *out_table = table;
    return ERR_OK;
}

void model_table_free(struct model_table *table)
{
    if (!table)
        return;
    bus_unsubscribe(&table->node_states);
    bus_unsubscribe(&table->manager_states);
    arena_free(table->manager_arena);
    for (size_t i = 0; i < table->count; i++)
        arena_free(table->nodes[i].arena);
    mem_free(table);
}

void model_table_on_change(struct model_table *table, void (*on_change)(void *ctx), void *ctx)
{
    table->on_change = on_change;
    table->change_ctx = ctx;
}

const struct node_state *model_table_next(struct model_table *table, size_t *cursor)
{
    while (*cursor < table->count) {
        const struct node *node = &table->nodes[(*cursor)++];
        if (!node->is_gone && !is_dead(table, node))
            return &node->state;
    }
    return NULL;
}

bool model_table_knows(const struct model_table *table, struct slice model)
{
    for (size_t i = 0; i < table->count; i++)
        if (slice_eq(table->nodes[i].state.model, model) && !is_dead(table, &table->nodes[i]))
            return true;
    return false;
}

/* The order in which a phase is preferred, best first. */
static int rank(enum node_phase phase)
{
    static const int ranks[NODE_PHASE_COUNT] = {
        [NODE_READY] = 0, [NODE_LOADING] = 1, [NODE_DRAINING] = 2, [NODE_FAILED] = 3};
    return ranks[phase];
}

/* Of several that load the one that is furthest. That is also not the host, which speaks for a
 * worker that is started again, and knows nothing of how far it is. */
static bool is_better(const struct node_state *a, const struct node_state *b)
{
    if (rank(a->phase) != rank(b->phase))
        return rank(a->phase) < rank(b->phase);
    return a->phase == NODE_LOADING && a->load_fraction > b->load_fraction;
}

const struct node_state *model_table_find(struct model_table *table, struct slice model)
{
    const struct node_state *best = NULL, *state;
    for (size_t cursor = 0; (state = model_table_next(table, &cursor));)
        if (slice_eq(state->model, model) && (!best || is_better(state, best)))
            best = state;
    return best;
}

/* How much a word promises, least first. One that is not tested yet may still turn out to be
 * anything; one that was found to differ may not. */
static int strength(enum node_determinism determinism)
{
    static const int strengths[NODE_DETERMINISM_COUNT] = {
        [NODE_COMPATIBLE] = 0, [NODE_DETERMINISM_UNKNOWN] = 1, [NODE_EXACT] = 2};
    return strengths[determinism];
}

/* What differs is empty, and stays so. */
static void keep_common(struct node_numerics *common, const struct node_numerics *other)
{
    static const struct slice differs = {0};
    if (!slice_eq(common->profile, other->profile))
        common->profile = differs;
    if (!slice_eq(common->fingerprint, other->fingerprint))
        common->fingerprint = differs;
    if (strength(other->determinism) < strength(common->determinism))
        common->determinism = other->determinism;
    if (other->width_max < common->width_max)
        common->width_max = other->width_max;
}

struct model_numerics model_table_numerics(struct model_table *table, struct slice model)
{
    struct model_numerics sum = {0};
    struct slice known = {0}; /* the last fingerprint that was met */
    bool are_two = false;
    const struct node_state *best = model_table_find(table, model), *state;
    if (!best)
        return sum;
    sum.common = best->numerics;
    for (size_t cursor = 0; (state = model_table_next(table, &cursor));) {
        if (!slice_eq(state->model, model) || state->phase != best->phase)
            continue;
        sum.is_told |= state->numerics.profile.len > 0;
        keep_common(&sum.common, &state->numerics);
        if (state->numerics.fingerprint.len == 0)
            continue;
        are_two |= known.len > 0 && !slice_eq(known, state->numerics.fingerprint);
        known = state->numerics.fingerprint;
    }
    if (are_two)
        sum.common.determinism = NODE_COMPATIBLE;
    return sum;
}

static uint32_t queued_at_manager(const struct model_table *table, struct slice model)
{
    const struct manager_state *manager = &table->manager;
    if (loop_now_us(table->loop) - table->manager_heard_us > MANAGER_SILENT_MS * 1000ull)
        return 0;
    for (size_t i = 0; i < manager->queue_count; i++)
        if (slice_eq(manager->queues[i].model, model))
            return manager->queues[i].queued;
    return 0;
}

struct model_sum model_table_sum(struct model_table *table, struct slice model)
{
    struct model_sum sum = {.queued = queued_at_manager(table, model)};
    const struct node_state *state;
    for (size_t cursor = 0; (state = model_table_next(table, &cursor));) {
        if (!slice_eq(state->model, model))
            continue;
        sum.workers += state->phase == NODE_READY;
        sum.slots += state->slots;
        sum.slots_busy += state->slots_busy;
        sum.queued += state->queued;
        sum.parked += state->parked;
        sum.tokens_total += state->tokens_total;
    }
    return sum;
}

size_t model_table_kept(const struct model_table *table)
{
    return table->count;
}

bool model_table_is_empty(struct model_table *table)
{
    size_t cursor = 0;
    return model_table_next(table, &cursor) == NULL;
}
