/* metrics_page - GET /metrics: everybody's counts, in the Prometheus text format 0.0.4, or (Accept:
 * application/json, or the path /metrics.json) a handful of sums. */
#pragma once

#include "gateway/gateway_state.h"
#include "http/router.h"

void metrics_page_answer(struct gateway *gateway, struct http_conn *conn,
                         const struct http_request *request, const struct route_match *match);
void metrics_page_json(struct gateway *gateway, struct http_conn *conn,
                       const struct http_request *request, const struct route_match *match);
