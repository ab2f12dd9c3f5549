/* step_sim_impl - what the files of step_sim share. */
#pragma once

#include "worker/step_sim.h"

#define HOLDS(cond)                                                                                \
    ASSERT_MSG(cond, "seed %llu, step %llu", (unsigned long long)sim->seed,                        \
               (unsigned long long)sim->steps)

void step_sim_check_plan(struct step_sim *sim, const struct plan_state *state,
                         const struct plan_batch *batch);
/* Of a step of these: is it another set than before? */
bool step_sim_check_turn(struct step_sim *sim, const struct engine_adapter_set *adapters);
void step_sim_count_sets(struct step_sim *sim);
void step_sim_check_cells(const struct step_sim *sim, const struct sim_request *request);
