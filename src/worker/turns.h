/* turns - with which adapters the next step computes. All rows of a step go through one set of them
 * (engine.h rule 8), so sequences of different sets take turns. Pure.
 *
 * 1. A set keeps its turn while something of it runs, until its steps have taken TURNS_US: another
 *    set costs the laying out of a graph (5 to 15 ms, docs/design/027), which is to be a small part
 *    of what is done with it. At least a step; of steps whose time nobody knows just one.
 * 2. Then it is the turn of the tenant that has waited longest for one, of those that have
 * something of another set; and at once, if nothing of the present set runs. It is for the set of
 * that tenant's sequence that has waited longest for a step of its set; sequences of others with
 * the same set come along. So with t tenants that run, one waits for at most t - 1 turns of others,
 *    however many sets (scales!) they name; and of a tenant with s sets, a sequence for at most
 *    s of its tenant's turns. Whoever comes meanwhile is younger (turns_test).
 * 3. A sequence that is alone with its set waits for nobody.
 * 4. Of the last TURNS_TENANTS tenants is known when they had a turn; of one that is not among them
 *    the wait is that of its oldest sequence.
 * 5. Each TURNS_LEARNED-th turn has a second step, even if the first took longer than a turn: of a
 *    turn's first nothing can be learned (step_cost), and where all steps take so long there would
 *    be none but first ones. The number is odd, or of two sets it would always be the same one. */
#pragma once

#include "engine/engine.h"

enum { TURNS_US = 50000, TURNS_TENANTS = 64, TURNS_LEARNED = 17 };

struct turns {
    struct engine_adapter_set now; /* whose turn it is */
    uint64_t spent_us;             /* by its steps, in this turn */
    struct turns_tenant {
        uint64_t tenant, had_at; /* number of the first step of its last turn */
    } tenants[TURNS_TENANTS];
    uint32_t tenant_count;
    uint64_t turn_count;
};

struct turns_seq { /* one that runs */
    const struct engine_adapter_set *adapters;
    uint64_t tenant;
    uint64_t waits_since; /* number of the last step of its set, or when it came: less is longer */
};

/* The set of the next step: that of one of the sequences, of which there are 1 or more. `step` is
 * the number of the last one, >= any waits_since. Where the set is another one, its tenant has had
 * its turn. */
const struct engine_adapter_set *turns_next(struct turns *turns, const struct turns_seq *sequences,
                                            size_t count, uint64_t step);
/* A step of this set was taken; 0 us: nobody knows how long it took. */
void turns_took(struct turns *turns, const struct engine_adapter_set *adapters, uint64_t spent_us);
