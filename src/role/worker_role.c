/* worker_role - one model's worker on one loop. */
#include "role/worker_role.h"

#include "base/mem.h"
#include "loop/thread.h"
#include "role/models.h"
#include "role/prefix_folder.h"
#include "role/self_test.h"

#include <stdio.h>

struct worker_role {
    const struct config *config;
    struct loop *loop;
    struct role_node node;
    struct models models; /* the worker's options point into these two */
    struct self_test self_test;
    struct prefix_folder prefix_folder;
    struct worker *worker;
    const char *model;
    struct worker_role_events events;
    bool was_ready, is_stopping, is_stopped;
    void (*on_stopped)(void *ctx);
    void *stopped_ctx;
};

static void on_ready(void *ctx)
{
    struct worker_role *role = ctx;
    role->was_ready = true;
    role->events.on_ready(role->events.ctx);
}

static void on_first_work(void *ctx)
{
    struct worker_role *role = ctx;
    if (role->events.on_first_work)
        role->events.on_first_work(role->events.ctx);
}

static void on_failed(void *ctx, enum err why, const char *note)
{
    struct worker_role *role = ctx;
    bool lacks_engine = why == ERR_NOT_FOUND && !role->config->llama_model_path[0];
    role->events.on_lost(role->events.ctx,
                         role->was_ready ? WORKER_BROKE
                         : lacks_engine  ? WORKER_LACKS_ENGINE
                                         : WORKER_CANNOT_LOAD,
                         note);
}

MUST_USE static enum err start_worker(struct worker_role *role, const char *model,
                                      struct err_note *out_note)
{
    struct worker_options *options = strcmp(model, "dummy") == 0 ? &role->models.dummy
                                     : strcmp(model, role->config->default_model) == 0
                                         ? &role->models.llama
                                         : NULL;
    if (!options)
        return err_note_fail(out_note, ERR_NOT_FOUND,
                             "there is no model '%.64s' for a worker: it is 'dummy' or '%s'", model,
                             role->config->default_model);
    if (options == &role->models.llama)
        self_test_open(role->config, &role->models.llama_engine, &role->self_test, options);
    if (options == &role->models.llama)
        prefix_folder_open(role->config, &role->models.llama_engine, &role->prefix_folder, options);
    role->model = options->model;
    options->metrics = role->node.metrics;
    options->on_first_work = on_first_work;
    enum err err = worker_start(role->node.bus, options, on_ready, on_failed, role, &role->worker);
    return err == ERR_OK ? ERR_OK
                         : err_note_fail(out_note, err, "the worker of '%s' cannot start: %s",
                                         role->model, err_name(err));
}

enum err worker_role_open(const struct role_place *place, struct loop *loop, const char *model,
                          const struct worker_role_events *events, struct worker_role **out_role,
                          struct err_note *out_note)
{
    struct worker_role *role = mem_alloc(sizeof(*role));
    role->config = place->config;
    role->loop = loop;
    role->events = *events;
    models_from_config(place->config, thread_cores(), &role->models);
    enum err err = role_node_open(place, loop, "worker", true, &role->node, out_note);
    if (err == ERR_OK)
        err = start_worker(role, model, out_note);
    if (err != ERR_OK) {
        worker_role_close(&role);
        return err;
    }
    *out_role = role;
    return ERR_OK;
}

static void on_stopped(void *ctx)
{
    struct worker_role *role = ctx;
    role->is_stopped = true;
    if (role->on_stopped)
        role->on_stopped(role->stopped_ctx);
}

void worker_role_stop(struct worker_role *role, uint32_t drain_ms, void (*on_role_stopped)(void *),
                      void *ctx)
{
    role->is_stopping = true;
    role->on_stopped = on_role_stopped;
    role->stopped_ctx = ctx;
    worker_stop(role->worker, drain_ms, on_stopped, role);
}

const char *worker_role_model(const struct worker_role *role)
{
    return role->model;
}

uint32_t worker_role_stuck_ms(const struct worker_role *role)
{
    return worker_stuck_ms(role->worker);
}

uint32_t worker_role_streams(const struct worker_role *role)
{
    struct worker_stats stats = worker_stats(role->worker);
    return stats.running + stats.queued + stats.parked;
}

void worker_role_close(struct worker_role **role)
{
    struct worker_role *own = *role;
    if (!own)
        return;
    if (own->worker && !own->is_stopping)
        worker_role_stop(own, 0, NULL, NULL);
    while (own->worker && !own->is_stopped)
        loop_turn(own->loop, true);
    worker_free(&own->worker);
    role_node_close(&own->node);
    mem_free(own);
    *role = NULL;
}

void worker_loss_print(enum worker_loss loss, const char *model, const char *note)
{
    if (loss == WORKER_LACKS_ENGINE)
        fprintf(stderr,
                "millrace: the model '%s' cannot run: %s\nmillrace: meanwhile ask for the model "
                "'dummy'\n",
                model, note);
    else
        fprintf(stderr, "millrace: the model '%s' %s: %s\n", model,
                loss == WORKER_BROKE ? "broke" : "cannot be loaded", note);
}
