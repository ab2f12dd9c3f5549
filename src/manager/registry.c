/* registry - nodes and models: who is there, as nodes tell it, and for how long it is believed. */
#include "manager/manager_impl.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

enum { STATE_ARENA_BYTES = 64 * 1024 };

/* --- names --- */

/* Whoever finds another name behind the same hash is not let in: nodes are ours, and the names of
 * models that nobody serves are bounded anyway. */

static struct slice
keep_name(struct slice name) /* at most a few hundred bytes: the codec's limit */
{
    char *bytes = mem_alloc(name.len + 1);
    if (name.len)
        memcpy(bytes, name.data, name.len);
    return slice_of(bytes, name.len);
}

static void drop_name(struct slice *name)
{
    mem_free((char *)name->data);
    *name = (struct slice){0};
}

static void set_name(struct slice *name, struct slice value)
{
    if (slice_eq(*name, value))
        return;
    drop_name(name);
    *name = keep_name(value);
}

/* --- models --- */

struct model *registry_model(const struct manager *manager, struct slice name)
{
    struct model *model = map_get(manager->models_by_name, hash_bytes(name));
    return model && slice_eq(model->name, name) ? model : NULL;
}

static void on_expiry(void *ctx)
{
    model_review(ctx);
}

struct queue_options registry_queue_options(const struct manager *manager)
{
    return (struct queue_options){.queue_max = manager->options.queue_max,
                                  .queue_wait_ms = manager->options.queue_wait_ms,
                                  .load_timeout_ms = manager->options.load_timeout_ms};
}

struct model *registry_add_model(struct manager *manager, struct slice name)
{
    if (manager->model_count == MANAGER_MODELS_MAX ||
        map_get(manager->models_by_name, hash_bytes(name)))
        return NULL;
    struct model *model = mem_alloc(sizeof(*model));
    model->manager = manager;
    model->name = keep_name(name);
    sched_model_init(&model->sched);
    struct queue_options options = registry_queue_options(manager);
    queue_init(&model->queue, &options);
    deadline_init(&model->expiry, manager->loop, on_expiry, model);
    enum err err = map_put(manager->models_by_name, hash_bytes(name), model);
    ASSERT(err == ERR_OK); /* room for MANAGER_MODELS_MAX */
    list_push_back(&manager->models, &model->link);
    manager->model_count++;
    return model;
}

static void fail_all(struct model *model, enum fault fault, struct slice message,
                     uint32_t retry_after_ms)
{
    for (struct queue_place *place; (place = queue_after(&model->queue, NULL));)
        ticket_fail(ticket_of_place(place), fault, message, retry_after_ms);
}

/* Nobody waits for it any more. */
static void remove_model(struct model *model)
{
    struct manager *manager = model->manager;
    ASSERT(model->queue.count == 0 && list_is_empty(&model->sched.nodes));
    (void)map_remove(manager->models_by_name, hash_bytes(model->name));
    list_remove(&model->link);
    manager->model_count--;
    deadline_clear(&model->expiry);
    count_model_free(model->metrics);
    drop_name(&model->name);
    mem_free(model);
}

/* Why it failed, as one of its nodes tells it. */
static struct slice why_failed(const struct model *model)
{
    LIST_FOREACH (link, &model->sched.nodes) {
        const struct node *node = node_of_sched(CONTAINER_OF(link, struct sched_node, link));
        if (node->sched.phase == NODE_FAILED && node->detail.len)
            return node->detail;
    }
    return SLICE("the model's workers have failed");
}

static void refuse_late(struct model *model, struct ticket *ticket)
{
    const struct queue_place *place = &ticket->life->place;
    uint32_t retry_ms = queue_retry_after_ms(&model->queue);
    if (place->expires_us == place->deadline_us)
        ticket_fail(ticket, FAULT_QUEUE_TIMEOUT, SLICE("the request's deadline has passed"),
                    retry_ms);
    else if (model->queue.is_served && ticket->life->numerics[0])
        ticket_fail(ticket, FAULT_WORKER_LOST,
                    SLICE("the worker is lost, and no other one with the same numerics became "
                          "free in time to go on with its answer"),
                    retry_ms);
    else if (model->queue.is_served)
        ticket_fail(ticket, FAULT_QUEUE_TIMEOUT, SLICE("no place became free in time"), retry_ms);
    else
        ticket_fail(ticket, FAULT_LOADING, SLICE("the model is still loading"), retry_ms);
}

