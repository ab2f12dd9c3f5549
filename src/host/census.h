/* census - tells others who runs: answers host.calls "roles" (wire/call.h), speaks on "state.nodes"
 * for workers that cannot (they are being started again, or held back), and counts.
 *
 * Memory is read on the pool, every CENSUS_MEMORY_MS and CENSUS_NEWS_MS after a change, of at most
 * CENSUS_ROWS_MAX processes. */
#pragma once

#include "bus/bus.h"
#include "host/supervisor.h"

enum {
    CENSUS_MEMORY_MS = 2000,
    CENSUS_NEWS_MS = 200,
    CENSUS_ROWS_MAX = SUPERVISOR_ROLES_MAX * (SUPERVISOR_LEAVING_MAX + 1)
};

struct census;
/* Both are borrowed; the supervisor outlives it. Errors of the bus. */
MUST_USE enum err census_new(struct bus *bus, const struct supervisor *supervisor,
                             uint64_t started_us, struct census **out_census);
/* Something has changed: what others should know at once is said at once. */
void census_changed(struct census *census);
/* Waits for the pool. NULL is fine. */
void census_free(struct census *census);
