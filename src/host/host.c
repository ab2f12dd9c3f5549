/* host - opens what outlives the roles, starts them, and stops all of it in reverse. */
#include "host/host.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "bus/bus_unix.h"
#include "host/bus_home.h"
#include "host/census.h"
#include "host/instance.h"
#include "host/log_pump.h"
#include "host/notify.h"
#include "host/settings.h"
#include "host/supervisor.h"
#include "loop/thread.h"
#include "net/listener.h"
#include "role/folders.h"
#include "role/gateway_role.h"
#include "role/listen_address.h"
#include "role/reload.h"

#include <stdio.h>
#include <unistd.h>
#include <uv.h>

enum { BUS_WAIT_MS = 5000, HOST_POOL_THREADS = 1 };

struct host {
    const struct config *config;
    struct loop *loop;
    uv_signal_t signals[3];
    struct log_pump *log_pump;
    struct notify notify;
    uint64_t started_us;
    char state_dir[FOLDER_MAX_BYTES], runtime_dir[FOLDER_MAX_BYTES];
    struct instance *instance;
    struct net_address address;
    struct net_claim *claim;
    int listen_fds[GATEWAY_THREADS_MAX];
    size_t listen_count;
    struct bus_home *bus_home;
    struct settings *settings;
    struct bus_unix *bus_unix;
    struct bus *bus;
    struct supervisor *supervisor;
    struct census *census;
    char sentence[1024]; /* why it cannot go on: the last thing that is said; "" */
    bool is_stopping;
    int status;
};

/* --- what the supervisor tells --- */

static void on_serving(void *ctx, const char *address)
{
    struct host *host = ctx;
    struct err_note note;
    char text[64];
    (void)address; /* the port is ours: the same */
    net_address_format(&host->address, text);
    if (instance_publish(host->instance, bus_home_dir(host->bus_home), text, &note) != ERR_OK)
        log_event(LOG_ERROR, "instance_unpublished", "note=%s",
                  log_quote(slice_str(note.text), 512));
    listen_address_print(&host->address, host->config);
    notify_say(&host->notify, "READY=1\nSTATUS=serving on http://%s", text);
    log_event(LOG_INFO, "serving", "address=%s", text);
}

static void on_change(void *ctx)
{
    struct host *host = ctx;
    if (host->census)
        census_changed(host->census);
}

/* No successor may be waited for in the queues of who does not come. */
static void close_listening(struct host *host)
{
    for (size_t i = 0; i < host->listen_count; i++)
        (void)close(host->listen_fds[i]);
    host->listen_count = 0;
}

static void begin_stop(struct host *host, const char *why)
{
    host->is_stopping = true;
    log_event(LOG_INFO, "stopping", "why=%s drain_ms=%u", why, host->config->drain_ms);
    notify_say(&host->notify, "STOPPING=1\nSTATUS=stopping: %s", why);
    close_listening(host);
}

static void on_give_up(void *ctx, const struct role_spec *spec, const char *sentence)
{
    struct host *host = ctx;
    host->status = 1;
    if (spec->model)
        snprintf(host->sentence, sizeof(host->sentence), "the model '%s' cannot be loaded: %s",
                 spec->model, sentence);
    else
        snprintf(host->sentence, sizeof(host->sentence), "the %s cannot run: %s", spec->role,
                 sentence);
    begin_stop(host, spec->model ? "model_failed" : "role_failed");
}

static void on_stopped(void *ctx, int status)
{
    struct host *host = ctx;
    if (status > host->status) /* what went wrong first stays */
        host->status = status;
    loop_stop(host->loop);
}

/* --- signals --- */

