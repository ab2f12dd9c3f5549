/* pool - blocking work on libuv's worker threads, or in line on a virtual loop. See loop.h. */
#include "loop/loop_impl.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { POOL_THREADS_MAX = 1024 }; /* libuv's own limit */

struct loop_work {
    uv_work_t request;
    struct list link; /* virtual loops: in loop->virtual_work */
    struct loop *loop;
    work_fn *work;
    void (*done)(void *ctx, enum err status);
    void *ctx;
    bool is_cancelled; /* virtual loops */
};

/* The pool is one per process, and so is this: it tells a late loop_pool_size(). */
static atomic_bool pool_is_used;

static void finish(struct loop_work *work, enum err status)
{
    void (*done)(void *ctx, enum err status) = work->done;
    void *ctx = work->ctx;
    work->loop->work_count--;
    mem_free(work);
    done(ctx, status);
}

static void on_pool_thread(uv_work_t *request)
{
    struct loop_work *work = CONTAINER_OF(request, struct loop_work, request);
    work->work(work->ctx);
}

static void on_back(uv_work_t *request, int status)
{
    finish(CONTAINER_OF(request, struct loop_work, request),
           status == UV_ECANCELED ? ERR_CANCELLED : ERR_OK);
}

struct loop_work *loop_work_start(struct loop *loop, work_fn *work,
                                  void (*done)(void *ctx, enum err status), void *ctx)
{
    struct loop_work *started = mem_alloc(sizeof *started);
    started->loop = loop;
    started->work = work;
    started->done = done;
    started->ctx = ctx;
    loop->work_count++;
    if (loop->is_virtual) {
        list_push_back(&loop->virtual_work, &started->link);
        return started;
    }
    atomic_store(&pool_is_used, true);
    int status = uv_queue_work(&loop->uv, &started->request, on_pool_thread, on_back);
    ASSERT_MSG(status == 0, "uv_queue_work: %s", uv_strerror(status));
    return started;
}

void loop_work_cancel(struct loop_work *work)
{
    work->is_cancelled = true;
    if (!work->loop->is_virtual)
        (void)uv_cancel((uv_req_t *)&work->request); /* refused once it runs: done() says ERR_OK */
}

bool virtual_work_run(struct loop *loop)
{
    list_push_back(&loop->virtual_work, &loop->mark); /* what is started meanwhile: the next turn */
    bool any = loop->virtual_work.next != &loop->mark;
    for (struct list *link; (link = list_pop_front(&loop->virtual_work)) != &loop->mark;) {
        struct loop_work *work = CONTAINER_OF(link, struct loop_work, link);
        if (!work->is_cancelled)
            work->work(work->ctx);
        finish(work, work->is_cancelled ? ERR_CANCELLED : ERR_OK);
    }
    return any;
}

void loop_pool_size(unsigned threads)
{
    ASSERT(threads >= 1 && threads <= POOL_THREADS_MAX);
    ASSERT(!atomic_load(&pool_is_used)); /* libuv reads it once */
    char text[16];
    (void)snprintf(text, sizeof text, "%u", threads); /* at most 4 digits */
    ASSERT(setenv("UV_THREADPOOL_SIZE", text, 1) == 0);
}
