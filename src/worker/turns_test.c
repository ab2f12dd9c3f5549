/* Tests of who computes when: by hand, and a random crowd of sequences and sets. */
#include "worker/turns.h"

#include "testing/test.h"

static const struct engine_adapter_set none = {0}, one = {.count = 1, .uses = {{0, 1}}},
                                       half = {.count = 1, .uses = {{0, 0.5f}}},
                                       two = {.count = 2, .uses = {{0, 1}, {1, 1}}};

TEST(who_is_alone_with_its_set_never_waits)
{
    struct turns turns = {0};
    struct turns_seq sequences[] = {{&half, 0, 5}, {&half, 0, 9}};
    for (size_t i = 0; i < 10; i++) {
        CHECK(turns_next(&turns, sequences, 2, 9) == &half);
        turns_took(&turns, &half, 30000);
    }
}

TEST(a_turn_lasts_until_its_steps_have_taken_long_enough)
{
    struct turns turns = {0};
    struct turns_seq sequences[] = {{&one, 0, 1}, {&none, 0, 2}};
    turns_took(&turns, &one, TURNS_US - 1);
    CHECK(turns_next(&turns, sequences, 2, 9) == &one);
    turns_took(&turns, &one, 1);
    CHECK(turns_next(&turns, sequences, 2, 9) == &none);
    turns_took(&turns, &none, 0); /* nobody knows */
    CHECK(turns_next(&turns, sequences, 2, 9) == &one);
}

TEST(a_turn_ends_at_once_when_nothing_of_its_set_runs)
{
    struct turns turns = {0};
    struct turns_seq sequences[] = {{&half, 0, 7}, {&two, 0, 3}, {&none, 0, 4}};
    turns_took(&turns, &one, 1);
    CHECK(turns_next(&turns, sequences, 3, 9) == &two);
}

/* The same adapter with another scale is another set. */
TEST(scales_make_sets)
{
    struct turns turns = {0};
    struct turns_seq sequences[] = {{&half, 0, 1}, {&one, 0, 2}};
    turns_took(&turns, &half, TURNS_US);
    CHECK(turns_next(&turns, sequences, 2, 9) == &one);
}

/* Tenant 1 was never given a turn: its set was there from the first. That it ran until tenant 2 was
 * given one does not put it behind that one's other sets. */
TEST(who_ran_before_a_turn_is_before_whose_turn_it_was)
{
    struct turns turns = {0};
    struct turns_seq sequences[] = {{&none, 1, 5}, {&one, 2, 0}, {&half, 2, 0}};
    turns_took(&turns, &none, TURNS_US);
    CHECK(turns_next(&turns, sequences, 3, 5) == &one);
    turns_took(&turns, &one, TURNS_US);
    sequences[1].waits_since = 6;
    CHECK(turns_next(&turns, sequences, 3, 6) == &none);
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
            (struct turns_seq){sets[test_random(&crowd->random) % SETS], 0, step - 1};
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
        turns_next(&crowd->turns, crowd->sequences, crowd->count, step);
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

/* --- tenants --- */

enum { MANY = 7, TENANT_STEPS = 4000 };

/* Of the steps how many were of `theirs`: the first sequence, of tenant 1, beside MANY of tenant 2,
 * each with a scale of its own, that go on forever, or are new ones with new scales each time. */
static uint32_t steps_of_one(const struct engine_adapter_set *theirs, bool are_new)
{
    struct turns turns = {0};
    struct engine_adapter_set many[MANY];
    struct turns_seq sequences[1 + MANY] = {{theirs, 1, 0}};
    uint32_t found = 0;
    for (size_t i = 0; i < MANY; i++) {
        many[i] = (struct engine_adapter_set){.count = 1, .uses = {{0, 2 + (float)i}}};
        sequences[1 + i] = (struct turns_seq){&many[i], 2, 0};
    }
    for (uint64_t step = 1; step <= TENANT_STEPS; step++) {
        const struct engine_adapter_set *next =
            turns_next(&turns, sequences, ARRAY_COUNT(sequences), step);
        turns_took(&turns, next, TURNS_US);
        found += next == theirs;
        for (size_t i = 0; i < ARRAY_COUNT(sequences); i++)
            if (sequences[i].adapters == next)
                sequences[i].waits_since = step;
        for (size_t i = 0; i < MANY && are_new; i++)
            if (&many[i] == next)
                many[i].uses[0].scale += MANY;
    }
    return found;
}

TEST(a_tenant_with_many_sets_has_the_turns_of_one)
{
    const struct engine_adapter_set *const theirs[] = {&none, &one, &one};
    for (size_t i = 0; i < ARRAY_COUNT(theirs); i++) {
        uint32_t steps = steps_of_one(theirs[i], i == 2);
        uint32_t more = i == 2 ? TENANT_STEPS / TURNS_LEARNED : 1; /* rule 5: new sets have none */
        CHECK(steps >= TENANT_STEPS / 2 - 1 && steps <= TENANT_STEPS / 2 + more);
    }
}

/* More of them than are known: nobody is left out. */
TEST(among_more_tenants_than_are_known_each_has_turns)
{
    enum { TENANTS = 2 * TURNS_TENANTS };
    struct turns turns = {0};
    struct engine_adapter_set own[TENANTS];
    struct turns_seq sequences[TENANTS];
    uint32_t waited[TENANTS] = {0};
    for (uint32_t i = 0; i < TENANTS; i++) {
        own[i] = (struct engine_adapter_set){.count = 1, .uses = {{0, 1 + (float)i}}};
        sequences[i] = (struct turns_seq){&own[i], 1 + i, 0};
    }
    for (uint64_t step = 1; step <= TENANT_STEPS; step++) {
        const struct engine_adapter_set *next = turns_next(&turns, sequences, TENANTS, step);
        turns_took(&turns, next, TURNS_US);
        for (uint32_t i = 0; i < TENANTS; i++) {
            bool is_its = sequences[i].adapters == next;
            waited[i] = is_its ? 0 : waited[i] + 1;
            sequences[i].waits_since = is_its ? step : sequences[i].waits_since;
            CHECK(waited[i] < TENANTS + TENANTS / TURNS_LEARNED + 1); /* rule 5 */
        }
    }
}

/* Steps of which each takes longer than a turn, of two sets: both have some that are not the first
 * of their turn. */
TEST(steps_longer_than_a_turn_are_followed_by_another_now_and_then)
{
    struct turns turns = {0};
    struct turns_seq sequences[] = {{&one, 0, 0}, {&half, 0, 0}};
    const struct engine_adapter_set *last = &none;
    uint32_t seconds[2] = {0};
    for (uint64_t step = 1; step <= 10 * TURNS_LEARNED; step++) {
        const struct engine_adapter_set *next = turns_next(&turns, sequences, 2, step);
        size_t index = next == &half;
        seconds[index] += next == last;
        sequences[index].waits_since = step;
        last = next;
        turns_took(&turns, next, 2 * TURNS_US);
    }
    CHECK(seconds[0] + seconds[1] >= 9 && seconds[0] + seconds[1] <= 10);
    CHECK(seconds[0] >= 4 && seconds[1] >= 4);
}
