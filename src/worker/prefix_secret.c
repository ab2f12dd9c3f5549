/* prefix_secret - see prefix_secret.h. */
#include "worker/prefix_secret.h"

#include "base/id.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_MAX_BYTES = 4200 };

static void close_quietly(int file)
{
    int why = errno;
    close(file);
    errno = why;
}

/* ERR_NOT_FOUND; ERR_PROTOCOL: torn. */
MUST_USE static enum err read_whole(const char *path, uint8_t out_secret[PREFIX_SECRET_BYTES])
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM;
    ssize_t got = read(file, out_secret, PREFIX_SECRET_BYTES);
    close_quietly(file);
    if (got < 0)
        return ERR_SYSTEM;
    return got == PREFIX_SECRET_BYTES ? ERR_OK : ERR_PROTOCOL;
}

MUST_USE static bool write_new(int file)
{
    uint64_t secret[PREFIX_SECRET_BYTES / sizeof(uint64_t)];
    for (size_t i = 0; i < ARRAY_COUNT(secret); i++)
        secret[i] = random_u64();
    ssize_t written = write(file, secret, sizeof(secret));
    if (written >= 0 && written < PREFIX_SECRET_BYTES)
        errno = ENOSPC;
    return written == PREFIX_SECRET_BYTES;
}

/* Whole under a name of its own first: under `path` nobody ever sees an empty one, and of two that
 * come together the second finds the first one's. */
MUST_USE static bool make(const char *path, bool is_torn)
{
    char own[PATH_MAX_BYTES + 8];
    snprintf(own, sizeof(own), "%s.XXXXXX", path);
    int file = mkostemp(own, O_CLOEXEC);
    if (file < 0)
        return false;
    bool is_made = write_new(file);
    close_quietly(file);
    if (is_made && is_torn)
        is_made = rename(own, path) == 0;
    else if (is_made)
        is_made = link(own, path) == 0 || errno == EEXIST;
    int why = errno;
    (void)unlink(own); /* it has its other name; or never gets one */
    errno = why;
    return is_made;
}

enum err prefix_secret_read(const char *folder, uint8_t out_secret[PREFIX_SECRET_BYTES])
{
    char path[PATH_MAX_BYTES];
    snprintf(path, sizeof(path), "%s/secret", folder);
    enum err err = read_whole(path, out_secret);
    if (err == ERR_NOT_FOUND || err == ERR_PROTOCOL) {
        if (!make(path, err == ERR_PROTOCOL))
            return ERR_SYSTEM;
        err = read_whole(path, out_secret);
    }
    if (err == ERR_PROTOCOL)
        errno = EIO;
    return err == ERR_OK ? ERR_OK : ERR_SYSTEM;
}
