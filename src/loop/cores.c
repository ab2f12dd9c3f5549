/* cores - how many cores this process may use: affinity, and the cgroup quotas above it. */
#include "loop/cores.h"

#include "loop/thread.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

unsigned cores_under_quota(unsigned cores, struct slice cpu_max)
{
    struct slice quota_text, period_text;
    uint64_t quota, period;
    if (!slice_cut(cpu_max, ' ', &quota_text, &period_text))
        return cores;
    if (slice_ends_with(period_text, SLICE("\n")))
        period_text.len--;
    if (slice_parse_u64(quota_text, INT64_MAX, &quota) != ERR_OK ||
        slice_parse_u64(period_text, INT64_MAX, &period) != ERR_OK || period == 0)
        return cores; /* "max", or nothing we know */
    uint64_t allowed = quota / period + (quota % period != 0);
    if (allowed == 0)
        allowed = 1;
    return allowed < cores ? (unsigned)allowed : cores;
}

bool cores_cgroup_path(struct slice proc_cgroup, struct slice *out_path)
{
    while (!slice_is_empty(proc_cgroup)) {
        struct slice line;
        slice_cut(proc_cgroup, '\n', &line, &proc_cgroup);
        if (slice_starts_with(line, SLICE("0::/"))) {
            *out_path = slice_after(line, 4);
            return true;
        }
    }
    return false;
}

static struct slice read_small(const char *path, char *bytes, size_t bytes_max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return (struct slice){0};
    ssize_t len = read(fd, bytes, bytes_max);
    close(fd);
    return slice_of(bytes, len > 0 ? (size_t)len : 0);
}

static unsigned affinity_cores(void)
{
    /* The kernel refuses (EINVAL) a set smaller than its own; 64 Ki cores are enough. */
    for (int cpus = CPU_SETSIZE; cpus <= 65536; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        size_t bytes = CPU_ALLOC_SIZE((size_t)cpus);
        ASSERT(set != NULL);
        int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0)
            return (unsigned)count;
    }
    return 1;
}

/* A quota of any group above ours binds us too. */
unsigned thread_cores(void)
{
    unsigned cores = affinity_cores();
    char proc_cgroup[PATH_MAX], file[PATH_MAX + 64], cpu_max[64];
    struct slice group;
    if (!cores_cgroup_path(read_small("/proc/self/cgroup", proc_cgroup, sizeof proc_cgroup),
                           &group))
        return cores;
    for (bool is_root = false; !is_root;) {
        is_root = slice_is_empty(group);
        (void)snprintf(file, sizeof file, "/sys/fs/cgroup/" SLICE_FMT "/cpu.max",
                       SLICE_ARG(group)); /* fits: a group is cut from PATH_MAX bytes */
        cores = cores_under_quota(cores, read_small(file, cpu_max, sizeof cpu_max));
        while (group.len > 0 && group.data[group.len - 1] != '/')
            group.len--;
        if (group.len > 0)
            group.len--; /* the slash */
    }
    return cores;
}
