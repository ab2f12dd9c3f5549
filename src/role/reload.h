/* reload - SIGHUP: the configuration is read again, and what of it is new. */
#pragma once

#include "config/config.h"

/* Reads the sources of `at_start` again, or the host's snapshot (snapshot_fd >= 0). What may change
 * while a role runs holds from now on: log_level is set here, the rest is for the caller to apply.
 * Each other key that differs from the start is logged as needing a restart. NULL: a mistake (also
 * keys that are all gone while others can reach the address, the one of the start too), logged,
 * nothing is changed. Main thread. */
MUST_USE struct config *reload_config(const struct config *at_start, int snapshot_fd);
