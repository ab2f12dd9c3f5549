/* ready - can the default model answer? (spec http-api.md section 5)
 *
 * Yes if it made a token in the last 30 s. If it did not, and is idle, it is asked for one: the
 * probe. In between, what was known last holds.
 *
 *   the model is        last good token   last probe          answer
 *   not ready           -                 -                   no; nor while the gateway drains
 *   ready, reads only   -                 -                   yes: it makes none, and says it lives
 *   ready               < 30 s ago        -                   yes
 *   ready               older or none     under way           when it ends; after 2 s: no
 *   ready and busy      < 2 min ago       good or none        yes: a long prefill makes no tokens
 *   ready and busy      none              good or none        yes, for 2 min since it was ready
 *   ready and busy      otherwise         -                   no
 *   ready and idle      older or none     failed < 10 s ago   no
 *   ready and idle      older or none     longer ago          probe, then as above
 *
 * 1. A probe is one token, at most every 10 s, never under load, and is given up after 10 s.
 * 2. A model that only reads (embeddings, rerank) is never probed. Its workers speak every second;
 *    one that has not for 5 s, or whose engine broke, is not there, or not ready.
 * 3. At most READY_WAITING_MAX clients wait for its end; one more is told no.
 * Belongs to the gateway's loop. */
#pragma once

#include "gateway/routes.h"

enum { READY_WAITING_MAX = 256 };

struct ready;
/* Never NULL. */
struct ready *ready_new(struct gateway *gateway);
/* Gives up a probe. Connections must be gone. NULL is fine. */
void ready_free(struct ready *ready);
/* The gateway drains: whoever waits is told no. */
void ready_drain(struct ready *ready);

/* The last probe failed, and no token has come since. */
bool ready_has_failed(const struct ready *ready);

/* GET /health/ready: 200, or 503 with the status, where to see progress, and Retry-After. */
void ready_answer(struct gateway *gateway, struct http_conn *conn,
                  const struct http_request *request, const struct route_match *match);
