/* wheel_test - the wheel against a list that is searched from end to end. */
#include "loop/wheel.h"

#include "testing/test.h"

#include <stdlib.h>

enum { ENTRIES = 300, OPERATIONS = 20000, SEEDS = 12 };

/* The model: what is in it is on no list; the next one due is the least (tick, serial). */
struct item {
    struct wheel_entry entry; /* first: an entry is its item */
    bool is_in;
    uint64_t tick;   /* as it counts: not before the time at which it was added */
    uint64_t serial; /* order of adding */
};

struct model {
    struct wheel wheel;
    struct item items[ENTRIES];
    uint64_t serial, random;
};

static struct item *first_item(struct model *model)
{
    struct item *first = NULL;
    for (struct item *item = model->items; item < model->items + ENTRIES; item++) {
        if (!item->is_in)
            continue;
        if (!first || item->tick < first->tick ||
            (item->tick == first->tick && item->serial < first->serial))
            first = item;
    }
    return first;
}

static void add(struct model *model, struct item *item, uint64_t tick)
{
    item->is_in = true;
    item->tick = tick > model->wheel.now ? tick : model->wheel.now;
    item->serial = model->serial++;
    wheel_add(&model->wheel, &item->entry, tick);
}

static void take_out(struct model *model, struct item *item)
{
    item->is_in = false;
    wheel_remove(&model->wheel, &item->entry);
}

static uint64_t random_distance(struct model *model) /* every magnitude is as likely */
{
    return test_random(&model->random) >> (test_random(&model->random) % 64);
}

static uint64_t later(uint64_t now, uint64_t distance)
{
    return distance < UINT64_MAX - 1 - now ? now + distance : UINT64_MAX - 1;
}

static void advance_and_compare(struct model *model, uint64_t now)
{
    struct list due;
    list_init(&due);
    wheel_advance(&model->wheel, now, &due);
    for (struct item *first; (first = first_item(model)) && first->tick <= now;) {
        CHECK(list_pop_front(&due) == &first->entry.link);
        first->is_in = false;
    }
    CHECK(list_is_empty(&due));
    CHECK_EQ(model->wheel.now, now);
}

static void check_next(struct model *model)
{
    struct item *first = first_item(model);
    uint64_t next = wheel_next(&model->wheel);
    CHECK(first ? next >= model->wheel.now && next <= first->tick : next == WHEEL_NEVER);
}

static void one_operation(struct model *model)
{
    struct item *item = &model->items[test_random(&model->random) % ENTRIES];
    uint64_t now = model->wheel.now;
    switch (test_random(&model->random) % 8) {
    case 0: /* mostly near, so that digits roll over often */
        advance_and_compare(model, later(now, test_random(&model->random) % 100));
        break;
    case 1:
        if (wheel_next(&model->wheel) != WHEEL_NEVER)
            advance_and_compare(model, wheel_next(&model->wheel));
        break;
    case 2:
        if (item->is_in)
            take_out(model, item);
        break;
    default:
        if (item->is_in)
            take_out(model, item); /* moving is this */
        if (test_random(&model->random) % 16 == 0)
            add(model, item, now - now % 7);
        else
            add(model, item, later(now, random_distance(model)));
    }
    check_next(model);
}

TEST(random_runs_agree_with_a_sorted_list)
{
    struct model *model = malloc(sizeof *model);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        *model = (struct model){.random = seed};
        wheel_init(&model->wheel, test_random(&model->random) >> (seed * 5));
        for (int i = 0; i < OPERATIONS; i++)
            one_operation(model);
        advance_and_compare(model, UINT64_MAX - 1);
        CHECK_EQ(wheel_next(&model->wheel), WHEEL_NEVER);
    }
    free(model);
}

TEST(every_distance_comes_out_exactly_on_its_tick)
{
    for (int bit = 0; bit < 64; bit++) {
        for (int off = -1; off <= 1; off++) {
            struct wheel wheel;
            struct wheel_entry entry;
            struct list due;
            uint64_t start = 12345, tick = start + (1ULL << bit) + (uint64_t)off;
            list_init(&due);
            wheel_init(&wheel, start);
            wheel_add(&wheel, &entry, tick);
            if (tick > start) {
                wheel_advance(&wheel, tick - 1, &due);
                CHECK(list_is_empty(&due));
            }
            wheel_advance(&wheel, tick, &due);
            CHECK(list_pop_front(&due) == &entry.link);
            CHECK_EQ(wheel_next(&wheel), WHEEL_NEVER);
        }
    }
}

