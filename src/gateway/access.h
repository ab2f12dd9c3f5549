/* access - who may talk to us by HTTP: the Host rule, the Origin rule, and the CORS answer (spec
 * http-api.md section 5). Pure.
 *
 * Host: the bind address, localhost, a loopback address, or a configured name, any port; else 421.
 * (A page on the internet that points its own name at 127.0.0.1 would otherwise be "same origin"
 * with us.) Origin: absent is fine (not a browser). Present: the same host as Host, or configured;
 * else 403 before any work, also for GET. */
#pragma once

#include "base/text.h"
#include "http/http.h"

struct access_rules {
    char bind_host[64];          /* without brackets and port */
    bool bind_any;               /* 0.0.0.0 or :: : the bind address says nothing about names */
    const char *allowed_hosts;   /* borrowed; comma-separated */
    const char *allowed_origins; /* borrowed; comma-separated, "*" = any, "" = the same host */
};
void access_rules_init(struct access_rules *rules, const char *bind_address,
                       const char *allowed_hosts, const char *allowed_origins);

enum access_verdict { ACCESS_OK, ACCESS_WRONG_HOST, ACCESS_WRONG_ORIGIN };
/* *out_origin: the origin to name in Access-Control-Allow-Origin; empty if the request had none. */
enum access_verdict access_check(const struct access_rules *rules,
                                 const struct http_request *request, struct slice *out_origin);

/* The CORS lines every answer to this origin carries; nothing for an empty one. */
void access_fields(struct slice origin, struct text *out_lines);
/* And those of the preflight answer (OPTIONS, 204). `allow`: "GET, POST, OPTIONS". */
void access_preflight_fields(struct slice allow, struct text *out_lines);
