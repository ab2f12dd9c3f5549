/* solo - opens the roles, runs them on their threads, stops them in reverse. */
#include "solo/solo.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "bus/bus_mem.h"
#include "gateway/gateway.h"
#include "loop/thread.h"
#include "solo/folders.h"
#include "solo/models.h"
#include "solo/role_thread.h"

#include <stdio.h>
#include <unistd.h>
#include <uv.h>

enum { GATEWAYS_MAX = 64, STARTED_LINE_BYTES = 2048 };

struct worker_role {
    struct solo *solo;
    const char *model;
    struct role_thread *role;
    struct bus *bus;
    struct worker *worker;
    bool stopped;
};

struct gateway_role {
    struct solo *solo;
    struct role_thread *role;
    struct bus *bus;
    struct gateway *gateway;
    bool drained;
};

struct solo {
    const struct config *config;
    struct loop *loop; /* the main thread's: signals, and news from the roles */
    struct mailbox *news;
    uv_signal_t signals[3];
    struct bus_mem *bus_mem;
    struct net_claim *claim;
    struct net_address address;
    struct models models;
    struct worker_role workers[2];
    struct gateway_role gateways[GATEWAYS_MAX];
    unsigned worker_count, gateway_count;
    bool stopping;
    int exit_status;
};

/* --- news: what roles tell the main thread --- */

struct news {
    struct mail mail;
    void (*tell)(struct solo *solo, void *subject, const char *note);
    void *subject;
    char note[512];
};

static void on_news(void *ctx, struct mail *mail)
{
    struct news *news = CONTAINER_OF(mail, struct news, mail);
    news->tell(ctx, news->subject, news->note);
    mem_free(news);
}

static void drop_news(void *ctx, struct mail *mail)
{
    (void)ctx;
    mem_free(CONTAINER_OF(mail, struct news, mail));
}

/* From any role's thread. The mailbox is sized for every role's handful of news. */
static void send_news(struct solo *solo,
                      void (*tell)(struct solo *solo, void *subject, const char *note),
                      void *subject, const char *note)
{
    struct news *news = mem_alloc(sizeof(*news));
    *news = (struct news){.tell = tell, .subject = subject};
    snprintf(news->note, sizeof(news->note), "%s", note ? note : "");
    struct mail *mail = &news->mail;
    if (mailbox_post(solo->news, &mail) != ERR_OK) /* closed: the process is ending anyway */
        mem_free(news);
}

/* --- stopping, in reverse: gateways drain, then workers stop, then the main loop ends --- */

static void maybe_end(struct solo *solo)
{
    for (unsigned i = 0; i < solo->worker_count; i++)
        if (!solo->workers[i].stopped)
            return;
    loop_stop(solo->loop);
}

static void tell_worker_stopped(struct solo *solo, void *subject, const char *note)
{
    (void)note;
    ((struct worker_role *)subject)->stopped = true;
    maybe_end(solo);
}

static void on_worker_stopped(void *ctx)
{
    struct worker_role *role = ctx;
    send_news(role->solo, tell_worker_stopped, role, NULL);
}

static void stop_worker(void *ctx) /* on the worker's thread */
{
    struct worker_role *role = ctx;
    /* The gateways have drained: nobody waits for what would still run. */
    worker_stop(role->worker, 0, on_worker_stopped, role);
}

static void stop_workers(struct solo *solo)
{
    for (unsigned i = 0; i < solo->worker_count; i++)
        role_thread_call(solo->workers[i].role, stop_worker, &solo->workers[i]);
    maybe_end(solo);
}

static void tell_gateway_drained(struct solo *solo, void *subject, const char *note)
{
    (void)note;
    ((struct gateway_role *)subject)->drained = true;
    for (unsigned i = 0; i < solo->gateway_count; i++)
        if (!solo->gateways[i].drained)
            return;
    stop_workers(solo);
}

