/* slot_order - what it costs that the sequences of a step do not lie next to each other: libllama
 * puts only streams whose ids follow each other into one graph (engine/llama_rows.h). Four
 * sequences decode, in slots that are neighbours, the same in another order, in two pairs, and each
 * alone; one after the other in rounds, in CPU time of the engine's only thread.
 *
 *     slot_order MODEL.gguf [rounds]
 */
#include "open_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SLOTS = 8, ROWS = 4, STEPS = 40, CONTEXT = 256, WAY_COUNT = 4 };

static const struct {
    const char *words;
    uint32_t slots[ROWS];
} ways[WAY_COUNT] = {
    {"neighbours, 0 1 2 3", {0, 1, 2, 3}},
    {"in another order, 3 1 2 0", {3, 1, 2, 0}},
    {"two pairs, 0 1 4 5", {0, 1, 4, 5}},
    {"each alone, 0 2 4 6", {0, 2, 4, 6}},
};

static double thread_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* Of one step, in the mean. */
static double steps_us(struct engine *engine, const uint32_t *slots)
{
    double begin = 0;
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        ASSERT(engine_seq_cut(engine, slot, 0) == ERR_OK);
    for (uint32_t step = 0; step <= STEPS; step++) {
        struct engine_row rows[ROWS];
        for (uint32_t i = 0; i < ROWS; i++)
            rows[i] = (struct engine_row){.token = (token_id)(step + i),
                                          .position = step,
                                          .slot = slots[i],
                                          .wants_logits = true};
        begin = step == 1 ? thread_us() : begin; /* the first one warms up */
        ASSERT(engine_decode(engine, rows, ROWS) == ERR_OK);
    }
    return (thread_us() - begin) / STEPS;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    enum { ROUNDS_MAX = 99 };
    static double found[WAY_COUNT][ROUNDS_MAX];
    int rounds = argc > 2 ? atoi(argv[2]) : 7;
    if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: slot_order MODEL.gguf [rounds, 1..%d]\n", ROUNDS_MAX);
        return 2;
    }
    struct engine *engine = open_model(&(struct engine_llama_options){
        .model_path = argv[1], .slots = SLOTS, .context_tokens = CONTEXT});
    for (int round = 0; round < rounds; round++)
        for (size_t way = 0; way < WAY_COUNT; way++)
            found[way][round] = steps_us(engine, ways[way].slots);
    printf("%s, %d sequences, median of %d rounds of %d steps\n", engine->info.description, ROWS,
           rounds, STEPS);
    for (size_t way = 0; way < WAY_COUNT; way++) {
        qsort(found[way], (size_t)rounds, sizeof(double), compare);
        double us = found[way][rounds / 2];
        printf("%-28s %8.0f us a step  %.2f\n", ways[way].words, us, us / found[0][rounds / 2]);
    }
    engine_close(&engine);
    return 0;
}
