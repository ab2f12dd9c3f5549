/* solo - opens the roles, runs them on their threads, stops them in reverse. */
#include "solo/solo.h"

#include "base/log.h"
#include "base/mem.h"
#include "bus/bus_mem.h"
#include "role/calls.h"
#include "role/folders.h"
#include "role/gateway_role.h"
#include "role/listen_address.h"
#include "role/manager_role.h"
#include "role/reload.h"
#include "role/role_thread.h"
#include "role/worker_role.h"

#include <stdio.h>
#include <unistd.h>
#include <uv.h>

struct solo_worker {
    struct solo *solo;
    struct role_thread *thread;
    struct worker_role *role;
    bool is_stopped, cannot_load;
};

struct solo {
    const struct config *config;
    struct loop *loop; /* the main thread's: signals, and news from the roles */
    struct calls *news;
    uv_signal_t signals[3];
    struct bus_mem *bus_mem;
    struct role_place place;
    struct net_claim *claim;
    struct net_address address;
    struct role_thread *manager_thread;
    struct manager_role *manager;
    struct gateway_role *gateway;
    struct solo_worker workers[2 * CONFIG_WORKERS_MAX];
    unsigned worker_count;
    bool stopping;
    int exit_status;
};

/* --- stopping: gateways drain, then the manager, then workers stop, then the main loop ends --- */

static void tell_worker_stopped(void *ctx, const char *note)
{
    (void)note;
    struct solo_worker *worker = ctx;
    struct solo *solo = worker->solo;
    worker->is_stopped = true;
    for (unsigned i = 0; i < solo->worker_count; i++)
        if (!solo->workers[i].is_stopped)
            return;
    loop_stop(solo->loop);
}

static void on_worker_stopped(void *ctx)
{
    struct solo_worker *worker = ctx;
    calls_post(worker->solo->news, tell_worker_stopped, worker, NULL);
}

static void stop_worker(void *ctx, const char *note) /* on the worker's thread */
{
    (void)note;
    struct solo_worker *worker = ctx;
    /* The gateways have drained: nobody waits for what would still run. */
    worker_role_stop(worker->role, 0, on_worker_stopped, worker);
}

static void tell_manager_drained(void *ctx, const char *note)
{
    (void)note;
    struct solo *solo = ctx;
    for (unsigned i = 0; i < solo->worker_count; i++)
        role_thread_call(solo->workers[i].thread, stop_worker, &solo->workers[i]);
}

static void on_manager_drained(void *ctx)
{
    struct solo *solo = ctx;
    calls_post(solo->news, tell_manager_drained, solo, NULL);
}

static void drain_manager(void *ctx, const char *note) /* on the manager's thread */
{
    (void)note;
    struct solo *solo = ctx;
    manager_role_drain(solo->manager, on_manager_drained, solo);
}

static void on_gateways_drained(void *ctx)
{
    struct solo *solo = ctx;
    role_thread_call(solo->manager_thread, drain_manager, solo);
}

static void begin_stop(struct solo *solo, const char *why)
{
    if (solo->stopping)
        return;
    solo->stopping = true;
    log_event(LOG_INFO, "stopping", "why=%s drain_ms=%u", why, solo->config->drain_ms);
    gateway_role_drain(solo->gateway, solo->config->drain_ms, on_gateways_drained, solo);
}

/* --- signals --- */

static void on_signal(uv_signal_t *handle, int number)
{
    struct solo *solo = handle->data;
    if (solo->stopping) { /* asked twice: at once, without the drain */
        log_event(LOG_WARN, "killed", "signal=%d", number);
        _exit(130);
    }
    begin_stop(solo, number == SIGINT ? "SIGINT" : "SIGTERM");
}

struct manager_reload {
    struct solo *solo;
    struct config config; /* numbers alone: its strings go with the original */
};

static void reload_manager(void *ctx, const char *note) /* on the manager's thread */
{
    (void)note;
    struct manager_reload *reload = ctx;
    manager_role_reload(reload->solo->manager, &reload->config);
    mem_free(reload);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    (void)number;
    struct solo *solo = handle->data;
    if (solo->stopping) /* a thread that has ended would not take it */
        return;
    struct config *config = reload_config(solo->config, -1);
    if (!config)
        return;
    struct manager_reload *reload = mem_alloc(sizeof(*reload));
    *reload = (struct manager_reload){solo, *config};
    role_thread_call(solo->manager_thread, reload_manager, reload);
    gateway_role_reload(solo->gateway, &config);
}

static void watch_signals(struct solo *solo)
{
    static const struct {
        int number;
        uv_signal_cb on_signal;
    } watched[] = {{SIGTERM, on_signal}, {SIGINT, on_signal}, {SIGHUP, on_hangup}};
    for (size_t i = 0; i < ARRAY_COUNT(watched); i++) {
        uv_signal_init(loop_uv(solo->loop), &solo->signals[i]);
        solo->signals[i].data = solo;
        uv_signal_start(&solo->signals[i], watched[i].on_signal, watched[i].number);
    }
}

/* --- workers --- */

static void on_worker_ready(void *ctx)
{
    (void)ctx; /* the worker has logged it */
}

static bool serves(const struct solo_worker *worker, const char *model)
{
    return strcmp(worker_role_model(worker->role), model) == 0;
}

/* A model that none of its workers can load ends the start: nobody should find out by its 503s. */
static void tell_cannot_load(void *ctx, const char *note)
{
    (void)note;
    struct solo_worker *worker = ctx;
    struct solo *solo = worker->solo;
    worker->cannot_load = true;
    for (unsigned i = 0; i < solo->worker_count; i++)
        if (!solo->workers[i].cannot_load &&
            serves(&solo->workers[i], worker_role_model(worker->role)))
            return;
    solo->exit_status = 1;
    begin_stop(solo, "model_failed");
}

