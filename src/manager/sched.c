/* sched - see sched.h. */
#include "manager/sched.h"

enum { US_PER_MS = 1000 };

static struct sched_node *node_of(struct list *link)
{
    return CONTAINER_OF(link, struct sched_node, link);
}

void sched_model_init(struct sched_model *model)
{
    *model = (struct sched_model){.outlook = OUTLOOK_ABSENT};
    list_init(&model->nodes);
}

static uint32_t at_most(uint32_t value, uint32_t max)
{
    return value < max ? value : max;
}

void sched_take_load(struct sched_node *node, const struct wire_load *load)
{
    node->is_worker = true;
    node->is_doubted = false;
    node->slots = at_most(load->slots, SCHED_SLOTS_MAX);
    node->room = at_most(load->room, SCHED_SLOTS_MAX);
}

static bool is_ready(const struct sched_node *node)
{
    return node->is_worker && node->phase == NODE_READY && node->slots > 0;
}

uint32_t sched_room(const struct sched_node *node)
{
    return is_ready(node) && node->room > node->given ? node->room - node->given : 0;
}

/* --- what there is to hope for --- */

struct census {
    bool is_empty, is_served, is_loading, is_draining;
    bool is_held_back; /* all of it: whoever there is, is a host that holds its worker back */
};

static void count_node(const struct sched_node *node, struct census *census)
{
    census->is_empty = false;
    census->is_held_back &= node->phase == NODE_FAILED && !node->is_worker;
    switch (node->phase) {
    case NODE_READY: /* one that has not told its load yet will do so in a moment */
        census->is_served |= is_ready(node);
        census->is_loading |= !is_ready(node);
        return;
    case NODE_LOADING:
        census->is_loading = true;
        return;
    case NODE_DRAINING:
        census->is_draining = true;
        return;
    case NODE_FAILED:
    case NODE_PHASE_COUNT:
        return;
    }
}

static void sum_up(struct sched_model *model, const struct sched_node *node)
{
    if (is_ready(node)) {
        model->slots += node->slots;
        model->room += sched_room(node);
    }
    if (node->phase == NODE_LOADING && node->load_fraction > model->load_fraction)
        model->load_fraction = node->load_fraction;
}

/* Rule 3: nobody serves, nobody loads, somebody is there. Between the end of a worker that drained
 * and its host's word that another one comes there is a moment: hope begins anew with it. */
static enum sched_outlook hopeless(struct sched_model *model, const struct census *census,
                                   uint64_t now_us)
{
    bool has_drained = model->outlook == OUTLOOK_DRAINING && !census->is_draining;
    if (model->hopeless_since_us == 0 || has_drained) {
        model->hopeless_since_us = now_us ? now_us : 1;
        model->was_served = model->outlook == OUTLOOK_SERVED || has_drained;
    }
    if (census->is_held_back && !model->was_served)
        return OUTLOOK_FAILED;
    if (now_us < sched_wake_us(model))
        return OUTLOOK_LOADING;
    return census->is_draining ? OUTLOOK_DRAINING : OUTLOOK_FAILED;
}

void sched_review(struct sched_model *model, uint64_t now_us)
{
    struct census census = {.is_empty = true, .is_held_back = true};
    model->slots = model->room = 0;
    model->load_fraction = 0;
    LIST_FOREACH (link, &model->nodes) {
        count_node(node_of(link), &census);
        sum_up(model, node_of(link));
    }
    model->is_coming = census.is_loading;
    if (!census.is_empty && !census.is_served && !census.is_loading) {
        model->outlook = hopeless(model, &census, now_us);
        return;
    }
    model->hopeless_since_us = 0;
    model->outlook = census.is_empty    ? OUTLOOK_ABSENT
                     : census.is_served ? OUTLOOK_SERVED
                                        : OUTLOOK_LOADING;
}

uint64_t sched_wake_us(const struct sched_model *model)
{
    return model->hopeless_since_us ? model->hopeless_since_us + SCHED_HOPE_MS * US_PER_MS
                                    : UINT64_MAX;
}

/* --- who gets the next one --- */

/* room / slots of `a` above that of `b`, without dividing. */
static bool has_more_room(const struct sched_node *a, const struct sched_node *b)
{
    return (uint64_t)sched_room(a) * b->slots > (uint64_t)sched_room(b) * a->slots;
}

void sched_take_numerics(struct sched_node *node, struct slice fingerprint)
{
    node->numerics[0] = '\0';
    if (fingerprint.len == NODE_FINGERPRINT_BYTES)
        memcpy(node->numerics, fingerprint.data, fingerprint.len); /* the byte behind is 0 */
}

/* The files of adapters are replaced by newer trainings under the same name: there "not known" may
 * be another answer, elsewhere it is taken for the same. */
static bool has_other(const struct sched_node *node, const char *numerics)
{
    if (numerics[0] == '\0')
        return false;
    return node->numerics[0] ? strcmp(node->numerics, numerics) != 0 : node->has_adapters;
}

static bool may_take(const struct sched_node *node, const char *numerics)
{
    return !node->is_doubted && !has_other(node, numerics) && sched_room(node) > 0;
}

/* For an answer that was begun with such numerics: who may have others is for want of a better. */
static bool is_better(const struct sched_node *a, const struct sched_node *b, const char *numerics)
{
    bool a_is_like = strcmp(a->numerics, numerics) == 0;
    bool b_is_like = strcmp(b->numerics, numerics) == 0;
    if (numerics[0] && a_is_like != b_is_like)
        return a_is_like;
    return has_more_room(a, b);
}

bool sched_has_room(const struct sched_model *model, const char *numerics)
{
    LIST_FOREACH (link, &model->nodes)
        if (may_take(node_of(link), numerics))
            return true;
    return false;
}

struct sched_node *sched_pick(struct sched_model *model, const char *numerics)
{
    struct sched_node *best = NULL;
    LIST_FOREACH (link, &model->nodes) {
        struct sched_node *node = node_of(link);
        if (may_take(node, numerics) && (!best || is_better(node, best, numerics)))
            best = node;
    }
    if (!best)
        return NULL;
    best->given++;
    model->room--;
    list_remove(&best->link);
    list_push_back(&model->nodes, &best->link);
    return best;
}
