/* Budgets of the prefix tree: what it may ask for, in counts. */
#include "testing/test.h"
#include "base/mem.h"
#include "testing/alloc_count.h"
#include "worker/prefix_tree.h"

enum { PROMPTS = 1000, SYSTEM = 500, OWN = 20, COUNT = SYSTEM + OWN };

static void make_prompt(uint32_t number, token_id out_ids[COUNT])
{
    for (token_id i = 0; i < SYSTEM; i++)
        out_ids[i] = i;
    for (token_id i = 0; i < OWN; i++)
        out_ids[SYSTEM + i] = (token_id)number * 100 + i;
}

static struct prefix_tree *known_tree(void)
{
    struct prefix_options options = prefix_options_default(8, 4096);
    struct prefix_tree *tree = prefix_tree_new(&options);
    token_id ids[COUNT];
    for (uint32_t i = 0; i < PROMPTS; i++) {
        make_prompt(i, ids);
        prefix_tree_note(tree, &(struct prefix_prompt){.ids = ids, .count = COUNT});
        prefix_tree_slot_idle(tree, PREFIX_NOBODYS, i % 8, ids, COUNT);
    }
    return tree;
}

static long allocations_of(struct prefix_tree *tree, uint32_t number)
{
    token_id ids[COUNT];
    make_prompt(number, ids);
    struct prefix_prompt prompt = {.ids = ids, .count = COUNT};
    alloc_count_take();
    alloc_count_resume();
    struct prefix_answer answer = prefix_tree_find(tree, &prompt);
    prefix_tree_note(tree, &prompt);
    alloc_count_pause();
    CHECK(answer.tokens >= SYSTEM);
    return alloc_count_take();
}

TEST(what_is_known_costs_no_allocation)
{
    struct prefix_tree *tree = known_tree();
    for (uint32_t i = 0; i < PROMPTS; i++)
        CHECK_EQ(allocations_of(tree, i), 0);
    prefix_tree_free(tree);
}

/* Its own ids; two more when it ends in the middle of an edge, which does not happen here. */
TEST(a_new_prompt_costs_one_allocation)
{
    struct prefix_tree *tree = known_tree();
    long most = 0;
    for (uint32_t i = PROMPTS; i < 2 * PROMPTS; i++) {
        long count = allocations_of(tree, i);
        CHECK(count >= 1);
        most += count;
    }
    CHECK(most <= PROMPTS + 4); /* and the table of edges grows now and then */
    prefix_tree_free(tree);
}

TEST(what_prompts_have_in_common_is_kept_once)
{
    struct prefix_tree *tree = known_tree();
    CHECK_EQ(prefix_tree_counts(tree).ids, SYSTEM + PROMPTS * OWN);
    CHECK_EQ(prefix_tree_counts(tree).nodes, 1 + PROMPTS);
    prefix_tree_free(tree);
}
