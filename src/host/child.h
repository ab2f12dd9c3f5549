/* child - one role process, from its start to its end: what it says (reports, lines on stderr), how
 * it ended. Who is started when is restart.h's, who is killed watch.h's business.
 *
 * 1. A child is a session and process group of its own: a terminal's Ctrl-C reaches the host alone,
 *    and what a child started and left behind is killed with it.
 * 2. It inherits what child_options names, and nothing else: every other descriptor of ours is
 *    close-on-exec. Its stdin is /dev/null; stdout and stderr go into our pipe.
 * 3. What it writes is read a bounded part at a time (CHILD_BYTES_PER_TURN, and one read more),
 *    and stderr as pace.h says: once in PACE_PAUSE_MS while a turn takes all there is, turn by turn
 *    while it does not, and after PACE_WINDOW_BYTES not before the window's end. One that floods
 *    waits then, or drops lines, at its end. What waits is in the pipe (CHILD_LOG_PIPE_BYTES), so
 *    it is not lost with the child.
 * 4. Its end is what waitid() says, never an end of file: a grandchild may hold the pipes open.
 *
 * The loop's thread, which must be the process's main one (PR_SET_PDEATHSIG is about threads). */
#pragma once

#include "host/log_lines.h"
#include "life/report.h"
#include "loop/loop.h"

#include <sys/types.h>

enum {
    CHILD_BYTES_PER_TURN = 64 * 1024,
    CHILD_LOG_PIPE_BYTES = 256 * 1024, /* what a child can say in a pause */
    CHILD_ARGUMENTS_MAX = 4,
    CHILD_LISTEN_MAX = 64,
};

struct child;

struct child_options {
    const char *program; /* a path; "/proc/self/exe": this one, also when its file was replaced */
    const char *arguments[CHILD_ARGUMENTS_MAX]; /* after the name; up to the first NULL */
    int life_fd;                                /* read end of the host's life pipe */
    int config_fd;                              /* -1: none */
    const int *listen_fds;                      /* as all of these borrowed: the child has copies */
    size_t listen_count;
};

struct child_handler {
    /* Borrowed until it returns. */
    void (*on_report)(void *ctx, const struct report *report);
    log_line_fn *on_line;
};

/* How it ended. */
struct child_end {
    bool was_signal;
    int number; /* of the signal, else the exit status */
};

/* ERR_SYSTEM + note: no process, no descriptors. */
MUST_USE enum err child_start(struct loop *loop, const struct child_options *options,
                              const struct child_handler *handler, void *ctx,
                              struct child **out_child, struct err_note *out_note);
pid_t child_pid(const struct child *child);
/* SIGTERM and SIGHUP go to the process, SIGKILL to its whole group. */
void child_signal(struct child *child, int number);
/* True once, when it has ended: what it left behind is killed, what it said last is handled. Ask
 * after SIGCHLD. */
MUST_USE bool child_has_ended(struct child *child, struct child_end *out_end);
struct slice child_last_words(const struct child *child);
/* Kills one that still runs, and waits for its end (a second at most: one that the kernel does not
 * let go is init's then). Not from its handler's callbacks; NULL inside is fine. */
void child_free(struct child **child);
