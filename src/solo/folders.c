/* folders - where this user's millrace keeps what outlives a call. */
#include "solo/folders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum err folder_runtime(char *out_path, size_t path_bytes, struct err_note *out_note)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    int len = base && base[0] == '/'
                  ? snprintf(out_path, path_bytes, "%s/millrace", base)
                  : snprintf(out_path, path_bytes, "/tmp/millrace-%u", (unsigned)getuid());
    if (len < 0 || (size_t)len >= path_bytes)
        return err_note_fail(out_note, ERR_LIMIT, "XDG_RUNTIME_DIR is longer than %zu bytes",
                             path_bytes - 16);
    if (mkdir(out_path, 0700) != 0 && errno != EEXIST)
        return err_note_fail(out_note, ERR_SYSTEM,
                             "cannot make the folder %s: %s; XDG_RUNTIME_DIR must be a folder of "
                             "this user, or not set",
                             out_path, strerror(errno));
    struct stat info; /* lstat: /tmp is everyone's, a link there may be a trap */
    if (lstat(out_path, &info) != 0)
        return err_note_fail(out_note, ERR_SYSTEM, "%s: %s", out_path, strerror(errno));
    if (!S_ISDIR(info.st_mode) || info.st_uid != getuid() || (info.st_mode & 077) != 0)
        return err_note_fail(out_note, ERR_REFUSED,
                             "%s must be a folder of this user with mode 0700", out_path);
    return ERR_OK;
}
