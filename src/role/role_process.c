/* role_process - from the command line to the exit status of one role. */
#include "role/role_process.h"

#include "base/log.h"
#include "base/mem.h"
#include "bus/bus_unix.h"
#include "config/snapshot.h"
#include "loop/loop.h"
#include "net/listener.h"
#include "role/gateway_role.h"
#include "role/reload.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

/* The host opens its switch before it starts a role; by hand they may come in any order. */
enum { BUS_WAIT_MS = 5000, STATUS_SECOND_SIGNAL = 130 };

struct role_process {
    const struct role_kind *kind;
    struct config *config; /* of the start */
    const char *model;
    int config_fd; /* the host's snapshot; -1: by hand */
    struct loop *loop;
    struct life *life;
    bool has_host;
    uv_signal_t signals[3];
    struct bus_unix *bus_unix;
    struct role_place place;
    void *role;
    bool stopping;
    int exit_status;
};

/* --- for the kinds --- */

const struct role_place *role_process_place(const struct role_process *process)
{
    return &process->place;
}

struct loop *role_process_loop(struct role_process *process)
{
    return process->loop;
}

const char *role_process_model(const struct role_process *process)
{
    return process->model;
}

bool role_process_has_host(const struct role_process *process)
{
    return process->has_host;
}

void role_process_ready(struct role_process *process, const char *text)
{
    life_say_ready(process->life, text);
}

void role_process_works(struct role_process *process)
{
    life_beat(process->life);
}

void role_process_end(struct role_process *process)
{
    loop_stop(process->loop);
}

/* --- stopping --- */

static void begin_stop(struct role_process *process, const char *why, uint32_t drain_ms)
{
    if (process->stopping)
        return;
    process->stopping = true;
    life_say_draining(process->life);
    log_event(LOG_INFO, "stopping", "why=%s drain_ms=%u", why, drain_ms);
    process->kind->drain(process->role, drain_ms);
}

void role_process_fail(struct role_process *process, const char *note)
{
    life_say_failed(process->life, note);
    process->exit_status = 1;
    begin_stop(process, "failed", 0);
}

/* --- signals --- */

static void on_signal(uv_signal_t *handle, int number)
{
    struct role_process *process = handle->data;
    if (number == SIGINT && process->has_host)
        return;
    if (process->stopping) { /* asked twice: at once, without the drain */
        log_event(LOG_WARN, "killed", "signal=%d", number);
        _exit(STATUS_SECOND_SIGNAL);
    }
    begin_stop(process, number == SIGINT ? "SIGINT" : "SIGTERM",
               process->kind->drain_ms(process->config));
}

static void on_hangup(uv_signal_t *handle, int number)
{
    (void)number;
    struct role_process *process = handle->data;
    struct config *config = reload_config(process->config, process->config_fd);
    if (config && process->kind->reload)
        process->kind->reload(process->role, &config);
    config_free(config);
}

static void watch_signals(struct role_process *process)
{
    static const struct {
        int number;
        uv_signal_cb on_signal;
    } watched[] = {{SIGTERM, on_signal}, {SIGINT, on_signal}, {SIGHUP, on_hangup}};
    for (size_t i = 0; i < ARRAY_COUNT(watched); i++) {
        uv_signal_init(loop_uv(process->loop), &process->signals[i]);
        process->signals[i].data = process;
        uv_signal_start(&process->signals[i], watched[i].on_signal, watched[i].number);
    }
    sigset_t held; /* by our host, until it is heard */
    sigemptyset(&held);
    sigaddset(&held, SIGHUP);
    ASSERT(pthread_sigmask(SIG_UNBLOCK, &held, NULL) == 0);
}

/* --- starting --- */

static void on_pulse(void *ctx, struct life_pulse *out_pulse)
{
    struct role_process *process = ctx;
    process->kind->pulse(process->role, out_pulse);
}

