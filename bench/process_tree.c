/* process_tree - see process_tree.h. */
#include "process_tree.h"

#include <dirent.h>
#include <stdio.h>
#include <time.h>

/* False when the process is gone. The number of its clock is made from its own, shifted: a number
 * that is too large would become another one's. */
static bool add_cpu(int pid, uint64_t *cpu_ns)
{
    clockid_t clock;
    struct timespec used;
    if (pid < 1 || pid > PROCESS_PID_MAX || clock_getcpuclockid(pid, &clock) != 0 ||
        clock_gettime(clock, &used) != 0)
        return false;
    *cpu_ns += (uint64_t)used.tv_sec * 1000000000U + (uint64_t)used.tv_nsec;
    return true;
}

static void add_process(struct process_tree *tree, int pid)
{
    tree->is_cut |= tree->count == PROCESS_TREE_MAX;
    if (!tree->is_cut && add_cpu(pid, &tree->cpu_ns))
        tree->pids[tree->count++] = pid;
}

/* A child hangs on the thread that started it. */
static void add_children_of_thread(struct process_tree *tree, int pid, const char *thread)
{
    char path[300];
    int child;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%s/children", pid, thread); /* fits */
    FILE *children = fopen(path, "re");
    while (children && fscanf(children, "%d", &child) == 1)
        add_process(tree, child);
    if (children)
        (void)fclose(children); /* it was only read */
}

static void add_children(struct process_tree *tree, int pid)
{
    char path[64];
    const struct dirent *entry;
    (void)snprintf(path, sizeof path, "/proc/%d/task", pid); /* fits */
    DIR *threads = opendir(path);
    while (threads && (entry = readdir(threads)))
        if (entry->d_name[0] != '.')
            add_children_of_thread(tree, pid, entry->d_name);
    if (threads)
        (void)closedir(threads); /* it was only read */
}

bool process_tree_read(int pid, struct process_tree *out_tree)
{
    *out_tree = (struct process_tree){0};
    add_process(out_tree, pid);
    for (int i = 0; i < out_tree->count; i++) /* it grows meanwhile: breadth first */
        add_children(out_tree, out_tree->pids[i]);
    return out_tree->count > 0;
}

bool process_tree_has_all(const struct process_tree *tree, const struct process_tree *before)
{
    for (int i = 0; i < before->count; i++) {
        int at = 0;
        while (at < tree->count && tree->pids[at] != before->pids[i])
            at++;
        if (at == tree->count)
            return false;
    }
    return true;
}

static bool add_pss(int pid, uint64_t *kib)
{
    char path[64], line[256];
    unsigned long long value = 0;
    bool is_found = false;
    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid); /* fits */
    FILE *rollup = fopen(path, "re");
    while (rollup && !is_found && fgets(line, sizeof line, rollup))
        is_found = sscanf(line, "Pss: %llu kB", &value) == 1;
    if (rollup)
        (void)fclose(rollup); /* it was only read */
    *kib += value;
    return is_found;
}

bool process_tree_pss(const struct process_tree *tree, uint64_t *out_kib)
{
    uint64_t kib = 0;
    for (int i = 0; i < tree->count; i++)
        if (!add_pss(tree->pids[i], &kib))
            return false;
    *out_kib = kib;
    return true;
}
