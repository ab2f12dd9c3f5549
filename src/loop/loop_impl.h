/* loop_impl - what the files of loop/ share of a loop. Nobody else includes it. */
#pragma once

#include "loop/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

struct loop {
    uv_loop_t uv;
    uv_prepare_t before_poll; /* decides about sleep; the clock becomes stale */
    uv_poll_t wake;           /* also keeps uv_run() polling when nothing else is active */
    int wake_fd;              /* an eventfd: other threads write, the loop reads */
    uv_poll_t alarm;          /* ends the sleep at alarm_tick, or before */
    int alarm_fd;             /* a timerfd; -1 on a virtual loop, which never sleeps */
    uint64_t alarm_tick;      /* WHEEL_NEVER: not armed */

    bool is_virtual;
    bool in_turn;
    bool may_sleep;     /* this turn */
    bool clock_is_read; /* now_us is this turn's time; else it is read at the first question */
    uint64_t now_us;

    struct wheel wheel;
    uint64_t tick_us; /* length of a wheel tick: 1000; 1 on a virtual loop, where time is exact */
    struct list mailboxes;         /* struct mailbox.link of the open ones */
    struct list deferred, flushes; /* struct deferred.link */
    struct list virtual_work;      /* struct loop_work.link: see pool.c */
    size_t work_count;             /* started, done() not yet called */
    struct list mark; /* end of the part of a list that this turn runs; the parts do not nest */
    struct free_later *free_first, *free_last;

    /* The only two that other threads touch without having the turn. */
    atomic_bool asleep; /* or about to be: whoever clears it has to wake the loop */
    atomic_bool stop;

    bool is_lent;         /* loop_lend() */
    pthread_mutex_t turn; /* of a lent one: who changes `asleep` for himself, or has it and turns
                             while it is set, holds this */
};

/* Any thread. Makes the loop look at its mailboxes and its stop flag again before it sleeps; costs
 * a system call only when it is asleep. The caller must keep the loop from being freed. */
void loop_wake(struct loop *loop);
/* The same, but a lent loop that sleeps is turned by the caller instead. */
void loop_turn_or_wake(struct loop *loop);

/* The parts of a turn that live in other files. True if anything happened. */
bool deadlines_fire(struct loop *loop);    /* deadline.c */
bool mailboxes_deliver(struct loop *loop); /* mailbox.c */
bool mailboxes_waiting(struct loop *loop); /* any mail in any of them */
bool virtual_work_run(struct loop *loop);  /* pool.c */
