/* step_cost - what a model's steps cost on this machine, and how well that is foretold: calibrates
 * as a worker will, prints the table of widths and where decodes should take turns, then runs
 * random steps (1..8 decodes, 0..200 rows of a prompt), learns on, and prints by how much each was
 * missed before it was learned. One thread of the engine, which is ours: steps are measured in its
 * CPU time, so that neighbours disturb less.
 *
 *     step_cost MODEL.gguf [steps]
 */
#include "open_model.h"

#include "base/mem.h"
#include "base/splitmix.h"
#include "worker/calibration.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SLOTS = 16, CONTEXT = 1024, BATCH = 512, DECODES = 8, ROWS = 200 };

struct bench {
    struct engine *engine;
    struct step_cost cost;
    struct engine_row rows[BATCH];
    uint32_t positions[SLOTS];
    uint64_t random;
};

static uint64_t thread_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t decode_us(struct bench *bench, uint32_t count)
{
    uint64_t start = thread_us();
    enum err err = engine_decode(bench->engine, bench->rows, count);
    ASSERT_MSG(err == ERR_OK, "decode: %s", err_name(err));
    return thread_us() - start;
}

static void empty_slots(struct bench *bench)
{
    for (uint32_t slot = 0; slot < bench->engine->info.slots; slot++) {
        ASSERT(engine_seq_cut(bench->engine, slot, 0) == ERR_OK);
        bench->positions[slot] = 0;
    }
}

static void calibrate(struct bench *bench)
{
    struct calibration calibration;
    struct step_shape shape;
    uint32_t count, steps = 0;
    uint64_t spent_us = 0;
    calibration_init(&calibration, &bench->engine->info);
    while (calibration_next(&calibration, bench->rows, &count, &shape)) {
        uint64_t us = decode_us(bench, count);
        step_cost_learn(&bench->cost, &shape, us);
        spent_us += us;
        steps++;
    }
    empty_slots(bench);
    printf("calibration: %u steps, %.0f ms\n", steps, (double)spent_us / 1000);
}

static void print_table(const struct step_cost *cost)
{
    for (uint32_t width = 1; width <= SLOTS; width++) {
        struct step_shape shape = {.decode_rows = width};
        double us = step_cost_us(cost, &shape), target_us;
        step_shape_add_prompt(&shape, 0, 1);
        shape.prompt_rows = 0;
        target_us = step_cost_target_us(cost, &shape, 1, BATCH, 0);
        printf(
            "%2u decodes: %8.2f ms, %6.0f tokens/s, in steps of %2u; with a prompt %8.2f ms, %3u "
            "rows\n",
            width, us / 1000, 1e6 * width / us, step_cost_decode_width(cost, width),
            target_us / 1000, step_cost_fit(cost, &shape, 0, BATCH, target_us));
    }
}

static void add_rows(struct bench *bench, uint32_t slot, uint32_t rows, uint32_t *count)
{
    for (uint32_t i = 0; i < rows; i++)
        bench->rows[(*count)++] = (struct engine_row){
            .token = (token_id)(splitmix_next(&bench->random) % bench->engine->info.vocab_size),
            .position = bench->positions[slot]++,
            .slot = slot,
            .wants_logits = i == rows - 1};
}

/* How many times longer or shorter than foretold, as a logarithm. */
static double random_step(struct bench *bench)
{
    uint32_t decodes = 1 + (uint32_t)(splitmix_next(&bench->random) % DECODES), count = 0;
    uint32_t rows = (uint32_t)(splitmix_next(&bench->random) % ROWS);
    struct step_shape shape = {0};
    rows = splitmix_next(&bench->random) % 3 ? rows : 0;
    if (bench->positions[DECODES] + rows > CONTEXT || bench->positions[0] + 1 > CONTEXT)
        empty_slots(bench);
    for (uint32_t slot = 0; slot < decodes; slot++) {
        step_shape_add_decode(&shape, bench->positions[slot]);
        add_rows(bench, slot, 1, &count);
    }
    step_shape_add_prompt(&shape, bench->positions[DECODES], rows);
    add_rows(bench, DECODES, rows, &count);
    double foretold_us = step_cost_us(&bench->cost, &shape);
    uint64_t us = decode_us(bench, count);
    step_cost_learn(&bench->cost, &shape, us);
    return fabs(log((double)us / foretold_us));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void run_steps(struct bench *bench, uint32_t steps)
{
    double *missed = mem_array(steps, sizeof(*missed));
    for (uint32_t i = 0; i < steps; i++)
        missed[i] = random_step(bench);
    qsort(missed, steps, sizeof(*missed), by_value);
    printf(
        "%u random steps: missed by a factor of %.2f (median), %.2f (nine of ten), %.2f (worst)\n",
        steps, exp(missed[steps / 2]), exp(missed[steps * 9 / 10]), exp(missed[steps - 1]));
    mem_free(missed);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s MODEL.gguf [steps]\n", argv[0]);
        return 2;
    }
    uint64_t steps = 500;
    if (argc == 3 &&
        (slice_parse_u64(slice_str(argv[2]), 100000, &steps) != ERR_OK || steps == 0)) {
        fprintf(stderr, "%s: steps: allowed are 1..100000\n", argv[2]);
        return 2;
    }
    struct bench *bench = mem_alloc(sizeof(*bench));
    bench->engine = open_model(&(struct engine_llama_options){
        .model_path = argv[1], .slots = SLOTS, .context_tokens = CONTEXT, .batch_tokens = BATCH});
    bench->random = 1;
    step_cost_init(&bench->cost);
    calibrate(bench);
    print_table(&bench->cost);
    run_steps(bench, (uint32_t)steps);
    print_table(&bench->cost);
    engine_close(&bench->engine);
    mem_free(bench);
}
