/* role_run - each role's object in a process of its own. */
#include "role/role_run.h"

#include "base/log.h"
#include "base/mem.h"
#include "role/folders.h"
#include "role/gateway_role.h"
#include "role/listen_address.h"
#include "role/manager_role.h"
#include "role/role_process.h"
#include "role/worker_role.h"

static uint32_t patient(const struct config *config)
{
    return config->drain_ms;
}

/* --- gateway --- */

struct gateway_process {
    struct role_process *process;
    struct gateway_role *role;
    struct net_claim *claim; /* by hand; under a host it is the host's */
};

/* By hand: an address of its own, as serve has it. */
MUST_USE static enum err claim_address(struct gateway_process *own, const struct config *config,
                                       struct net_address *out_address, struct err_note *out_note)
{
    char folder[FOLDER_MAX_BYTES];
    TRY(listen_address(config, out_address, out_note));
    TRY(folder_runtime(folder, sizeof(folder), out_note));
    return net_claim_port(out_address, folder, &own->claim, out_note);
}

MUST_USE static enum err open_gateway(struct role_process *process, void **out_role,
                                      struct err_note *out_note)
{
    const struct role_place *place = role_process_place(process);
    struct gateway_process *own = mem_alloc(sizeof(*own));
    struct net_address address = {0};
    int fds[GATEWAY_THREADS_MAX];
    size_t fd_count = life_listen_fds(fds, ARRAY_COUNT(fds));
    *out_role = own;
    own->process = process;
    if (fd_count == 0)
        TRY(claim_address(own, place->config, &address, out_note));
    else
        TRY(listen_address(place->config, &address, out_note));
    TRY(gateway_role_open(place, role_process_loop(process), &address, fds, fd_count, &own->role,
                          out_note));
    enum err err = gateway_role_start(own->role);
    if (err != ERR_OK)
        return err_note_fail(out_note, err, "a thread cannot be started");
    char text[64];
    net_address_format(&address, text);
    if (!role_process_has_host(process))
        listen_address_print(&address, place->config);
    role_process_ready(process, text);
    return ERR_OK;
}

static void pulse_gateway(void *role, struct life_pulse *out_pulse)
{
    struct gateway_process *own = role;
    out_pulse->is_alive = gateway_role_is_alive(own->role);
    out_pulse->streams = gateway_role_streams(own->role);
}

static void reload_gateway(void *role, struct config **config)
{
    struct gateway_process *own = role;
    gateway_role_reload(own->role, config);
}

static void on_gateway_drained(void *ctx)
{
    struct gateway_process *own = ctx;
    role_process_end(own->process);
}

static void drain_gateway(void *role, uint32_t drain_ms)
{
    struct gateway_process *own = role;
    gateway_role_drain(own->role, drain_ms, on_gateway_drained, own);
}

static void close_gateway(void *role)
{
    struct gateway_process *own = role;
    gateway_role_close(&own->role);
    net_claim_release(own->claim);
    mem_free(own);
}

int role_run_gateway(int argc, char **argv)
{
    static const struct role_kind kind = {.name = "gateway",
                                          .open = open_gateway,
                                          .pulse = pulse_gateway,
                                          .reload = reload_gateway,
                                          .drain_ms = patient,
                                          .drain = drain_gateway,
                                          .close = close_gateway};
    return role_process_run(&kind, argc, argv, NULL);
}

/* --- manager --- */

struct manager_process {
    struct role_process *process;
    struct manager_role *role;
};

MUST_USE static enum err open_manager(struct role_process *process, void **out_role,
                                      struct err_note *out_note)
{
    struct manager_process *own = mem_alloc(sizeof(*own));
    *out_role = own;
    own->process = process;
    TRY(manager_role_open(role_process_place(process), role_process_loop(process), &own->role,
                          out_note));
    role_process_ready(process, "");
    return ERR_OK;
}

static void pulse_manager(void *role, struct life_pulse *out_pulse)
{
    struct manager_process *own = role;
    out_pulse->streams = manager_role_streams(own->role);
}

static void reload_manager(void *role, struct config **config)
{
    struct manager_process *own = role;
    manager_role_reload(own->role, *config);
}

/* It finishes nothing: what waits asks its successor. */
static uint32_t at_once(const struct config *config)
{
    (void)config;
    return 0;
}

static void on_manager_drained(void *ctx)
{
    struct manager_process *own = ctx;
    role_process_end(own->process);
}

static void drain_manager(void *role, uint32_t drain_ms)
{
    (void)drain_ms;
    struct manager_process *own = role;
    manager_role_drain(own->role, on_manager_drained, own);
}

static void close_manager(void *role)
{
    struct manager_process *own = role;
    manager_role_close(&own->role);
    mem_free(own);
}

int role_run_manager(int argc, char **argv)
{
    static const struct role_kind kind = {.name = "manager",
                                          .open = open_manager,
                                          .pulse = pulse_manager,
                                          .reload = reload_manager,
                                          .drain_ms = at_once,
                                          .drain = drain_manager,
                                          .close = close_manager};
    return role_process_run(&kind, argc, argv, NULL);
}

/* --- worker --- */

struct worker_process {
    struct role_process *process;
    struct worker_role *role;
};

static void on_worker_ready(void *ctx)
{
    struct worker_process *own = ctx;
    role_process_ready(own->process, "");
}

/* The host must know before the engine can crash on it. */
static void on_worker_works(void *ctx)
{
    struct worker_process *own = ctx;
    role_process_works(own->process);
}

static void on_worker_lost(void *ctx, enum worker_loss loss, const char *note)
{
    struct worker_process *own = ctx;
    /* Under a host the last word on a worker that ends is the host's. */
    if (loss == WORKER_LACKS_ENGINE || !role_process_has_host(own->process))
        worker_loss_print(loss, worker_role_model(own->role), note);
    if (loss != WORKER_LACKS_ENGINE)
        role_process_fail(own->process, note);
}

MUST_USE static enum err open_worker(struct role_process *process, void **out_role,
                                     struct err_note *out_note)
{
    struct worker_process *own = mem_alloc(sizeof(*own));
    *out_role = own;
    own->process = process;
    return worker_role_open(role_process_place(process), role_process_loop(process),
                            role_process_model(process),
                            &(struct worker_role_events){.on_ready = on_worker_ready,
                                                         .on_first_work = on_worker_works,
                                                         .on_lost = on_worker_lost,
                                                         .ctx = own},
                            &own->role, out_note);
}

static void pulse_worker(void *role, struct life_pulse *out_pulse)
{
    struct worker_process *own = role;
    out_pulse->stuck_ms = worker_role_stuck_ms(own->role);
    out_pulse->streams = worker_role_streams(own->role);
}

static void on_worker_stopped(void *ctx)
{
    struct worker_process *own = ctx;
    role_process_end(own->process);
}

static void drain_worker(void *role, uint32_t drain_ms)
{
    struct worker_process *own = role;
    worker_role_stop(own->role, drain_ms, on_worker_stopped, own);
}

static void close_worker(void *role)
{
    struct worker_process *own = role;
    worker_role_close(&own->role);
    mem_free(own);
}

int role_run_worker(int argc, char **argv, const char *model)
{
    static const struct role_kind kind = {.name = "worker",
                                          .open = open_worker,
                                          .pulse = pulse_worker,
                                          .drain_ms = patient,
                                          .drain = drain_worker,
                                          .close = close_worker};
    return role_process_run(&kind, argc, argv, model);
}