MUST_USE static enum err open_bus(void *ctx, struct loop *loop, struct bus **out_bus,
                                  struct err_note *out_note)
{
    struct role_process *process = ctx;
    enum err err = bus_unix_open(process->bus_unix, loop, BUS_WAIT_MS, out_bus);
    return err == ERR_OK ? ERR_OK
                         : err_note_fail(out_note, err, "cannot join the bus at %s: %s",
                                         process->config->bus_url,
                                         err == ERR_TIMEOUT ? "no switch answers" : err_name(err));
}

MUST_USE static enum err join_bus(struct role_process *process, struct err_note *out_note)
{
    const char *url = process->config->bus_url;
    struct slice folder = slice_after(slice_str(url), strlen("ipc://"));
    if (!url[0])
        return err_note_fail(out_note, ERR_REFUSED,
                             "bus_url is not set: a role by hand needs --bus-url ipc:///FOLDER, "
                             "the folder of a running switch; 'millrace serve' has its own");
    enum err err = bus_unix_new(folder.data, &process->bus_unix);
    if (err != ERR_OK)
        return err_note_fail(out_note, err, "bus_url %s: %s", url, err_name(err));
    process->place = (struct role_place){
        .config = process->config, .open_bus = open_bus, .ctx = process, .has_process = true};
    return ERR_OK;
}

MUST_USE static enum err start(struct role_process *process, struct err_note *out_note)
{
    loop_pool_size(gateway_role_threads(process->config));
    TRY(life_start(process->loop, on_pulse, process, &process->life, out_note));
    process->has_host = process->life != NULL;
    log_event(LOG_INFO, "start", "version=%s pid=%d fd_limit=%llu", MILLRACE_VERSION, (int)getpid(),
              (unsigned long long)net_raise_fd_limit());
    TRY(join_bus(process, out_note));
    return process->kind->open(process, &process->role, out_note);
}

static void close_all(struct role_process *process)
{
    if (process->role)
        process->kind->close(process->role);
    bus_unix_free(process->bus_unix);
    life_stop(&process->life);
    for (size_t i = 0; i < ARRAY_COUNT(process->signals); i++)
        if (process->signals[i].data)
            uv_close((uv_handle_t *)&process->signals[i], NULL);
    loop_free(process->loop);
}

static int serve(struct role_process *process)
{
    struct err_note note;
    process->loop = loop_new();
    watch_signals(process); /* first: it may be told to stop before it is open */
    if (start(process, &note) == ERR_OK) {
        loop_run(process->loop);
        log_event(LOG_INFO, "stopped", "status=%d", process->exit_status);
    } else {
        if (process->has_host) /* who will say it */
            life_say_failed(process->life, note.text);
        else
            fprintf(stderr, "millrace %s: %s\n", process->kind->name, note.text);
        process->exit_status = 1;
    }
    int status = process->exit_status;
    close_all(process);
    return status;
}

MUST_USE static enum err load(struct role_process *process, int argc, char **argv,
                              struct err_note *out_note)
{
    enum log_level level;
    process->config_fd = life_config_fd();
    TRY(process->config_fd >= 0
            ? config_snapshot_read(process->config_fd, &process->config, out_note)
            : config_load(argc, argv, environ, &process->config, out_note));
    if (log_level_parse(slice_str(process->config->log_level), &level) == ERR_OK)
        log_set_level(level);
    return ERR_OK;
}

int role_process_run(const struct role_kind *kind, int argc, char **argv, const char *model)
{
    struct role_process process = {.kind = kind, .model = model};
    struct err_note note;
    log_set_role(kind->name);
    enum err err = load(&process, argc, argv, &note);
    if (err == ERR_CANCELLED) /* --help was printed */
        return 0;
    if (err != ERR_OK) {
        fprintf(stderr, "millrace %s: %s\n", kind->name, note.text);
        return 2;
    }
    int status = serve(&process);
    config_free(process.config);
    return status;
}
