/* role_thread - a loop on a thread of its own, and the way to run a function there.
 *
 * Open a role's objects on role_thread_loop() first, from the main thread; then start. After
 * role_thread_join() the loop belongs to the caller again, to close what is left. */
#pragma once

#include "role/calls.h"

struct role_thread;

struct role_thread *role_thread_new(const char *name); /* never NULL; at most 15 bytes */
struct loop *role_thread_loop(struct role_thread *thread);
MUST_USE enum err role_thread_start(struct role_thread *thread); /* ERR_SYSTEM */
/* Runs call(ctx, "") on the thread's loop, soon; also when it starts only later. Main thread. */
void role_thread_call(struct role_thread *thread, call_fn *call, void *ctx);
/* Stops the loop and waits for the thread. Harmless if it never started. */
void role_thread_join(struct role_thread *thread);
/* Joins, turns the loop until nothing is left to do on it, frees. Sets it NULL; NULL inside is
 * fine. */
void role_thread_free(struct role_thread **thread);
