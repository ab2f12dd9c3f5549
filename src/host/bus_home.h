/* bus_home - the host's part of the bus: a folder for its socket, and the switch on a thread of its
 * own, so that whatever holds the host's main loop up holds no frame up. */
#pragma once

#include "base/err.h"

enum { BUS_HOME_PATH_BYTES = 256 };

struct bus_home;

struct bus_home_options {
    const char *wanted_dir;  /* "": below runtime_dir, named after the state folder */
    const char *runtime_dir; /* ours, 0700 */
    const char *state_dir;
    size_t peer_bytes_max;
    uint32_t dead_ms;
};
/* Makes the folder (0700; below /tmp when the path would be too long for a socket) and starts the
 * switch. Errors with note. */
MUST_USE enum err bus_home_start(const struct bus_home_options *options, struct bus_home **out_home,
                                 struct err_note *out_note);
const char *bus_home_dir(const struct bus_home *home);
/* Stops the switch, removes socket and folder. NULL is fine. */
void bus_home_stop(struct bus_home *home);
/* The folder of one who was killed: only ours and only empty but for the socket is removed. */
void bus_home_sweep(const char *dir);
