/* gateway_role - N gateways on N threads, and what the main thread says to them. */
#include "role/gateway_role.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/gateway.h"
#include "loop/thread.h"
#include "net/listener.h"
#include "role/role_thread.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum {
    US_PER_MS = 1000,
    FDS_RESERVED = 128, /* for the main loop, the log, the bus: of all that is no connection */
    /* Its loop has six (epoll, libuv's eventfd and pipe, the wake-up, the alarm), its listener two
     * (one in reserve), its bus one. And one for its share of the connections, rounded up. */
    FDS_PER_THREAD = 9 + 1,
};

struct member { /* one thread */
    struct gateway_role *role;
    struct role_thread *thread;
    struct role_node node;
    struct gateway *gateway;
    struct deadline turn;
    atomic_uint streams; /* these two are written by the thread, read by the main one */
    atomic_uint_fast64_t turned_us;
    bool is_drained;
};

/* A configuration on its way to the threads; the last to take it in lets it go. */
struct reload {
    struct reload *next;
    atomic_uint left;
    struct config *config;
    struct gateway_key *keys;
    struct gateway_live live;
    struct reload_step {
        struct reload *reload;
        struct member *member;
    } steps[GATEWAY_THREADS_MAX];
};

struct gateway_role {
    const struct config *config;
    struct calls *news; /* from the threads to the main loop */
    struct member members[GATEWAY_THREADS_MAX];
    unsigned count;
    struct reload *reloads;
    uint32_t drain_ms;
    void (*on_drained)(void *ctx);
    void *drained_ctx;
};

/* --- from config to options --- */

unsigned gateway_role_threads(const struct config *config)
{
    unsigned cores = thread_cores();
    unsigned threads = config->worker_threads < cores ? config->worker_threads : cores;
    return threads < GATEWAY_THREADS_MAX ? threads : GATEWAY_THREADS_MAX;
}

/* As many as there can be: above, accept() would fail, and nobody would be told by a 503. */
static uint32_t connections_from_config(const struct config *config, unsigned threads)
{
    uint64_t fds = net_raise_fd_limit(); /* what it is by now */
    uint64_t reserved = FDS_RESERVED + (uint64_t)threads * FDS_PER_THREAD;
    uint64_t room = fds > reserved ? fds - reserved : 1;
    if (config->max_connections <= room)
        return config->max_connections;
    log_event(LOG_WARN, "fd_limit_low", "max_connections=%u fd_limit=%llu connections=%llu",
              config->max_connections, (unsigned long long)fds, (unsigned long long)room);
    return (uint32_t)room;
}

static struct http_limits limits_from_config(const struct config *config, unsigned threads)
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
    limits.connections_max = (connections_from_config(config, threads) + threads - 1) / threads;
    return limits;
}

/* *out_keys is the caller's (mem_free). */
static struct gateway_live live_from_config(const struct config *config,
                                            struct gateway_key **out_keys)
{
    struct gateway_key *keys = mem_array(config->key_count + 1, sizeof(*keys));
    for (size_t i = 0; i < config->key_count; i++) {
        keys[i].name = config->keys[i].name;
        keys[i].tenant = config->keys[i].tenant;
        memcpy(keys[i].sha256, config->keys[i].sha256, sizeof(keys[i].sha256));
    }
    *out_keys = keys;
    return (struct gateway_live){.keys = keys,
                                 .key_count = config->key_count,
                                 .allowed_hosts = config->allowed_hosts,
                                 .allowed_origins = config->allowed_origins,
                                 .streams_per_key = config->streams_per_key};
}
_Static_assert((int)CONFIG_API_KEYS_MAX <= (int)KEYS_MAX &&
                   (int)CONFIG_TENANT_MAX_BYTES <= (int)KEY_TEXT_MAX_BYTES &&
                   (int)CONFIG_API_KEY_NAME_MAX_BYTES <= (int)KEY_TEXT_MAX_BYTES,
               "what the configuration lets through the ring takes");