static void on_gateway_drained(void *ctx)
{
    struct gateway_role *role = ctx;
    send_news(role->solo, tell_gateway_drained, role, NULL);
}

static void drain_gateway(void *ctx) /* on the gateway's thread */
{
    struct gateway_role *role = ctx;
    gateway_drain(role->gateway, role->solo->config->drain_ms, on_gateway_drained, role);
}

static void begin_stop(struct solo *solo, const char *why)
{
    if (solo->stopping)
        return;
    solo->stopping = true;
    log_event(LOG_INFO, "stopping", "why=%s drain_ms=%u", why, solo->config->drain_ms);
    for (unsigned i = 0; i < solo->gateway_count; i++)
        role_thread_call(solo->gateways[i].role, drain_gateway, &solo->gateways[i]);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct solo *solo = handle->data;
    if (solo->stopping) { /* asked twice: at once, without the drain */
        log_event(LOG_WARN, "killed", "signal=%d", number);
        _exit(130);
    }
    begin_stop(solo, number == SIGINT ? "SIGINT" : "SIGTERM");
}

/* --- SIGHUP: the configuration is read again --- */

/* Names only: a value may be a secret one day. */
static void tell_change(void *ctx, const char *key, bool is_live)
{
    ++*(unsigned *)ctx;
    if (is_live)
        log_event(LOG_INFO, "reload_applied", "key=%s", key);
    else
        log_event(LOG_WARN, "reload_needs_restart", "key=%s", key);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    (void)number;
    struct solo *solo = handle->data;
    struct config *wanted;
    struct err_note note;
    enum log_level level;
    unsigned changes = 0;
    if (config_reload(solo->config, environ, &wanted, &note) != ERR_OK) {
        log_event(LOG_ERROR, "reload_refused", "note=%s", log_quote(slice_str(note.text), 512));
        return;
    }
    if (log_level_parse(slice_str(wanted->log_level), &level) == ERR_OK)
        log_set_level(level);
    config_changes(solo->config, wanted, tell_change, &changes);
    log_event(LOG_INFO, "reloaded", "differs_from_start=%u", changes);
    config_free(wanted);
}

/* --- workers --- */

static void on_worker_ready(void *ctx)
{
    (void)ctx; /* the worker has logged it */
}

/* The shipped model without an engine: serve on with `dummy`, /health says degraded. */
static void tell_engine_missing(struct solo *solo, void *subject, const char *note)
{
    (void)solo;
    fprintf(stderr,
            "millrace: the model '%s' cannot run: %s\nmillrace: meanwhile ask for the model "
            "'dummy'\n",
            ((struct worker_role *)subject)->model, note);
}

/* A model that cannot be loaded ends the start: nobody should find out by its 503s. */
static void tell_model_failed(struct solo *solo, void *subject, const char *note)
{
    fprintf(stderr, "millrace: the model '%s' cannot be loaded: %s\n",
            ((struct worker_role *)subject)->model, note);
    solo->exit_status = 1;
    begin_stop(solo, "model_failed");
}

static void on_worker_failed(void *ctx, enum err why, const char *note)
{
    struct worker_role *role = ctx;
    struct solo *solo = role->solo;
    bool no_engine = why == ERR_NOT_FOUND && !solo->config->llama_model_path[0];
    send_news(solo, no_engine ? tell_engine_missing : tell_model_failed, role, note);
}

MUST_USE static enum err open_worker(struct solo *solo, const char *thread_name,
                                     const struct worker_options *options)
{
    struct worker_role *role = &solo->workers[solo->worker_count++];
    role->solo = solo;
    role->model = options->model;
    role->role = role_thread_new(thread_name);
    role->bus = bus_mem_open(solo->bus_mem, role_thread_loop(role->role));
    return worker_start(role->bus, options, on_worker_ready, on_worker_failed, role, &role->worker);
}

/* --- gateways --- */

