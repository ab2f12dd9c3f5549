/* memory_available - reads /proc/meminfo, and the limits of our control group and of those around
 * it. */
#include "engine/memory_available.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* The file's beginning; empty when there is none. /proc and /sys answer a read at once. */
static struct slice read_start(const char *path, char *buffer, size_t buffer_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return (struct slice){0};
    size_t len = 0;
    ssize_t got;
    while (len < buffer_bytes &&
           ((got = read(fd, buffer + len, buffer_bytes - len)) > 0 || (got < 0 && errno == EINTR)))
        len += got > 0 ? (size_t)got : 0;
    close(fd);
    return slice_of(buffer, len);
}

/* The first number behind `name` at the start of a line. */
static bool find_number(struct slice text, const char *name, uint64_t *out_number)
{
    struct slice line;
    while (text.len > 0) {
        (void)slice_cut(text, '\n', &line, &text); /* the last line may lack its end */
        if (!slice_starts_with(line, slice_str(name)))
            continue;
        struct slice digits, unit;
        (void)slice_cut(slice_trim(slice_after(line, strlen(name))), ' ', &digits, &unit);
        return slice_parse_u64(digits, UINT64_MAX, out_number) == ERR_OK;
    }
    return false;
}

static uint64_t of_the_machine(const char *root)
{
    char path[PATH_MAX], buffer[4096];
    uint64_t kib = 0;
    snprintf(path, sizeof(path), "%s/proc/meminfo", root);
    if (!find_number(read_start(path, buffer, sizeof(buffer)), "MemAvailable:", &kib) ||
        kib > UINT64_MAX / 1024)
        return UINT64_MAX;
    return kib * 1024;
}

static bool read_number(const char *folder, const char *name, uint64_t *out_number)
{
    char path[PATH_MAX + 64], buffer[64];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return find_number(read_start(path, buffer, sizeof(buffer)), "", out_number);
}

/* What one group leaves: its limit less what it uses, but for the page cache, which it can drop. */
static uint64_t of_group(const char *folder)
{
    char path[PATH_MAX + 64], buffer[4096];
    uint64_t limit = 0, used = 0, cache = 0;
    if (!read_number(folder, "memory.max", &limit) || !read_number(folder, "memory.current", &used))
        return UINT64_MAX; /* the limit is "max", or there is none */
    snprintf(path, sizeof(path), "%s/memory.stat", folder);
    if (!find_number(read_start(path, buffer, sizeof(buffer)), "file ", &cache) || cache > used)
        cache = 0;
    used -= cache;
    return used < limit ? limit - used : 0;
}

static uint64_t of_our_groups(const char *root)
{
    char path[PATH_MAX], buffer[4096], folder[PATH_MAX];
    struct slice line, groups;
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    groups = read_start(path, buffer, sizeof(buffer));
    do /* version 2 is the line that begins with "0::" */
        (void)slice_cut(groups, '\n', &line, &groups);
    while (groups.len > 0 && !slice_starts_with(line, SLICE("0::")));
    struct slice group = slice_after(line, 3);
    if (!slice_starts_with(line, SLICE("0::/")))
        return UINT64_MAX;

    uint64_t least = UINT64_MAX;
    int top = snprintf(folder, sizeof(folder), "%s/sys/fs/cgroup", root);
    int len =
        snprintf(folder, sizeof(folder), "%s/sys/fs/cgroup" SLICE_FMT, root, SLICE_ARG(group));
    if (len < 0 || (size_t)len >= sizeof(folder))
        return UINT64_MAX;
    for (;;) { /* from our group up to the one around all */
        uint64_t room = of_group(folder);
        least = room < least ? room : least;
        char *slash = strrchr(folder, '/');
        if (slash < folder + top)
            return least;
        *slash = '\0';
    }
}

uint64_t memory_available_bytes(const char *root)
{
    uint64_t machine = of_the_machine(root), groups = of_our_groups(root);
    return machine < groups ? machine : groups;
}
