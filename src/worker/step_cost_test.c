#include "testing/test.h"
#include "worker/step_cost.h"

#include <math.h>

/* The 110m model of notes: 47 ms for 4 decodes, 11 ms and 2.2 ms a row for prompts, 2 ns a pair. */
struct machine {
    double noise; /* relative, even */
    uint64_t random;
};

static double unit(struct machine *machine)
{
    return (double)(test_random(&machine->random) >> 11) * 0x1p-53;
}

static double true_us(const struct step_shape *shape)
{
    if (shape->prompt_rows == 0)
        return 12000 + 8750.0 * shape->decode_rows;
    return 23000 + 8700.0 * shape->decode_rows + 2200.0 * shape->prompt_rows +
           0.002 * (double)shape->pairs;
}

static double measured_us(struct machine *machine, const struct step_shape *shape)
{
    return true_us(shape) * (1 + machine->noise * (2 * unit(machine) - 1));
}

static struct step_shape shape_of(uint32_t decodes, uint32_t prompt_rows, uint32_t position)
{
    struct step_shape shape = {0};
    for (uint32_t i = 0; i < decodes; i++)
        step_shape_add_decode(&shape, position);
    step_shape_add_prompt(&shape, position, prompt_rows);
    return shape;
}

static void learn(struct step_cost *cost, struct machine *machine, struct step_shape shape)
{
    step_cost_learn(cost, &shape, (uint64_t)measured_us(machine, &shape));
}

static struct step_shape random_shape(struct machine *machine)
{
    uint32_t decodes = (uint32_t)(unit(machine) * 8), prompt_rows = (uint32_t)(unit(machine) * 300);
    return shape_of(1 + decodes, unit(machine) < 0.3 ? 0 : prompt_rows,
                    (uint32_t)(unit(machine) * 2000));
}

static struct step_cost trained(struct machine *machine, int steps)
{
    struct step_cost cost;
    step_cost_init(&cost);
    for (int i = 0; i < steps; i++)
        learn(&cost, machine, random_shape(machine));
    return cost;
}

static double error_of(const struct step_cost *cost, struct step_shape shape)
{
    return step_cost_us(cost, &shape) / true_us(&shape) - 1;
}

TEST(before_anything_is_measured_there_is_an_answer)
{
    struct step_cost cost;
    step_cost_init(&cost);
    struct step_shape one = shape_of(1, 0, 0), chunk = shape_of(0, 64, 0);
    CHECK(step_cost_us(&cost, &one) > 0);
    CHECK(step_cost_us(&cost, &chunk) > step_cost_us(&cost, &one));
    CHECK_EQ(step_cost_decode_width(&cost, 4), 4);
    CHECK(step_cost_target_us(&cost, &one, 1, 512, 0) >= 20000);
}

TEST(the_first_step_sets_the_scale_of_everything)
{
    static const uint64_t spent_us[] = {20, 47000, 9000000};
    for (size_t i = 0; i < ARRAY_COUNT(spent_us); i++) {
        struct step_cost cost;
        struct step_shape four = shape_of(4, 0, 0), two = shape_of(2, 0, 0);
        step_cost_init(&cost);
        step_cost_learn(&cost, &four, spent_us[i]);
        CHECK_NEAR(step_cost_us(&cost, &four), (double)spent_us[i], (double)spent_us[i] / 100);
        CHECK(step_cost_us(&cost, &two) < step_cost_us(&cost, &four));
    }
}

TEST(steps_without_rows_or_without_time_teach_nothing)
{
    struct step_cost cost, before;
    struct step_shape none = {0}, one = shape_of(1, 0, 0);
    step_cost_init(&cost);
    before = cost;
    step_cost_learn(&cost, &none, 1000);
    step_cost_learn(&cost, &one, 0);
    CHECK(memcmp(&cost, &before, sizeof(cost)) == 0);
}

/* What a machine costs is found from steps as they come, with the noise that they have. */
TEST(mixed_steps_are_known_within_a_tenth_after_a_hundred)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct machine machine = {.noise = 0.05, .random = seed};
        struct step_cost cost = trained(&machine, 100);
        static const uint32_t rows[] = {16, 64, 128, 256};
        for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
            double error = error_of(&cost, shape_of(4, rows[i], 500));
            CHECK(fabs(error) < 0.1);
        }
        CHECK(fabs(error_of(&cost, shape_of(4, 0, 500))) < 0.1);
    }
}

/* As a worker learns it: a calibration at the beginning of slots, then chunks of one length of time
 * that go ever further. What they read is then most of what they cost, and no other term takes it
 * on. */
TEST(what_rows_read_is_learned_where_it_is_dear)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct machine machine = {.noise = 0.1, .random = seed};
        struct step_cost cost;
        step_cost_init(&cost);
        for (int i = 0; i < 40; i++) {
            struct step_shape shape = i < 18 ? shape_of((uint32_t)i % 3 * 4, 16 << (i % 6), 0)
                                             : shape_of(4, 40, 100 * ((uint32_t)i - 18));
            double us = measured_us(&machine, &shape) + 2.7 * (double)shape.pairs;
            step_cost_learn(&cost, &shape, (uint64_t)us);
        }
        struct step_shape first = shape_of(4, 40, 0), last = shape_of(4, 40, 2000);
        CHECK_NEAR(step_cost_us(&cost, &first) / (true_us(&first) + 2.7 * (double)first.pairs), 1,
                   0.25);
        CHECK_NEAR(step_cost_us(&cost, &last) / (true_us(&last) + 2.7 * (double)last.pairs), 1,
                   0.1);
    }
}

