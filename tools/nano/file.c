/* file - whole files in and out. */
#include "nano/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static enum err fail(struct err_note *out_note, const char *what, const char *path)
{
    int error = errno;
    return err_note_fail(out_note, error == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, "%s cannot %s: %s",
                         path, what, strerror(error));
}

static bool write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t written = write(fd, bytes.data, bytes.len);
        if (written < 0 && errno != EINTR)
            return false;
        bytes = slice_after(bytes, written > 0 ? (size_t)written : 0);
    }
    return true;
}

static bool write_parts(int fd, const struct slice *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!write_all(fd, parts[i]))
            return false;
    return fsync(fd) == 0;
}

/* So that the new name itself outlives a power cut. */
static bool sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1,
             slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = fsync(fd) == 0;
    close(fd);
    return ok;
}

enum err file_write(const char *path, const struct slice *parts, size_t count,
                    struct err_note *out_note)
{
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof(beside), "%s.part", path) >= (int)sizeof(beside))
        return err_note_fail(out_note, ERR_SYSTEM, "%s: the path is too long", path);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return fail(out_note, "be written", beside);
    bool ok = write_parts(fd, parts, count);
    ok = close(fd) == 0 && ok;
    if (!ok || rename(beside, path) != 0 || !sync_folder(path)) {
        enum err err = fail(out_note, "be written", path);
        unlink(beside);
        return err;
    }
    return ERR_OK;
}

static enum err read_all(int fd, struct text *out, const char *path, struct err_note *out_note)
{
    char chunk[65536];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(out_note, "be read", path);
        if (got == 0)
            return ERR_OK;
        text_add(out, slice_of(chunk, (size_t)got));
        if (out->overflowed)
            return err_note_fail(out_note, ERR_LIMIT, "%s: more than the %zu bytes it may have",
                                 path, out->max_bytes);
    }
}

enum err file_read(const char *path, struct text *out, struct err_note *out_note)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(out_note, "be read", path);
    enum err err = read_all(fd, out, path, out_note);
    close(fd);
    return err;
}