static bool has_room(void *ctx, const char *numerics)
{
    const struct model *model = ctx;
    return sched_has_room(&model->sched, numerics);
}

/* The first one that somebody can take. An answer that needs a worker with its numerics holds up
 * nobody who could have another worker. NULL: none. */
static struct ticket *next_to_give(struct model *model)
{
    struct queue_place *place = queue_first(&model->queue, has_room, model);
    struct ticket *ticket = place ? ticket_of_place(place) : NULL;
    if (ticket && ticket->life->is_inherited && !manager_is_settled(model->manager))
        return NULL; /* somebody may run it already, and will say so in a moment */
    return ticket;
}

static void give_all(struct model *model)
{
    for (struct ticket *ticket; (ticket = next_to_give(model));) {
        struct sched_node *sched = sched_pick(&model->sched, ticket->life->numerics);
        model->queue.room = model->sched.room;
        assign_ticket(ticket, node_of_sched(sched));
    }
}

static void arm_expiry(struct model *model)
{
    uint64_t wake_us = queue_wake_us(&model->queue);
    if (sched_wake_us(&model->sched) < wake_us && model->sched.outlook == OUTLOOK_LOADING)
        wake_us = sched_wake_us(&model->sched);
    if (wake_us == UINT64_MAX)
        deadline_clear(&model->expiry);
    else
        deadline_at(&model->expiry, wake_us);
}

void model_review(struct model *model)
{
    if (!model)
        return;
    uint64_t now_us = loop_now_us(model->manager->loop);
    sched_review(&model->sched, now_us);
    queue_set_service(&model->queue, model->sched.outlook == OUTLOOK_SERVED, model->sched.slots,
                      model->sched.room, now_us);
    queue_set_coming(&model->queue, model->sched.is_coming, now_us);
    uint32_t retry_ms = queue_retry_after_ms(&model->queue);
    if (model->sched.outlook == OUTLOOK_FAILED)
        fail_all(model, FAULT_MODEL_FAILED, why_failed(model), retry_ms);
    else if (model->sched.outlook == OUTLOOK_DRAINING)
        fail_all(model, FAULT_DRAINING, SLICE("the model's workers are stopping"), retry_ms);
    give_all(model);
    for (struct queue_place *place; (place = queue_expired(&model->queue, now_us));)
        refuse_late(model, ticket_of_place(place));
    arm_expiry(model);
    manager_arm_progress(model->manager);
}

/* --- nodes --- */

struct node *registry_find(const struct manager *manager, struct slice control)
{
    struct node *node = map_get(manager->nodes_by_control, hash_bytes(control));
    return node && slice_eq(node->control, control) ? node : NULL;
}

static struct node *find_by_name(const struct manager *manager, struct slice name)
{
    struct node *node = map_get(manager->nodes_by_name, hash_bytes(name));
    return node && slice_eq(node->name, name) ? node : NULL;
}

static struct node *add_node(struct manager *manager)
{
    if (manager->node_count == MANAGER_NODES_MAX)
        return NULL;
    struct node *node = mem_alloc(sizeof(*node));
    node->manager = manager;
    node->heard_us = loop_now_us(manager->loop);
    list_init(&node->sched.link);
    list_init(&node->tickets);
    list_init(&node->unseen);
    list_push_back(&manager->nodes, &node->link);
    manager->node_count++;
    return node;
}

static void set_model(struct node *node, struct model *model)
{
    struct model *before = node->model;
    if (before == model)
        return;
    node->model = model;
    list_remove(&node->sched.link);
    if (model) {
        model->was_heard = true;
        list_push_back(&model->sched.nodes, &node->sched.link);
        if (!model->metrics)
            model->metrics = count_model_new(model->manager->options.metrics, model->name);
    }
    if (before && list_is_empty(&before->sched.nodes))
        before->absent_since_us = loop_now_us(node->manager->loop);
    model_review(before);
}

