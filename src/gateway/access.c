/* access - the Host rule, the Origin rule, and the CORS answer. */
#include "gateway/access.h"

#include <stdio.h>

/* "[::1]:8080" -> "::1", "localhost:80" -> "localhost". The form was checked by the parser. */
static struct slice without_port(struct slice host)
{
    struct slice head, tail;
    if (host.len > 0 && host.data[0] == '[') {
        (void)slice_cut(slice_after(host, 1), ']', &head, &tail); /* no ']': all of it */
        return head;
    }
    (void)slice_cut(host, ':', &head, &tail); /* no port: all of it */
    return head;
}

void access_rules_init(struct access_rules *rules, const char *bind_address,
                       const char *allowed_hosts, const char *allowed_origins)
{
    struct slice host = without_port(slice_str(bind_address));
    snprintf(rules->bind_host, sizeof(rules->bind_host), SLICE_FMT, SLICE_ARG(host));
    rules->bind_any = slice_eq_str(host, "0.0.0.0") || slice_eq_str(host, "::");
    rules->allowed_hosts = allowed_hosts;
    rules->allowed_origins = allowed_origins;
}

/* Is `word` one of a comma-separated list? */
static bool is_listed(const char *list, struct slice word)
{
    struct slice rest = slice_str(list), one;
    bool more = rest.len > 0;
    while (more) {
        more = slice_cut(rest, ',', &one, &rest);
        if (slice_eq_ci(slice_trim(one), word))
            return true;
    }
    return false;
}

static bool host_is_ours(const struct access_rules *rules, struct slice host)
{
    if (slice_eq_ci(host, slice_str(rules->bind_host)) && !rules->bind_any)
        return true;
    return slice_eq_ci(host, SLICE("localhost")) || slice_eq_str(host, "127.0.0.1") ||
           slice_eq_str(host, "::1") || is_listed(rules->allowed_hosts, host);
}

/* "https://page.example:3000" -> "page.example"; empty if it is not of that form ("null"). */
static struct slice origin_host(struct slice origin)
{
    size_t scheme = slice_find(origin, SLICE("://"));
    if (scheme == SLICE_NPOS)
        return (struct slice){NULL, 0};
    return without_port(slice_after(origin, scheme + 3));
}

static bool origin_is_ours(const struct access_rules *rules, struct slice origin, struct slice host)
{
    if (is_listed(rules->allowed_origins, SLICE("*")) || is_listed(rules->allowed_origins, origin))
        return true;
    struct slice from = origin_host(origin);
    return !slice_is_empty(from) && slice_eq_ci(from, host);
}

enum access_verdict access_check(const struct access_rules *rules,
                                 const struct http_request *request, struct slice *out_origin)
{
    struct slice host = without_port(request->host);
    struct slice origin = http_request_field(request, "Origin");
    *out_origin = (struct slice){NULL, 0};
    /* HTTP/1.0 without Host is an old tool, never a browser. */
    if (!slice_is_empty(request->host) && !host_is_ours(rules, host))
        return ACCESS_WRONG_HOST;
    if (origin.data == NULL)
        return ACCESS_OK;
    if (!origin_is_ours(rules, origin, host))
        return ACCESS_WRONG_ORIGIN;
    *out_origin = origin;
    return ACCESS_OK;
}

void access_fields(struct slice origin, struct text *out_lines)
{
    if (slice_is_empty(origin))
        return;
    text_add(out_lines, SLICE("Access-Control-Allow-Origin: "));
    text_add(out_lines, origin);
    text_add(out_lines, SLICE("\r\nVary: Origin\r\nAccess-Control-Expose-Headers: X-Request-Id, "
                              "X-Client-Request-Id, Retry-After\r\n"));
}

void access_preflight_fields(struct slice allow, struct text *out_lines)
{
    text_add(out_lines, SLICE("Access-Control-Allow-Methods: "));
    text_add(out_lines, allow);
    text_add(out_lines, SLICE("\r\nAccess-Control-Allow-Headers: Authorization, Content-Type, "
                              "X-Api-Key, X-Request-Id, X-Session-Id, Idempotency-Key, "
                              "Last-Event-ID\r\n"
                              "Access-Control-Max-Age: 86400\r\n"));
}
