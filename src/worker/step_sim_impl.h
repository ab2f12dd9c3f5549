/* step_sim_impl - what the files of step_sim share. */
#pragma once

#include "worker/step_sim.h"

#define HOLDS(cond)                                                                                \
    ASSERT_MSG(cond, "seed %llu, step %llu", (unsigned long long)sim->seed,                        \
               (unsigned long long)sim->steps)

/* --- slots --- */

/* Everybody whose time has come, as long as there are slots; who waits for another's prompt asks
 * again in the next step. */
void step_sim_admit_all(struct step_sim *sim);
uint32_t step_sim_free_slots(const struct step_sim *sim);
/* Tokens to put in before it is sampled. */
uint32_t step_sim_left(const struct sim_request *request);
/* The next ones of its ids, in one part. */
void step_sim_put(struct step_sim *sim, struct sim_request *request, uint32_t count);
/* If a save is due where it has come. */
void step_sim_save_here(struct step_sim *sim, struct sim_request *request);
/* Others may have its prompt. What was said of its answer follows. */
void step_sim_prompt_is_in(struct step_sim *sim, struct sim_request *request);
/* Once for each; it leaves its slot, if it has one. */
void step_sim_end(struct step_sim *sim, struct sim_request *request);

/* --- checks: step_sim_check.c --- */

void step_sim_check_plan(struct step_sim *sim, const struct plan_state *state,
                         const struct plan_batch *batch);
/* Of a step of these: is it another set than before? */
bool step_sim_check_turn(struct step_sim *sim, const struct engine_adapter_set *adapters);
void step_sim_count_sets(struct step_sim *sim);
void step_sim_check_cells(const struct step_sim *sim, const struct sim_request *request);