static void free_node(struct node *node)
{
    struct manager *manager = node->manager;
    ASSERT(list_is_empty(&node->tickets));
    if (node->name.data)
        (void)map_remove(manager->nodes_by_name, hash_bytes(node->name));
    if (node->sched.is_worker)
        (void)map_remove(manager->nodes_by_control, hash_bytes(node->control));
    tickets_forget_node(manager, node);
    set_model(node, NULL);
    list_remove(&node->link);
    manager->node_count--;
    drop_name(&node->name);
    drop_name(&node->control);
    drop_name(&node->detail);
    mem_free(node);
}

/* Who shows the nodes would count it until its silence is long enough. */
static void tell_gone(const struct node *node)
{
    if (!node->name.data)
        return; /* it never told anybody its name */
    struct wire_writer *writer =
        post_to(node->manager->post, WIRE_STATE, SLICE("state.nodes"), node->name.len);
    if (writer)
        wire_add(writer, &(struct wire_record){.type = WIRE_NODE_GONE, .payload = node->name});
}

void registry_remove_node(struct node *node, const char *why)
{
    tell_gone(node);
    log_event(LOG_INFO, "node_gone", "node=%s model=%s why=%s assigned=%u",
              log_quote(node->name, 96),
              log_quote(node->model ? node->model->name : (struct slice){0}, 64), why,
              node->manager->assigned_count);
    count_lost(node->manager, why);
    LIST_FOREACH_SAFE (link, &node->tickets)
        assign_lose(ticket_of_link(link));
    free_node(node);
}

/* It tells its load, so it is a worker: from now on frames from there are its own. */
static struct node *make_worker(struct manager *manager, struct node *node, struct slice control)
{
    if (map_put(manager->nodes_by_control, hash_bytes(control), node) != ERR_OK)
        return NULL;
    set_name(&node->control, control);
    node->sched.is_worker = true;
    return node;
}

/* The state of a node may come before its load, or after it. */
static struct node *find_told(const struct manager *manager, struct slice control)
{
    LIST_FOREACH (link, &manager->nodes) {
        struct node *node = node_of_link(link);
        if (!node->sched.is_worker && slice_eq(node->control, control))
            return node;
    }
    return NULL;
}

struct node *registry_worker(struct manager *manager, struct slice control)
{
    struct node *node = registry_find(manager, control);
    if (node)
        return node;
    if (control.len == 0 || control.len > BUS_SUBJECT_MAX_BYTES ||
        map_get(manager->nodes_by_control, hash_bytes(control)))
        return NULL;
    node = find_told(manager, control);
    if (!node)
        node = add_node(manager);
    return node ? make_worker(manager, node, control) : NULL;
}

/* --- what nodes say of themselves --- */

static struct node *name_node(struct manager *manager, struct node *node, struct slice name)
{
    if (node->name.data || map_get(manager->nodes_by_name, hash_bytes(name)))
        return NULL; /* two nodes at one place, or two names with one hash: the first stays */
    set_name(&node->name, name);
    enum err err = map_put(manager->nodes_by_name, hash_bytes(name), node);
    ASSERT(err == ERR_OK); /* room for MANAGER_NODES_MAX */
    return node;
}

static struct node *node_for(struct manager *manager, const struct node_state *state)
{
    struct node *node = find_by_name(manager, state->node);
    if (node)
        return node;
    if (map_get(manager->nodes_by_name, hash_bytes(state->node)))
        return NULL;
    struct node *worker = registry_find(manager, state->control);
    if (worker)
        return name_node(manager, worker, state->node);
    node = add_node(manager);
    if (!node)
        return NULL;
    manager_greet(manager); /* it may have missed us */
    return name_node(manager, node, state->node);
}

static struct model *model_for(struct manager *manager, struct slice name)
{
    struct model *model = registry_model(manager, name);
    return model ? model : registry_add_model(manager, name);
}

static void log_phase(const struct node *node, const struct node_state *state)
{
    if (node->model && node->sched.phase == state->phase)
        return;
    log_event(LOG_INFO, "node_phase", "node=%s model=%s phase=%s", log_quote(state->node, 96),
              log_quote(state->model, 64), node_phase_name(state->phase));
}

