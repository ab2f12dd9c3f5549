/* calibration - the steps that teach step_cost what a machine is like, before anybody waits for it:
 * three of each width of decodes (1..16, or the slots), then prompts alone and in company. Pure: it
 * says what to decode next, the caller does it in empty slots, measures, and tells step_cost.
 *
 * 1. A step fits into the batch, every slot into its context, and positions have no holes.
 * 2. All widths come before the second time of any: when it is stopped early (a request came, or
 * the time that it may take is over), all are known about equally well.
 * 3. It needs the slots 0..calibration_slots() - 1 empty, and leaves in them what it put there: cut
 *    them to 0 whenever it is stopped or over.
 * 4. At most CALIBRATION_STEPS steps. How long they may take is the caller's to watch: a step of
 * 512 rows is a second for a large model. */
#pragma once

#include "worker/step_cost.h"

#include "engine/engine.h"

enum {
    CALIBRATION_TIMES = 3, /* what step_cost wants to have seen of a width */
    CALIBRATION_CHUNKS = 6,
    CALIBRATION_STEPS = CALIBRATION_TIMES * (STEP_COST_WIDTHS + CALIBRATION_CHUNKS)
};

struct calibration {
    uint32_t slots, context_tokens, batch_tokens, vocab_size;
    uint32_t next;                        /* step, of CALIBRATION_STEPS */
    uint32_t positions[STEP_COST_WIDTHS]; /* what each slot holds */
};

void calibration_init(struct calibration *calibration, const struct engine_info *info);
uint32_t calibration_slots(const struct calibration *calibration);
/* The rows of the next step, and its shape. False: it is over. A step in which decode() failed is
 * told to nobody, and ends the calibration, or begins it again where it was. out_rows: room for
 * batch_tokens. */
bool calibration_next(struct calibration *calibration, struct engine_row *out_rows,
                      uint32_t *out_count, struct step_shape *out_shape);
/* The slots were emptied. The step that calibration_next() said last comes again unless it was
 * done. */
void calibration_again(struct calibration *calibration, bool was_done);
