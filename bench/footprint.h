/* footprint - what a process and its descendants hold: `millrace serve` is several. Linux. */
#pragma once

#include <stdbool.h>

struct footprint {
    int processes;
    double rss_mib; /* resident memory, summed: pages that they share count for each */
    int fds;
};

/* False when the process cannot be looked at. A child that goes meanwhile is not counted. */
bool footprint_of(int pid, struct footprint *out_footprint);