static void take_state(struct manager *manager, const struct node_state *state)
{
    struct model *model = model_for(manager, state->model);
    struct node *node = model ? node_for(manager, state) : NULL;
    if (!node)
        return; /* one too many: it is not known, and says so again in a second */
    log_phase(node, state);
    node->heard_us = loop_now_us(manager->loop);
    node->sched.phase = state->phase;
    node->sched.load_fraction = state->load_fraction;
    if (!node->sched.is_worker) /* a worker is where its frames come from */
        set_name(&node->control, state->control);
    set_name(&node->detail, state->detail);
    sched_take_numerics(&node->sched, state->numerics.fingerprint);
    node->sched.has_adapters = state->adapter_count > 0;
    set_model(node, model);
    model_review(model);
}

static void read_state(struct manager *manager, struct slice payload)
{
    struct arena *arena = arena_new(STATE_ARENA_BYTES);
    struct node_state state;
    if (node_state_decode(payload, arena, &state) == ERR_OK && state.node.len && state.model.len)
        take_state(manager, &state);
    arena_free(arena);
}

void registry_on_states(void *ctx, const struct bus_message *message)
{
    struct wire_reader reader;
    struct wire_record record;
    if (wire_open(message->frame, &reader) != ERR_OK || reader.kind != WIRE_STATE)
        return; /* not for us: the next one is soon */
    while (wire_next(&reader, &record) == ERR_OK)
        if (record.type == WIRE_NODE_STATE)
            read_state(ctx, record.payload);
}

/* --- leases --- */

static void review_lease(struct model *model)
{
    struct manager *manager = model->manager;
    uint64_t now_us = loop_now_us(manager->loop);
    if (!list_is_empty(&model->sched.nodes) || !model->was_heard ||
        now_us - model->absent_since_us < manager_ms(manager->options.model_lease_ms))
        return;
    fail_all(model, FAULT_MODEL_FAILED, SLICE("no worker of this model has come back"),
             queue_retry_after_ms(&model->queue));
    log_event(LOG_INFO, "model_gone", "model=%s", log_quote(model->name, 64));
    remove_model(model);
}

void registry_tick(struct manager *manager)
{
    uint64_t now_us = loop_now_us(manager->loop);
    LIST_FOREACH_SAFE (link, &manager->nodes) {
        struct node *node = node_of_link(link);
        if (now_us - node->heard_us >= manager_ms(manager->options.node_lease_ms))
            registry_remove_node(node, "silent");
    }
    LIST_FOREACH_SAFE (link, &manager->models)
        review_lease(model_of_link(link));
}

void registry_forgive_silence(struct manager *manager)
{
    uint64_t now_us = loop_now_us(manager->loop);
    LIST_FOREACH (link, &manager->nodes)
        node_of_link(link)->heard_us = now_us;
    LIST_FOREACH (link, &manager->queued)
        ticket_of_link(link)->life->heard_us = now_us;
}

void registry_end_greeting(struct manager *manager)
{
    LIST_FOREACH_SAFE (link, &manager->models) {
        struct model *model = model_of_link(link);
        if (model->was_heard)
            continue;
        fail_all(model, FAULT_MODEL_NOT_FOUND, SLICE("nobody serves this model"), 0);
        remove_model(model);
    }
}

/* --- life --- */

void registry_init(struct manager *manager)
{
    list_init(&manager->nodes);
    list_init(&manager->models);
    manager->nodes_by_name = map_new(MANAGER_NODES_MAX);
    manager->nodes_by_control = map_new(MANAGER_NODES_MAX);
    manager->models_by_name = map_new(MANAGER_MODELS_MAX);
}

void registry_fini(struct manager *manager)
{
    LIST_FOREACH_SAFE (link, &manager->nodes)
        free_node(node_of_link(link));
    LIST_FOREACH_SAFE (link, &manager->models)
        remove_model(model_of_link(link));
    map_free(manager->nodes_by_name);
    map_free(manager->nodes_by_control);
    map_free(manager->models_by_name);
}
