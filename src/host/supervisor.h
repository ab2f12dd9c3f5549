/* supervisor - keeps the role processes running: starts them, hears them, kills who hangs, starts
 * anew who ended (restart.h, watch.h decide), and ends all of them in order.
 *
 * 1. Every role (each worker is one) has at most one process that is meant to serve, and at most
 *    SUPERVISOR_LEAVING_MAX that drain after their successor was started; the oldest of more is
 *    killed.
 * 2. A process is looked at every SUPERVISOR_LOOK_MS. When the looks themselves were held up, that
 *    time counts against nobody.
 * 3. Stopping: the roles that listen are told to (SIGTERM) and have drain_ms and 5 s, then the
 *    others, who have 5 s; then SIGKILL. Nothing is started any more.
 * 4. on_stopped comes once, from the loop, after every process has ended; or, with status 1, when
 *    one could not even be killed within 5 s.
 *
 * The main thread's loop. */
#pragma once

#include "host/restart.h"
#include "host/watch.h"
#include "loop/loop.h"

enum { SUPERVISOR_ROLES_MAX = 24, SUPERVISOR_LEAVING_MAX = 4, SUPERVISOR_LOOK_MS = 100 };

struct role_spec {
    const char *role;  /* "gateway", "manager", "worker": its command */
    const char *model; /* of a worker; else NULL */
    uint32_t number;   /* of that model's workers: 0, 1 .. */
    bool listens;      /* it gets the listening sockets, and is stopped first */
    bool overlaps, is_vital;
};

struct supervisor_options {
    const char *program; /* child.h */
    struct role_spec roles[SUPERVISOR_ROLES_MAX];
    size_t role_count;
    int config_fd; /* -1: none */
    const int *listen_fds;
    size_t listen_count;
    struct watch_rules watch;
    uint32_t drain_ms;
};

/* All from the loop. */
struct supervisor_handler {
    /* Every role with is_vital has been ready once; `address` is what the listening one said. */
    void (*on_serving)(void *ctx, const char *address);
    /* Something of a role has changed: what supervisor_role() tells. */
    void (*on_change)(void *ctx);
    /* The service cannot go on; stopping has begun. `sentence` as the role told it, else how it
     * ended. For a role that is not vital it comes after on_serving. */
    void (*on_give_up)(void *ctx, const struct role_spec *spec, const char *sentence);
    void (*on_stopped)(void *ctx, int status);
};

struct supervisor;
/* Starts every role at once. The options' strings and listen_fds must live as long as it does (the
 * descriptors until supervisor_stop()). ERR_SYSTEM + note: no pipe, no first process. */
MUST_USE enum err supervisor_new(struct loop *loop, const struct supervisor_options *options,
                                 const struct supervisor_handler *handler, void *ctx,
                                 struct supervisor **out_supervisor, struct err_note *out_note);
/* Kills who still runs. NULL is fine. */
void supervisor_free(struct supervisor *supervisor);

/* The first call counts: its status is the one that on_stopped gets. */
void supervisor_stop(struct supervisor *supervisor, int status);
/* Everybody, at once; on_stopped follows with this status. */
void supervisor_kill(struct supervisor *supervisor, int status);
/* SIGHUP to everybody who runs; who is held back is started. */
void supervisor_reload(struct supervisor *supervisor);

/* One process, or a role without one. The strings live until the next turn. */
struct supervisor_row {
    const struct role_spec *spec;
    int pid;           /* 0: none now */
    const char *state; /* "ready", "draining", "held_back" ... */
    enum restart_state restart;
    bool is_leaving; /* drains, its successor was started */
    uint64_t restarts;
    uint64_t started_us; /* 0: none now */
    uint32_t streams;
    const char *note; /* how its last process ended; "" */
};
/* Fills up to `max`, in the order of the roles; how many. */
size_t supervisor_rows(const struct supervisor *supervisor, struct supervisor_row *out_rows,
                       size_t max);
