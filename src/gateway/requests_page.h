/* requests_page - what is in flight, and its cancelling (spec http-api.md section 2). The manager
 * knows both (wire/call.h): each answer waits for its, at most REQUESTS_WAIT_MS, then 503. A key
 * sees and cancels the requests of its tenant; without keys everybody those of all. */
#pragma once

#include "gateway/routes.h"

enum {
    REQUESTS_WAIT_MS = 2000,
    REQUESTS_LIMIT_MAX = 1000 /* in one answer, and if none is named */
};

/* GET /v1/requests?limit=N: {"object":"list","data":[...],"has_more":false}. */
void requests_page_list(struct gateway *gateway, struct http_conn *conn,
                        const struct http_request *request, const struct route_match *match);
/* DELETE /v1/requests/{id} and /v1/inference/{id}: 204, also where there is no such request (any
 * more): it is idempotent, and another tenant's is none of ours. 400: not an id. */
void requests_page_cancel(struct gateway *gateway, struct http_conn *conn,
                          const struct http_request *request, const struct route_match *match);
