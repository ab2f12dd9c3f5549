/* read_ahead - reads a file for the page cache's sake. */
#include "engine/read_ahead.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* 0: at the end of the file; negative: errno says why. */
static ssize_t read_piece(int fd, void *piece, uint64_t offset)
{
    ssize_t got;
    do
        got = pread(fd, piece, READ_AHEAD_PIECE, (off_t)offset);
    while (got < 0 && errno == EINTR);
    return got;
}

static enum err read_all(int fd, const char *path, void *piece, engine_progress_fn *on_progress,
                         void *ctx, struct err_note *out_note)
{
    struct stat file;
    if (fstat(fd, &file) != 0)
        return err_note_fail(out_note, ERR_PROTOCOL, "cannot read %s: %s", path, strerror(errno));
    uint64_t size = (uint64_t)file.st_size;
    for (uint64_t offset = 0; offset < size;) {
        ssize_t got = read_piece(fd, piece, offset);
        if (got <= 0)
            return err_note_fail(out_note, ERR_PROTOCOL, "cannot read %s behind byte %llu: %s",
                                 path, (unsigned long long)offset,
                                 got < 0 ? strerror(errno) : "it has become shorter");
        offset += (uint64_t)got;
        if (!on_progress(ctx, offset < size ? (float)((double)offset / (double)size) : 1))
            return err_note_fail(out_note, ERR_CANCELLED, "the load of %s was stopped", path);
    }
    return ERR_OK;
}

enum err read_ahead(const char *path, engine_progress_fn *on_progress, void *ctx,
                    struct err_note *out_note)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* as gguf_check_file() did */
    if (fd < 0)
        return err_note_fail(out_note, ERR_PROTOCOL, "cannot open the model file %s: %s", path,
                             strerror(errno));
    (void)posix_fadvise(fd, 0, 0,
                        POSIX_FADV_SEQUENTIAL); /* a hint: the kernel reads further ahead */
    void *piece = mem_alloc(READ_AHEAD_PIECE);
    enum err err = read_all(fd, path, piece, on_progress, ctx, out_note);
    mem_free(piece);
    close(fd);
    return err;
}
