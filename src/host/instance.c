/* instance - one millrace per state folder. See instance.h. */
#include "host/instance.h"

#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum { RESERVE_BYTES = 4096 };

struct instance {
    char file[INSTANCE_PATH_BYTES], draft[INSTANCE_PATH_BYTES];
    int lock_fd, draft_fd; /* -1: none */
};

static enum err failed(struct err_note *out_note, const char *what, const char *path)
{
    return err_note_fail(out_note, ERR_SYSTEM, "state folder: cannot %s %s: %s", what, path,
                         strerror(errno));
}

static enum err in_use(int lock_fd, const char *state_dir, struct err_note *out_note)
{
    char text[24] = {0};
    uint64_t pid;
    ssize_t got = pread(lock_fd, text, sizeof(text) - 1, 0);
    struct slice line = slice_trim(slice_of(text, got > 0 ? strcspn(text, "\n") : 0));
    if (slice_parse_u64(line, INT32_MAX, &pid) == ERR_OK)
        return err_note_fail(out_note, ERR_REFUSED,
                             "the state folder %s is in use by millrace, process %d; another one "
                             "needs a folder of its own (--state-dir)",
                             state_dir, (int)pid);
    return err_note_fail(out_note, ERR_REFUSED, "the state folder %s is in use by another millrace",
                         state_dir);
}

static enum err take_lock(struct instance *instance, const char *state_dir,
                          struct err_note *out_note)
{
    char path[INSTANCE_PATH_BYTES], pid[24];
    snprintf(path, sizeof(path), "%s/lock", state_dir);
    instance->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (instance->lock_fd < 0)
        return failed(out_note, "open", path);
    if (flock(instance->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? in_use(instance->lock_fd, state_dir, out_note)
                                    : failed(out_note, "lock", path);
    int len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(instance->lock_fd, 0) != 0 ||
        pwrite(instance->lock_fd, pid, (size_t)len, 0) != len)
        return failed(out_note, "write", path);
    return ERR_OK;
}

/* Bytes, not a promise: not every file system knows fallocate(). */
static enum err reserve(struct instance *instance, struct err_note *out_note)
{
    static const char blank[RESERVE_BYTES];
    instance->draft_fd =
        open(instance->draft, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (instance->draft_fd < 0)
        return failed(out_note, "open", instance->draft);
    errno = ENOSPC; /* what a short write means */
    if (pwrite(instance->draft_fd, blank, sizeof(blank), 0) != (ssize_t)sizeof(blank))
        return failed(out_note, "write", instance->draft);
    return ERR_OK;
}

enum err instance_take(const char *state_dir, struct instance **out_instance,
                       struct err_note *out_note)
{
    if (strlen(state_dir) + sizeof("/instance.json.new") > INSTANCE_PATH_BYTES)
        return err_note_fail(out_note, ERR_LIMIT, "the state folder's name is longer than %d bytes",
                             INSTANCE_PATH_BYTES - 32);
    struct instance *instance = mem_alloc(sizeof(*instance));
    instance->lock_fd = instance->draft_fd = -1;
    snprintf(instance->file, sizeof(instance->file), "%s/instance.json", state_dir);
    snprintf(instance->draft, sizeof(instance->draft), "%s/instance.json.new", state_dir);
    enum err err = take_lock(instance, state_dir, out_note);
    if (err == ERR_OK)
        err = reserve(instance, out_note);
    if (err != ERR_OK) {
        /* The lock may be another one's: then nothing in the folder is ours to remove. */
        if (instance->draft_fd >= 0)
            (void)unlink(instance->draft);
        if (instance->draft_fd >= 0)
            (void)close(instance->draft_fd);
        if (instance->lock_fd >= 0)
            (void)close(instance->lock_fd);
        mem_free(instance);
        return err;
    }
    *out_instance = instance;
    return ERR_OK;
}

enum err instance_publish(struct instance *instance, const char *bus_dir, const char *address,
                          struct err_note *out_note)
{
    struct text text;
    text_init(&text, INSTANCE_FILE_MAX_BYTES);
    struct json_out json = json_out_to(&text);
    json_out_begin_object(&json);
    json_out_add_i64(&json, "pid", getpid());
    json_out_add_string(&json, "bus", slice_str(bus_dir));
    json_out_add_string(&json, "address", slice_str(address));
    json_out_add_string(&json, "version", SLICE(MILLRACE_VERSION));
    json_out_end_object(&json);
    text_add_byte(&text, '\n');
    errno = ENOSPC; /* what a short write means */
    bool done = text_status(&text) == ERR_OK &&
                pwrite(instance->draft_fd, text.data, text.len, 0) == (ssize_t)text.len &&
                ftruncate(instance->draft_fd, (off_t)text.len) == 0 &&
                rename(instance->draft, instance->file) == 0;
    text_fini(&text);
    return done ? ERR_OK : failed(out_note, "write", instance->file);
}

void instance_release(struct instance *instance)
{
    if (!instance)
        return;
    (void)unlink(instance->file); /* neither may be there */
    (void)unlink(instance->draft);
    (void)close(instance->draft_fd);
    (void)ftruncate(instance->lock_fd, 0); /* the next one to find it taken reads no old number */
    (void)close(instance->lock_fd);
    mem_free(instance);
}

/* --- for who looks for it --- */

static bool copy_string(const json_t *object, const char *key, char *out, size_t bytes)
{
    struct slice value = json_slice(json_object_get(object, key));
    if (value.len >= bytes)
        return false;
    memcpy(out, value.data ? value.data : "", value.len);
    out[value.len] = '\0';
    return true;
}

static enum err parse(struct slice bytes, struct instance_info *out_info)
{
    json_t *root = NULL;
    struct err_note ignored;
    struct instance_info info = {0};
    TRY(json_read(bytes, JSON_DEPTH_MAX, &root, &ignored));
    json_int_t pid = json_integer_value(json_object_get(root, "pid"));
    bool is_right = pid > 0 && pid <= INT32_MAX &&
                    copy_string(root, "bus", info.bus_dir, sizeof(info.bus_dir)) &&
                    copy_string(root, "address", info.address, sizeof(info.address)) &&
                    copy_string(root, "version", info.version, sizeof(info.version)) &&
                    info.bus_dir[0] == '/';
    json_decref(root);
    if (!is_right)
        return ERR_PROTOCOL;
    info.pid = (int)pid;
    *out_info = info;
    return ERR_OK;
}

enum err instance_read(const char *state_dir, struct instance_info *out_info,
                       struct err_note *out_note)
{
    char path[INSTANCE_PATH_BYTES], bytes[INSTANCE_FILE_MAX_BYTES];
    int len = snprintf(path, sizeof(path), "%s/instance.json", state_dir);
    if (len < 0 || (size_t)len >= sizeof(path))
        return err_note_fail(out_note, ERR_PROTOCOL, "the state folder's name is too long");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_note_fail(out_note, ERR_NOT_FOUND,
                             "no millrace runs with the state folder %s (%s: %s)", state_dir, path,
                             strerror(errno));
    ssize_t got = read(fd, bytes, sizeof(bytes));
    (void)close(fd); /* it was only read */
    if (got < 0 || parse(slice_of(bytes, (size_t)got), out_info) != ERR_OK)
        return err_note_fail(out_note, ERR_PROTOCOL, "%s is not what millrace serve writes", path);
    return ERR_OK;
}
