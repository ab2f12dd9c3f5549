/* folders - where this user's millrace keeps what outlives a call. Both are made if missing, mode
 * 0700, with the folders above them; refused if they belong to someone else. */
#pragma once

#include "config/config.h"

enum { FOLDER_MAX_BYTES = 4096 };

/* Locks and sockets: $XDG_RUNTIME_DIR/millrace, else /tmp/millrace-UID. ERR_REFUSED too when others
 * may enter it. */
MUST_USE enum err folder_runtime(char *out_path, size_t path_bytes, struct err_note *out_note);
/* What outlives a start: config's state_dir, else $XDG_STATE_HOME/millrace, else
 * ~/.local/state/millrace. Absolute. ERR_SYSTEM: cannot be made or written to; ERR_REFUSED: not
 * ours, or others may write to it. */
MUST_USE enum err folder_state(const struct config *config, char *out_path, size_t path_bytes,
                               struct err_note *out_note);
