/* reply - one HTTP request on its way to the workers and back: parse, ask, format, write.
 *
 *   PARSING --dialect said yes--> WAITING --first delta, wished progress, or head_hold_ms-->
 * STREAMING |                             |  \--all ended (not streaming, or refused): whole
 * answer--> GONE
 *      +--dialect said no: error-----+--client gone: asks abandoned--> GONE
 *   STREAMING --all choices ended: terminator, flushed--> GONE;  --client gone--> GONE
 *
 * 1. Until the head is out a refusal is a real status; after it, the dialect's error event. Either
 * way the terminator is written exactly once.
 * 2. What one turn brings leaves in one write. Credit goes back to the worker when the bytes have
 * left user space, not before: a client that does not read stops its own sequence and nothing else.
 * 3. Formatted and unwritten bytes are bounded by that credit; a worker that breaks it ends the
 * stream with an error.
 * 4. A turn parses PARSE_PER_TURN_BYTES of bodies itself; what is more is parsed, and encoded for
 * the workers, on the pool: a body never delays another stream. */
#pragma once

#include "gateway/gateway_state.h"

/* About a millisecond at worst: "{},{},{}" takes 120 ns a byte, most of it jansson's allocations
 * (2 cores, virtualised, 2026-11); a usual body takes 1. */
enum { PARSE_PER_TURN_BYTES = 8 * 1024 };

/* From on_request. `request` is valid until this returns; `dialect` made the route; `key`: on whose
 * behalf, NULL: nobody's. Answers the connection, now or later. */
void reply_start(struct gateway *gateway, struct http_conn *conn, const struct dialect *dialect,
                 const struct http_request *request, struct key *key);
void reply_on_turn_end(void *gateway); /* its turn_end */
/* Ends every reply: streams with `fault` and their terminator, the others with its status. */
void reply_end_all(struct gateway *gateway, enum fault fault, const char *message);
/* A whole answer in JSON; 500 without a body if `body` does not hold all of it. Releases *body. */
void reply_json(struct http_conn *conn, int status, struct slice fields, struct text *body);
/* An error answer, with Retry-After where it belongs. `more_fields`: whole lines. */
void reply_refuse(struct http_conn *conn, const struct api_error *error, struct slice more_fields);
