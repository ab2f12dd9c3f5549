/* routes - the table of everything this gateway answers: method, path, and who does it. */
#pragma once

#include "gateway/gateway_state.h"
#include "http/router.h"

/* What a route leads to: a dialect, or a short answer made on the spot. Exactly one is set. */
struct route_target {
    const struct dialect *dialect;
    void (*answer)(struct gateway *gateway, struct http_conn *conn,
                   const struct http_request *request, const struct route_match *match);
    bool is_open; /* needs no key: whoever watches over us may have none */
};

extern const struct route gateway_routes[];
extern const size_t gateway_route_count;

/* For http_conn_set_mark(): a request's route (NULL: none) and method. Never 0. */
uint32_t route_mark(const struct route *route, enum http_method method);
/* What a mark says: NULL and "" of 0. */
const struct route *route_of_mark(uint32_t mark);
const char *route_mark_method(uint32_t mark);
