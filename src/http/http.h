/* http - the request object every HTTP version produces, and small words about HTTP (RFC 9110). */
#pragma once

#include "base/slice.h"
#include "base/text.h"

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_PATCH,
    HTTP_OTHER, /* a well-formed method we do not know: 405 or 501 by the router */
    HTTP_METHOD_COUNT
};
const char *http_method_name(enum http_method method); /* "GET" */

struct http_field {
    struct slice name;  /* as sent */
    struct slice value; /* without the spaces around it */
};

enum { HTTP_FIELDS_MAX = 100 };

/* One request. All slices are borrowed from the connection: valid until the callback that was given
 * it returns. */
struct http_request {
    enum http_method method;
    struct slice method_text;
    struct slice target; /* as sent, origin-form or "*" */
    struct slice path;   /* target up to '?', still percent-encoded */
    struct slice query;  /* behind '?', still encoded; empty if none */
    struct slice host;   /* the Host field, checked for form; empty on HTTP/1.0 without one */
    uint8_t minor;       /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;     /* what the client wants and the version allows */
    bool expect_continue;
    bool chunked; /* body framing */
    bool has_length;
    uint64_t content_length; /* when has_length */
    const struct http_field *fields;
    size_t field_count;
    struct slice body; /* whole; empty in on_head */
};

/* The first field of that name (any case), or an empty slice with data == NULL. */
struct slice http_request_field(const struct http_request *request, const char *name);
/* Does a comma-separated field (all of its lines) contain `token`, case-insensitively? Parameters
 * behind ';' are ignored, except q=0, which means no. For Connection, Accept. */
bool http_field_has_token(const struct http_request *request, const char *name, const char *token);

/* Value of `key` in an application/x-www-form-urlencoded query, decoded and appended to out_value
 * (whose cap it keeps to); first match, keys are compared decoded. ERR_NOT_FOUND: no such key;
 * ERR_PROTOCOL: a bad %-escape, or the decoded bytes are not UTF-8; ERR_LIMIT: longer than
 * out_value allows. On failure its bytes are as before. A decoded NUL is let through. */
MUST_USE enum err http_query_value(struct slice query, const char *key, struct text *out_value);

const char *http_status_text(int status); /* "Not Found"; "Unknown" for others */
