/* step_sim_machine - how long a step takes on a machine of given figures. */
#include "worker/step_sim.h"

#include "base/splitmix.h"

static double decodes_ms(const struct step_machine *machine, uint32_t rows)
{
    static const double widths[STEP_SIM_WIDTHS] = {1, 2, 3, 4, 8, 16};
    int high = 1;
    while (high < STEP_SIM_WIDTHS - 1 && widths[high] < rows)
        high++;
    double part = (rows - widths[high - 1]) / (widths[high] - widths[high - 1]);
    double low_ms = machine->decode_ms[high - 1], high_ms = machine->decode_ms[high];
    double slope = part <= 1 || high_ms > low_ms ? high_ms - low_ms : 0;
    return low_ms + part * slope;
}

double step_machine_us(const struct step_machine *machine, const struct step_shape *shape,
                       uint32_t graphs)
{
    double ms = shape->prompt_rows > 0
                    ? machine->fixed_ms + shape->decode_rows * machine->decode_row_ms +
                          shape->prompt_rows * machine->prompt_row_ms
                    : decodes_ms(machine, shape->decode_rows);
    if (graphs > STEP_SIM_GRAPHS)
        ms += (graphs - STEP_SIM_GRAPHS) * machine->graph_ms;
    return 1000 * ms + machine->pair_us * (double)shape->pairs;
}

/* As llama_rows.h has them, where it has to part them. */
uint32_t step_sim_graphs(const struct step_sim *sim, const struct plan_batch *batch)
{
    uint32_t graphs = 0;
    if (!sim->machine.has_pairs)
        return 1;
    for (uint32_t i = 0; i < batch->part_count; i++) {
        uint32_t same = 0;
        while (same < i && batch->parts[same].count != batch->parts[i].count)
            same++;
        graphs += same == i;
    }
    return graphs;
}

uint64_t step_sim_measured_us(struct step_sim *sim, const struct step_shape *shape, uint32_t graphs)
{
    double us = step_machine_us(&sim->machine, shape, graphs);
    us *= 1 + sim->machine.noise * (2 * splitmix_unit(&sim->random) - 1);
    if (step_sim_below(sim, 10000) < sim->machine.hang_chance)
        us *= 50;
    return (uint64_t)us + 1;
}

void step_sim_calibrate(struct step_sim *sim)
{
    static const uint32_t prompt_rows[] = {16, 128, 512}, decodes[] = {0, 4, 1, 8};
    for (int i = 0; i < 3; i++) {
        for (uint32_t width = 1; width <= STEP_COST_WIDTHS; width++) {
            struct step_shape shape = {.decode_rows = width};
            step_cost_learn(&sim->cost, &shape, step_sim_measured_us(sim, &shape, 1));
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(prompt_rows) * ARRAY_COUNT(decodes); i++) {
        struct step_shape shape = {.decode_rows = decodes[i % ARRAY_COUNT(decodes)]};
        step_shape_add_prompt(&shape, 0, prompt_rows[i % ARRAY_COUNT(prompt_rows)]);
        step_cost_learn(&sim->cost, &shape, step_sim_measured_us(sim, &shape, 1));
    }
}
