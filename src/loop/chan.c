/* chan - many threads post, one plain thread waits. See mailbox.h. */
#include "loop/mailbox.h"

#include "base/clock.h"
#include "base/mem.h"
#include "loop/mail_queue.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

struct chan {
    size_t max_mails;
    pthread_mutex_t lock;
    pthread_cond_t arrived; /* on the monotonic clock: a changed wall clock stretches no wait */
    struct mail_queue queue;
    size_t count;
    bool is_waited_on;
};

struct chan *chan_new(size_t max_mails)
{
    struct chan *chan = mem_alloc(sizeof *chan);
    pthread_condattr_t attr;
    chan->max_mails = max_mails;
    ASSERT(pthread_mutex_init(&chan->lock, NULL) == 0);
    ASSERT(pthread_condattr_init(&attr) == 0);
    ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_cond_init(&chan->arrived, &attr) == 0);
    pthread_condattr_destroy(&attr);
    return chan;
}

void chan_free(struct chan *chan)
{
    if (!chan)
        return;
    ASSERT(chan->count == 0 && !chan->is_waited_on);
    pthread_cond_destroy(&chan->arrived);
    pthread_mutex_destroy(&chan->lock);
    mem_free(chan);
}

enum err chan_post(struct chan *chan, struct mail **mail)
{
    pthread_mutex_lock(&chan->lock);
    bool is_full = chan->count >= chan->max_mails;
    bool wake = !is_full && chan->is_waited_on;
    if (!is_full) {
        mail_queue_push(&chan->queue, *mail);
        *mail = NULL;
        chan->count++;
        chan->is_waited_on = false; /* one signal per wait is enough */
    }
    if (wake)
        pthread_cond_signal(&chan->arrived);
    pthread_mutex_unlock(&chan->lock);
    return is_full ? ERR_FULL : ERR_OK;
}

/* False once until_us has passed. */
static bool wait_locked(struct chan *chan, uint64_t until_us)
{
    int status;
    chan->is_waited_on = true;
    if (until_us == UINT64_MAX) {
        status = pthread_cond_wait(&chan->arrived, &chan->lock);
    } else {
        struct timespec until = {.tv_sec = (time_t)(until_us / 1000000),
                                 .tv_nsec = (long)(until_us % 1000000) * 1000};
        status = pthread_cond_timedwait(&chan->arrived, &chan->lock, &until);
    }
    chan->is_waited_on = false;
    ASSERT_MSG(status == 0 || status == ETIMEDOUT, "pthread_cond_wait: %d", status);
    return status == 0;
}

struct mail *chan_take(struct chan *chan, uint64_t timeout_us)
{
    uint64_t until_us = 0;
    if (timeout_us > 0) {
        uint64_t now_us = clock_monotonic_us();
        until_us = timeout_us < UINT64_MAX - now_us ? now_us + timeout_us : UINT64_MAX;
    }
    pthread_mutex_lock(&chan->lock);
    while (chan->count == 0 && timeout_us > 0 && wait_locked(chan, until_us))
        ; /* a spurious wake-up waits again for the rest */
    struct mail *mail = mail_queue_pop(&chan->queue);
    if (mail)
        chan->count--;
    pthread_mutex_unlock(&chan->lock);
    return mail;
}
