/* cores - the arithmetic behind thread_cores(), apart from the files it is read from. Pure. */
#pragma once

#include "base/slice.h"

/* What a cgroup v2 cpu.max ("150000 100000", "max 100000") leaves of `cores`: quota / period
 * rounded up, at least 1 and never more than `cores`. Text that is not of this form limits nothing.
 */
unsigned cores_under_quota(unsigned cores, struct slice cpu_max);
/* The v2 group in a /proc/self/cgroup (the line "0::/path"), without its leading slash; false when
 * there is none. */
bool cores_cgroup_path(struct slice proc_cgroup, struct slice *out_path);
