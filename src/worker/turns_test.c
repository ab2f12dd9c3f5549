/* Tests of who computes when: by hand, and a random crowd of sequences and sets. */
#include "worker/turns.h"

#include "testing/test.h"

static const struct engine_adapter_set none = {0}, one = {.count = 1, .uses = {{0, 1}}},
                                       half = {.count = 1, .uses = {{0, 0.5f}}},
                                       two = {.count = 2, .uses = {{0, 1}, {1, 1}}};

TEST(who_is_alone_with_its_set_never_waits)
{
    struct turns turns = {0};
    struct turns_seq sequences[] = {{&half, 5}, {&half, 9}};
    for (size_t i = 0; i < 10; i++) {
        CHECK(turns_next(&turns, sequences, 2) == &half);
        turns_took(&turns, &half, 30000);
    }
}

TEST(a_turn_lasts_until_its_steps_have_taken_long_enough)
{
    struct turns turns = {0};
    struct turns_seq sequences[] = {{&one, 1}, {&none, 2}};
    turns_took(&turns, &one, TURNS_US - 1);
    CHECK(turns_next(&turns, sequences, 2) == &one);
    turns_took(&turns, &one, 1);
    CHECK(turns_next(&turns, sequences, 2) == &none);
    turns_took(&turns, &none, 0); /* nobody knows */
    CHECK(turns_next(&turns, sequences, 2) == &one);
}

TEST(a_turn_ends_at_once_when_nothing_of_its_set_runs)
{
    struct turns turns = {0};
    struct turns_seq sequences[] = {{&half, 7}, {&two, 3}, {&none, 4}};
    turns_took(&turns, &one, 1);
    CHECK(turns_next(&turns, sequences, 3) == &two);
}

/* The same adapter with another scale is another set. */
TEST(scales_make_sets)
{
    struct turns turns = {0};
    struct turns_seq sequences[] = {{&half, 1}, {&one, 2}};
    turns_took(&turns, &half, TURNS_US);
    CHECK(turns_next(&turns, sequences, 2) == &one);
}

/* --- a crowd: rule 2 --- */

enum { CROWD = 12, SETS = 4, STEPS = 4000, SEEDS = 20 };

struct crowd {
    struct turns turns;
    struct turns_seq sequences[CROWD];
    uint32_t waited[CROWD]; /* turns of others since it waits */
    size_t count;
    uint64_t random;
};

static const struct engine_adapter_set *const sets[SETS] = {&none, &one, &half, &two};

static size_t sets_among(const struct crowd *crowd)
{
    size_t found = 0;
    for (size_t i = 0; i < SETS; i++) {
        bool is_there = false;
        for (size_t j = 0; j < crowd->count; j++)
            is_there = is_there || crowd->sequences[j].adapters == sets[i];
        found += is_there;
    }
    return found;
}

static void come_and_go(struct crowd *crowd, uint64_t step)
{
    if (crowd->count < CROWD && test_random(&crowd->random) % 4 == 0) {
        crowd->waited[crowd->count] = 0;
        crowd->sequences[crowd->count++] =
            (struct turns_seq){sets[test_random(&crowd->random) % SETS], step - 1};
    }
    if (crowd->count > 1 && test_random(&crowd->random) % 40 == 0) {
        size_t gone = test_random(&crowd->random) % crowd->count;
        crowd->sequences[gone] = crowd->sequences[--crowd->count];
        crowd->waited[gone] = crowd->waited[crowd->count];
    }
}

static void take_step(struct crowd *crowd, uint64_t step)
{
    const struct engine_adapter_set *next =
        turns_next(&crowd->turns, crowd->sequences, crowd->count);
    bool is_new = !engine_adapter_set_eq(next, &crowd->turns.now);
    for (size_t i = 0; i < crowd->count; i++) {
        bool is_its = crowd->sequences[i].adapters == next;
        crowd->waited[i] = is_its ? 0 : crowd->waited[i] + is_new;
        if (is_its)
            crowd->sequences[i].waits_since = step;
        /* The turn that was on when it came counts as one, too. */
        CHECK(crowd->waited[i] <= SETS - 1);
    }
    turns_took(&crowd->turns, next, test_random(&crowd->random) % (2 * TURNS_US));
}

TEST(nobody_waits_for_more_turns_than_there_are_other_sets)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct crowd crowd = {.random = seed};
        size_t most_sets = 0;
        for (uint64_t step = 1; step <= STEPS; step++) {
            come_and_go(&crowd, step);
            if (crowd.count == 0)
                continue;
            take_step(&crowd, step);
            most_sets = sets_among(&crowd) > most_sets ? sets_among(&crowd) : most_sets;
        }
        CHECK_EQ(most_sets, SETS);
    }
}
