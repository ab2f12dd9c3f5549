/* recipe - all that decides what the trained model is, beside the documents: its shape and the
 * schedule of its training. Two runs of one recipe are equal bit by bit with the same compiler,
 * whatever the number of threads (see shards). Pure. */
#pragma once

#include "base/text.h"
#include "nano/model.h"

struct recipe {
    struct shape shape;
    uint64_t seed; /* of the first parameters and of the documents */
    uint32_t steps;
    uint32_t row_tokens; /* a row takes documents until it has so many (rows.h) */
    /* Rows a step: grows evenly from first to last over the first rows_grow_percent of the steps.
     * Small steps learn most from a token at first, large ones at the end. */
    uint32_t rows_first, rows_last, rows_grow_percent;
    /* Gradients are summed in so many parts, one behind the other, and then the parts: at most so
     * many threads have work. Each costs the memory of the parameters, and the time of adding them.
     */
    uint32_t shards;
    float rate; /* of learning: rises over warmup_steps, falls evenly to 0 over the last
                   decay_percent of the steps */
    uint32_t warmup_steps, decay_percent;
    bool has_circuit; /* begins with heads that copy (circuit.h); a long warm-up keeps them */
    uint32_t
        rounded_percent; /* of the steps, the last ones: through the weights as they ship (q8) */
    float weight_decay, clip; /* clip: longest gradient */
    float beta_first, beta_second, epsilon;
};

/* The shipped model's. */
struct recipe recipe_nano(void);

/* Steps count from 0. */
uint32_t recipe_rows(const struct recipe *recipe, uint32_t step);
uint64_t recipe_rows_before(const struct recipe *recipe, uint32_t step);
float recipe_rate(const struct recipe *recipe, uint32_t step);
bool recipe_is_rounded(const struct recipe *recipe, uint32_t step);
/* All of it in a line. */
void recipe_say(const struct recipe *recipe, struct text *out);
uint64_t recipe_hash(const struct recipe *recipe);
