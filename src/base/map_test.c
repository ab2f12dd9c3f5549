/* map_test - against a plain array; removal while visiting. */
#include "base/map.h"
#include "testing/test.h"

static int some_value[64];

TEST(empty_map_answers)
{
    struct map *map = map_new(10);
    CHECK_EQ(map_count(map), 0);
    CHECK(!map_get(map, 0) && !map_remove(map, 0));
    size_t cursor = 0;
    uint64_t key;
    void *value;
    CHECK(!map_next(map, &cursor, &key, &value));
    map_free(map);
    map_free(NULL);
}

TEST(cap_is_exact_and_room_returns_with_removal)
{
    struct map *map = map_new(20);
    for (uint64_t key = 0; key < 20; key++)
        CHECK_OK(map_put(map, key, &some_value[key]));
    CHECK_ERR(map_put(map, 20, &some_value[20]), ERR_FULL);
    CHECK(!map_get(map, 20));
    CHECK(map_remove(map, 7) == &some_value[7]);
    CHECK(!map_remove(map, 7));
    CHECK_OK(map_put(map, 20, &some_value[20]));
    CHECK_EQ(map_count(map), 20);
    CHECK(map_get(map, 20) == &some_value[20]);
    map_free(map);
}

TEST(null_value_and_taken_key_are_our_bugs)
{
    struct map *map = map_new(10);
    CHECK_OK(map_put(map, 5, some_value));
    CHECK_ABORTS((void)map_put(map, 5, some_value), "key 5 is taken");
    CHECK_ABORTS((void)map_put(map, 6, NULL), "value");
    CHECK_ABORTS((void)map_new(SIZE_MAX), "max_entries");
    map_free(map);
}

/* Keys from a small range, so that the same ones come and go many times and runs collide. */
TEST(random_use_agrees_with_a_plain_array)
{
    enum { KEYS = 40, STEPS = 2000 };
    for (uint64_t run = 0; run < 50; run++) {
        uint64_t seed = run;
        size_t count = 0;
        void *model[KEYS] = {0};
        struct map *map = map_new(KEYS);
        for (int step = 0; step < STEPS; step++) {
            uint64_t key = test_random(&seed) % KEYS;
            /* sometimes mostly filling, sometimes mostly emptying */
            bool is_put = test_random(&seed) % 100 < (step / 500 % 2 ? 20u : 80u);
            if (is_put && !model[key]) {
                model[key] = &some_value[test_random(&seed) % 64];
                CHECK_OK(map_put(map, key, model[key]));
                count++;
            } else if (!is_put) {
                CHECK(map_remove(map, key) == model[key]);
                count -= model[key] != NULL;
                model[key] = NULL;
            }
            CHECK_EQ(map_count(map), count);
            for (uint64_t k = 0; k < KEYS; k++)
                CHECK(map_get(map, k) == model[k]);
        }
        map_free(map);
    }
}

static void check_visit(uint64_t seed, size_t entries, unsigned remove_percent)
{
    struct map *map = map_new(entries);
    uint64_t keys[64];
    int visits[64] = {0};
    bool removed[64] = {0};
    for (size_t i = 0; i < entries; i++) {
        keys[i] = test_random(&seed);
        CHECK_OK(map_put(map, keys[i], &some_value[i]));
    }
    size_t cursor = 0, left = entries;
    uint64_t key;
    void *value;
    while (map_next(map, &cursor, &key, &value)) {
        size_t index = (size_t)((int *)value - some_value);
        CHECK(key == keys[index]);
        visits[index]++;
        if (test_random(&seed) % 100 < remove_percent) {
            CHECK(map_remove(map, key) == value);
            removed[index] = true;
            left--;
        }
    }
    CHECK(!map_next(map, &cursor, &key, &value)); /* the end stays the end */
    for (size_t i = 0; i < entries; i++) {
        CHECK_EQ(visits[i], 1);
        CHECK_EQ(map_get(map, keys[i]) != NULL, !removed[i]);
    }
    CHECK_EQ(map_count(map), left);
    map_free(map);
}

/* Thousands of tables, so that runs which wrap around their end are among them. */
TEST(visit_meets_everyone_once_even_when_the_visited_leave)
{
    for (uint64_t seed = 0; seed < 3000; seed++)
        check_visit(seed, seed % 61, seed % 4 == 0 ? 0 : seed % 4 == 1 ? 100 : 50);
}
