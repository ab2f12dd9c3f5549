/* call - asks one question of a role over the bus (wire/call.h) and waits for its answer: repeated
 * every 250 ms until it comes or timeout_ms is over. One caller per endpoint, on its loop.
 *
 * 1. on_answer comes once, from the loop, unless the call is abandoned or the caller freed.
 * 2. An answer that is late, doubled, or none, is dropped. */
#pragma once

#include "base/json.h"
#include "bus/bus.h"

struct caller;
struct pending_call; /* not `struct call`: that is what the gateway calls a parsed HTTP request */

enum { CALLS_MAX = 256 /* under way at once, per caller */ };

/* Subscribes to a subject of its own below the endpoint's inbox ("<inbox>.calls"). ERR_*: from
 * bus_subscribe. */
MUST_USE enum err caller_new(struct bus *bus, struct caller **out_caller);
/* Calls under way end without on_answer, and their pointers are gone. NULL is fine. */
void caller_free(struct caller *caller);
/* The caller's bus_bounce_fn (ctx: the caller). An endpoint has one handler of bounces: whoever has
 * it (bus_on_bounce, ask_hub_on_call_bounce) passes those of calls on. Without it ERR_NOT_FOUND is
 * ERR_TIMEOUT. */
void caller_on_bounce(void *ctx, const struct bus_message *message, enum err why);

/* ERR_OK: `answer` is an object, borrowed; ERR_TIMEOUT: nobody answered; ERR_NOT_FOUND: nobody
 * listens there, still after timeout_ms. From the loop, once; it may open calls, and free the
 * caller. The call is gone when it is called. */
typedef void answer_fn(void *ctx, enum err err, json_t *answer);
/* `question`: a JSON object in text. Both slices are copied. ERR_FULL: CALLS_MAX; ERR_LIMIT:
 * question too long, subject empty or too long. What the bus does not take is repeated. */
MUST_USE enum err call_open(struct caller *caller, struct slice subject, struct slice question,
                            uint32_t timeout_ms, answer_fn *on_answer, void *ctx,
                            struct pending_call **out_call);
/* on_answer does not come. Sets it NULL; NULL inside is fine. */
void call_abandon(struct pending_call **call);
