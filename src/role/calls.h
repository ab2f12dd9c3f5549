/* calls - "run this on that loop": the way between the threads of a role, and between roles that
 * share a process.
 *
 * Bounded by CALLS_MAX waiting: each role has a handful of things to say in its life (ready,
 * failed, drained) and is told as few (drain, reload), so a full box is our mistake (ASSERT). */
#pragma once

#include "loop/loop.h"

enum { CALLS_MAX = 1024, CALL_NOTE_MAX_BYTES = 512 };

struct calls;

/* `note` is borrowed until it returns; never NULL. */
typedef void call_fn(void *ctx, const char *note);

/* The loop's thread, or before it runs. Never NULL. */
struct calls *calls_new(struct loop *loop);
/* Any thread. Runs call(ctx, note) on the loop, soon, in the order of the posts of one thread.
 * `note` is copied (and cut at its maximum); NULL is "". After calls_free() began nothing runs. */
void calls_post(struct calls *calls, call_fn *call, void *ctx, const char *note);
/* The loop's thread, when no other posts any more. What waits is dropped. Sets it NULL; NULL inside
 * is fine. */
void calls_free(struct calls **calls);
