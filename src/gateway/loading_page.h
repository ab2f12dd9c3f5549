/* loading_page - GET /v1/loading/progress: how far models are on their way into memory, as an event
 * stream (spec http-api.md section 3).
 *
 *   data: {"stage":"loading_to_vram","model":"llama","layers_loaded":12,"layers_total":32,
 *          "vram_mb":2048,"device":0,"fraction":0.375}            again and again, the present
 * first data: {"stage":"ready","model":"llama"}   or
 * {"stage":"error","model":"llama","message":"..."} data: [DONE] when that was said of every model
 * followed
 *
 * With ?model=NAME that one is followed, whatever it does: one that is ready is told as that at
 * once. Without it those that are loading, and that begin to while the stream lasts; 503 when
 * nothing is.
 *
 * 1. Nothing is queued: a client is told the present state when what it was told before has left
 *    for it. So a slow one misses what was in between, holds one piece of text at most, and keeps
 *    nobody up; who does not read at all is closed after stall_ms, by the HTTP server.
 * 2. [DONE] means that it is over. A stream that ends for another reason (the gateway drains; no
 *    news for LOADING_IDLE_MS) ends without.
 * 3. At most LOADING_SUBSCRIBERS_MAX streams (503 overloaded), of LOADING_FOLLOWED_MAX models each,
 *    and of one API key LOADING_PER_KEY_MAX (429 rate_limited): streams_per_key, which may be more
 *    than all there are here, is for requests to models.
 * 4. The layers that are there follow from the part of the bytes that is, as they lie in the file
 *    in order. `vram_mb` are MiB of weights, wherever the model computes: in the machine's memory
 *    where no GPU is used. A worker has one place for them, so `device` is 0.
 *
 * Belongs to the gateway's loop. */
#pragma once

#include "gateway/routes.h"

enum {
    LOADING_SUBSCRIBERS_MAX = 256,
    LOADING_PER_KEY_MAX = 16,
    LOADING_FOLLOWED_MAX = 16,
    LOADING_IDLE_MS = 300 * 1000,
};

struct loading;
/* Never NULL. Listens to gateway->models from loading_start() on. */
struct loading *loading_new(struct gateway *gateway);
void loading_start(struct loading *loading);
/* The gateway drains: all streams end. */
void loading_drain(struct loading *loading);
/* Connections must be gone. NULL is fine. */
void loading_free(struct loading *loading);

size_t loading_subscribers(const struct loading *loading);

void loading_page_answer(struct gateway *gateway, struct http_conn *conn,
                         const struct http_request *request, const struct route_match *match);
