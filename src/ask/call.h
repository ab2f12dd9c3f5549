/* call - asks one question of a role over the bus (wire/call.h) and waits for its answer: repeated
 * every 250 ms until it comes or timeout_ms is over. One caller per endpoint, on its loop. */
#pragma once

#include "base/json.h"
#include "bus/bus.h"

struct caller;
struct pending_call; /* not `struct call`: that is what the gateway calls a parsed HTTP request */

enum { CALLS_MAX = 256 /* under way at once, per caller */ };

/* Subscribes to a subject of its own below the endpoint's inbox ("<inbox>.calls"). */
MUST_USE enum err caller_new(struct bus *bus, struct caller **out_caller);
/* Calls under way end without on_answer. NULL is fine. */
void caller_free(struct caller *caller);

/* ERR_OK: `answer` is an object, borrowed; ERR_TIMEOUT: nobody answered; ERR_NOT_FOUND: nobody
 * listens there, still after timeout_ms. From the loop, once. */
typedef void answer_fn(void *ctx, enum err err, json_t *answer);
/* `question`: a JSON object in text. ERR_FULL: CALLS_MAX; ERR_LIMIT: question too long. */
MUST_USE enum err call_open(struct caller *caller, struct slice subject, struct slice question,
                            uint32_t timeout_ms, answer_fn *on_answer, void *ctx,
                            struct pending_call **out_call);
/* on_answer does not come. Sets it NULL; NULL inside is fine. */
void call_abandon(struct pending_call **call);
