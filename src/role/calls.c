/* calls - mails that are functions. */
#include "role/calls.h"

#include "base/mem.h"
#include "loop/mailbox.h"

#include <stdio.h>

struct calls {
    struct mailbox *mailbox;
};

struct call_mail {
    struct mail mail;
    call_fn *call;
    void *ctx;
    char note[CALL_NOTE_MAX_BYTES];
};

static void on_mail(void *ctx, struct mail *mail)
{
    (void)ctx;
    struct call_mail *message = CONTAINER_OF(mail, struct call_mail, mail);
    message->call(message->ctx, message->note);
    mem_free(message);
}

static void drop_mail(void *ctx, struct mail *mail)
{
    (void)ctx;
    mem_free(CONTAINER_OF(mail, struct call_mail, mail));
}

struct calls *calls_new(struct loop *loop)
{
    struct calls *calls = mem_alloc(sizeof(*calls));
    calls->mailbox = mailbox_new(loop, CALLS_MAX, on_mail, calls);
    return calls;
}

void calls_post(struct calls *calls, call_fn *call, void *ctx, const char *note)
{
    struct call_mail *message = mem_alloc(sizeof(*message));
    *message = (struct call_mail){.call = call, .ctx = ctx};
    snprintf(message->note, sizeof(message->note), "%s", note ? note : "");
    struct mail *mail = &message->mail;
    enum err err = mailbox_post(calls->mailbox, &mail);
    ASSERT_MSG(err == ERR_OK, "%s", err_name(err));
}

void calls_free(struct calls **calls)
{
    if (!*calls)
        return;
    mailbox_close((*calls)->mailbox, drop_mail, NULL);
    mailbox_unref((*calls)->mailbox);
    mem_free(*calls);
    *calls = NULL;
}
