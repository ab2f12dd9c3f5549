#include "testing/test.h"
#include "worker/calibration.h"
#include "worker/toy_engine.h"

static struct toy_engine toy;

/* The toy holds us to positions, context and batch; returns how many steps there were. */
static uint32_t run(uint32_t slots, uint32_t context_tokens, uint32_t batch_tokens,
                    uint32_t out_widths[STEP_COST_WIDTHS + 1])
{
    static struct engine_row rows[TOY_BATCH_MAX];
    struct calibration calibration;
    struct step_shape shape;
    uint32_t count, steps = 0;
    toy_engine_init(&toy, slots, context_tokens, batch_tokens);
    calibration_init(&calibration, &toy.engine.info);
    CHECK_EQ(calibration_slots(&calibration), slots);
    memset(out_widths, 0, (STEP_COST_WIDTHS + 1) * sizeof(*out_widths));
    while (calibration_next(&calibration, rows, &count, &shape)) {
        CHECK_OK(engine_decode(&toy.engine, rows, count));
        CHECK(count >= 1 && count <= batch_tokens);
        CHECK_EQ(shape.decode_rows + shape.prompt_rows, count);
        uint64_t pairs = 0;
        for (uint32_t i = 0; i < count; i++)
            pairs += rows[i].position + 1;
        CHECK_EQ(shape.pairs, pairs);
        if (shape.prompt_rows == 0)
            out_widths[shape.decode_rows]++;
        CHECK(++steps <= CALIBRATION_STEPS);
    }
    return steps;
}

TEST(every_width_comes_three_times)
{
    uint32_t widths[STEP_COST_WIDTHS + 1];
    CHECK(run(8, 256, 512, widths) > 3 * 8);
    for (uint32_t width = 1; width <= 8; width++)
        CHECK_EQ(widths[width], CALIBRATION_TIMES);
    CHECK_EQ(widths[9], 0);
}

TEST(what_does_not_fit_is_left_out)
{
    uint32_t widths[STEP_COST_WIDTHS + 1];
    for (uint32_t slots = 1; slots <= TOY_SLOTS_MAX; slots++) {
        for (uint32_t context = 1; context <= TOY_CONTEXT_MAX; context += 15) {
            for (uint32_t batch = 1; batch <= TOY_BATCH_MAX; batch = batch * 2 + 1) {
                if (batch <= TOY_BATCH_MAX)
                    CHECK(run(slots, context, batch, widths) >= 1);
            }
        }
    }
}

TEST(what_was_interrupted_goes_on_and_every_step_is_done_once)
{
    static struct engine_row rows[TOY_BATCH_MAX];
    struct calibration calibration;
    struct step_shape shape;
    uint32_t widths[STEP_COST_WIDTHS + 1], count, steps = run(4, 256, 512, widths), done = 0;
    for (uint32_t tries = 0; tries < 3; tries++, done = 0) {
        toy_engine_init(&toy, 4, 256, 512);
        calibration_init(&calibration, &toy.engine.info);
        for (uint32_t i = 0; calibration_next(&calibration, rows, &count, &shape); i++) {
            bool was_done = i % 3 != tries;
            CHECK_OK(engine_decode(&toy.engine, rows, count));
            for (uint32_t slot = 0; slot < 4; slot++)
                CHECK_OK(engine_seq_cut(&toy.engine, slot, 0));
            calibration_again(&calibration, was_done);
            done += was_done;
        }
        CHECK(done >= steps); /* in empty slots all of them fit */
        CHECK(done <= CALIBRATION_STEPS);
    }
}
