/* mailbox - the one door between threads: many producers, one consumer.
 *
 * Two kinds of consumer: a loop (mailbox: a callback in the mailbox part of the turn) and a plain
 * thread that waits (chan: the engine thread). Bounded by messages; at the bound post() refuses and
 * the sender keeps its mail. Order per producer is kept. */
#pragma once

#include "loop/loop.h"

/* First member of a message. */
struct mail {
    struct mail *next;
};

struct mailbox;
/* Takes `mail`. Runs on the loop's thread; at most 256 mails a turn, the rest in the next. */
typedef void mailbox_fn(void *ctx, struct mail *mail);

/* Loop thread, or before it runs. Never NULL. */
struct mailbox *mailbox_new(struct loop *loop, size_t max_mails, mailbox_fn *on_mail, void *ctx);
/* Any thread. Takes *mail on success (and sets it NULL). ERR_FULL: max_mails are waiting;
 * ERR_CLOSED: the consumer is going away. */
MUST_USE enum err mailbox_post(struct mailbox *mailbox, struct mail **mail);
/* The same, for a loop that is lent (loop_lend()): if it sleeps, the caller takes its turn, and the
 * mail has been handled when this returns; if it is awake, or somebody else has its turn, this is
 * mailbox_post(). The caller must not be on a loop, keeps this one from being freed, and must not
 * be what a callback of it waits for. */
MUST_USE enum err mailbox_post_and_turn(struct mailbox *mailbox, struct mail **mail);
/* Loop thread: from now on ERR_CLOSED; mails still waiting are given to drop() at once. The
 * producers may still hold the pointer: memory goes with the last mailbox_unref(). */
void mailbox_close(struct mailbox *mailbox, void (*drop)(void *ctx, struct mail *mail), void *ctx);
struct mailbox *mailbox_ref(struct mailbox *mailbox);
void mailbox_unref(struct mailbox *mailbox); /* NULL is fine; any thread */

struct chan;
struct chan *chan_new(size_t max_mails);
void chan_free(struct chan *chan); /* must be empty and unused */
/* Any thread. As mailbox_post. */
MUST_USE enum err chan_post(struct chan *chan, struct mail **mail);
/* The consumer. The next mail; NULL when none came within timeout_us (0: only look;
 * UINT64_MAX: wait as long as it takes). */
struct mail *chan_take(struct chan *chan, uint64_t timeout_us);
