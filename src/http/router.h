/* router - method and path to a route, with {name} segments. Pure.
 * Patterns are literals in a static table: "/v1/models/{id}". Paths are compared byte for byte
 * after percent-decoding each segment (a decoded '/', NUL or invalid UTF-8 never matches). A
 * trailing slash is another path. The last segment of a pattern may be "{name...}": it takes all
 * that is left, at least a byte, in which '/' and "%2F" are the same. */
#pragma once

#include "http/http.h"

struct route {
    enum http_method method; /* HEAD is answered by GET's route */
    const char *pattern;
    const void *target; /* what the owner makes of it */
};

enum { ROUTE_PARAMS_MAX = 4, ROUTE_PARAM_MAX_BYTES = 256 };
struct route_match {
    const struct route *route;             /* NULL: none */
    struct slice params[ROUTE_PARAMS_MAX]; /* decoded, point into storage */
    size_t param_count;
    unsigned allowed; /* bit per http_method that this path knows: for 405 + Allow, and OPTIONS */
    char storage[ROUTE_PARAMS_MAX * ROUTE_PARAM_MAX_BYTES];
};
/* ERR_OK; ERR_NOT_FOUND: no such path; ERR_REFUSED: the path exists, not with this method. */
MUST_USE enum err router_find(const struct route *routes, size_t count, enum http_method method,
                              struct slice path, struct route_match *out_match);
/* "GET, HEAD, OPTIONS" for the Allow field. */
void router_allow(unsigned allowed, struct text *out);
