/* snapshot - a configuration as one file that roles read in place of command line, environment and
 * config file: what the host read is what every role has.
 *
 * One JSON object: each key of keys.c with its value in force, as text; API keys with their
 * digests, so the file is a memfd and nobody else's. Read back exactly. Who writes tells the
 * readers afterwards (SIGHUP): one that reads meanwhile is refused, or takes a part of both and is
 * told soon. */
#pragma once

#include "config/config.h"

/* Replaces what is in the file. The fields count, not where they came from: a copy of a struct
 * config with some of them changed (bus_url) can be written. ERR_SYSTEM (errno): the file takes
 * nothing. */
MUST_USE enum err config_snapshot_write(const struct config *config, int fd);
/* From the beginning, wherever its offset is. ERR_REFUSED: a name is unknown or missing, a value is
 * not allowed, no JSON; ERR_LIMIT, ERR_SYSTEM. *out_note says what. */
MUST_USE enum err config_snapshot_read(int fd, struct config **out_config,
                                       struct err_note *out_note);
