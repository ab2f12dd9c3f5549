/* settings - the configuration as the roles get it: in a memfd that they read at their start and
 * after each SIGHUP (config/snapshot.h). */
#pragma once

#include "config/config.h"

struct settings;

/* `config` (borrowed) with the bus and the port that the host has really chosen. ERR_SYSTEM. */
MUST_USE enum err settings_new(const struct config *config, const char *bus_dir, uint16_t port,
                               struct settings **out_settings, struct err_note *out_note);
int settings_fd(const struct settings *settings);
/* Takes over from `wanted` what may change while a role runs. The rest stays as it was also for a
 * role that is started later: all of them have the same. ERR_SYSTEM. */
MUST_USE enum err settings_change(struct settings *settings, const struct config *wanted,
                                  struct err_note *out_note);
void settings_free(struct settings *settings); /* NULL is fine */
