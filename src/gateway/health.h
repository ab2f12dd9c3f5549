/* health - is the gateway alive, is the service ready (spec http-api.md section 5). */
#pragma once

#include "gateway/routes.h"

/* GET /health: 200 whenever the gateway can answer; status ok, loading or degraded, and every model
 * with its phase, slots, queue. */
void health_answer(struct gateway *gateway, struct http_conn *conn,
                   const struct http_request *request, const struct route_match *match);
/* GET /health/live: 200 while the loop turns. */
void health_live_answer(struct gateway *gateway, struct http_conn *conn,
                        const struct http_request *request, const struct route_match *match);
/* GET /health/ready: 200 when the default model can answer and no drain is on; else 503 +
 * Retry-After. */
void health_ready_answer(struct gateway *gateway, struct http_conn *conn,
                         const struct http_request *request, const struct route_match *match);
