/* pool_test - work on pool threads: once, on the right thread, cancelled or not. */
#include "loop/loop.h"

#include "loop/mailbox.h"
#include "testing/test.h"

#include <pthread.h>

/* One pool thread, so that the second piece of work waits for as long as the first one runs. */
__attribute__((constructor)) static void one_pool_thread(void)
{
    loop_pool_size(1);
}

struct job {
    struct loop *loop;
    struct chan *gate;  /* work() waits here for a mail; NULL: it does not */
    struct chan *begun; /* gets `mail` when work() begins; NULL: nobody wants to know */
    struct mail mail;
    pthread_t worked_on, done_on;
    int worked, done;
    enum err status;
    struct job *then; /* started by done() */
};

static void job_work(void *ctx)
{
    struct job *job = ctx;
    struct mail *mail = &job->mail;
    job->worked++;
    job->worked_on = pthread_self();
    if (job->begun)
        ASSERT(chan_post(job->begun, &mail) == ERR_OK);
    if (job->gate)
        (void)chan_take(job->gate, UINT64_MAX); /* lives on the test's stack */
}

static void job_done(void *ctx, enum err status)
{
    struct job *job = ctx;
    job->done++;
    job->done_on = pthread_self();
    job->status = status;
    if (job->then)
        loop_work_start(job->loop, job_work, job_done, job->then);
}

static void run_until_done(struct job *job)
{
    while (job->done == 0)
        loop_turn(job->loop, true);
}

TEST(work_runs_on_another_thread_and_is_done_on_the_loop)
{
    struct job job = {.loop = loop_new()};
    loop_work_start(job.loop, job_work, job_done, &job);
    CHECK_EQ(job.done, 0); /* never inside the call */
    run_until_done(&job);
    CHECK_EQ(job.worked, 1);
    CHECK_EQ(job.done, 1);
    CHECK_ERR(job.status, ERR_OK);
    CHECK(!pthread_equal(job.worked_on, pthread_self()));
    CHECK(pthread_equal(job.done_on, pthread_self()));
    loop_free(job.loop);
}

TEST(work_cancelled_before_it_began_is_done_once_and_never_runs)
{
    struct loop *loop = loop_new();
    struct mail token, *go = &token;
    struct job running = {.loop = loop, .gate = chan_new(1), .begun = chan_new(1)};
    struct job waiting = {.loop = loop};
    struct loop_work *work = loop_work_start(loop, job_work, job_done, &running);
    CHECK(chan_take(running.begun, UINT64_MAX) == &running.mail);
    loop_work_cancel(loop_work_start(loop, job_work, job_done, &waiting));
    loop_work_cancel(work);    /* too late for this one */
    CHECK_EQ(waiting.done, 0); /* never inside the call */
    run_until_done(&waiting);
    CHECK_ERR(waiting.status, ERR_CANCELLED);
    CHECK_EQ(waiting.worked, 0);
    CHECK_EQ(running.done, 0);
    CHECK_OK(chan_post(running.gate, &go));
    run_until_done(&running);
    CHECK_ERR(running.status, ERR_OK);
    CHECK_EQ(running.done + waiting.done, 2);
    chan_free(running.gate);
    chan_free(running.begun);
    loop_free(loop);
}

TEST(cancelling_twice_is_done_once)
{
    struct loop *loop = loop_new();
    struct mail token, *go = &token;
    struct job running = {.loop = loop, .gate = chan_new(1)};
    struct job waiting = {.loop = loop};
    loop_work_start(loop, job_work, job_done, &running);
    struct loop_work *work = loop_work_start(loop, job_work, job_done, &waiting);
    loop_work_cancel(work);
    loop_work_cancel(work);
    CHECK_OK(chan_post(running.gate, &go));
    loop_free(loop); /* waits for both */
    CHECK_EQ(running.done, 1);
    CHECK_EQ(waiting.done, 1);
    CHECK_ERR(waiting.status, ERR_CANCELLED);
    chan_free(running.gate);
}

TEST(loop_free_waits_for_work_also_for_what_done_starts)
{
    struct job second = {0}, first = {.then = &second};
    first.loop = second.loop = loop_new();
    loop_work_start(first.loop, job_work, job_done, &first);
    loop_free(first.loop);
    CHECK_EQ(first.done, 1);
    CHECK_EQ(second.done, 1);
    CHECK_EQ(second.worked, 1);
}

TEST(on_a_virtual_loop_work_runs_in_line_in_the_next_turn)
{
    struct job second = {0}, first = {.then = &second};
    first.loop = second.loop = loop_new_virtual(0);
    loop_work_start(first.loop, job_work, job_done, &first);
    CHECK_EQ(first.worked, 0);
    CHECK(loop_turn(first.loop, false));
    CHECK(pthread_equal(first.worked_on, pthread_self()));
    CHECK_EQ(first.done, 1);
    CHECK_ERR(first.status, ERR_OK);
    CHECK_EQ(second.done, 0); /* started inside: the turn after */
    loop_advance(first.loop, 0);
    CHECK_EQ(second.done, 1);
    loop_free(first.loop);
}

TEST(on_a_virtual_loop_cancelled_work_never_runs)
{
    struct job job = {.loop = loop_new_virtual(0)};
    loop_work_cancel(loop_work_start(job.loop, job_work, job_done, &job));
    CHECK_EQ(job.done, 0);
    loop_free(job.loop); /* delivers it */
    CHECK_EQ(job.worked, 0);
    CHECK_EQ(job.done, 1);
    CHECK_ERR(job.status, ERR_CANCELLED);
}
