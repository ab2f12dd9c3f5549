/* Tests of what a recipe makes of a step. */
#include "nano/recipe.h"

#include "testing/test.h"

static struct recipe recipe_100(void)
{
    struct recipe recipe = recipe_nano();
    recipe.steps = 100;
    recipe.rows_first = 4;
    recipe.rows_last = 12;
    recipe.rows_grow_percent = 40;
    recipe.warmup_steps = 10;
    recipe.decay_percent = 50;
    recipe.rounded_percent = 5;
    recipe.rate = 1;
    return recipe;
}

TEST(rows_grow_evenly_and_then_stay)
{
    struct recipe recipe = recipe_100();
    CHECK_EQ(recipe_rows(&recipe, 0), 4);
    CHECK_EQ(recipe_rows(&recipe, 20), 8);
    CHECK_EQ(recipe_rows(&recipe, 39), 11);
    CHECK_EQ(recipe_rows(&recipe, 40), 12);
    CHECK_EQ(recipe_rows(&recipe, 99), 12);
    CHECK_EQ(recipe_rows_before(&recipe, 0), 0);
    uint64_t before = recipe_rows_before(&recipe, 41);
    CHECK_EQ(recipe_rows_before(&recipe, 42), before + 12);
}

TEST(rate_rises_stays_and_falls_to_nothing)
{
    struct recipe recipe = recipe_100();
    CHECK_NEAR(recipe_rate(&recipe, 0), 0.1, 1e-6);
    CHECK_NEAR(recipe_rate(&recipe, 9), 1, 1e-6);
    CHECK_NEAR(recipe_rate(&recipe, 50), 1, 1e-6);
    CHECK_NEAR(recipe_rate(&recipe, 75), 0.5, 1e-6);
    CHECK_NEAR(recipe_rate(&recipe, 99), 0.02, 1e-6);
}

TEST(last_steps_go_through_rounded_weights)
{
    struct recipe recipe = recipe_100();
    CHECK(!recipe_is_rounded(&recipe, 94));
    CHECK(recipe_is_rounded(&recipe, 95));
    recipe.rounded_percent = 0;
    CHECK(!recipe_is_rounded(&recipe, 99));
}

TEST(hash_tells_recipes_apart)
{
    struct recipe recipe = recipe_100(), other = recipe_100();
    CHECK(recipe_hash(&recipe) == recipe_hash(&other));
    other.epsilon *= 2;
    CHECK(recipe_hash(&recipe) != recipe_hash(&other));
    other = recipe_100();
    other.shape.kv_heads++;
    CHECK(recipe_hash(&recipe) != recipe_hash(&other));
    other = recipe_100();
    other.seed++;
    CHECK(recipe_hash(&recipe) != recipe_hash(&other));
}
