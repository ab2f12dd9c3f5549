/* footprint - read from /proc. */
#include "footprint.h"

#include "process_tree.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

static bool add_process(int pid, struct footprint *sum)
{
    char path[64];
    long size, pages;
    (void)snprintf(path, sizeof path, "/proc/%d/statm", pid); /* fits */
    FILE *statm = fopen(path, "re");
    bool is_read = statm && fscanf(statm, "%ld %ld", &size, &pages) == 2;
    if (statm)
        (void)fclose(statm);                               /* it was only read */
    (void)snprintf(path, sizeof path, "/proc/%d/fd", pid); /* fits */
    DIR *fds = is_read ? opendir(path) : NULL;
    if (!fds)
        return false;
    sum->processes++;
    sum->rss_mib += (double)pages * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
    sum->fds -= 2; /* . and .. */
    while (readdir(fds))
        sum->fds++;
    (void)closedir(fds); /* it was only read */
    return true;
}

bool footprint_of(int pid, struct footprint *out_footprint)
{
    struct footprint sum = {0};
    struct process_tree tree;
    if (!process_tree_read(pid, &tree) || !add_process(pid, &sum))
        return false;
    for (int i = 1; i < tree.count; i++)
        (void)add_process(tree.pids[i], &sum); /* it may be gone since */
    *out_footprint = sum;
    return true;
}
