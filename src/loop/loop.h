/* loop - one event loop per thread: a thin layer on libuv.
 *
 * A turn, in order (one function in loop.c, and it fits a screen):
 *   clock -> I/O -> mailboxes -> deadlines -> deferred -> before_sleep hooks -> free-later
 *
 * 1. What a loop owns, only its thread touches. Other threads speak through a mailbox (mailbox.h).
 *    (Of a lent loop: only who has its turn. See loop_lend().)
 * 2. A callback never waits. Blocking work goes to the pool (loop_work) and comes back as a call.
 * 3. Time is loop_now_us(): monotonic, read once per turn.
 * 4. Nothing is freed under a caller: loop_free_later() releases at the end of the turn.
 * 5. An asynchronous operation completes exactly once, also when cancelled, from the loop, never
 *    inside the call that started it. */
#pragma once

#include "base/list.h"
#include "base/slice.h"
#include "loop/wheel.h"

struct loop;
struct uv_loop_s;

/* Never NULL. Use it from the thread that will run it (or before any thread runs it). */
struct loop *loop_new(void);
/* Tests: time stands still until loop_advance(); a turn never sleeps. Deadlines are exact to the
 * microsecond, and pool work runs on the loop's own thread, in the I/O part of the next turn: the
 * same calls give the same run. */
struct loop *loop_new_virtual(uint64_t start_us);
/* Waits for pool work that is still out (its done() runs), closes what is left in libuv, then
 * frees. Every deadline, mailbox and stream must be gone. */
void loop_free(struct loop *loop);

/* The loop's thread only. Inside a turn it stands still; outside of one the clock is read anew. */
uint64_t loop_now_us(const struct loop *loop);
/* Virtual loops only: moves time forward, then runs turns until nothing is left to do now. It stops
 * at every deadline on the way, so that they fire in order and each sees its own time; what can
 * happen before time moves happens first. A loop that never runs out of work is a bug (ASSERT). */
void loop_advance(struct loop *loop, uint64_t us);
/* Virtual loops only: time goes by and the loop does not run, as in a process that was stopped.
 * Deadlines on the way fire late, in the next turn. */
void loop_skip(struct loop *loop, uint64_t us);
/* Virtual loops only: time at which it has to run next, UINT64_MAX if no deadline is armed. A turn
 * there may find nothing due yet, a few times on the way to a far deadline. For whoever moves
 * several loops through one time (testing/sim). */
uint64_t loop_next_us(const struct loop *loop);

/* Runs turns until loop_stop(), at least one. Not for virtual loops. */
void loop_run(struct loop *loop);
/* One turn; sleeps for events only if may_sleep, nothing is pending, and at most until the next
 * deadline. True if anything at all happened. Not from inside a turn. */
bool loop_turn(struct loop *loop, bool may_sleep);
/* Any thread, and signal handlers. loop_run() returns at the end of the turn. Sticky: when nothing
 * runs, the next loop_run() returns after its first turn. */
void loop_stop(struct loop *loop);

/* From now on another thread that has something for this loop may take its turn while it sleeps,
 * instead of waking it (mailbox_post_and_turn()): what that thread brings is then handled, and what
 * becomes of it sent, without a change of threads. What a loop owns belongs to whoever has its
 * turn, one at a time; I/O stays with the loop's own thread. The price: each sleep of it is one
 * epoll_wait() more. Never taken back. The loop's thread, before the other one knows it; harmless
 * twice. A virtual loop does not sleep, so nothing changes. */
void loop_lend(struct loop *loop);

/* For net/, bus/ and mains, which do I/O on it. */
struct uv_loop_s *loop_uv(struct loop *loop);

/* --- deadlines: a timer in a wheel of 1 ms ticks; arming and disarming is O(1) --- */

typedef void deadline_fn(void *ctx);

struct deadline { /* public so that it lives inside its owner; touch it through the calls only */
    struct wheel_entry entry;
    struct loop *loop;
    uint64_t at_us; /* 0: not armed */
    deadline_fn *fire;
    void *ctx;
};
void deadline_init(struct deadline *deadline, struct loop *loop, deadline_fn *fire, void *ctx);
/* Fires once, in the first turn at or after at_us (up to 1 ms late), never inside this call.
 * Arming an armed one moves it. */
void deadline_at(struct deadline *deadline, uint64_t at_us);
void deadline_after(struct deadline *deadline, uint64_t after_us);
/* At the multiple of period_us (> 0) that is nearest to one period from now: who fires a little
 * late and arms anew keeps its period. For what comes round again and again and has time: what has
 * the same period, or a multiple of it, falls together, in one wake-up; also that of other
 * processes, as the clock is the same, and what they tell each other then. */
void deadline_round(struct deadline *deadline, uint64_t period_us);
void deadline_clear(struct deadline *deadline); /* harmless when not armed, or zeroed memory */
static inline bool deadline_is_armed(const struct deadline *deadline)
{
    return deadline->at_us != 0;
}

/* --- deferred: "again, later in this turn" --- */

typedef void defer_fn(void *ctx);

struct deferred {
    struct list link;
    defer_fn *run;
    void *ctx;
};
void deferred_init(struct deferred *deferred, defer_fn *run, void *ctx);
/* Runs once in the deferred part of this turn, or of the next one if that part has begun (so
 * that a chain of deferrals never starves I/O). Scheduling a scheduled one does nothing. */
void loop_defer(struct loop *loop, struct deferred *deferred);
void deferred_cancel(struct deferred *deferred); /* harmless when not scheduled, or zeroed memory */

/* Like deferred, but runs at the end of every turn that it was asked for, after all deferred ones:
 * where what was gathered in the turn leaves in one write (streams, bus). Asked for inside a flush:
 * a second round in the same turn, for what one gathers and gives to another (the worker's outbox
 * to the bus's link: 2.4 epoll_wait() for each step were 1.3 then). Asked for inside that: the next
 * turn, which then does not sleep. deferred_cancel() takes it back. */
void loop_before_sleep(struct loop *loop, struct deferred *flush);

/* --- release at the end of the turn (rule 4) --- */

struct free_later {
    struct free_later *next;
    void (*release)(void *pointer);
    void *pointer;
};
/* `slot` lives inside `pointer` or survives the turn otherwise. In the order of the calls; what a
 * release() hands in goes in the same turn. */
void loop_free_later(struct loop *loop, struct free_later *slot, void (*release)(void *pointer),
                     void *pointer);

/* --- the pool: libuv's worker threads, for what would make a callback wait --- */

struct loop_work;
typedef void work_fn(void *ctx);
/* work() runs on a pool thread; done() on the loop, exactly once; status ERR_OK, or ERR_CANCELLED
 * when loop_work_cancel() came before work() began. ctx must live until done(). Not bounded here:
 * whoever starts work for a peer bounds how much. The handle is good until done() is called. */
struct loop_work *loop_work_start(struct loop *loop, work_fn *work,
                                  void (*done)(void *ctx, enum err status), void *ctx);
void loop_work_cancel(struct loop_work *work);
/* Before the first use in the process (ASSERT): how many pool threads (UV_THREADPOOL_SIZE, 1..1024;
 * libuv's own default is 4). */
void loop_pool_size(unsigned threads);