static void on_stop_signal(uv_signal_t *handle, int number)
{
    struct host *host = handle->data;
    if (host->is_stopping) { /* asked twice: at once, without the drain */
        log_event(LOG_WARN, "killed", "signal=%d", number);
        supervisor_kill(host->supervisor, 130);
        return;
    }
    begin_stop(host, number == SIGINT ? "SIGINT" : "SIGTERM");
    supervisor_stop(host->supervisor, 0);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    struct host *host = handle->data;
    struct err_note note;
    (void)number;
    struct config *wanted = reload_config(host->config, -1);
    if (!wanted || host->is_stopping) {
        config_free(wanted);
        return;
    }
    if (settings_change(host->settings, wanted, &note) == ERR_OK)
        supervisor_reload(host->supervisor);
    else
        log_event(LOG_ERROR, "reload_refused", "note=%s", log_quote(slice_str(note.text), 512));
    config_free(wanted);
}

static void watch_signals(struct host *host)
{
    static const struct {
        int number;
        uv_signal_cb on_signal;
    } watched[] = {{SIGTERM, on_stop_signal}, {SIGINT, on_stop_signal}, {SIGHUP, on_hangup}};
    for (size_t i = 0; i < ARRAY_COUNT(watched); i++) {
        ASSERT(uv_signal_init(loop_uv(host->loop), &host->signals[i]) == 0);
        host->signals[i].data = host;
        ASSERT(uv_signal_start(&host->signals[i], watched[i].on_signal, watched[i].number) == 0);
    }
}

/* --- start --- */

/* What a killed one left below another name (a runtime folder that has moved). */
static void sweep_old_bus(struct host *host)
{
    struct instance_info old;
    struct err_note ignored;
    if (instance_read(host->state_dir, &old, &ignored) == ERR_OK)
        bus_home_sweep(old.bus_dir);
}

MUST_USE static enum err take_folders(struct host *host, struct err_note *out_note)
{
    TRY(folder_state(host->config, host->state_dir, sizeof(host->state_dir), out_note));
    TRY(instance_take(host->state_dir, &host->instance, out_note));
    sweep_old_bus(host);
    return folder_runtime(host->runtime_dir, sizeof(host->runtime_dir), out_note);
}

MUST_USE static enum err take_port(struct host *host, struct err_note *out_note)
{
    TRY(listen_address(host->config, &host->address, out_note));
    TRY(net_claim_port(&host->address, host->runtime_dir, &host->claim, out_note));
    size_t count = gateway_role_threads(host->config);
    for (; host->listen_count < count; host->listen_count++)
        TRY(net_listen(&host->address, &host->listen_fds[host->listen_count], out_note));
    return ERR_OK;
}

static const char *wanted_bus_dir(const struct config *config)
{
    static const char scheme[] = "ipc://";
    bool is_ipc = strncmp(config->bus_url, scheme, sizeof(scheme) - 1) == 0;
    return is_ipc ? config->bus_url + sizeof(scheme) - 1 : "";
}

MUST_USE static enum err open_bus(struct host *host, struct err_note *out_note)
{
    const struct config *config = host->config;
    const struct bus_home_options options = {.wanted_dir = wanted_bus_dir(config),
                                             .runtime_dir = host->runtime_dir,
                                             .state_dir = host->state_dir,
                                             .peer_bytes_max = config->bus_peer_max_bytes,
                                             .dead_ms = config->role_dead_ms};
    TRY(bus_home_start(&options, &host->bus_home, out_note));
    enum err err = bus_unix_new(bus_home_dir(host->bus_home), &host->bus_unix);
    if (err == ERR_OK)
        err = bus_unix_open(host->bus_unix, host->loop, BUS_WAIT_MS, &host->bus);
    if (err != ERR_OK)
        return err_note_fail(out_note, err, "the bus in %s does not answer (%s)",
                             bus_home_dir(host->bus_home), err_name(err));
    return ERR_OK;
}

_Static_assert(2 + 2 * CONFIG_WORKERS_MAX <= SUPERVISOR_ROLES_MAX, "a place for each of them");

static void add_role(struct supervisor_options *options, const struct role_spec *spec)
{
    options->roles[options->role_count++] = *spec;
}

static void add_workers(struct supervisor_options *options, const char *model, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        add_role(options, &(struct role_spec){.role = "worker", .model = model, .number = i});
}