static struct gateway_options gateway_from_config(const struct config *config,
                                                  const struct net_address *address,
                                                  unsigned threads)
{
    struct http_limits http = limits_from_config(config, threads);
    struct ask_options ask = ask_options_default();
    if (ask.asks_max < http.connections_max)
        ask.asks_max = http.connections_max;
    return (struct gateway_options){
        .address = *address,
        .listen_fd = -1,
        .http = http,
        .ask = ask,
        .default_model = config->default_model,
        .head_hold_ms = config->head_hold_ms,
        .ping_ms = config->ping_ms,
        .sse_chunk_chars = config->sse_chunk_size,
        .started_us = clock_monotonic_us(),
    };
}

/* --- opening --- */

/* On the thread: it lives, and so much is in flight. */
static void on_turn(void *ctx)
{
    struct member *member = ctx;
    uint32_t streams = gateway_stats(member->gateway).in_flight;
    atomic_store_explicit(&member->streams, streams, memory_order_relaxed);
    atomic_store_explicit(&member->turned_us, clock_monotonic_us(), memory_order_relaxed);
    deadline_round(&member->turn, GATEWAY_TURN_MS * US_PER_MS);
}

MUST_USE static enum err open_member(const struct role_place *place, struct gateway_role *role,
                                     struct gateway_options *options, struct err_note *out_note)
{
    char name[16];
    unsigned index = role->count++;
    struct member *member = &role->members[index];
    snprintf(name, sizeof(name), "gateway-%hhu", (unsigned char)index);
    member->role = role;
    member->thread = role_thread_new(name);
    struct loop *loop = role_thread_loop(member->thread);
    TRY(role_node_open(place, loop, "gateway", index == 0, &member->node, out_note));
    options->metrics = member->node.metrics;
    options->feed = member->node.feed;
    TRY(gateway_open(member->node.bus, options, &member->gateway, out_note));
    deadline_init(&member->turn, loop, on_turn, member);
    deadline_after(&member->turn, 0);
    return ERR_OK;
}

/* What no gateway took would be a queue that nobody serves. */
static void close_fds(const int *fds, size_t from, size_t count)
{
    for (size_t i = from; i < count; i++)
        (void)close(fds[i]); /* a socket without data: nothing to lose */
}

MUST_USE static enum err open_members(const struct role_place *place, struct gateway_role *role,
                                      const struct net_address *address, const int *fds,
                                      size_t fd_count, struct err_note *out_note)
{
    unsigned threads = fd_count ? (unsigned)fd_count : gateway_role_threads(place->config);
    struct gateway_options options = gateway_from_config(place->config, address, threads);
    struct gateway_key *keys;
    enum err err = ERR_OK;
    size_t taken = 0;
    options.live = live_from_config(place->config, &keys);
    for (unsigned i = 0; i < threads && err == ERR_OK; i++) {
        options.listen_fd = fd_count ? fds[i] : -1;
        err = open_member(place, role, &options, out_note);
        taken += err == ERR_OK && fd_count;
    }
    close_fds(fds, taken, fd_count);
    mem_free(keys);
    return err;
}

enum err gateway_role_open(const struct role_place *place, struct loop *main_loop,
                           const struct net_address *address, const int *fds, size_t fd_count,
                           struct gateway_role **out_role, struct err_note *out_note)
{
    ASSERT(fd_count <= GATEWAY_THREADS_MAX);
    struct gateway_role *role = mem_alloc(sizeof(*role));
    role->config = place->config;
    role->news = calls_new(main_loop);
    enum err err = open_members(place, role, address, fds, fd_count, out_note);
    if (err != ERR_OK) {
        gateway_role_close(&role);
        return err;
    }
    *out_role = role;
    return ERR_OK;
}

enum err gateway_role_start(struct gateway_role *role)
{
    for (unsigned i = 0; i < role->count; i++)
        TRY(role_thread_start(role->members[i].thread));
    return ERR_OK;
}

/* --- reloading --- */

