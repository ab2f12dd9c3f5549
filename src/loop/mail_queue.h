/* mail_queue - the first-in first-out chain under mailbox and chan. No lock, no bound: its owner
 * has both. */
#pragma once

#include "loop/mailbox.h"

struct mail_queue {
    struct mail *first, *last;
};

static inline void mail_queue_push(struct mail_queue *queue, struct mail *mail)
{
    mail->next = NULL;
    if (queue->first)
        queue->last->next = mail;
    else
        queue->first = mail;
    queue->last = mail;
}

/* NULL when it is empty. */
static inline struct mail *mail_queue_pop(struct mail_queue *queue)
{
    struct mail *mail = queue->first;
    if (mail)
        queue->first = mail->next;
    return mail;
}