TEST(following_next_reaches_an_entry_within_one_step_per_level)
{
    struct wheel wheel;
    struct wheel_entry entry;
    struct list due;
    uint64_t tick = 0x123456789abcdef0;
    int steps = 0;
    list_init(&due);
    wheel_init(&wheel, 0);
    wheel_add(&wheel, &entry, tick);
    for (; list_is_empty(&due); steps++) {
        CHECK(wheel_next(&wheel) > wheel.now);
        wheel_advance(&wheel, wheel_next(&wheel), &due);
    }
    CHECK_EQ(wheel.now, tick);
    CHECK(steps <= WHEEL_LEVELS);
    CHECK(list_pop_front(&due) == &entry.link);
}

/* A loop that has little to wait for wakes up when something is due, and not before. */
TEST(few_entries_are_reached_in_one_step)
{
    enum { FEW = 8 };
    static const uint64_t ticks[FEW] = {5000, 70, 4095, 64, 1 << 20, 4096, 90, 1 << 30};
    struct wheel wheel;
    struct wheel_entry entries[FEW];
    struct list due;
    list_init(&due);
    wheel_init(&wheel, 1);
    for (size_t i = 0; i < FEW; i++)
        wheel_add(&wheel, &entries[i], ticks[i]);
    for (size_t i = 0; i < FEW; i++) {
        CHECK(list_is_empty(&due));
        wheel_advance(&wheel, wheel_next(&wheel), &due);
        CHECK(list_pop_front(&due));
    }
    CHECK_EQ(wheel_next(&wheel), WHEEL_NEVER);
}

/* So that looking for the first costs the same however many wait. */
TEST(many_entries_in_one_slot_are_spread_first)
{
    enum { MANY = 1000 };
    static struct wheel_entry entries[MANY];
    struct wheel wheel;
    struct list due;
    list_init(&due);
    wheel_init(&wheel, 0);
    for (size_t i = 0; i < MANY; i++)
        wheel_add(&wheel, &entries[i], 128 + i % 10);
    CHECK_EQ(wheel_next(&wheel), 128);
    wheel_init(&wheel, 0);
    for (size_t i = 0; i < MANY; i++)
        wheel_add(&wheel, &entries[i], 130 + i % 10);
    CHECK_EQ(wheel_next(&wheel), 128);
    wheel_advance(&wheel, 128, &due);
    CHECK(list_is_empty(&due));
    CHECK_EQ(wheel_next(&wheel), 130);
}

TEST(one_tick_keeps_the_order_of_adding_also_after_spreading)
{
    struct wheel wheel;
    struct wheel_entry far, nearer, near;
    struct list due;
    list_init(&due);
    wheel_init(&wheel, 0);
    wheel_add(&wheel, &far, 5000); /* waits on level 2 */
    wheel_advance(&wheel, 4096, &due);
    wheel_add(&wheel, &nearer, 5000); /* level 1 */
    wheel_advance(&wheel, 4999, &due);
    wheel_add(&wheel, &near, 5000); /* level 0 */
    CHECK(list_is_empty(&due));
    wheel_advance(&wheel, 6000, &due);
    CHECK(list_pop_front(&due) == &far.link);
    CHECK(list_pop_front(&due) == &nearer.link);
    CHECK(list_pop_front(&due) == &near.link);
    CHECK(list_is_empty(&due));
}

TEST(an_entry_on_its_way_out_can_be_removed)
{
    struct wheel wheel;
    struct wheel_entry a, b;
    struct list due;
    list_init(&due);
    wheel_init(&wheel, 0);
    wheel_add(&wheel, &a, 10);
    wheel_add(&wheel, &b, 10);
    wheel_advance(&wheel, 10, &due);
    wheel_remove(&wheel, &a);
    CHECK(list_pop_front(&due) == &b.link);
    CHECK(list_is_empty(&due));
}

TEST(a_late_entry_is_due_at_once_and_before_all_others)
{
    struct wheel wheel;
    struct wheel_entry late, on_time;
    struct list due;
    list_init(&due);
    wheel_init(&wheel, 100);
    wheel_add(&wheel, &on_time, 101);
    wheel_add(&wheel, &late, 3);
    CHECK_EQ(wheel_next(&wheel), 100);
    wheel_advance(&wheel, 101, &due);
    CHECK(list_pop_front(&due) == &late.link);
    CHECK(list_pop_front(&due) == &on_time.link);
}
