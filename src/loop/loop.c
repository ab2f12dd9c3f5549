/* loop - the turn: what runs in which order, and when the thread may sleep. See loop.h. */
#include "loop/loop_impl.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    REAL_TICK_US = 1000,
    SETTLE_TURNS_MAX = 100000, /* loop_advance(): more turns at one instant are an endless loop */
    CLOSE_ROUNDS_MAX = 1000,   /* loop_free(): libuv needs two or three to let go of its handles */
};

/* --- time --- */

uint64_t loop_now_us(const struct loop *loop)
{
    if (loop->is_virtual || loop->clock_is_read)
        return loop->now_us;
    uint64_t now_us = clock_monotonic_us();
    if (loop->in_turn) {
        struct loop *cache = (struct loop *)loop; /* the question does not change the loop */
        cache->now_us = now_us;
        cache->clock_is_read = true;
    }
    return now_us;
}

/* --- waking and sleeping --- */

void loop_wake(struct loop *loop)
{
    if (!atomic_exchange(&loop->asleep, false))
        return; /* it looks again before it sleeps, or somebody else is waking it */
    uint64_t one = 1;
    ssize_t written;
    do /* cannot be full: one write for each sleep, which ends with the read */
        written = write(loop->wake_fd, &one, sizeof(one));
    while (written < 0 && errno == EINTR);
    ASSERT_MSG(written == sizeof(one), "eventfd: %s", strerror(errno));
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stop, true);
    loop_wake(loop);
}

/* Coming back from the kernel is all that is wanted. */
static void on_wake(uv_poll_t *wake, int status, int events)
{
    struct loop *loop = wake->data;
    uint64_t times;
    (void)status, (void)events; /* as in on_alarm() */
    ssize_t got = read(loop->wake_fd, &times, sizeof(times));
    (void)got; /* nothing to read: somebody was faster, and we are awake */
}

static void on_alarm(uv_poll_t *alarm, int status, int events)
{
    struct loop *loop = alarm->data;
    uint64_t times;
    (void)status, (void)events; /* it cannot fail, and there is one thing to wait for */
    if (read(loop->alarm_fd, &times, sizeof(times)) > 0) /* else it was moved since it rang */
        loop->alarm_tick = WHEEL_NEVER;
}

static bool something_waits(struct loop *loop)
{
    return !list_is_empty(&loop->deferred) || !list_is_empty(&loop->flushes) ||
           loop->free_first != NULL || atomic_load(&loop->stop) || mailboxes_waiting(loop);
}

/* A timerfd and not the timeout of epoll_wait(): that one is a timer to be programmed and taken
 * back for every sleep, 1.3 us of the 7.9 that a wake-up costs (2 cores, virtualised, 2026-11),
 * also when nothing is due for long. This one is only ever moved forward: where what it was set for
 * has gone, the loop wakes for nothing, once. It rings in the tick that is due, not before it. */
static void set_alarm(struct loop *loop)
{
    uint64_t tick = wheel_next(&loop->wheel);
    if (tick >= loop->alarm_tick)
        return;
    loop->alarm_tick = tick;
    uint64_t at_us = tick < UINT64_MAX / loop->tick_us ? tick * loop->tick_us : UINT64_MAX;
    at_us += at_us == 0; /* which would mean: never */
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)(at_us / 1000000),
                                         .tv_nsec = (long)(at_us % 1000000) * 1000}};
    ASSERT(timerfd_settime(loop->alarm_fd, TFD_TIMER_ABSTIME, &at, NULL) == 0);
}

/* May not sleep: something is pending, here or (see io_is_ready()) in libuv. */
static bool must_run(struct loop *loop)
{
    return something_waits(loop) || uv_backend_timeout(&loop->uv) == 0;
}

/* libuv has something to do now, as far as can be seen without doing it: its timeout is 0 when it
 * has callbacks to make, handles to close, or descriptors that the kernel does not watch yet. */
