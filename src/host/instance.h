/* instance - one millrace per state folder, and where to find it.
 *
 * 1. The lock on <state>/lock is what counts, held by the kernel for as long as the process lives;
 *    the pid inside is for whoever finds it taken.
 * 2. <state>/instance.json is there while a service runs ({"pid","bus","address","version"}), whole
 *    or not at all. After a kill it is stale: its bus does not answer. */
#pragma once

#include "base/err.h"

enum { INSTANCE_PATH_BYTES = 4096 + 64, INSTANCE_FILE_MAX_BYTES = 16 * 1024 };

struct instance;

/* Takes the lock and makes sure that the folder can be written to. ERR_REFUSED + note: another one
 * has it (which); ERR_SYSTEM + note. */
MUST_USE enum err instance_take(const char *state_dir, struct instance **out_instance,
                                struct err_note *out_note);
/* Writes the file. The room for it was taken with the lock, so that a full disk shows at the start.
 * ERR_SYSTEM + note. */
MUST_USE enum err instance_publish(struct instance *instance, const char *bus_dir,
                                   const char *address, struct err_note *out_note);
void instance_release(struct instance *instance); /* removes the file; NULL is fine */

/* What the file says. */
struct instance_info {
    int pid;
    char bus_dir[256], address[64], version[64];
};
/* ERR_NOT_FOUND: no file; ERR_PROTOCOL: not such a file; both with note. */
MUST_USE enum err instance_read(const char *state_dir, struct instance_info *out_info,
                                struct err_note *out_note);
