/* gateway - opens, drains and closes the parts of one loop thread's front. */
#include "gateway/gateway.h"

#include "base/mem.h"
#include "gateway/counts.h"
#include "gateway/handler.h"
#include "gateway/loading_page.h"
#include "gateway/ready.h"
#include "gateway/reply.h"
#include "metrics/table.h"

/* For a stream's error and terminator to leave after drain_ms. */
enum { DRAIN_LAST_WORDS_MS = 1000 };

/* --- drain --- */

static void maybe_drained(struct gateway *gateway)
{
    if (!gateway->draining || !gateway->server_drained || gateway->reply_count > 0)
        return;
    deadline_clear(&gateway->drain_deadline);
    void (*on_drained)(void *ctx) = gateway->on_drained;
    gateway->on_drained = NULL;
    if (on_drained)
        on_drained(gateway->drained_ctx);
}

/* Their error and terminator have had time to leave: whoever has not read them by now is cut off.
 */
static void on_drain_cut(struct gateway *gateway)
{
    if (gateway->server)
        http_server_close(&gateway->server);
    gateway->server_drained = true;
    maybe_drained(gateway);
}

static void on_drain_over(void *ctx)
{
    struct gateway *gateway = ctx;
    if (gateway->drain_is_over) {
        on_drain_cut(gateway);
        return;
    }
    gateway->drain_is_over = true;
    deadline_after(&gateway->drain_deadline, DRAIN_LAST_WORDS_MS * 1000ull);
    reply_end_all(gateway, FAULT_DRAINING, "this server is stopping");
}

void gateway_reply_gone(struct gateway *gateway)
{
    gateway->reply_count--;
    maybe_drained(gateway);
}

static void on_server_drained(void *ctx)
{
    struct gateway *gateway = ctx;
    gateway->server_drained = true;
    maybe_drained(gateway);
}

void gateway_drain(struct gateway *gateway, uint32_t drain_ms, void (*on_drained)(void *ctx),
                   void *ctx)
{
    ASSERT(!gateway->draining);
    gateway->draining = true;
    gateway->on_drained = on_drained;
    gateway->drained_ctx = ctx;
    deadline_after(&gateway->drain_deadline, drain_ms * 1000ull);
    ready_drain(gateway->ready);
    loading_drain(gateway->loading);
    http_server_drain(gateway->server, on_server_drained, gateway);
}

/* --- who may use it --- */

static void replace_text(char **place, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = memcpy(mem_alloc(bytes), text, bytes); /* `text` may be what is replaced */
    mem_free(*place);
    *place = copy;
}

void gateway_reload(struct gateway *gateway, const struct gateway_live *live)
{
    char address[64];
    struct key_ring *keys = key_ring_new(live->keys, live->key_count, gateway->keys);
    key_ring_free(gateway->keys);
    gateway->keys = keys;
    gateway->streams_per_key = live->streams_per_key;
    replace_text(&gateway->allowed_hosts, live->allowed_hosts);
    replace_text(&gateway->allowed_origins, live->allowed_origins);
    net_address_format(&gateway->options.address, address);
    access_rules_init(&gateway->access, address, gateway->allowed_hosts, gateway->allowed_origins);
}

/* --- open and close --- */

MUST_USE static enum err open_parts(struct gateway *gateway, struct err_note *out_note)
{
    const struct http_handler handler = handler_of(gateway);
    if (model_table_new(gateway->bus, &gateway->models) != ERR_OK ||
        metrics_table_new(gateway->bus, gateway->options.feed, &gateway->table) != ERR_OK ||
        ask_hub_new(gateway->bus, &gateway->options.ask, &gateway->hub) != ERR_OK ||
        caller_new(gateway->bus, &gateway->caller) != ERR_OK)
        return err_note_fail(out_note, ERR_SYSTEM, "the gateway cannot subscribe on the bus");
    ask_hub_on_call_bounce(gateway->hub, caller_on_bounce, gateway->caller);
    loading_start(gateway->loading);
    if (gateway->options.listen_fd >= 0)
        return http_server_adopt(gateway->loop, gateway->options.listen_fd, &gateway->options.http,
                                 &handler, &gateway->server, out_note);
    return http_server_open(gateway->loop, &gateway->options.address, &gateway->options.http,
                            &handler, &gateway->server, out_note);
}

static void on_collect(void *ctx)
{
    struct gateway *gateway = ctx;
    counts_collect(gateway->counts, gateway);
}

enum err gateway_open(struct bus *bus, const struct gateway_options *options,
                      struct gateway **out_gateway, struct err_note *out_note)
{
    struct gateway *gateway = mem_alloc(sizeof(*gateway));
    gateway->opened_us = loop_now_us(bus_loop(bus));
    gateway->bus = bus;
    gateway->loop = bus_loop(bus);
    gateway->options = *options;
    gateway->counts = counts_new(options->metrics);
    gateway->ready = ready_new(gateway);
    gateway->loading = loading_new(gateway);
    list_init(&gateway->replies);
    deadline_init(&gateway->drain_deadline, gateway->loop, on_drain_over, gateway);
    deferred_init(&gateway->turn_end, reply_on_turn_end, gateway);
    gateway_reload(gateway, &options->live);
    gateway->options.live = (struct gateway_live){0}; /* it was borrowed; ours are the copies */
    enum err err = open_parts(gateway, out_note);
    if (err != ERR_OK) {
        gateway_close(&gateway);
        return err;
    }
    if (options->feed)
        metrics_feed_on_collect(options->feed, on_collect, gateway);
    *out_gateway = gateway;
    return ERR_OK;
}

static void note_idle(void *ctx)
{
    *(bool *)ctx = true;
}

/* Turns the loop until connections and replies are gone: closing is asynchronous, and everything
 * here is bounded (the hub by its cancel_ms). */
void gateway_close(struct gateway **gateway_slot)
{
    struct gateway *gateway = *gateway_slot;
    if (!gateway)
        return;
    gateway->on_drained = NULL;
    deadline_clear(&gateway->drain_deadline);
    if (gateway->server)
        http_server_close(&gateway->server);
    while (gateway->reply_count > 0)
        loop_turn(gateway->loop, true);
    deferred_cancel(&gateway->turn_end);
    ready_free(gateway->ready);
    if (gateway->hub) {
        bool idle = false;
        ask_hub_drain(gateway->hub, note_idle, &idle);
        while (!idle)
            loop_turn(gateway->loop, true);
        ask_hub_free(gateway->hub);
    }
    caller_free(gateway->caller);
    counts_collect(gateway->counts, gateway); /* for the feed's last word */
    if (gateway->options.feed)
        metrics_feed_on_collect(gateway->options.feed, NULL, NULL);
    metrics_table_free(gateway->table);
    counts_free(gateway->counts);
    loading_free(gateway->loading);
    model_table_free(gateway->models);
    key_ring_free(gateway->keys);
    mem_free(gateway->allowed_hosts);
    mem_free(gateway->allowed_origins);
    mem_free(gateway);
    *gateway_slot = NULL;
}

struct gateway_stats gateway_stats(const struct gateway *gateway)
{
    struct gateway_stats stats = gateway->stats;
    stats.in_flight = gateway->reply_count;
    stats.connections = gateway->server ? (uint32_t)http_server_connections(gateway->server) : 0;
    return stats;
}