static struct http_limits limits_from_config(const struct config *config, unsigned gateways)
{
    struct http_limits limits = http_limits_default();
    limits.message.head_max_bytes = config->head_max_bytes;
    limits.message.fields_max = config->head_max_fields;
    limits.message.body_max_bytes = config->body_max_bytes;
    limits.head_ms = config->head_ms;
    limits.body_ms = config->body_ms;
    limits.idle_ms = config->idle_ms;
    limits.stall_ms = config->stall_ms;
    limits.out_max_bytes = config->out_max_bytes;
    /* An equal share each: the kernel spreads connections by hash, so the fullest loop refuses a
     * little before all of them are taken, and never after. */
    limits.connections_max = (config->max_connections + gateways - 1) / gateways;
    return limits;
}

static struct gateway_options gateway_from_config(const struct solo *solo, unsigned gateways)
{
    const struct config *config = solo->config;
    return (struct gateway_options){
        .address = solo->address,
        .listen_fd = -1,
        .http = limits_from_config(config, gateways),
        .ask = ask_options_default(),
        .default_model = config->default_model,
        .live = {.allowed_hosts = config->allowed_hosts,
                 .allowed_origins = config->allowed_origins,
                 .streams_per_key = config->streams_per_key},
        .head_hold_ms = config->head_hold_ms,
        .ping_ms = config->ping_ms,
        .sse_chunk_chars = config->sse_chunk_size,
        .started_us = clock_monotonic_us(),
    };
}

MUST_USE static enum err open_gateways(struct solo *solo, unsigned count, struct err_note *out_note)
{
    struct gateway_options options = gateway_from_config(solo, count);
    for (unsigned i = 0; i < count; i++) {
        struct gateway_role *role = &solo->gateways[solo->gateway_count++];
        char name[16];
        snprintf(name, sizeof(name), "gateway-%hhu", (unsigned char)i); /* i < GATEWAYS_MAX */
        role->solo = solo;
        role->role = role_thread_new(name);
        role->bus = bus_mem_open(solo->bus_mem, role_thread_loop(role->role));
        TRY(gateway_open(role->bus, &options, &role->gateway, out_note));
    }
    return ERR_OK;
}

/* --- start --- */

MUST_USE static enum err claim_address(struct solo *solo, struct err_note *out_note)
{
    const struct config *config = solo->config;
    char folder[256];
    TRY(net_address_parse(slice_str(config->http_host), (uint16_t)config->http_port, &solo->address,
                          out_note));
    if (!net_address_is_loopback(&solo->address) && !config->allow_no_keys)
        return err_note_fail(out_note, ERR_REFUSED,
                             "http_host %s can be reached from other machines and no API keys are "
                             "set; use 127.0.0.1, or --allow-no-keys if that is what you want",
                             config->http_host);
    TRY(folder_runtime(folder, sizeof(folder), out_note));
    return net_claim_port(&solo->address, folder, &solo->claim, out_note);
}

MUST_USE static enum err start_threads(struct solo *solo)
{
    for (unsigned i = 0; i < solo->worker_count; i++)
        TRY(role_thread_start(solo->workers[i].role));
    for (unsigned i = 0; i < solo->gateway_count; i++)
        TRY(role_thread_start(solo->gateways[i].role));
    return ERR_OK;
}