TEST(a_step_that_hangs_moves_no_answer_by_more_than_a_sixth)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct machine machine = {.noise = 0.05, .random = seed};
        struct step_cost cost = trained(&machine, 300);
        struct step_shape shapes[] = {shape_of(4, 0, 500), shape_of(4, 64, 500),
                                      shape_of(0, 512, 0)};
        for (size_t hung = 0; hung < ARRAY_COUNT(shapes); hung++) {
            struct step_cost after = cost;
            step_cost_learn(&after, &shapes[hung], (uint64_t)(1000 * true_us(&shapes[hung])));
            for (size_t i = 0; i < ARRAY_COUNT(shapes); i++) {
                double ratio = step_cost_us(&after, &shapes[i]) / step_cost_us(&cost, &shapes[i]);
                CHECK(ratio > 5.0 / 6 && ratio < 7.0 / 6);
            }
        }
    }
}

static void learn_slowed(struct step_cost *cost, struct machine *machine, struct step_shape shape,
                         double factor)
{
    step_cost_learn(cost, &shape, (uint64_t)(factor * measured_us(machine, &shape)));
}

TEST(of_ten_times_slower_five_are_believed_within_32_steps)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct machine machine = {.noise = 0.05, .random = seed};
        struct step_cost cost = trained(&machine, 300), decodes = cost, mixed = cost;
        struct step_shape four = shape_of(4, 0, 500), chunk = shape_of(4, 64, 500);
        for (int i = 0; i < 32; i++) {
            learn_slowed(&decodes, &machine, four, 10);
            learn_slowed(&mixed, &machine, chunk, 10);
        }
        CHECK(step_cost_us(&decodes, &four) > 5 * true_us(&four));
        CHECK(step_cost_us(&mixed, &chunk) > 5 * true_us(&chunk));
        /* What was not seen meanwhile has become slower, too (rule 3). */
        struct step_shape eight = shape_of(8, 0, 500);
        CHECK(step_cost_us(&mixed, &four) > 1.5 * true_us(&four));
        CHECK(step_cost_us(&decodes, &eight) > 1.5 * true_us(&eight));
        CHECK(step_cost_us(&decodes, &chunk) > 1.5 * true_us(&chunk));
        for (int i = 0; i < 200; i++)
            learn_slowed(&decodes, &machine, four, 1);
        CHECK(fabs(error_of(&decodes, four)) < 0.1); /* and back */
    }
}

static void calibrate(struct step_cost *cost, const double *width_ms, uint32_t widths)
{
    for (uint32_t width = 1; width <= widths; width++) {
        struct step_shape shape = shape_of(width, 0, 0);
        for (int i = 0; i < 3; i++)
            step_cost_learn(cost, &shape, (uint64_t)(1000 * width_ms[width - 1]));
    }
}

/* notes/engine.md 3: tokens/s of Q8_0 at widths 1, 2, 3, 4, 8, 16 are 169, 86, 104, 80, 188, 258.
 */
static const double cliff_ms[] = {5.9,  23.2, 28.8, 50,   48,   46,   44,   42.5,
                                  45.0, 47.5, 49.9, 52.4, 54.8, 57.2, 59.6, 62};

TEST(a_cliff_is_walked_around)
{
    struct step_cost cost;
    step_cost_init(&cost);
    calibrate(&cost, cliff_ms, 16);
    static const uint32_t best[] = {1, 1, 1, 1, 1, 1, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    for (uint32_t width = 1; width <= 16; width++)
        CHECK_EQ(step_cost_decode_width(&cost, width), best[width - 1]);
    CHECK_NEAR(step_cost_round_us(&cost, 4), 4 * 5900, 10);
    CHECK_NEAR(step_cost_round_us(&cost, 8), 42500, 10);
}

TEST(without_a_cliff_all_decode_together)
{
    struct step_cost cost;
    double flat_ms[16];
    for (uint32_t i = 0; i < 16; i++)
        flat_ms[i] = 4.2 + 2.4 * i;
    step_cost_init(&cost);
    calibrate(&cost, flat_ms, 16);
    for (uint32_t width = 1; width <= 300; width++)
        CHECK_EQ(step_cost_decode_width(&cost, width), width);
}

/* 4 of 5 at a time: 1.9 ms a row instead of 2.3, but the fifth one waits for 15.2 ms, not 11.5. */
TEST(turns_that_make_the_last_one_wait_longer_are_not_taken)
{
    static const double width_ms[] = {3, 4.5, 6, 7.6, 11.5, 19};
    struct step_cost cost;
    step_cost_init(&cost);
    calibrate(&cost, width_ms, ARRAY_COUNT(width_ms));
    CHECK_EQ(step_cost_decode_width(&cost, 5), 5);
    CHECK_EQ(step_cost_decode_width(&cost, 6), 3);
}

TEST(a_width_that_was_measured_less_than_three_times_is_not_believed)
{
    struct step_cost cost;
    struct step_shape one = shape_of(1, 0, 0), four = shape_of(4, 0, 0);
    step_cost_init(&cost);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(step_cost_decode_width(&cost, 4), 4);
        step_cost_learn(&cost, &one, 5900);
        step_cost_learn(&cost, &four, 50000);
    }
    CHECK_EQ(step_cost_decode_width(&cost, 4), 1);
}