/* The manager is replaced as the gateway is: a request that it has not assigned yet is repeated and
 * reaches the next one. Two workers of a model may not fit the memory. */
static void list_roles(const struct config *config, struct supervisor_options *options)
{
    add_role(options, &(struct role_spec){
                          .role = "gateway", .listens = true, .overlaps = true, .is_vital = true});
    add_role(options, &(struct role_spec){.role = "manager", .overlaps = true, .is_vital = true});
    add_workers(options, "dummy", config->dummy_workers);
    if (strcmp(config->default_model, "dummy") != 0) /* asked for dummy alone: no weights at all */
        add_workers(options, config->default_model, config->llama_workers);
}

MUST_USE static enum err start_roles(struct host *host, struct err_note *out_note)
{
    static const struct supervisor_handler handler = {.on_serving = on_serving,
                                                      .on_change = on_change,
                                                      .on_give_up = on_give_up,
                                                      .on_stopped = on_stopped};
    struct supervisor_options options = {
        .program = "/proc/self/exe",
        .config_fd = settings_fd(host->settings),
        .listen_fds = host->listen_fds,
        .listen_count = host->listen_count,
        .watch = {.dead_ms = host->config->role_dead_ms, .stuck_max_ms = host->config->watchdog_ms},
        .drain_ms = host->config->drain_ms,
    };
    list_roles(host->config, &options);
    return supervisor_new(host->loop, &options, &handler, host, &host->supervisor, out_note);
}

MUST_USE static enum err open_all(struct host *host, struct err_note *out_note)
{
    log_event(LOG_INFO, "start", "version=%s cores=%u fd_limit=%llu", MILLRACE_VERSION,
              thread_cores(), (unsigned long long)net_raise_fd_limit());
    TRY(take_folders(host, out_note));
    TRY(take_port(host, out_note));
    TRY(open_bus(host, out_note));
    TRY(settings_new(host->config, bus_home_dir(host->bus_home), net_address_port(&host->address),
                     &host->settings, out_note));
    TRY(log_pump_start(&host->log_pump, out_note));
    TRY(start_roles(host, out_note));
    if (census_new(host->bus, host->supervisor, host->started_us, &host->census) != ERR_OK)
        return err_note_fail(out_note, ERR_SYSTEM, "the bus does not take the host's subscription");
    return ERR_OK;
}

/* --- end --- */

static void close_all(struct host *host)
{
    close_listening(host);
    census_free(host->census);
    supervisor_free(host->supervisor);
    if (host->bus)
        bus_close(&host->bus);
    bus_unix_free(host->bus_unix);
    bus_home_stop(host->bus_home);
    settings_free(host->settings);
    net_claim_release(host->claim);
    instance_release(host->instance);
    log_pump_stop(&host->log_pump);
    notify_close(&host->notify);
    for (size_t i = 0; i < ARRAY_COUNT(host->signals); i++)
        uv_close((uv_handle_t *)&host->signals[i], NULL);
    loop_free(host->loop);
}

int host_serve(const struct config *config)
{
    struct host *host = mem_alloc(sizeof(*host));
    struct err_note note;
    host->config = config;
    host->started_us = clock_monotonic_us();
    signal(SIGXFSZ, SIG_IGN); /* a log that may not grow is an error code, not the end */
    loop_pool_size(HOST_POOL_THREADS);
    host->loop = loop_new();
    notify_open(&host->notify);
    watch_signals(host); /* first: whoever stops us early is heard */
    if (open_all(host, &note) != ERR_OK) {
        snprintf(host->sentence, sizeof(host->sentence), "%s", note.text);
        host->status = 1;
    } else {
        loop_run(host->loop);
        log_event(LOG_INFO, "stopped", "status=%d", host->status);
    }
    int status = host->status;
    char sentence[sizeof(host->sentence)];
    memcpy(sentence, host->sentence, sizeof(sentence));
    close_all(host);
    mem_free(host);
    if (sentence[0])
        fprintf(stderr, "millrace: %s\n", sentence);
    return status;
}
