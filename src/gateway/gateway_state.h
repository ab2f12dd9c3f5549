/* gateway_state - what the files of this folder share: the gateway of one loop thread. */
#pragma once

#include "ask/call.h"
#include "gateway/access.h"
#include "gateway/dialect.h"
#include "gateway/gateway.h"
#include "gateway/model_table.h"

/* Every node speaks within a second, so for so long a gateway does not know that a model does not
 * exist: it leaves that to the manager. */
enum { GATEWAY_GREETING_MS = 1500 };

struct gateway {
    uint64_t opened_us;
    struct loop *loop;
    struct bus *bus;
    struct gateway_options options;
    struct access_rules access;
    struct key_ring *keys;                 /* never NULL */
    char *allowed_hosts, *allowed_origins; /* what `access` borrows */
    uint32_t streams_per_key;
    struct http_server *server;
    struct ask_hub *hub;
    struct caller *caller; /* asks the manager */
    struct model_table *models;
    struct counts *counts;       /* never NULL */
    struct metrics_table *table; /* everybody's */
    struct ready *ready;
    struct loading *loading;
    struct list replies; /* struct reply.link */
    uint32_t reply_count;
    size_t parsed_bytes; /* of bodies, in this turn: see reply.h rule 4 */
    struct deferred turn_end;
    struct gateway_stats stats;
    struct deadline drain_deadline;
    bool draining, drain_is_over, server_drained;
    void (*on_drained)(void *ctx);
    void *drained_ctx;
};

/* Refuses, and counts it. `more_fields`: whole lines. */
void gateway_refuse(struct gateway *gateway, struct http_conn *conn, const struct api_error *error,
                    struct slice more_fields);
/* Called when a reply went: a draining gateway may be done now. */
void gateway_reply_gone(struct gateway *gateway);
