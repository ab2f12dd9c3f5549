/* turns - with which adapters the next step computes. All rows of a step go through one set of them
 * (engine.h rule 8), so sequences of different sets take turns. Pure.
 *
 * 1. A set keeps its turn while something of it runs, until its steps have taken TURNS_US: another
 *    set costs the laying out of a graph (5 to 15 ms, docs/design/027), which is to be a small part
 *    of what is done with it. At least a step; of steps whose time nobody knows just one.
 * 2. Then comes the set of the sequence that has waited longest for a step of its set; and at once,
 *    if nothing of the present set runs. So with s sets in all, a sequence waits for at most s - 1
 *    turns of others, whoever comes meanwhile: they are younger (turns_test).
 * 3. A sequence that is alone with its set waits for nobody. */
#pragma once

#include "engine/engine.h"

enum { TURNS_US = 50000 };

struct turns {
    struct engine_adapter_set now; /* whose turn it is */
    uint64_t spent_us;             /* by its steps, in this turn */
};

struct turns_seq { /* one that runs */
    const struct engine_adapter_set *adapters;
    uint64_t waits_since; /* number of the last step of its set, or when it came: less is longer */
};

/* The set of the next step: that of one of the sequences, of which there are 1 or more. */
const struct engine_adapter_set *turns_next(const struct turns *turns,
                                            const struct turns_seq *sequences, size_t count);
/* A step of this set was taken; 0 us: nobody knows how long it took. */
void turns_took(struct turns *turns, const struct engine_adapter_set *adapters, uint64_t spent_us);
