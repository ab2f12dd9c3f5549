/* prefix_spill - a folder of files, and the list of those that are known to be in it. */
#include "worker/prefix_spill.h"

#include "base/hex.h"
#include "base/id.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NAME_DIGITS = 32,
    PART_DIGITS = 16,
    NAME_ROOM = NAME_DIGITS + sizeof(".kv"),
    PART_ROOM = NAME_DIGITS + 1 + PART_DIGITS + sizeof(".part")
};

struct entry {
    char name[NAME_ROOM]; /* NAME.kv */
    uint64_t bytes;       /* of the file */
    uint64_t used;        /* larger: later */
};

struct prefix_spill {
    struct prefix_spill_options options;
    int folder; /* descriptor */
    struct entry *entries;
    uint64_t uses;
    struct prefix_spill_counts counts;
};

/* --- names --- */

/* Lower case, as we write them. */
static bool are_digits(const char *text, int count)
{
    for (int i = 0; i < count; i++) {
        if (hex_value(text[i]) < 0 || (text[i] >= 'A' && text[i] <= 'F'))
            return false; /* also at the end of a short one */
    }
    return true;
}

static bool is_name(const char *name)
{
    return are_digits(name, NAME_DIGITS) && strcmp(name + NAME_DIGITS, ".kv") == 0;
}

/* NAME.kv.part: as earlier versions called it. */
static bool is_part(const char *name)
{
    if (!are_digits(name, NAME_DIGITS) || name[NAME_DIGITS] != '.')
        return false;
    const char *own = name + NAME_DIGITS + 1;
    return strcmp(own, "kv.part") == 0 ||
           (are_digits(own, PART_DIGITS) && strcmp(own + PART_DIGITS, ".part") == 0);
}

static void name_of(const struct prefix_spill *spill, uint64_t scope, const token_id *ids,
                    uint32_t count, char out_name[NAME_ROOM])
{
    size_t ids_at = SHA256_BYTES + sizeof(scope), bytes = ids_at + (size_t)count * sizeof(*ids);
    uint8_t *all = mem_alloc(bytes), digest[SHA256_BYTES];
    char hex[SHA256_HEX_BYTES + 1];
    memcpy(all, spill->options.fingerprint, SHA256_BYTES);
    memcpy(all + SHA256_BYTES, &scope, sizeof(scope));
    memcpy(all + ids_at, ids, bytes - ids_at);
    sha256_of(slice_of(all, bytes), digest);
    (void)sha256_format(digest, hex); /* it is in `hex` */
    snprintf(out_name, NAME_ROOM, "%.*s.kv", NAME_DIGITS, hex);
    mem_free(all);
}

/* --- the list --- */

static struct entry *find(const struct prefix_spill *spill, const char *name)
{
    for (uint32_t i = 0; i < spill->counts.files; i++) {
        if (strcmp(spill->entries[i].name, name) == 0)
            return &spill->entries[i];
    }
    return NULL;
}

static void forget(struct prefix_spill *spill, struct entry *entry)
{
    spill->counts.bytes -= entry->bytes;
    *entry = spill->entries[--spill->counts.files];
}

static void remove_entry(struct prefix_spill *spill, struct entry *entry)
{
    (void)unlinkat(spill->folder, entry->name, 0); /* gone already is as good */
    forget(spill, entry);
}

/* Rule 4. */
static void make_room(struct prefix_spill *spill, uint64_t bytes, uint32_t files)
{
    while (spill->counts.files > 0 && (spill->counts.bytes + bytes > spill->options.bytes_max ||
                                       spill->counts.files + files > spill->options.files_max)) {
        struct entry *oldest = spill->entries;
        for (uint32_t i = 1; i < spill->counts.files; i++) {
            if (spill->entries[i].used < oldest->used)
                oldest = &spill->entries[i];
        }
        remove_entry(spill, oldest);
        spill->counts.removed_old++;
    }
}

