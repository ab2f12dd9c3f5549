/* count - the manager's metrics; README.md lists them. */
#include "manager/manager_impl.h"

#include "base/mem.h"

enum { LABELS_MAX_BYTES = 2048 };

struct model_metrics {
    struct metric *length, *wait, *assigned, *room;
    struct metric *nodes[NODE_PHASE_COUNT];
};

static struct metric *metric_of(struct metrics *metrics, enum metric_kind kind, const char *name,
                                const char *help, const char *key, struct slice value,
                                const char *phase)
{
    struct text labels;
    text_init(&labels, LABELS_MAX_BYTES);
    metrics_label(&labels, key, value);
    if (phase)
        metrics_label(&labels, "phase", slice_str(phase));
    struct metric *metric = NULL;
    if (text_status(&labels) == ERR_OK)
        metric = metrics_get(metrics, kind, name, help, labels.data);
    text_fini(&labels);
    return metric;
}

struct model_metrics *count_model_new(struct metrics *metrics, struct slice name)
{
    if (!metrics)
        return NULL;
    struct model_metrics *model = mem_alloc(sizeof(*model));
    model->length = metric_of(metrics, METRIC_GAUGE, "millrace_queue_length",
                              "Requests that wait for a worker.", "model", name, NULL);
    model->wait = metric_of(metrics, METRIC_HISTOGRAM, "millrace_queue_wait_seconds",
                            "How long a request waited for its worker.", "model", name, NULL);
    model->assigned = metric_of(metrics, METRIC_GAUGE, "millrace_assigned",
                                "Requests that workers have.", "model", name, NULL);
    model->room = metric_of(metrics, METRIC_GAUGE, "millrace_room",
                            "Requests that workers would take now.", "model", name, NULL);
    for (int phase = 0; phase < NODE_PHASE_COUNT; phase++)
        model->nodes[phase] =
            metric_of(metrics, METRIC_GAUGE, "millrace_nodes", "Nodes of a model, by phase.",
                      "model", name, node_phase_name((enum node_phase)phase));
    return model;
}

/* The model is gone, its series stay: at zero. */
void count_model_free(struct model_metrics *model)
{
    if (!model)
        return;
    metric_set(model->length, 0);
    metric_set(model->assigned, 0);
    metric_set(model->room, 0);
    for (int phase = 0; phase < NODE_PHASE_COUNT; phase++)
        metric_set(model->nodes[phase], 0);
    mem_free(model);
}

void count_wait(const struct model *model, uint64_t wait_us)
{
    if (model->metrics)
        metric_observe(model->metrics->wait, (double)wait_us / 1e6);
}

void count_refused(const struct manager *manager, enum fault fault, uint32_t retry_after_ms)
{
    struct metrics *metrics = manager->options.metrics;
    if (!metrics)
        return;
    metric_add(metric_of(metrics, METRIC_COUNTER, "millrace_refused_total",
                         "Requests that the manager refused or gave up, by reason.", "reason",
                         slice_str(fault_name(fault)), NULL),
               1);
    if (retry_after_ms)
        metric_observe(metrics_get(metrics, METRIC_HISTOGRAM, "millrace_retry_after_seconds",
                                   "When the refused were told to come again.", NULL),
                       retry_after_ms / 1e3);
}

void count_lost(const struct manager *manager, const char *why)
{
    if (manager->options.metrics)
        metric_add(metric_of(manager->options.metrics, METRIC_COUNTER, "millrace_nodes_lost_total",
                             "Nodes that were there and are gone, by how it was noticed.", "reason",
                             slice_str(why), NULL),
                   1);
}

static uint32_t tickets_of(const struct node *node)
{
    uint32_t count = 0;
    LIST_FOREACH (link, &node->tickets)
        count++;
    return count;
}

static void set_gauges(const struct model *model)
{
    uint32_t assigned = 0, nodes[NODE_PHASE_COUNT] = {0};
    LIST_FOREACH (link, &model->sched.nodes) {
        struct sched_node *sched = CONTAINER_OF(link, struct sched_node, link);
        assigned += tickets_of(node_of_sched(sched));
        nodes[sched->phase]++;
    }
    metric_set(model->metrics->length, model->queue.count);
    metric_set(model->metrics->assigned, assigned);
    metric_set(model->metrics->room, model->sched.room);
    for (int phase = 0; phase < NODE_PHASE_COUNT; phase++)
        metric_set(model->metrics->nodes[phase], nodes[phase]);
}

void count_gauges(const struct manager *manager)
{
    LIST_FOREACH (link, &manager->models)
        if (model_of_link(link)->metrics)
            set_gauges(model_of_link(link));
}
