/* health - is the gateway alive, and how is the service (spec http-api.md section 5). Whether it
 * can answer now: ready.h. */
#pragma once

#include "gateway/routes.h"

/* "ok": the default model is ready; "loading": it is on its way, or no worker has reported it;
 * "degraded": it failed, it stops, its last probe failed (ready.h), or the gateway drains. */
const char *health_status(const struct gateway *gateway);
/* GET /health: 200 whenever the gateway can answer: the status, and every model with its phase, and
 * the slots, queue and tokens of all its workers. */
void health_answer(struct gateway *gateway, struct http_conn *conn,
                   const struct http_request *request, const struct route_match *match);
/* 200 {"status":"ok"}. */
void health_say_ok(struct http_conn *conn);
/* GET /health/live: 200 while the loop turns. */
void health_live_answer(struct gateway *gateway, struct http_conn *conn,
                        const struct http_request *request, const struct route_match *match);
