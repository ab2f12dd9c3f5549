/* role_thread - a loop on a thread of its own. */
#include "solo/role_thread.h"

#include "base/mem.h"
#include "loop/mailbox.h"
#include "loop/thread.h"

#include <stdio.h>

struct role_thread {
    char name[16];
    struct loop *loop;
    struct mailbox *calls;
    struct thread *thread;
};

struct call_mail {
    struct mail mail;
    void (*call)(void *ctx);
    void *ctx;
};

static void on_mail(void *ctx, struct mail *mail)
{
    (void)ctx;
    struct call_mail *message = CONTAINER_OF(mail, struct call_mail, mail);
    message->call(message->ctx);
    mem_free(message);
}

static void drop_mail(void *ctx, struct mail *mail)
{
    (void)ctx;
    mem_free(CONTAINER_OF(mail, struct call_mail, mail));
}

struct role_thread *role_thread_new(const char *name)
{
    struct role_thread *role = mem_alloc(sizeof(*role));
    snprintf(role->name, sizeof(role->name), "%s", name);
    role->loop = loop_new();
    role->calls = mailbox_new(role->loop, 16, on_mail, role);
    return role;
}

struct loop *role_thread_loop(struct role_thread *role)
{
    return role->loop;
}

static void run(void *ctx)
{
    struct role_thread *role = ctx;
    loop_run(role->loop);
}

enum err role_thread_start(struct role_thread *role)
{
    return thread_start(role->name, run, role, &role->thread);
}

void role_thread_call(struct role_thread *role, void (*call)(void *ctx), void *ctx)
{
    struct call_mail *message = mem_alloc(sizeof(*message));
    *message = (struct call_mail){.call = call, .ctx = ctx};
    struct mail *mail = &message->mail;
    enum err err = mailbox_post(role->calls, &mail);
    ASSERT_MSG(err == ERR_OK, "role %s: %s", role->name, err_name(err));
}

void role_thread_join(struct role_thread *role)
{
    if (!role->thread)
        return;
    loop_stop(role->loop);
    thread_join(&role->thread);
}

void role_thread_free(struct role_thread **role)
{
    if (!*role)
        return;
    role_thread_join(*role);
    mailbox_close((*role)->calls, drop_mail, NULL);
    mailbox_unref((*role)->calls);
    loop_free((*role)->loop);
    mem_free(*role);
    *role = NULL;
}
