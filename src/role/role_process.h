/* role_process - what every role's process does alike: configuration, log, descriptors, loop,
 * signals, the way onto the bus, its life under a host, and its end.
 *
 *   config -> loop -> signals -> life -> bus -> role -> serve -> drain -> close, in reverse
 *
 * SIGTERM drains (SIGINT too, but not under a host: a terminal sends it to all of them at once, and
 * the host says when); a second one ends at once. SIGHUP reads the configuration again. The host's
 * end ends it (life.h). */
#pragma once

#include "life/life.h"
#include "role/place.h"

struct role_process;

/* One per role; all on the main loop. */
struct role_kind {
    const char *name; /* as in the log and on the command line */
    /* Opens and starts it; it may keep `process`. *out_role is closed also after an error. */
    enum err (*open)(struct role_process *process, void **out_role, struct err_note *out_note);
    void (*pulse)(void *role, struct life_pulse *out_pulse);
    /* NULL: nothing of it may change. May take *config. */
    void (*reload)(void *role, struct config **config);
    uint32_t (*drain_ms)(const struct config *config);
    /* role_process_end() when it has. */
    void (*drain)(void *role, uint32_t drain_ms);
    void (*close)(void *role);
};

/* argv as config_load() takes it; `model`: a worker's, else NULL. Returns the exit status: 0 after
 * a drain; 1 with a sentence on stderr when it could not start or go on; 2 the configuration. */
int role_process_run(const struct role_kind *kind, int argc, char **argv, const char *model);

/* --- for the kinds --- */

const struct role_place *role_process_place(const struct role_process *process);
struct loop *role_process_loop(struct role_process *process);
const char *role_process_model(const struct role_process *process);
bool role_process_has_host(const struct role_process *process);
void role_process_ready(struct role_process *process, const char *text); /* life_say_ready() */
void role_process_works(struct role_process *process);                   /* life_beat() */
/* It cannot go on: told to the host, drained at once, status 1. */
void role_process_fail(struct role_process *process, const char *note);
void role_process_end(struct role_process *process); /* the drain is over */
