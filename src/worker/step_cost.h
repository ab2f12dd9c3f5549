/* step_cost - how long the next step will take, learned from those that were. Pure: no clock, no
 * memory of its own; who runs steps measures them and says so.
 *
 * Two kinds of step, as engines have two kinds of product:
 *   - of decodes alone, by its width. A table, because a width can be a cliff (Q8_0 on some CPUs
 *     takes four times as long for 2 rows as for 1); 1..16 each, wider ones between anchors.
 *   - with prompt rows. A line: fixed + decode rows + prompt rows + pairs, where a row at position
 *     n reads n + 1 cells, which are n + 1 pairs. Found by recursive least squares.
 *
 * 1. The first step that is measured sets the scale of everything; before it the answers are a
 *    guess (1 ms a row) that only serves to begin with.
 * 2. A slow step is told from a slow machine by how many there are. What differs from what was
 *    expected by more than 3 times of what steps differ of late counts as that much (Huber's
 *    psi). One step that hangs moves no answer by more than 1/6; of a machine that has become ten
 *    times slower, five are believed within 32 steps (step_cost_test holds both figures).
 * 3. An eighth of every surprise goes to a pace that all widths and the line have in common: so
 *    what has not been run for long stays in proportion when the whole machine becomes slower.
 * 4. Nothing is ever predicted to cost less with one row more on the line: its terms stay >= 0. */
#pragma once

#include "base/err.h"

enum {
    STEP_COST_WIDTHS = 16,  /* that have an entry each: what a calibration runs */
    STEP_COST_ANCHORS = 20, /* these, and 32, 64, 128, 256 */
    STEP_COST_TERMS = 4
};

struct step_shape { /* of one engine_decode() */
    uint32_t decode_rows, prompt_rows;
    uint64_t pairs; /* over all rows: the position of each, plus 1 */
};

/* In place; init is all there is to its life. The fields are step_cost.c's own. */
struct step_cost {
    double decode_us[STEP_COST_ANCHORS]; /* times `pace` */
    uint32_t seen[STEP_COST_ANCHORS];
    double pace; /* how much slower everything is than when it was first measured */
    double line[STEP_COST_TERMS];                    /* times `pace` */
    double spread[STEP_COST_TERMS][STEP_COST_TERMS]; /* how uncertain they are: covariance */
    double decode_deviation, line_deviation;         /* of late, of a step from the expected */
    bool has_scale, line_has_scale;
    uint32_t line_seen;
};

void step_cost_init(struct step_cost *cost);
/* A step of this shape took so long. Shapes without rows and steps of 0 us are passed over. A
 * calibration is a few calls of this for each width, three or more for it to be believed by
 * step_cost_decode_width(). */
void step_cost_learn(struct step_cost *cost, const struct step_shape *shape, uint64_t spent_us);

/* What it would take; > 0. */
double step_cost_us(const struct step_cost *cost, const struct step_shape *shape);

/* Into how wide steps to cut `decodes` of them (1..decodes) so that the last one has its row
 * soonest: narrower than all at once only if both widths were measured three times and it saves an
 * eighth. (4 of 5 at a time may save time for all, and yet every fifth row comes two steps later.)
 * The caller serves them in turn (plan.h rule 2). Narrow steps are of STEP_COST_WIDTHS at most. */
uint32_t step_cost_decode_width(const struct step_cost *cost, uint32_t decodes);
/* How long such a round takes: what lies between two tokens of a stream when no prompt comes. */
double step_cost_round_us(const struct step_cost *cost, uint32_t decodes);

/* How long a step may take in which `decodes` run (shape without prompt rows) and `waiting` prompts
 * go in, so that what a client waits between two tokens and what a new prompt waits for its first
 * are both near what they would be alone.
 *
 * itl_us > 0: that long, as the operator says, but at least twice a round of the decodes: else a
 * target below what they take alone would mean prompts that never come in.
 *
 * itl_us = 0: by itself. With N a round, and T(p) a step whose prompt rows alone would take p, the
 * gap is T / N rounds and the prompt takes T / p times as long as alone. The goals are 5 and 1.5 at
 * most (issue 6, row 1). One rises with p, the other falls; both are missed or kept by the same
 * factor where T / 5N = T / 1.5p, which is p = N * 5 / 1.5. Of the 5, 0.4 are left for steps that
 * take longer than foretold. On a machine that takes 47 ms for 4 decodes and 2.3 ms a row these are
 * 4.3 rounds and 1.38 times (step_sim_test). What is counted is time, not rows: a row that has read
 * 2000 others takes twice as long as the first.
 * When more prompts wait than streams run, it is the first token that most are waiting for: the
 * round is then that of as many as wait, and the chunk longer by the cube of how many times more
 * they are. (With this and rule 4 of plan.h, of 32 at once half have their first token after 5.9 s
 * instead of 8.5 s; with the ratio itself it was 6.6.)
 * Gaps below 20 ms nobody sees: such a step is always granted. */
double step_cost_target_us(const struct step_cost *cost, const struct step_shape *decodes,
                           uint32_t waiting, uint32_t batch_tokens, uint64_t itl_us);

/* How many rows (0..most) of a prompt that has reached `position` can be added to `taken` before
 * the step would take longer than target_us. */
uint32_t step_cost_fit(const struct step_cost *cost, const struct step_shape *taken,
                       uint32_t position, uint32_t most, double target_us);
/* `rows` more of a prompt at `position`. */
void step_shape_add_prompt(struct step_shape *shape, uint32_t position, uint32_t rows);
void step_shape_add_decode(struct step_shape *shape, uint32_t position);
