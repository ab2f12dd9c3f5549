/* folders - where this user's millrace keeps what outlives a call. */
#pragma once

#include "base/err.h"

/* Locks and sockets: $XDG_RUNTIME_DIR/millrace, else /tmp/millrace-UID. Made if missing, mode 0700;
 * refused if it belongs to someone else or others may enter it. */
MUST_USE enum err folder_runtime(char *out_path, size_t path_bytes, struct err_note *out_note);