static void add_entry(struct prefix_spill *spill, const char *name, uint64_t bytes, uint64_t used)
{
    struct entry *entry = &spill->entries[spill->counts.files++];
    *entry = (struct entry){.bytes = bytes, .used = used};
    memcpy(entry->name, name, NAME_ROOM); /* all are so long (is_name()), end and all */
    spill->counts.bytes += bytes;
}

/* --- bytes --- */

/* False: an error (errno), or the file ended before. */
static bool read_all(int file, void *out_bytes, size_t count)
{
    char *at = out_bytes;
    while (count > 0) {
        ssize_t got = read(file, at, count);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        count -= (size_t)got;
    }
    return true;
}

static bool write_all(int file, const void *bytes, size_t count)
{
    const char *at = bytes;
    while (count > 0) {
        ssize_t put = write(file, at, count);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        at += put;
        count -= (size_t)put;
    }
    return true;
}

/* Reads up to the blob. *out_ids is mem_free()d by the caller. */
static enum err read_head(const struct prefix_spill *spill, int file,
                          struct prefix_spill_head *out_head, token_id **out_ids)
{
    char fixed[PREFIX_SPILL_FIXED_BYTES];
    struct stat stat;
    if (fstat(file, &stat) != 0)
        return ERR_SYSTEM;
    if (!S_ISREG(stat.st_mode) || !read_all(file, fixed, sizeof(fixed)))
        return ERR_PROTOCOL;
    TRY(prefix_spill_peek(slice_of(fixed, sizeof(fixed)), (uint64_t)stat.st_size, &spill->options,
                          out_head));
    char *whole = mem_peer_alloc(out_head->head_bytes);
    token_id *ids = mem_peer_alloc(out_head->count * sizeof(*ids));
    enum err err = whole && ids ? ERR_OK : ERR_FULL;
    if (err == ERR_OK) {
        memcpy(whole, fixed, sizeof(fixed));
        err = read_all(file, whole + sizeof(fixed), out_head->head_bytes - sizeof(fixed))
                  ? prefix_spill_ids(slice_of(whole, out_head->head_bytes), out_head, ids)
                  : ERR_PROTOCOL;
    }
    mem_free(whole);
    if (err == ERR_OK)
        *out_ids = ids;
    else
        mem_free(ids);
    return err;
}

