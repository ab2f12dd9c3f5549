/* life - the thread between the host and a role process: the role's side. The host gives a child
 * three things, named in its environment:
 *
 *   MILLRACE_LIFE_FD    read end of a pipe that only the host holds open: end of file means that
 * the host is gone, and the role ends at once. (PR_SET_PDEATHSIG is the second line, for a loop
 * that hangs.) MILLRACE_REPORT_FD  where the role writes lines (report.h): ready, draining, a beat
 * every LIFE_BEAT_MS from its main loop. Non-blocking: a beat that does not fit is dropped.
 *   MILLRACE_CONFIG_FD  a memfd with the configuration (config/snapshot.h); read again at SIGHUP
 *
 * Beside these the gateway gets MILLRACE_LISTEN_FDS ("5,6"): listening sockets, one per loop
 * thread, that the host keeps open too, so that no connect is refused while a gateway is being
 * replaced. A role that is started by hand has none of them, and lives until a signal. */
#pragma once

#include "life/report.h"
#include "loop/loop.h"

enum { LIFE_BEAT_MS = 200 };

/* What a beat says, asked on the main loop's thread just before it is sent. Threads of the role
 * that have to be alive too are looked at here: is_alive false sends no beat. */
struct life_pulse {
    bool is_alive;
    uint32_t stuck_ms; /* has work and shows no progress since; 0: progresses, or idle */
    uint32_t streams;  /* in flight */
};
typedef void life_pulse_fn(void *ctx, struct life_pulse *out_pulse);

struct life;
/* Reads the environment (and removes the names from it), sets PR_SET_PDEATHSIG, starts beating.
 * ERR_REFUSED + note: a name is there and wrong. Without any of them: *out_life is NULL, which the
 * calls below take. */
MUST_USE enum err life_start(struct loop *loop, life_pulse_fn *on_pulse, void *ctx,
                             struct life **out_life, struct err_note *out_note);
/* A beat out of turn: what changed matters to the host also if we end in this instant. */
void life_beat(struct life *life);
void life_say_ready(struct life *life, const char *text); /* the gateway: its address */
void life_say_draining(struct life *life);
void life_say_failed(struct life *life, const char *note); /* before ending with a status */
void life_stop(struct life **life);                        /* no more beats; NULL inside is fine */

/* -1: none. The descriptors are close-on-exec and ours to close. */
int life_config_fd(void);
/* Up to `max`; how many. They are taken from the environment once. */
size_t life_listen_fds(int *out_fds, size_t max);