MUST_USE static enum err open_all(struct solo *solo, struct err_note *out_note)
{
    const struct config *config = solo->config;
    unsigned cores = thread_cores();
    unsigned threads = config->worker_threads < cores ? config->worker_threads : cores;
    threads = threads < GATEWAYS_MAX ? threads : GATEWAYS_MAX;
    loop_pool_size(threads);
    log_event(LOG_INFO, "start", "version=%s cores=%u threads=%u fd_limit=%llu", MILLRACE_VERSION,
              cores, threads, (unsigned long long)net_raise_fd_limit());
    TRY(claim_address(solo, out_note));
    models_from_config(config, cores, &solo->models);
    TRY(open_gateways(solo, threads, out_note));
    TRY(open_worker(solo, "worker-dummy", &solo->models.dummy));
    if (strcmp(config->default_model, "dummy") != 0) /* asked for dummy alone: no weights at all */
        TRY(open_worker(solo, "worker-llama", &solo->models.llama));
    return start_threads(solo);
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

/* The first thing a newcomer reads; tests read the address from the first line. */
static void print_address(const struct solo *solo)
{
    char address[64];
    net_address_format(&solo->address, address);
    printf("millrace %s is listening on http://%s\n\n"
           "Try it (the answer arrives token by token; Ctrl-C stops the generation too):\n\n"
           "  curl -N http://%s/v1/chat/completions \\\n"
           "    -d '{\"model\":\"%s\",\"stream\":true,\"messages\":[{\"role\":\"user\","
           "\"content\":\"Tell me a story about a fox.\"}]}'\n\n"
           "or, without any model:\n\n"
           "  curl -N 'http://%s/v1/completions?stream=true' \\\n"
           "    -d '{\"model\":\"dummy\",\"prompt\":\"Tell me a joke\"}'\n\n",
           MILLRACE_VERSION, address, address, solo->config->default_model, address);
    fflush(stdout);
}

/* --- end --- */

static void ignore_stopped(void *ctx)
{
    *(bool *)ctx = true;
}

/* After the threads are joined their loops are ours again. A worker that was never told to stop
 * (the start failed half-way) is stopped here. */
static void close_worker(struct worker_role *role)
{
    if (role->worker && !role->stopped) {
        bool stopped = false;
        worker_stop(role->worker, 0, ignore_stopped, &stopped);
        while (!stopped)
            loop_turn(role_thread_loop(role->role), true);
    }
    worker_free(&role->worker);
    if (role->bus)
        bus_close(&role->bus);
    role_thread_free(&role->role);
}

static void close_gateway(struct gateway_role *role)
{
    if (role->gateway)
        gateway_close(&role->gateway);
    while (loop_turn(role_thread_loop(role->role), false))
        ; /* what closing left for the loop: streams, free-later */
    if (role->bus)
        bus_close(&role->bus);
    role_thread_free(&role->role);
}

static void close_all(struct solo *solo)
{
    for (unsigned i = 0; i < solo->gateway_count; i++)
        role_thread_join(solo->gateways[i].role);
    for (unsigned i = 0; i < solo->worker_count; i++)
        role_thread_join(solo->workers[i].role);
    for (unsigned i = 0; i < solo->gateway_count; i++)
        close_gateway(&solo->gateways[i]);
    for (unsigned i = 0; i < solo->worker_count; i++)
        close_worker(&solo->workers[i]);
    net_claim_release(solo->claim);
    bus_mem_free(solo->bus_mem);
    for (size_t i = 0; i < ARRAY_COUNT(solo->signals); i++)
        if (solo->signals[i].data)
            uv_close((uv_handle_t *)&solo->signals[i], NULL);
    mailbox_close(solo->news, drop_news, NULL);
    mailbox_unref(solo->news);
    loop_free(solo->loop);
}

int solo_serve(const struct config *config)
{
    struct solo *solo = mem_alloc(sizeof(*solo));
    struct err_note note;
    solo->config = config;
    solo->loop = loop_new();
    solo->news = mailbox_new(solo->loop, 1024, on_news, solo);
    solo->bus_mem = bus_mem_new(config->bus_peer_max_bytes);
    watch_signals(solo); /* first: it answers before open_all() returns, and may be told to stop */
    if (open_all(solo, &note) != ERR_OK) {
        fprintf(stderr, "millrace: %s\n", note.text);
        solo->exit_status = 1;
    } else {
        print_address(solo);
        loop_run(solo->loop);
        log_event(LOG_INFO, "stopped", "status=%d", solo->exit_status);
    }
    int status = solo->exit_status;
    close_all(solo);
    mem_free(solo);
    return status;
}
