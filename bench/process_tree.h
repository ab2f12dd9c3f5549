/* process_tree - what a process and all of its descendants used and hold: a server may be several.
 * Read from /proc. Linux. */
#pragma once

#include "base/err.h"

enum {
    PROCESS_TREE_MAX = 512,
    PROCESS_PID_MAX = 1 << 22, /* what Linux gives out, at most */
};

struct process_tree {
    int pids[PROCESS_TREE_MAX]; /* parents before their children */
    int count;
    bool is_cut; /* there were more than PROCESS_TREE_MAX */
    /* CPU time since each began, summed: of all its threads, those that ended included. From the
     * processes' CPU clocks, so to the nanosecond: /proc/PID/stat counts ticks of 10 ms, and
     * /proc/PID/task/N/schedstat goes with its thread. */
    uint64_t cpu_ns;
};

/* False when `pid` cannot be looked at. A child that goes
 * meanwhile is not in it. */
bool process_tree_read(int pid, struct process_tree *out_tree);
/* Is every process of `before` still there? Only then is the difference of two cpu_ns what was used
 * between them. */
bool process_tree_has_all(const struct process_tree *tree, const struct process_tree *before);
/* Proportional set size (a page that n processes share counts 1/n for each), summed. It walks the
 * page tables of each under its lock: not while something is timed. False: one cannot be read. */
bool process_tree_pss(const struct process_tree *tree, uint64_t *out_kib);
