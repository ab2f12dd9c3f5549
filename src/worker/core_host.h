/* core_host - what the host of a core may do with its engine while the core has nothing to do: the
 * self-test and the calibration (selftest_run.h). The core's thread. */
#pragma once

#include "worker/core.h"
#include "worker/step_cost.h"

/* No sequence is there, not even a saved one, and the engine is not broken: the engine is the
 * host's until the next core_step(). Before that, core_empty_slots(). */
bool core_is_idle(const struct core *core);
/* Slots 0..count-1, whatever they hold: the prefix cache forgets it; and what is put in from now on
 * goes through those adapters that who names none gets. True: the engine had others, so its next
 * decode() takes longer than those behind it. core_is_idle(). */
bool core_empty_slots(struct core *core, uint32_t count);
/* A decode() of this shape took so long: as if a step of the core had. */
void core_learn_step(struct core *core, const struct step_shape *shape, uint64_t spent_us);
