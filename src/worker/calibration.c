/* calibration - a fixed list of steps, less what does not fit. */
#include "worker/calibration.h"

static const struct chunk {
    uint32_t decodes, rows;
} chunks[CALIBRATION_CHUNKS] = {{0, 16}, {0, 128}, {0, 512}, {1, 32}, {4, 64}, {8, 128}};

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void calibration_init(struct calibration *calibration, const struct engine_info *info)
{
    *calibration = (struct calibration){.slots = min_u32(info->slots, STEP_COST_WIDTHS),
                                        .context_tokens = info->context_tokens,
                                        .batch_tokens = info->batch_tokens,
                                        .vocab_size = info->vocab_size};
}

uint32_t calibration_slots(const struct calibration *calibration)
{
    return calibration->slots;
}

/* The ids do not matter: what an engine computes takes as long for any. */
static void add_rows(struct calibration *calibration, uint32_t slot, uint32_t rows,
                     bool wants_logits, struct engine_row *out_rows, uint32_t *count)
{
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t position = calibration->positions[slot]++;
        out_rows[(*count)++] = (struct engine_row){
            .token = (token_id)((position * 7 + slot) % calibration->vocab_size),
            .position = position,
            .slot = slot,
            .wants_logits = wants_logits && i == rows - 1};
    }
}

/* The slot of the prompt is the first behind the decodes. */
static bool fits(const struct calibration *calibration, uint32_t decodes, uint32_t rows)
{
    if (decodes + (rows > 0) > calibration->slots || decodes + rows > calibration->batch_tokens)
        return false;
    for (uint32_t slot = 0; slot < decodes; slot++) {
        if (calibration->positions[slot] >= calibration->context_tokens)
            return false;
    }
    return rows == 0 || calibration->positions[decodes] + rows <= calibration->context_tokens;
}

static struct chunk step_of(uint32_t index)
{
    uint32_t at = index % (STEP_COST_WIDTHS + CALIBRATION_CHUNKS);
    return at < STEP_COST_WIDTHS ? (struct chunk){.decodes = at + 1}
                                 : chunks[at - STEP_COST_WIDTHS];
}

bool calibration_next(struct calibration *calibration, struct engine_row *out_rows,
                      uint32_t *out_count, struct step_shape *out_shape)
{
    struct chunk step;
    do {
        if (calibration->next == CALIBRATION_STEPS)
            return false;
        step = step_of(calibration->next++);
    } while (!fits(calibration, step.decodes, step.rows));
    *out_count = 0;
    *out_shape = (struct step_shape){0};
    for (uint32_t slot = 0; slot < step.decodes; slot++) {
        step_shape_add_decode(out_shape, calibration->positions[slot]);
        add_rows(calibration, slot, 1, true, out_rows, out_count);
    }
    if (step.rows > 0) {
        step_shape_add_prompt(out_shape, calibration->positions[step.decodes], step.rows);
        add_rows(calibration, step.decodes, step.rows, true, out_rows, out_count);
    }
    return true;
}

void calibration_again(struct calibration *calibration, bool was_done)
{
    for (uint32_t slot = 0; slot < calibration->slots; slot++)
        calibration->positions[slot] = 0;
    calibration->next -= !was_done && calibration->next > 0;
}
