/* plan_probe - what tests of plan and its simulator have in common. */
#pragma once

#include "worker/plan.h"

/* Learned from a machine on which a row costs 2 ms and a step 10 ms, whatever is in it. */
static inline struct step_cost plan_probe_cost(void)
{
    struct step_cost cost;
    step_cost_init(&cost);
    for (uint32_t i = 0; i < 400; i++) {
        struct step_shape shape = {.decode_rows = i % 16 + 1, .prompt_rows = i % 3 ? i % 97 : 0};
        step_cost_learn(&cost, &shape, 10000 + 2000 * (shape.decode_rows + shape.prompt_rows));
    }
    return cost;
}

struct plan_gain {
    double expected, least;  /* tokens of the step by the odds of its drafts: of all, of one */
    struct step_shape plain; /* the step without drafts */
};

static inline struct plan_gain plan_probe_gain(const struct plan_state *state,
                                               const struct plan_batch *batch)
{
    struct plan_gain gain = {.least = PLAN_DRAFT_WIDTH};
    for (uint32_t i = 0; i < state->decode_count; i++) {
        double chance = 1, own = 0;
        for (uint32_t row = 0; row < batch->parts[i].count; row++) {
            own += chance;
            chance *= state->decodes[i].draft_odds;
        }
        step_shape_add_decode(&gain.plain, state->decodes[i].position);
        gain.expected += own;
        gain.least = own < gain.least ? own : gain.least;
    }
    return gain;
}