/* On the worker's thread. One that broke is shown as failed by /health: there is no host here to
 * start another. */
static void on_worker_lost(void *ctx, enum worker_loss loss, const char *note)
{
    struct solo_worker *worker = ctx;
    worker_loss_print(loss, worker_role_model(worker->role), note);
    if (loss == WORKER_CANNOT_LOAD)
        calls_post(worker->solo->news, tell_cannot_load, worker, NULL);
}

MUST_USE static enum err open_worker(struct solo *solo, const char *thread_name, const char *model,
                                     struct err_note *out_note)
{
    struct solo_worker *worker = &solo->workers[solo->worker_count++];
    struct worker_role_events events = {
        .on_ready = on_worker_ready, .on_lost = on_worker_lost, .ctx = worker};
    worker->solo = solo;
    worker->thread = role_thread_new(thread_name);
    return worker_role_open(&solo->place, role_thread_loop(worker->thread), model, &events,
                            &worker->role, out_note);
}

MUST_USE static enum err open_workers(struct solo *solo, const char *thread_name, const char *model,
                                      uint32_t count, struct err_note *out_note)
{
    for (uint32_t i = 0; i < count; i++)
        TRY(open_worker(solo, thread_name, model, out_note));
    return ERR_OK;
}

/* --- start --- */

MUST_USE static enum err open_bus(void *ctx, struct loop *loop, struct bus **out_bus,
                                  struct err_note *out_note)
{
    (void)out_note; /* it cannot fail */
    struct solo *solo = ctx;
    *out_bus = bus_mem_open(solo->bus_mem, loop);
    return ERR_OK;
}

MUST_USE static enum err claim_address(struct solo *solo, struct err_note *out_note)
{
    char folder[FOLDER_MAX_BYTES];
    TRY(listen_address(solo->config, &solo->address, out_note));
    TRY(folder_runtime(folder, sizeof(folder), out_note));
    return net_claim_port(&solo->address, folder, &solo->claim, out_note);
}

MUST_USE static enum err start_threads(struct solo *solo)
{
    TRY(role_thread_start(solo->manager_thread));
    for (unsigned i = 0; i < solo->worker_count; i++)
        TRY(role_thread_start(solo->workers[i].thread));
    return gateway_role_start(solo->gateway);
}

MUST_USE static enum err open_roles(struct solo *solo, struct err_note *out_note)
{
    const struct config *config = solo->config;
    struct role_place place = solo->place;
    place.has_process = true; /* the gateway speaks for all of it */
    solo->manager_thread = role_thread_new("manager");
    TRY(manager_role_open(&solo->place, role_thread_loop(solo->manager_thread), &solo->manager,
                          out_note));
    TRY(gateway_role_open(&place, solo->loop, &solo->address, NULL, 0, &solo->gateway, out_note));
    TRY(open_workers(solo, "worker-dummy", "dummy", config->dummy_workers, out_note));
    if (strcmp(config->default_model, "dummy") == 0) /* asked for dummy alone: no weights at all */
        return ERR_OK;
    return open_workers(solo, "worker-llama", config->default_model, config->llama_workers,
                        out_note);
}

MUST_USE static enum err open_all(struct solo *solo, struct err_note *out_note)
{
    unsigned threads = gateway_role_threads(solo->config);
    loop_pool_size(threads);
    log_event(LOG_INFO, "start", "version=%s solo=true threads=%u fd_limit=%llu", MILLRACE_VERSION,
              threads, (unsigned long long)net_raise_fd_limit());
    TRY(claim_address(solo, out_note));
    TRY(open_roles(solo, out_note));
    enum err err = start_threads(solo);
    return err == ERR_OK ? ERR_OK : err_note_fail(out_note, err, "a thread cannot be started");
}

/* --- end --- */

/* After the threads are joined their loops are ours again. */
static void close_roles(struct solo *solo)
{
    if (solo->manager_thread)
        role_thread_join(solo->manager_thread);
    for (unsigned i = 0; i < solo->worker_count; i++)
        role_thread_join(solo->workers[i].thread);
    gateway_role_close(&solo->gateway);
    for (unsigned i = 0; i < solo->worker_count; i++) {
        worker_role_close(&solo->workers[i].role);
        role_thread_free(&solo->workers[i].thread);
    }
    manager_role_close(&solo->manager);
    role_thread_free(&solo->manager_thread);
}

static void close_all(struct solo *solo)
{
    close_roles(solo);
    net_claim_release(solo->claim);
    bus_mem_free(solo->bus_mem);
    for (size_t i = 0; i < ARRAY_COUNT(solo->signals); i++)
        if (solo->signals[i].data)
            uv_close((uv_handle_t *)&solo->signals[i], NULL);
    calls_free(&solo->news);
    loop_free(solo->loop);
}

int solo_serve(const struct config *config)
{
    struct solo *solo = mem_alloc(sizeof(*solo));
    struct err_note note;
    solo->config = config;
    solo->loop = loop_new();
    solo->news = calls_new(solo->loop);
    solo->bus_mem = bus_mem_new(config->bus_peer_max_bytes);
    solo->place = (struct role_place){.config = config, .open_bus = open_bus, .ctx = solo};
    watch_signals(solo); /* first: it answers before open_all() returns, and may be told to stop */
    if (open_all(solo, &note) != ERR_OK) {
        fprintf(stderr, "millrace: %s\n", note.text);
        solo->exit_status = 1;
    } else {
        listen_address_print(&solo->address, config);
        loop_run(solo->loop);
        log_event(LOG_INFO, "stopped", "status=%d", solo->exit_status);
    }
    int status = solo->exit_status;
    close_all(solo);
    mem_free(solo);
    return status;
}