static void apply_reload(void *ctx, const char *note) /* on the thread */
{
    (void)note;
    struct reload_step *step = ctx;
    gateway_reload(step->member->gateway, &step->reload->live);
    /* Release: whoever sees 0 frees what was read here. */
    atomic_fetch_sub_explicit(&step->reload->left, 1, memory_order_release);
}

static void free_reload(struct reload *reload)
{
    config_free(reload->config);
    mem_free(reload->keys);
    mem_free(reload);
}

/* Those that every thread has taken in; `all`: when the threads are joined. */
static void free_reloads(struct gateway_role *role, bool all)
{
    for (struct reload **link = &role->reloads; *link;) {
        struct reload *reload = *link;
        if (!all && atomic_load_explicit(&reload->left, memory_order_acquire) > 0) {
            link = &reload->next;
            continue;
        }
        *link = reload->next;
        free_reload(reload);
    }
}

void gateway_role_reload(struct gateway_role *role, struct config **config)
{
    free_reloads(role, false);
    struct reload *reload = mem_alloc(sizeof(*reload));
    reload->next = role->reloads;
    reload->config = *config;
    reload->live = live_from_config(*config, &reload->keys);
    atomic_init(&reload->left, role->count);
    role->reloads = reload;
    *config = NULL;
    for (unsigned i = 0; i < role->count; i++) {
        reload->steps[i] = (struct reload_step){reload, &role->members[i]};
        role_thread_call(role->members[i].thread, apply_reload, &reload->steps[i]);
    }
}

/* --- draining --- */

static void tell_drained(void *ctx, const char *note) /* on the main loop */
{
    (void)note;
    struct member *member = ctx;
    struct gateway_role *role = member->role;
    member->is_drained = true;
    for (unsigned i = 0; i < role->count; i++)
        if (!role->members[i].is_drained)
            return;
    role->on_drained(role->drained_ctx);
}

static void on_drained(void *ctx) /* on the thread */
{
    struct member *member = ctx;
    calls_post(member->role->news, tell_drained, member, NULL);
}

static void drain(void *ctx, const char *note) /* on the thread */
{
    (void)note;
    struct member *member = ctx;
    gateway_drain(member->gateway, member->role->drain_ms, on_drained, member);
}

void gateway_role_drain(struct gateway_role *role, uint32_t drain_ms,
                        void (*on_role_drained)(void *ctx), void *ctx)
{
    role->drain_ms = drain_ms;
    role->on_drained = on_role_drained;
    role->drained_ctx = ctx;
    for (unsigned i = 0; i < role->count; i++)
        role_thread_call(role->members[i].thread, drain, &role->members[i]);
}

/* --- what the threads tell about themselves --- */

bool gateway_role_is_alive(const struct gateway_role *role)
{
    uint64_t now_us = clock_monotonic_us();
    for (unsigned i = 0; i < role->count; i++) {
        uint64_t turned_us =
            atomic_load_explicit(&role->members[i].turned_us, memory_order_relaxed);
        if (turned_us == 0 || now_us > turned_us + GATEWAY_TURN_LATE_MS * US_PER_MS)
            return false;
    }
    return true;
}

uint32_t gateway_role_streams(const struct gateway_role *role)
{
    uint32_t streams = 0;
    for (unsigned i = 0; i < role->count; i++)
        streams += atomic_load_explicit(&role->members[i].streams, memory_order_relaxed);
    return streams;
}

/* --- closing --- */

static void close_member(struct member *member)
{
    deadline_clear(&member->turn);
    gateway_close(&member->gateway);
    role_node_close(&member->node);
    role_thread_free(&member->thread);
}

void gateway_role_close(struct gateway_role **role)
{
    struct gateway_role *own = *role;
    if (!own)
        return;
    for (unsigned i = 0; i < own->count; i++) /* all of them first: they share the process */
        if (own->members[i].thread)
            role_thread_join(own->members[i].thread);
    for (unsigned i = 0; i < own->count; i++)
        close_member(&own->members[i]);
    free_reloads(own, true);
    calls_free(&own->news);
    mem_free(own);
    *role = NULL;
}
