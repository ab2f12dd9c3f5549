/* manager_role - the manager on one loop. */
#include "role/manager_role.h"

#include "base/mem.h"
#include "manager/manager.h"

struct manager_role {
    struct role_node node;
    struct manager *manager;
};

static struct manager_options manager_from_config(const struct config *config)
{
    struct manager_options options = manager_options_default();
    options.queue_max = config->max_model_queue;
    options.queue_wait_ms = config->max_queue_wait_ms;
    options.load_timeout_ms = config->model_load_timeout_ms;
    return options;
}

enum err manager_role_open(const struct role_place *place, struct loop *loop,
                           struct manager_role **out_role, struct err_note *out_note)
{
    struct manager_role *role = mem_alloc(sizeof(*role));
    struct manager_options options = manager_from_config(place->config);
    enum err err = role_node_open(place, loop, "manager", true, &role->node, out_note);
    options.metrics = role->node.metrics;
    if (err == ERR_OK && (err = manager_open(role->node.bus, &options, &role->manager)) != ERR_OK)
        err = err_note_fail(out_note, err, "the manager cannot subscribe on the bus: %s",
                            err_name(err));
    if (err != ERR_OK) {
        manager_role_close(&role);
        return err;
    }
    *out_role = role;
    return ERR_OK;
}

void manager_role_reload(struct manager_role *role, const struct config *config)
{
    manager_set_limits(role->manager,
                       &(struct manager_limits){.queue_max = config->max_model_queue,
                                                .queue_wait_ms = config->max_queue_wait_ms,
                                                .load_timeout_ms = config->model_load_timeout_ms});
}

void manager_role_drain(struct manager_role *role, void (*on_drained)(void *ctx), void *ctx)
{
    manager_drain(role->manager, on_drained, ctx);
}

uint32_t manager_role_streams(const struct manager_role *role)
{
    struct manager_stats stats = manager_stats(role->manager);
    return stats.queued + stats.assigned;
}

void manager_role_close(struct manager_role **role)
{
    if (!*role)
        return;
    manager_close(&(*role)->manager);
    role_node_close(&(*role)->node);
    mem_free(*role);
    *role = NULL;
}
