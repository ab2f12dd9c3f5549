/* host - `millrace serve`: one process that starts a gateway, a manager and the workers as
 * processes of their own, and keeps them running (supervisor.h). It owns what must outlive each of
 * them: the port and its listening sockets, the switch of the bus, the state folder's lock, the
 * configuration that all of them read. */
#pragma once

#include "config/config.h"

/* Serves until SIGTERM or SIGINT and returns the exit status: 0 after an orderly stop; 1 when it
 * could not start or go on (a sentence is on stderr); 130 after a second signal. SIGHUP reads the
 * configuration again. Main thread. */
int host_serve(const struct config *config);
