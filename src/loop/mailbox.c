/* mailbox - many threads post, one loop receives. See mailbox.h.
 *
 * Mails go through two queues: `posted`, under the lock, and `taken`, which the loop fills by
 * taking all of `posted` at once, so that delivering costs one lock per batch. `waiting` counts
 * both. */
#include "loop/mailbox.h"

#include "base/mem.h"
#include "loop/loop_impl.h"
#include "loop/mail_queue.h"

#include <pthread.h>

enum { MAILS_PER_TURN = 256 };

struct mailbox {
    /* The loop's thread only. */
    struct list link; /* in loop->mailboxes until it is closed */
    struct mail_queue taken;
    mailbox_fn *on_mail;
    void *ctx;

    size_t max_mails;
    atomic_uint refs;
    atomic_size_t waiting; /* raised under the lock, lowered by the loop at any time */

    pthread_mutex_t lock;
    struct mail_queue posted;
    struct loop *loop; /* NULL: closed. Set under the lock, so a poster's loop is alive */
};

struct mailbox *mailbox_new(struct loop *loop, size_t max_mails, mailbox_fn *on_mail, void *ctx)
{
    struct mailbox *mailbox = mem_alloc(sizeof *mailbox);
    mailbox->on_mail = on_mail;
    mailbox->ctx = ctx;
    mailbox->max_mails = max_mails;
    mailbox->loop = loop;
    atomic_init(&mailbox->refs, 1);
    ASSERT(pthread_mutex_init(&mailbox->lock, NULL) == 0);
    list_push_back(&loop->mailboxes, &mailbox->link);
    return mailbox;
}

static enum err put_locked(struct mailbox *mailbox, struct mail **mail)
{
    if (!mailbox->loop)
        return ERR_CLOSED;
    if (atomic_load(&mailbox->waiting) >= mailbox->max_mails)
        return ERR_FULL;
    mail_queue_push(&mailbox->posted, *mail);
    *mail = NULL;
    atomic_fetch_add(&mailbox->waiting, 1);
    return ERR_OK;
}

enum err mailbox_post(struct mailbox *mailbox, struct mail **mail)
{
    pthread_mutex_lock(&mailbox->lock);
    enum err err = put_locked(mailbox, mail);
    if (err == ERR_OK)
        loop_wake(mailbox->loop); /* inside the lock: after it, close and loop_free() may come */
    pthread_mutex_unlock(&mailbox->lock);
    return err;
}

enum err mailbox_post_and_turn(struct mailbox *mailbox, struct mail **mail)
{
    pthread_mutex_lock(&mailbox->lock);
    struct loop *loop = mailbox->loop; /* the caller keeps it */
    enum err err = put_locked(mailbox, mail);
    pthread_mutex_unlock(&mailbox->lock);
    if (err == ERR_OK)
        loop_turn_or_wake(loop);
    return err;
}

static void take_posted(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    mailbox->taken = mailbox->posted;
    mailbox->posted = (struct mail_queue){0};
    pthread_mutex_unlock(&mailbox->lock);
}

static struct mail *next_mail(struct mailbox *mailbox)
{
    if (atomic_load(&mailbox->waiting) == 0)
        return NULL; /* the usual case takes no lock */
    if (!mailbox->taken.first)
        take_posted(mailbox);
    struct mail *mail = mail_queue_pop(&mailbox->taken);
    if (mail)
        atomic_fetch_sub(&mailbox->waiting, 1);
    return mail;
}

static bool deliver(struct mailbox *mailbox)
{
    int count = 0;
    mailbox_ref(mailbox); /* on_mail() may close and unref it; closing leaves nothing to deliver */
    for (struct mail *mail; count < MAILS_PER_TURN && (mail = next_mail(mailbox)); count++)
        mailbox->on_mail(mailbox->ctx, mail);
    mailbox_unref(mailbox);
    return count > 0;
}

/* Goes round the list once; a callback may open and close any mailbox meanwhile. */
bool mailboxes_deliver(struct loop *loop)
{
    bool any = false;
    list_push_back(&loop->mailboxes, &loop->mark);
    for (struct list *link; (link = list_pop_front(&loop->mailboxes)) != &loop->mark;) {
        list_push_back(&loop->mailboxes, link);
        any |= deliver(CONTAINER_OF(link, struct mailbox, link));
    }
    return any;
}

bool mailboxes_waiting(struct loop *loop)
{
    LIST_FOREACH (link, &loop->mailboxes) {
        if (atomic_load(&CONTAINER_OF(link, struct mailbox, link)->waiting) > 0)
            return true;
    }
    return false;
}

void mailbox_close(struct mailbox *mailbox, void (*drop)(void *ctx, struct mail *mail), void *ctx)
{
    list_remove(&mailbox->link);
    pthread_mutex_lock(&mailbox->lock);
    mailbox->loop = NULL;
    pthread_mutex_unlock(&mailbox->lock);
    for (struct mail *mail; (mail = next_mail(mailbox));)
        drop(ctx, mail);
}

struct mailbox *mailbox_ref(struct mailbox *mailbox)
{
    atomic_fetch_add(&mailbox->refs, 1);
    return mailbox;
}

void mailbox_unref(struct mailbox *mailbox)
{
    if (!mailbox || atomic_fetch_sub(&mailbox->refs, 1) != 1)
        return;
    ASSERT(!mailbox->loop && atomic_load(&mailbox->waiting) == 0); /* closed first */
    pthread_mutex_destroy(&mailbox->lock);
    mem_free(mailbox);
}
