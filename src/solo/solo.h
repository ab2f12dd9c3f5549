/* solo - every role in one process over bus_mem, each on threads of its own: the same role objects
 * (role/) that are processes otherwise. For debugging, small machines and simulation: `millrace
 * serve --solo`.
 *
 * 1. Everything is opened on the main thread, in order, before any thread runs; the first failure
 * ends the start with one sentence.
 * 2. It listens before the models are loaded, so that loading can be watched.
 * 3. Stopping goes the other way round: gateways drain, the manager, the workers, threads are
 * joined, memory goes. */
#pragma once

#include "config/config.h"

/* Serves until SIGTERM or SIGINT (a second one ends at once); SIGHUP reads the configuration again,
 * takes what may change while it serves and tells which other keys would need a restart. Returns
 * the exit status: 0 after a drain; 1 and a line on stderr when it could not start, or when the
 * model that was asked for cannot be loaded. */
int solo_serve(const struct config *config);
