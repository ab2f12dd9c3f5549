/* gateway - HTTP and SSE in front of the bus. One `struct gateway` per loop thread: own listener
 * (the address is shared by SO_REUSEPORT), own bus endpoint, own ask hub, own table of models.
 * Keeps nothing that outlives a connection. Knows no engine, no worker, no store: it meets them in
 * wire/ only.
 *
 *   http_server -> handler.c -> dialect parse (dialect.h) -> reply.c -> ask -> bus
 *                                                               ^---- events ----'
 * What a dialect is and how small it can be: dialect/README.md. */
#pragma once

#include "ask/ask.h"
#include "gateway/keys.h"
#include "http/server.h"
#include "metrics/feed.h"

/* What may change while it serves: who may use it. All of it is copied. */
struct gateway_live {
    const struct gateway_key *keys; /* at most KEYS_MAX */
    size_t key_count;               /* 0: everybody may, as nobody */
    const char *allowed_hosts;      /* see config.h */
    const char *allowed_origins;
    uint32_t streams_per_key; /* requests in flight under one key, here: above, 429 */
};

struct gateway_options {
    struct net_address address;
    int listen_fd; /* a socket that listens there (net_listen()), taken by gateway_open() on
                      success; -1: it opens its own */
    struct http_limits http;
    struct ask_options ask;
    const char *default_model; /* when a request names none */
    struct gateway_live live;
    uint32_t head_hold_ms; /* architecture.md: when the SSE head leaves */
    uint32_t ping_ms;      /* keep-alive after so much silence; spec: 10 s */
    uint32_t
        sse_chunk_chars; /* group text into pieces of about so many characters; 0: as produced */
    uint64_t started_us; /* loop time of the process start: uptime in /health */
    struct metrics *metrics;   /* what is counted here; NULL: nothing is */
    struct metrics_feed *feed; /* which sends them, and of which the gateway takes on_collect; NULL:
                                  /metrics shows other nodes only */
};

struct gateway;
/* `options` is copied, its strings (but those of `live`) are borrowed for the gateway's life.
 * ERR_*: from listener and bus, with note. */
MUST_USE enum err gateway_open(struct bus *bus, const struct gateway_options *options,
                               struct gateway **out_gateway, struct err_note *out_note);
/* For SIGHUP; on its loop. Requests in flight go on under the key that they came with. */
void gateway_reload(struct gateway *gateway, const struct gateway_live *live);
/* Refuses new requests (503 draining + Retry-After), lets running streams end for at most drain_ms,
 * then ends them with the dialect's error and terminator, and a second later cuts off whoever has
 * not read those. on_drained once, from the loop. */
void gateway_drain(struct gateway *gateway, uint32_t drain_ms, void (*on_drained)(void *ctx),
                   void *ctx);
/* At once, whatever is in flight: turns the loop until all of it is gone, so not from inside a
 * turn. Sets it NULL; NULL inside is fine. */
void gateway_close(struct gateway **gateway);

struct gateway_stats {
    uint64_t requests;  /* to a model, whatever became of them */
    uint64_t streams;   /* of these, the heads of streams that left */
    uint64_t errors;    /* refusals of any request, and streams that ended with an error */
    uint64_t cancelled; /* the client left first */
    uint32_t in_flight, connections;
};
struct gateway_stats gateway_stats(const struct gateway *gateway);
