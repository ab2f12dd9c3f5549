/* role_thread - a loop on a thread of its own. */
#include "role/role_thread.h"

#include "base/mem.h"
#include "loop/thread.h"

#include <stdio.h>

struct role_thread {
    char name[16];
    struct loop *loop;
    struct calls *calls;
    struct thread *thread;
};

struct role_thread *role_thread_new(const char *name)
{
    struct role_thread *role = mem_alloc(sizeof(*role));
    snprintf(role->name, sizeof(role->name), "%s", name);
    role->loop = loop_new();
    role->calls = calls_new(role->loop);
    return role;
}

struct loop *role_thread_loop(struct role_thread *thread)
{
    return thread->loop;
}

static void run(void *ctx)
{
    struct role_thread *role = ctx;
    loop_run(role->loop);
}

enum err role_thread_start(struct role_thread *thread)
{
    return thread_start(thread->name, run, thread, &thread->thread);
}

void role_thread_call(struct role_thread *thread, call_fn *call, void *ctx)
{
    calls_post(thread->calls, call, ctx, NULL);
}

void role_thread_join(struct role_thread *thread)
{
    if (!thread->thread)
        return;
    loop_stop(thread->loop);
    thread_join(&thread->thread);
}

void role_thread_free(struct role_thread **thread)
{
    if (!*thread)
        return;
    role_thread_join(*thread);
    calls_free(&(*thread)->calls);
    while (loop_turn((*thread)->loop, false))
        ; /* what closing left for the loop: streams, free-later */
    loop_free((*thread)->loop);
    mem_free(*thread);
    *thread = NULL;
}
