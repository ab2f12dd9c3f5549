/* step_sim_impl - what the files of step_sim share. */
#pragma once

#include "worker/step_sim.h"

#define HOLDS(cond)                                                                                \
    ASSERT_MSG(cond, "seed %llu, step %llu", (unsigned long long)sim->seed,                        \
               (unsigned long long)sim->steps)

void step_sim_check_plan(struct step_sim *sim, const struct plan_state *state,
                         const struct plan_batch *batch);
void step_sim_check_cells(const struct step_sim *sim, const struct sim_request *request);
