/* memory - how much memory a process has. See memory.h. */
#include "host/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

uint64_t memory_parse_pss(struct slice rollup)
{
    struct slice line, number, unit;
    while (rollup.len) {
        slice_cut(rollup, '\n', &line, &rollup);
        if (!slice_starts_with(line, SLICE("Pss:")))
            continue;
        uint64_t kib;
        slice_cut(slice_trim(slice_after(line, 4)), ' ', &number, &unit);
        if (slice_parse_u64(number, UINT64_MAX / 1024, &kib) == ERR_OK && slice_eq_str(unit, "kB"))
            return kib * 1024;
    }
    return 0;
}

uint64_t memory_pss_bytes(int pid)
{
    char path[64], text[4096];
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, text, sizeof(text));
    (void)close(fd); /* it was only read */
    return memory_parse_pss(slice_of(text, got > 0 ? (size_t)got : 0));
}