static bool io_is_ready(struct loop *loop)
{
    struct pollfd kernel = {.fd = uv_backend_fd(&loop->uv), .events = POLLIN};
    return uv_backend_timeout(&loop->uv) == 0 || poll(&kernel, 1, 0) > 0;
}

/* The last thing before the kernel is asked: libuv runs prepare hooks in reverse order of their
 * start, and ours was started first. So whatever timers and foreign hooks did in this uv_run()
 * (asked for the time, deferred a call, armed a deadline) is known here.
 * The clock becomes stale now: the first question after the sleep reads it.
 * First the word that we are asleep, then the look whether we may: a message that comes after the
 * look finds the word and wakes the loop (sequentially consistent on both sides). */
static void on_before_poll(uv_prepare_t *before_poll)
{
    struct loop *loop = before_poll->data;
    loop->clock_is_read = false;
    if (!loop->may_sleep)
        return;
    atomic_store(&loop->asleep, true);
    if (something_waits(loop)) {
        atomic_store(&loop->asleep, false);
        uv_stop(&loop->uv); /* look for I/O, but do not block */
    } else {
        set_alarm(loop); /* one that is due already rings at once */
    }
}

static bool run_io(struct loop *loop, bool may_sleep)
{
    bool any = may_sleep || io_is_ready(loop); /* who slept was woken by something */
    loop->may_sleep = may_sleep;
    uv_run(&loop->uv, may_sleep ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    atomic_store(&loop->asleep, false);
    return virtual_work_run(loop) || any;
}

/* --- deferred, flushes, free-later --- */

void deferred_init(struct deferred *deferred, defer_fn *run, void *ctx)
{
    list_init(&deferred->link);
    deferred->run = run;
    deferred->ctx = ctx;
}

void loop_defer(struct loop *loop, struct deferred *deferred)
{
    if (!list_is_linked(&deferred->link))
        list_push_back(&loop->deferred, &deferred->link);
}

void loop_before_sleep(struct loop *loop, struct deferred *flush)
{
    if (!list_is_linked(&flush->link))
        list_push_back(&loop->flushes, &flush->link);
}

void deferred_cancel(struct deferred *deferred)
{
    if (deferred->link.next != NULL)
        list_remove(&deferred->link);
}

/* Runs what is on the list now. What comes behind the mark meanwhile belongs to the next turn. */
static bool run_deferred(struct loop *loop, struct list *list)
{
    list_push_back(list, &loop->mark);
    bool any = list->next != &loop->mark;
    for (struct list *link; (link = list_pop_front(list)) != &loop->mark;) {
        struct deferred *deferred = CONTAINER_OF(link, struct deferred, link);
        deferred->run(deferred->ctx);
    }
    return any;
}

void loop_free_later(struct loop *loop, struct free_later *slot, void (*release)(void *pointer),
                     void *pointer)
{
    *slot = (struct free_later){.release = release, .pointer = pointer};
    if (loop->free_last)
        loop->free_last->next = slot;
    else
        loop->free_first = slot;
    loop->free_last = slot;
}

static bool release_all(struct loop *loop)
{
    bool any = loop->free_first != NULL;
    for (struct free_later *slot; (slot = loop->free_first);) {
        loop->free_first = slot->next;
        if (!slot->next)
            loop->free_last = NULL;
        slot->release(slot->pointer); /* `slot` may be gone with it */
    }
    return any;
}

/* --- the turn --- */

/* From the mailboxes on: what a turn does with what came. */
static bool run_rest(struct loop *loop)
{
    bool any = mailboxes_deliver(loop);
    any |= deadlines_fire(loop);
    any |= run_deferred(loop, &loop->deferred);
    any |= run_deferred(loop, &loop->flushes);
    any |= run_deferred(loop, &loop->flushes); /* of those: what they gave on (loop.h) */
    any |= release_all(loop);
    return any;
}

/* Outside of libuv, so that nothing in there is touched while others may take the turn; what woke
 * us stays ready (level-triggered) for the uv_run() that follows. */
static void sleep_lent(struct loop *loop)
{
    struct epoll_event ready;
    pthread_mutex_lock(&loop->turn);
    atomic_store(&loop->asleep, true);
    if (!must_run(loop)) {
        int fd = uv_backend_fd(&loop->uv), timeout_ms = uv_backend_timeout(&loop->uv);
        set_alarm(loop);
        pthread_mutex_unlock(&loop->turn);
        (void)epoll_wait(fd, &ready, 1, timeout_ms);
        pthread_mutex_lock(&loop->turn); /* whoever has it finishes his turn */
    }
    atomic_store(&loop->asleep, false);
    pthread_mutex_unlock(&loop->turn);
}

bool loop_turn(struct loop *loop, bool may_sleep)
{
    may_sleep = may_sleep && !loop->is_virtual;
    bool is_lent = loop->is_lent; /* a callback may lend it */
    if (is_lent && may_sleep)
        sleep_lent(loop);
    ASSERT(!loop->in_turn);
    loop->in_turn = true;
    bool any = run_io(loop, may_sleep && !is_lent); /* sleeps; the clock is read once awake */
    any |= run_rest(loop);
    loop->in_turn = false;
    loop->clock_is_read = false;
    return any || (is_lent && may_sleep);
}

/* --- lending the turn --- */

void loop_lend(struct loop *loop)
{
    if (loop->is_lent)
        return; /* others read it */
    /* Up to the end of its I/O a loop that is not lent says that it sleeps: this may be a callback
     * of that. */
    atomic_store(&loop->asleep, false);
    loop->is_lent = true;
}

/* What only the loop's own thread can do (I/O, descriptors to be watched anew) is left to it. */
static bool turn_for_sleeper(struct loop *loop)
{
    if (!loop->is_lent || pthread_mutex_trylock(&loop->turn) != 0)
        return false;
    bool is_ours = atomic_load(&loop->asleep);
    if (is_ours) {
        loop->in_turn = true;
        (void)run_rest(loop);
        loop->in_turn = false;
        loop->clock_is_read = false;
        if (must_run(loop))
            loop_wake(loop);
        else
            set_alarm(loop);
    }
    pthread_mutex_unlock(&loop->turn);
    return is_ours;
}

void loop_turn_or_wake(struct loop *loop)
{
    if (!turn_for_sleeper(loop))
        loop_wake(loop);
}

void loop_run(struct loop *loop)
{
    ASSERT(!loop->is_virtual);
    do
        (void)loop_turn(loop, true); /* whatever happened, the next turn finds out */
    while (!atomic_exchange(&loop->stop, false));
}

static void settle(struct loop *loop)
{
    for (int turns = 0; loop_turn(loop, false); turns++)
        ASSERT_MSG(turns < SETTLE_TURNS_MAX, "still busy at %llu us after %d turns",
                   (unsigned long long)loop->now_us, turns);
}

void loop_advance(struct loop *loop, uint64_t us)
{
    ASSERT(loop->is_virtual);
    uint64_t until_us = us < UINT64_MAX - loop->now_us ? loop->now_us + us : UINT64_MAX - 1;
    settle(loop);
    for (uint64_t next; (next = wheel_next(&loop->wheel)) <= until_us;) {
        loop->now_us = next; /* a tick is 1 us */
        settle(loop);
    }
    loop->now_us = until_us;
    settle(loop);
}

void loop_skip(struct loop *loop, uint64_t us)
{
    ASSERT(loop->is_virtual && !loop->in_turn && us < UINT64_MAX - loop->now_us);
    loop->now_us += us;
}

uint64_t loop_next_us(const struct loop *loop)
{
    ASSERT(loop->is_virtual);
    return wheel_next(&loop->wheel); /* a tick is 1 us */
}

struct uv_loop_s *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

/* --- life --- */

static void check_uv(int status, const char *what)
{
    ASSERT_MSG(status == 0, "%s: %s", what, uv_strerror(status));
}

/* `fd` as it came from the kernel. */
static void watch_fd(struct loop *loop, uv_poll_t *poll, int fd, uv_poll_cb on_ready,
                     const char *what)
{
    ASSERT_MSG(fd >= 0, "%s: %s", what, strerror(errno));
    check_uv(uv_poll_init(&loop->uv, poll, fd), what);
    check_uv(uv_poll_start(poll, UV_READABLE, on_ready), what);
    poll->data = loop;
}

/* Not uv_async: who is woken by it spins until the sender's write() has returned, which takes
 * longer than to wake up; 20 us of CPU for a mail against 8 (2 cores, libuv 1.44, 2026-11). */
static void open_uv(struct loop *loop)
{
    check_uv(uv_loop_init(&loop->uv), "uv_loop_init");
    check_uv(uv_prepare_init(&loop->uv, &loop->before_poll), "uv_prepare_init");
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    watch_fd(loop, &loop->wake, loop->wake_fd, on_wake, "eventfd");
    loop->before_poll.data = loop;
    check_uv(uv_prepare_start(&loop->before_poll, on_before_poll), "uv_prepare_start");
    uv_unref((uv_handle_t *)&loop->before_poll);
}

static void open_alarm(struct loop *loop)
{
    loop->alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    watch_fd(loop, &loop->alarm, loop->alarm_fd, on_alarm, "timerfd");
    uv_unref((uv_handle_t *)&loop->alarm);
}

static struct loop *new_at(bool is_virtual, uint64_t now_us, uint64_t tick_us)
{
    struct loop *loop = mem_alloc(sizeof *loop);
    loop->is_virtual = is_virtual;
    loop->now_us = now_us;
    loop->tick_us = tick_us;
    loop->alarm_tick = WHEEL_NEVER;
    wheel_init(&loop->wheel, now_us / tick_us);
    ASSERT(pthread_mutex_init(&loop->turn, NULL) == 0);
    list_init(&loop->mailboxes);
    list_init(&loop->deferred);
    list_init(&loop->flushes);
    list_init(&loop->virtual_work);
    open_uv(loop);
    loop->alarm_fd = -1;
    return loop;
}

struct loop *loop_new(void)
{
    struct loop *loop = new_at(false, clock_monotonic_us(), REAL_TICK_US);
    open_alarm(loop);
    return loop;
}

struct loop *loop_new_virtual(uint64_t start_us)
{
    return new_at(true, start_us, 1);
}

static void close_handle(uv_handle_t *handle, void *ctx)
{
    (void)ctx; /* nothing to know: all go */
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    ASSERT(!loop->in_turn && list_is_empty(&loop->mailboxes));
    while (loop->work_count > 0)
        (void)loop_turn(loop, true); /* its own done() is what we wait for */
    uv_walk(&loop->uv, close_handle, NULL);
    for (int rounds = 0; uv_loop_close(&loop->uv) != 0; rounds++) {
        ASSERT(rounds < CLOSE_ROUNDS_MAX);
        uv_run(&loop->uv, UV_RUN_NOWAIT);
        (void)run_deferred(loop, &loop->deferred); /* close callbacks may still ask for these */
        (void)run_deferred(loop, &loop->flushes);
        (void)release_all(loop);
    }
    (void)release_all(loop); /* asked for since the last turn */
    ASSERT(wheel_next(&loop->wheel) == WHEEL_NEVER);
    if (loop->alarm_fd >= 0)
        close(loop->alarm_fd); /* the handles are closed: nobody watches them */
    close(loop->wake_fd);
    pthread_mutex_destroy(&loop->turn);
    mem_free(loop);
}
