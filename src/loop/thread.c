/* thread - starting and joining. See thread.h; thread_cores() is in cores.c. */
#include "loop/thread.h"

#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { NAME_BYTES_MAX = 15 }; /* the kernel's limit */

struct thread {
    pthread_t handle;
    char name[NAME_BYTES_MAX + 1];
    void (*run)(void *ctx);
    void *ctx;
};

/* Else a thread would inherit the processors of a starter that stays on some (llama_cpus), and wait
 * there behind what that one computes. Where it fails, on more than 1024 of them, it does. */
static void run_where_main_may(void)
{
    cpu_set_t cpus;
    if (sched_getaffinity(getpid(), sizeof cpus, &cpus) == 0)
        (void)sched_setaffinity(0, sizeof cpus, &cpus); /* it runs in any case */
}

static void *body(void *start)
{
    struct thread *thread = start;
    run_where_main_may();
    pthread_setname_np(pthread_self(), thread->name);
    thread->run(thread->ctx);
    return NULL;
}

/* Faults are a thread's own and stay deliverable: blocked, they would kill without a report. */
static sigset_t all_but_faults(void)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++)
        sigdelset(&set, faults[i]);
    return set;
}

enum err thread_start(const char *name, void (*run)(void *ctx), void *ctx,
                      struct thread **out_thread)
{
    size_t name_bytes = strlen(name);
    ASSERT(name_bytes <= NAME_BYTES_MAX);
    struct thread *thread = mem_alloc(sizeof *thread);
    memcpy(thread->name, name, name_bytes + 1);
    thread->run = run;
    thread->ctx = ctx;
    /* A thread inherits the mask it is created under: not a moment of it takes signals. */
    sigset_t blocked = all_but_faults(), before;
    ASSERT(pthread_sigmask(SIG_SETMASK, &blocked, &before) == 0);
    int failure = pthread_create(&thread->handle, NULL, body, thread);
    ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (failure) {
        mem_free(thread);
        errno = failure;
        return ERR_SYSTEM;
    }
    *out_thread = thread;
    return ERR_OK;
}

void thread_join(struct thread **thread)
{
    if (!*thread)
        return;
    int failure = pthread_join((*thread)->handle, NULL);
    ASSERT_MSG(failure == 0, "pthread_join: %s", strerror(failure));
    mem_free(*thread);
    *thread = NULL;
}