static int open_file(const struct prefix_spill *spill, const char *name)
{
    return openat(spill->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* --- opening --- */

static uint64_t changed_at(int file)
{
    struct stat stat;
    if (fstat(file, &stat) != 0)
        return 0;
    return (uint64_t)stat.st_mtim.tv_sec * 1000000000 + (uint64_t)stat.st_mtim.tv_nsec;
}

static void remove_bad(struct prefix_spill *spill, const char *name)
{
    (void)unlinkat(spill->folder, name, 0); /* if it cannot be: it is not counted, that is all */
    spill->counts.removed_bad++;
}

static void look_into(struct prefix_spill *spill, const char *name, int file,
                      prefix_spill_found_fn *on_found, void *ctx)
{
    struct prefix_spill_head head;
    char right_name[NAME_ROOM];
    token_id *ids = NULL;
    enum err err = read_head(spill, file, &head, &ids);
    if (err == ERR_OK)
        name_of(spill, head.scope, ids, head.count, right_name);
    if (err == ERR_PROTOCOL || (err == ERR_OK && strcmp(name, right_name) != 0)) {
        remove_bad(spill, name);
    } else if (err == ERR_OK && spill->counts.files < spill->options.files_max) {
        add_entry(spill, name, head.head_bytes + head.blob_bytes, changed_at(file));
        on_found(ctx, head.scope, ids, head.count, head.blob_bytes);
    } else if (err == ERR_OK) {
        (void)unlinkat(spill->folder, name, 0); /* more than there may be */
        spill->counts.removed_old++;
    }
    mem_free(ids);
}

/* What cannot be opened or read just now (no descriptors, no memory) may be all right. */
static void look_at(struct prefix_spill *spill, const char *name, prefix_spill_found_fn *on_found,
                    void *ctx)
{
    int file = open_file(spill, name);
    if (file >= 0) {
        look_into(spill, name, file, on_found, ctx);
        close(file);
    } else if (errno == ELOOP) { /* a link */
        remove_bad(spill, name);
    }
}

static int by_used(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->used < y->used ? -1 : x->used > y->used;
}

/* From times of files to our own count. */
static void number_uses(struct prefix_spill *spill)
{
    qsort(spill->entries, spill->counts.files, sizeof(*spill->entries), by_used);
    for (uint32_t i = 0; i < spill->counts.files; i++)
        spill->entries[i].used = ++spill->uses;
}

/* Whoever writes it holds its lock, which goes with the process. One that is met in the moment
 * between its making and its lock is lost to its writer, and will be saved another time. */
static void remove_if_left(const struct prefix_spill *spill, const char *part)
{
    int file = openat(spill->folder, part, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        return; /* a link, or gone */
    if (flock(file, LOCK_EX | LOCK_NB) == 0)
        (void)unlinkat(spill->folder, part, 0); /* another process does the same */
    (void)close(file);                          /* nothing was written */
}

static enum err look_around(struct prefix_spill *spill, prefix_spill_found_fn *on_found, void *ctx)
{
    int copy = openat(spill->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
    if (!folder)
        return ERR_SYSTEM;
    for (struct dirent *found; (found = readdir(folder));) {
        if (is_part(found->d_name))
            remove_if_left(spill, found->d_name); /* rule 2 */
        else if (is_name(found->d_name))
            look_at(spill, found->d_name, on_found, ctx);
    }
    closedir(folder);
    number_uses(spill);
    make_room(spill, 0, 0);
    return ERR_OK;
}

enum err prefix_spill_open(const struct prefix_spill_options *options,
                           struct prefix_spill **out_spill, struct err_note *out_note,
                           prefix_spill_found_fn *on_found, void *ctx)
{
    ASSERT(options->files_max >= 1 && options->files_max <= PREFIX_SPILL_FILES_MAX);
    if (mkdir(options->folder, 0700) != 0 && errno != EEXIST)
        return err_note_fail(out_note, ERR_SYSTEM, "cannot make the folder %s: %s", options->folder,
                             strerror(errno));
    int folder = open(options->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return err_note_fail(out_note, ERR_SYSTEM, "cannot open the folder %s: %s", options->folder,
                             strerror(errno));
    struct prefix_spill *spill = mem_alloc(sizeof(*spill));
    spill->options = *options;
    spill->options.folder = NULL; /* not ours to keep */
    spill->folder = folder;
    spill->entries = mem_array(options->files_max, sizeof(*spill->entries));
    if (look_around(spill, on_found, ctx) != ERR_OK) {
        enum err err = err_note_fail(out_note, ERR_SYSTEM, "cannot read the folder %s: %s",
                                     options->folder, strerror(errno));
        prefix_spill_close(spill);
        return err;
    }
    *out_spill = spill;
    return ERR_OK;
}

void prefix_spill_close(struct prefix_spill *spill)
{
    if (!spill)
        return;
    close(spill->folder);
    mem_free(spill->entries);
    mem_free(spill);
}

/* --- putting and getting --- */

static enum err write_file(const struct prefix_spill *spill, const char *name, const void *head,
                           size_t head_bytes, struct slice blob)
{
    char part[PART_ROOM];
    snprintf(part, sizeof(part), "%.*s.%016llx.part", NAME_DIGITS, name,
             (unsigned long long)random_u64()); /* another process may write the same one */
    int file = openat(spill->folder, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return ERR_SYSTEM;
    (void)flock(file, LOCK_EX | LOCK_NB); /* without: a start of another one may remove it */
    bool is_written = write_all(file, head, head_bytes) && write_all(file, blob.data, blob.len);
    is_written = close(file) == 0 && is_written;
    if (is_written && renameat(spill->folder, part, spill->folder, name) == 0)
        return ERR_OK;
    int why = errno;
    (void)unlinkat(spill->folder, part, 0);
    errno = why;
    return ERR_SYSTEM;
}

enum err prefix_spill_put(struct prefix_spill *spill, uint64_t scope, const token_id *ids,
                          uint32_t count, struct slice blob)
{
    char name[NAME_ROOM];
    size_t head_bytes = PREFIX_SPILL_FIXED_BYTES + (size_t)count * 4 + SHA256_BYTES;
    uint64_t bytes = head_bytes + (uint64_t)blob.len;
    ASSERT(count >= 1 && blob.len > 0);
    if (bytes > spill->options.bytes_max || count > spill->options.ids_max)
        return ERR_FULL;
    name_of(spill, scope, ids, count, name);
    struct entry *entry = find(spill, name);
    if (entry) {
        entry->used = ++spill->uses;
        return ERR_OK;
    }
    make_room(spill, bytes, 1);
    uint8_t *head = mem_alloc(head_bytes);
    prefix_spill_write_head(spill->options.fingerprint, scope, ids, count, blob, head);
    enum err err = write_file(spill, name, head, head_bytes, blob);
    mem_free(head);
    if (err == ERR_OK)
        add_entry(spill, name, bytes, ++spill->uses);
    return err;
}

static enum err read_blob(int file, const struct prefix_spill_head *head, void **out_blob)
{
    uint8_t digest[SHA256_BYTES];
    size_t bytes = (size_t)head->blob_bytes;
    void *blob = mem_peer_alloc(bytes);
    if (!blob)
        return ERR_FULL;
    enum err err = ERR_OK;
    if (!read_all(file, blob, bytes)) {
        err = ERR_PROTOCOL; /* it was longer when we looked */
    } else {
        sha256_of(slice_of(blob, bytes), digest);
        if (memcmp(digest, head->blob_digest, sizeof(digest)) != 0)
            err = ERR_PROTOCOL;
    }
    if (err == ERR_OK)
        *out_blob = blob;
    else
        mem_free(blob);
    return err;
}

static enum err read_file(const struct prefix_spill *spill, const char *name, uint64_t scope,
                          const token_id *ids, uint32_t count, void **out_blob, size_t *out_bytes)
{
    struct prefix_spill_head head;
    token_id *found_ids = NULL;
    int file = open_file(spill, name);
    if (file < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM;
    enum err err = read_head(spill, file, &head, &found_ids);
    if (err == ERR_OK && (head.scope != scope || head.count != count ||
                          memcmp(found_ids, ids, count * sizeof(*ids)) != 0))
        err = ERR_PROTOCOL;
    if (err == ERR_OK)
        err = read_blob(file, &head, out_blob);
    if (err == ERR_OK)
        *out_bytes = (size_t)head.blob_bytes;
    mem_free(found_ids);
    close(file);
    return err;
}

enum err prefix_spill_get(struct prefix_spill *spill, uint64_t scope, const token_id *ids,
                          uint32_t count, void **out_blob, size_t *out_bytes)
{
    char name[NAME_ROOM];
    name_of(spill, scope, ids, count, name);
    struct entry *entry = find(spill, name);
    if (!entry)
        return ERR_NOT_FOUND;
    enum err err = read_file(spill, name, scope, ids, count, out_blob, out_bytes);
    if (err == ERR_OK)
        entry->used = ++spill->uses;
    else if (err == ERR_NOT_FOUND)
        forget(spill, entry);
    else if (err == ERR_PROTOCOL) {
        remove_entry(spill, entry);
        spill->counts.removed_bad++;
    }
    return err;
}

void prefix_spill_remove(struct prefix_spill *spill, uint64_t scope, const token_id *ids,
                         uint32_t count)
{
    char name[NAME_ROOM];
    name_of(spill, scope, ids, count, name);
    struct entry *entry = find(spill, name);
    if (entry)
        remove_entry(spill, entry);
}

struct prefix_spill_counts prefix_spill_counts(const struct prefix_spill *spill)
{
    return spill->counts;
}