TEST(of_a_calibration_the_shortest_of_three_counts)
{
    struct step_cost cost;
    struct step_shape two = shape_of(2, 0, 0);
    step_cost_init(&cost);
    step_cost_learn(&cost, &two, 7000);
    step_cost_learn(&cost, &two, 9000000);
    step_cost_learn(&cost, &two, 6000);
    CHECK_NEAR(step_cost_us(&cost, &two), 6000, 1);
}

TEST(what_fits_is_the_most_that_stays_within_the_target)
{
    struct machine machine = {.noise = 0.02, .random = 7};
    struct step_cost cost = trained(&machine, 300);
    for (int i = 0; i < 1000; i++) {
        uint32_t position = (uint32_t)(unit(&machine) * 30000);
        struct step_shape taken = shape_of(4, (uint32_t)(unit(&machine) * 40), 100);
        double target_us = unit(&machine) * 500000;
        uint32_t most = (uint32_t)(unit(&machine) * 600);
        uint32_t fits = step_cost_fit(&cost, &taken, position, most, target_us);
        struct step_shape with = taken, more = taken;
        step_shape_add_prompt(&with, position, fits);
        step_shape_add_prompt(&more, position, fits + 1);
        CHECK(fits <= most);
        CHECK(fits == 0 || step_cost_us(&cost, &with) <= target_us);
        CHECK(fits == most || step_cost_us(&cost, &more) > target_us);
    }
}

/* The derivation in step_cost.h, on the machine that it names. */
TEST(the_target_keeps_gap_and_first_token_equally_near_their_goals)
{
    struct machine machine = {.noise = 0.02, .random = 3};
    struct step_cost cost = trained(&machine, 300);
    struct step_shape four = shape_of(4, 0, 0), alone = shape_of(0, 512, 0);
    double target_us = step_cost_target_us(&cost, &four, 1, 512, 0);
    uint32_t rows = step_cost_fit(&cost, &four, 0, 512, target_us);
    double gap = target_us / step_cost_round_us(&cost, 4) / 4.6; /* of 5, for noise */
    double first = target_us / rows / (step_cost_us(&cost, &alone) / 512) / 1.5;
    CHECK(gap < 1 && first < 1);
    CHECK_NEAR(gap, first, 0.03);
}

TEST(a_crowd_of_prompts_gets_longer_steps_and_a_few_do_not)
{
    struct machine machine = {.noise = 0.02, .random = 3};
    struct step_cost cost = trained(&machine, 300);
    struct step_shape four = shape_of(4, 0, 0);
    double one_us = step_cost_target_us(&cost, &four, 1, 512, 0);
    CHECK(step_cost_target_us(&cost, &four, 4, 512, 0) == one_us);
    CHECK(step_cost_target_us(&cost, &four, 8, 512, 0) > 2 * one_us);
    CHECK(step_cost_target_us(&cost, &four, 8, 512, 150000) == 150000);
}

TEST(a_target_of_the_operator_holds_unless_decodes_alone_fill_half_of_it)
{
    struct machine machine = {.noise = 0, .random = 3};
    struct step_cost cost = trained(&machine, 300);
    struct step_shape four = shape_of(4, 0, 0);
    double round_us = step_cost_round_us(&cost, 4);
    CHECK_NEAR(step_cost_target_us(&cost, &four, 1, 512, 150000), 150000, 1);
    CHECK_NEAR(step_cost_target_us(&cost, &four, 1, 512, 10000), 2 * round_us, 1);
}

/* Whatever it is told: answers stay numbers, and more rows never cost less (rule 4). */
TEST(no_sequence_of_steps_makes_nonsense)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct machine machine = {.random = seed};
        struct step_cost cost;
        step_cost_init(&cost);
        for (int i = 0; i < 200; i++) {
            struct step_shape shape = random_shape(&machine), wider = shape;
            double us = exp(unit(&machine) * 40);
            step_cost_learn(&cost, &shape, unit(&machine) < 0.1 ? UINT64_MAX : (uint64_t)us);
            step_shape_add_prompt(&shape, 0, 1);
            step_shape_add_prompt(&wider, 0, 5);
            double narrow_us = step_cost_us(&cost, &shape), wide_us = step_cost_us(&cost, &wider);
            CHECK(isfinite(narrow_us) && narrow_us > 0 && wide_us >= narrow_us);
            CHECK(isfinite(step_cost_round_us(&cost, 300)));
            CHECK(step_cost_decode_width(&cost, 12) >= 1);
        }
    }
}
