/* supervisor_impl - what the parts of the supervisor share: supervisor.c moves, supervisor_tell.c
 * puts into words. Only they include this. */
#pragma once

#include "host/child.h"
#include "host/supervisor.h"

#include <uv.h>

enum { US_PER_MS = 1000, END_EXTRA_MS = 5000, NOTE_BYTES = 512, LABEL_BYTES = 272 };

struct role;
struct supervisor;

/* One process. */
struct run {
    struct list link;
    struct role *role;
    struct child *child;
    struct watch watch;
    uint32_t streams;
    bool is_leaving;         /* its successor was started */
    bool drains;             /* it said so, or was told to */
    const char *killed_as;   /* why we killed it; NULL: we did not */
    char failed[NOTE_BYTES]; /* what it said before it ended; "" */
};

struct role {
    struct supervisor *owner;
    struct role_spec spec;
    struct restart restart;
    struct run *current;     /* NULL: none */
    struct list leaving;     /* struct run.link, oldest first */
    size_t leaving_count;    /* at most SUPERVISOR_LEAVING_MAX */
    struct deadline due;     /* restart_due_us() */
    char label[LABEL_BYTES]; /* what log lines call it: its model, from the second worker on with
                                its number (llama#1); "-": it has none */
    char note[NOTE_BYTES];
    char refused[NOTE_BYTES]; /* why it could not start, until it is judged; "": it could, or may */
};

enum phase { SERVING, STOPPING_LISTENERS, STOPPING_REST, KILLING, STOPPED };

struct supervisor {
    struct loop *loop;
    struct supervisor_options options;
    struct supervisor_handler handler;
    void *ctx;
    int life[2]; /* the pipe whose end tells every role that we are gone */
    struct role roles[SUPERVISOR_ROLES_MAX];
    uv_signal_t ended;
    struct deferred advance; /* when stopping began: nobody may be there to be waited for */
    struct deadline look;
    uint64_t looked_us;
    struct deadline phase_end;
    enum phase phase;
    int status;
    bool serving_told;
    char address[NOTE_BYTES];
    size_t lines_dropped;
};

static inline uint64_t now_us(const struct supervisor *self)
{
    return loop_now_us(self->loop);
}

void supervisor_label(struct role *role); /* fills role->label */
/* Fills role->note: how its process ended, and its last words. */
void supervisor_describe_end(struct run *run, const struct child_end *end, bool expected);
void supervisor_log_end(const struct run *run, int pid, const struct child_end *end, bool expected);
void supervisor_log_held(const struct role *role);
