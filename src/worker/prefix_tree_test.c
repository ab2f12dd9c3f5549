#include "testing/test.h"
#include "base/mem.h"
#include "worker/prefix_tree.h"

enum { CONTEXT = 100 };

static token_id long_ids[CONTEXT]; /* 1 2 3 ... */

__attribute__((constructor)) static void count_up(void)
{
    for (int i = 0; i < CONTEXT; i++)
        long_ids[i] = i + 1;
}

/* 1 ms a token, nothing else costs anything. */
static struct prefix_options options_of(uint32_t slots)
{
    struct prefix_options options = prefix_options_default(slots, CONTEXT);
    options.price = (struct prefix_price){.recompute_us = 1000};
    options.nodes_max = 64;
    options.ids_max = 4096;
    options.save_tokens = 4;
    return options;
}

static void save(struct prefix_tree *tree, const token_id *ids, uint32_t count, size_t bytes)
{
    void *blob = mem_alloc(bytes);
    CHECK_OK(prefix_tree_save(tree, PREFIX_NOBODYS, ids, count, &blob, bytes));
    CHECK(blob == NULL);
}

/* The first `common` ids of long_ids, then others up to `count`. */
static struct prefix_answer find(struct prefix_tree *tree, uint32_t common, uint32_t count)
{
    static token_id ids[CONTEXT];
    for (uint32_t i = 0; i < count; i++)
        ids[i] = i < common ? long_ids[i] : 1000 + (token_id)i;
    return prefix_tree_find(tree, &(struct prefix_prompt){.ids = ids, .count = count});
}

TEST(an_empty_tree_says_nothing_and_gives_a_slot)
{
    struct prefix_options options = options_of(2);
    struct prefix_tree *tree = prefix_tree_new(&options);
    struct prefix_answer answer = find(tree, 10, 10);
    CHECK_EQ(answer.how, PREFIX_NOTHING);
    CHECK_EQ(answer.slot, 0);
    CHECK_EQ(answer.tokens, 0);
    CHECK_EQ(answer.save_count, 0);
    CHECK(!answer.slot_kept);
    prefix_tree_check(tree);
    prefix_tree_free(tree);
}

TEST(an_idle_slot_is_cut_to_what_it_has_of_the_prompt)
{
    struct prefix_options options = options_of(2);
    struct prefix_tree *tree = prefix_tree_new(&options);
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 1, long_ids, 50);
    struct prefix_answer answer = find(tree, 40, 60);
    CHECK_EQ(answer.how, PREFIX_CUT);
    CHECK_EQ(answer.slot, 1);
    CHECK_EQ(answer.tokens, 40);
    answer = find(tree, 50, 50); /* rule 2 */
    CHECK_EQ(answer.tokens, 49);
    prefix_tree_free(tree);
}

TEST(where_cutting_is_impossible_only_the_whole_content_counts)
{
    struct prefix_options options = options_of(1);
    options.can_cut = false;
    struct prefix_tree *tree = prefix_tree_new(&options);
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 0, long_ids, 50);
    CHECK_EQ(find(tree, 40, 60).how, PREFIX_NOTHING);
    CHECK_EQ(find(tree, 50, 50).how, PREFIX_NOTHING);
    CHECK_EQ(find(tree, 51, 51).how, PREFIX_CUT);
    CHECK_EQ(find(tree, 50, 60).tokens, 50);
    save(tree, long_ids, 30, 10);
    CHECK_EQ(find(tree, 40, 60).how, PREFIX_RESTORE); /* the checkpoint */
    CHECK_EQ(find(tree, 40, 60).tokens, 30);
    CHECK_EQ(find(tree, 29, 60).how, PREFIX_NOTHING);
    prefix_tree_free(tree);
}

TEST(a_blob_is_restored_when_no_slot_has_as_much)
{
    struct prefix_options options = options_of(2);
    struct prefix_tree *tree = prefix_tree_new(&options);
    prefix_tree_slot_busy(tree, PREFIX_NOBODYS, 0, long_ids, 45);
    save(tree, long_ids, 30, 10);
    save(tree, long_ids, 40, 10);
    struct prefix_answer answer = find(tree, 45, 60);
    CHECK_EQ(answer.how, PREFIX_RESTORE);
    CHECK_EQ(answer.slot, 1);
    CHECK_EQ(answer.tokens, 40);
    CHECK_EQ(answer.blob_count, 40);
    CHECK_EQ(answer.blob.len, 10);
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 0, long_ids, 45);
    CHECK_EQ(find(tree, 45, 60).how, PREFIX_CUT);
    prefix_tree_free(tree);
}

TEST(a_blob_that_goes_on_behind_the_prompt_is_restored_and_cut)
{
    struct prefix_options options = options_of(1);
    struct prefix_tree *tree = prefix_tree_new(&options);
    save(tree, long_ids, 60, 10);
    struct prefix_answer answer = find(tree, 25, 40);
    CHECK_EQ(answer.how, PREFIX_RESTORE);
    CHECK_EQ(answer.tokens, 25);
    CHECK_EQ(answer.blob_count, 60);
    token_id ids[60];
    prefix_tree_ids(tree, ids);
    CHECK(memcmp(ids, long_ids, sizeof(ids)) == 0);
    prefix_tree_free(tree);
}

TEST(restoring_must_pay)
{
    struct prefix_options options = options_of(1);
    options.price.restore_us = 100; /* 300 bytes: as much as 30 tokens */
    struct prefix_tree *tree = prefix_tree_new(&options);
    save(tree, long_ids, 50, 300);
    CHECK_EQ(find(tree, 31, 60).how, PREFIX_RESTORE);
    CHECK_EQ(find(tree, 29, 60).how, PREFIX_NOTHING);
    prefix_tree_free(tree);
}

TEST(a_busy_slot_is_copied_only_when_the_prefix_fills_more_than_half_the_stream)
{
    struct prefix_options options = options_of(2);
    options.price.copy_us = 100;
    struct prefix_tree *tree = prefix_tree_new(&options);
    prefix_tree_slot_busy(tree, PREFIX_NOBODYS, 0, long_ids, 80);
    CHECK_EQ(find(tree, 50, 80).how, PREFIX_NOTHING);
    struct prefix_answer answer = find(tree, 51, 80);
    CHECK_EQ(answer.how, PREFIX_COPY);
    CHECK_EQ(answer.slot, 1);
    CHECK_EQ(answer.from, 0);
    CHECK_EQ(answer.tokens, 51);
    save(tree, long_ids, 51, 1); /* and a blob comes before it */
    CHECK_EQ(find(tree, 51, 80).how, PREFIX_RESTORE);
    prefix_tree_free(tree);
}

TEST(a_conversation_is_not_given_up_for_a_few_tokens)
{
    struct prefix_options options = options_of(2);
    struct prefix_tree *tree = prefix_tree_new(&options);
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 0, long_ids, 90);
    CHECK_EQ(find(tree, 10, 20).how, PREFIX_NOTHING); /* in the free slot */
    CHECK_EQ(find(tree, 10, 20).slot, 1);
    CHECK_EQ(find(tree, 80, 95).how, PREFIX_CUT);
    save(tree, long_ids, 90, 10); /* nothing is lost now */
    CHECK_EQ(find(tree, 10, 20).how, PREFIX_CUT);
    prefix_tree_free(tree);
}

TEST(what_an_idle_slot_held_is_to_be_saved_before_another_takes_it)
{
    struct prefix_options options = options_of(1);
    options.price.save_us = 1;
    options.save_tokens = 16;
    struct prefix_tree *tree = prefix_tree_new(&options);
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 0, long_ids, 90);
    struct prefix_answer answer = find(tree, 0, 20);
    CHECK_EQ(answer.how, PREFIX_NOTHING);
    CHECK(answer.slot_kept);
    CHECK(find(tree, 86, 95).slot_kept);  /* a quarter of save_tokens */
    CHECK(!find(tree, 87, 95).slot_kept); /* three tokens are not worth it */
    save(tree, long_ids, 90, 10);
    CHECK(!find(tree, 0, 20).slot_kept);
    prefix_tree_free(tree);
}

TEST(when_all_slots_are_busy_there_is_none)
{
    struct prefix_options options = options_of(1);
    struct prefix_tree *tree = prefix_tree_new(&options);
    prefix_tree_slot_busy(tree, PREFIX_NOBODYS, 0, long_ids, 5);
    CHECK_EQ(find(tree, 5, 20).slot, PREFIX_NO_SLOT);
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 0, NULL, 0);
    CHECK_EQ(find(tree, 5, 20).slot, 0);
    prefix_tree_free(tree);
}

TEST(a_prefix_deserves_a_blob_when_a_second_request_has_it)
{
    struct prefix_options options = options_of(4);
    struct prefix_tree *tree = prefix_tree_new(&options);
    CHECK_EQ(find(tree, 40, 60).save_count, 0);
    prefix_tree_note(tree, &(struct prefix_prompt){.ids = long_ids, .count = 70});
    struct prefix_answer answer = find(tree, 40, 60);
    CHECK_EQ(answer.save_count, 1);
    CHECK_EQ(answer.save_at[0], 40);
    save(tree, long_ids, 38, 10); /* near enough */
    CHECK_EQ(find(tree, 40, 60).save_count, 0);
    CHECK_EQ(find(tree, 42, 60).save_count, 1);
    /* What a slot answered is no prompt of anybody. */
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 0, long_ids, 90);
    answer = find(tree, 90, 95);
    CHECK_EQ(answer.tokens, 90);
    CHECK_EQ(answer.save_count, 0);
    prefix_tree_free(tree);
}

TEST(the_end_of_a_system_prompt_deserves_a_blob_at_once)
{
    struct prefix_options options = options_of(4);
    struct prefix_tree *tree = prefix_tree_new(&options);
    struct prefix_prompt prompt = {.ids = long_ids, .count = 60, .system_tokens = 20};
    struct prefix_answer answer = prefix_tree_find(tree, &prompt);
    CHECK_EQ(answer.save_count, 1);
    CHECK_EQ(answer.save_at[0], 20);
    prefix_tree_note(tree, &prompt);
    prompt.count = 80;
    answer = prefix_tree_find(tree, &prompt);
    CHECK_EQ(answer.save_count, 2);
    CHECK_EQ(answer.save_at[0], 20);
    CHECK_EQ(answer.save_at[1], 60);
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 0, long_ids,
                          60); /* it starts behind the first now */
    answer = prefix_tree_find(tree, &prompt);
    CHECK_EQ(answer.tokens, 60);
    CHECK_EQ(answer.save_count, 1);
    CHECK_EQ(answer.save_at[0], 60);
    prefix_tree_free(tree);
}

TEST(whoever_comes_second_waits_for_a_prompt_that_is_on_its_way)
{
    struct prefix_options options = options_of(3);
    struct prefix_tree *tree = prefix_tree_new(&options);
    prefix_tree_slot_filling(tree, PREFIX_NOBODYS, 0, long_ids, 80);
    struct prefix_answer answer = find(tree, 60, 90);
    CHECK_EQ(answer.how, PREFIX_NOTHING); /* nothing of it is there, also not to be copied */
    CHECK_EQ(answer.wait_slot, 0);
    CHECK_EQ(answer.wait_tokens, 60);
    CHECK_EQ(find(tree, 3, 90).wait_slot, PREFIX_NO_SLOT); /* too few */
    save(tree, long_ids, 58, 10);
    CHECK_EQ(find(tree, 60, 90).wait_slot, PREFIX_NO_SLOT); /* too little more */
    prefix_tree_slot_busy(tree, PREFIX_NOBODYS, 0, long_ids, 80);
    answer = find(tree, 70, 90);
    CHECK_EQ(answer.how, PREFIX_COPY);
    CHECK_EQ(answer.wait_slot, PREFIX_NO_SLOT);
    prefix_tree_free(tree);
}

static uint32_t waits_for(struct prefix_tree *tree, uint32_t count, bool is_shared)
{
    struct prefix_prompt prompt = {.ids = long_ids, .count = count, .is_shared = is_shared};
    return prefix_tree_find(tree, &prompt).wait_slot;
}

TEST(choices_wait_for_their_like_however_short_their_prompt_is)
{
    struct prefix_options options = options_of(3);
    struct prefix_tree *tree = prefix_tree_new(&options);
    prefix_tree_slot_filling(tree, PREFIX_NOBODYS, 1, long_ids, 3);
    CHECK_EQ(waits_for(tree, 3, false), PREFIX_NO_SLOT);
    CHECK_EQ(waits_for(tree, 3, true), 1);
    CHECK_EQ(waits_for(tree, 2, true), 1);
    CHECK_EQ(waits_for(tree, 1, true), PREFIX_NO_SLOT); /* it has to put in all of it anyway */
    CHECK_EQ(waits_for(tree, 5, true), PREFIX_NO_SLOT); /* another prompt, which goes on */
    prefix_tree_slot_filling(tree, PREFIX_NOBODYS, 1, long_ids, 5);
    CHECK_EQ(waits_for(tree, 3, true), 1);
    prefix_tree_slot_filling(tree, PREFIX_NOBODYS, 1, long_ids, 6); /* a longer one: for 4 rows */
    CHECK_EQ(waits_for(tree, 3, true), PREFIX_NO_SLOT);
    prefix_tree_slot_filling(tree, PREFIX_NOBODYS, 1, long_ids, 3);
    save(tree, long_ids, 2, 10);
    CHECK_EQ(waits_for(tree, 3, true), PREFIX_NO_SLOT); /* it is there */
    prefix_tree_free(tree);
}

TEST(of_blobs_the_one_goes_that_spares_least_for_its_bytes)
{
    struct prefix_options options = options_of(1);
    options.blob_bytes_max = 100;
    struct prefix_tree *tree = prefix_tree_new(&options);
    token_id other[] = {7, 7, 7};
    save(tree, other, 3, 40);     /* 75 us a byte */
    save(tree, long_ids, 50, 50); /* 1000 */
    save(tree, long_ids, 60, 50);
    CHECK(!prefix_tree_has(tree, PREFIX_NOBODYS, other, 3));
    CHECK(prefix_tree_has(tree, PREFIX_NOBODYS, long_ids, 50));
    /* What is used stays longer: 50 has two uses now, at a higher L. */
    CHECK_EQ(find(tree, 50, 55).tokens, 50);
    prefix_tree_used(tree);
    save(tree, long_ids, 55, 50);
    CHECK(prefix_tree_has(tree, PREFIX_NOBODYS, long_ids, 50));
    CHECK(!prefix_tree_has(tree, PREFIX_NOBODYS, long_ids, 60));
    void *large = mem_alloc(101);
    CHECK_ERR(prefix_tree_save(tree, PREFIX_NOBODYS, long_ids, 70, &large, 101), ERR_FULL);
    CHECK(large != NULL);
    mem_free(large);
    prefix_tree_check(tree);
    prefix_tree_free(tree);
}

TEST(the_blob_of_an_answer_stays_while_others_are_saved)
{
    struct prefix_options options = options_of(1);
    options.blob_bytes_max = 100;
    struct prefix_tree *tree = prefix_tree_new(&options);
    save(tree, long_ids, 10, 100);
    CHECK_EQ(find(tree, 10, 20).how, PREFIX_RESTORE);
    void *blob = mem_alloc(50);
    CHECK_ERR(prefix_tree_save(tree, PREFIX_NOBODYS, long_ids, 90, &blob, 50), ERR_FULL);
    CHECK(prefix_tree_has(tree, PREFIX_NOBODYS, long_ids, 10));
    prefix_tree_used(tree);
    CHECK_EQ(find(tree, 0, 20).how, PREFIX_NOTHING);
    CHECK_OK(prefix_tree_save(tree, PREFIX_NOBODYS, long_ids, 90, &blob, 50));
    CHECK(!prefix_tree_has(tree, PREFIX_NOBODYS, long_ids, 10));
    prefix_tree_free(tree);
}

static bool take_all(void *ctx, uint64_t scope, const token_id *ids, uint32_t count, void **blob,
                     size_t bytes)
{
    CHECK_EQ(scope, PREFIX_NOBODYS);
    uint32_t *spilled = ctx;
    CHECK(memcmp(ids, long_ids, count * sizeof(*ids)) == 0 && bytes == 60);
    mem_free(*blob);
    *blob = NULL;
    *spilled = count;
    return true;
}

TEST(a_dropped_blob_that_went_to_disk_is_fetched)
{
    uint32_t spilled = 0;
    struct prefix_options options = options_of(1);
    options.blob_bytes_max = 100;
    options.price.fetch_us = 1;
    options.spill = take_all;
    options.spill_ctx = &spilled;
    struct prefix_tree *tree = prefix_tree_new(&options);
    save(tree, long_ids, 10, 60);
    save(tree, long_ids, 90, 60);
    CHECK_EQ(spilled, 10);
    struct prefix_answer answer = find(tree, 10, 20);
    CHECK_EQ(answer.how, PREFIX_RESTORE); /* of 90 in memory, cut */
    prefix_tree_lost(tree, PREFIX_NOBODYS, long_ids, 90);
    CHECK_EQ(spilled, 90); /* it may be on its way there, and is not believed to be all the same */
    CHECK_EQ(prefix_tree_counts(tree).on_disk, 1);
    answer = find(tree, 10, 20);
    CHECK_EQ(answer.how, PREFIX_FETCH);
    CHECK_EQ(answer.blob_count, 10);
    prefix_tree_lost(tree, PREFIX_NOBODYS, long_ids, 10);
    CHECK_EQ(find(tree, 10, 20).how, PREFIX_NOTHING);
    prefix_tree_on_disk(tree, PREFIX_NOBODYS, long_ids, 15, 60);
    CHECK_EQ(find(tree, 10, 20).how, PREFIX_FETCH);
    CHECK_EQ(prefix_tree_counts(tree).on_disk, 1);
    prefix_tree_check(tree);
    prefix_tree_free(tree);
}

TEST(a_disk_that_does_not_come_hides_nothing_that_is_here)
{
    struct prefix_options options = options_of(2);
    struct prefix_tree *tree = prefix_tree_new(&options);
    struct prefix_prompt prompt = {.ids = long_ids, .count = 61};
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 1, long_ids, 30);
    prefix_tree_on_disk(tree, PREFIX_NOBODYS, long_ids, 60, 60);
    CHECK_EQ(prefix_tree_find(tree, &prompt).how, PREFIX_FETCH);
    prompt.without_disk = true;
    struct prefix_answer answer = prefix_tree_find(tree, &prompt);
    CHECK_EQ(answer.how, PREFIX_CUT);
    CHECK_EQ(answer.tokens, 30);
    CHECK_EQ(answer.slot, 1);
    prefix_tree_free(tree);
}

TEST(prompts_beyond_the_bounds_are_forgotten_oldest_first)
{
    struct prefix_options options = options_of(1);
    options.nodes_max = 11; /* nobody's root, that of the scope, one in reserve, and 8 */
    options.save_tokens = 3;
    struct prefix_tree *tree = prefix_tree_new(&options);
    for (token_id i = 0; i < 20; i++) {
        token_id ids[] = {i, i, i};
        prefix_tree_note(tree, &(struct prefix_prompt){.ids = ids, .count = 3});
        prefix_tree_check(tree);
    }
    for (token_id i = 0; i < 20; i++) {
        token_id ids[] = {i, i, i, i, i};
        struct prefix_answer answer =
            prefix_tree_find(tree, &(struct prefix_prompt){.ids = ids, .count = 5});
        CHECK_EQ(answer.save_count, i >= 12); /* eight nodes: seen before, or forgotten */
    }
    CHECK(prefix_tree_counts(tree).nodes <= 8);
    CHECK(prefix_tree_counts(tree).prompts_forgotten >= 12);
    prefix_tree_free(tree);
}

/* Slots and blobs are never forgotten for prompts; a slot for which there is no room is one of
 * which nothing is known. */
TEST(a_slot_without_room_in_the_tree_counts_as_free)
{
    struct prefix_options options = options_of(2);
    options.ids_max = 60;
    struct prefix_tree *tree = prefix_tree_new(&options);
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 0, long_ids, 50);
    token_id other[] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 9, 8, 7};
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 1, other, 12);
    CHECK_EQ(prefix_tree_slot_tokens(tree, 0), 50);
    CHECK_EQ(prefix_tree_slot_tokens(tree, 1), 0);
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 0, NULL, 0);
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 1, other, 12);
    CHECK_EQ(prefix_tree_slot_tokens(tree, 1), 12);
    prefix_tree_check(tree);
    prefix_tree_free(tree);
}

static struct prefix_answer find_in(struct prefix_tree *tree, uint64_t scope)
{
    return prefix_tree_find(tree,
                            &(struct prefix_prompt){.scope = scope, .ids = long_ids, .count = 60});
}

static void check_is_unknown(struct prefix_tree *tree, uint64_t scope)
{
    struct prefix_answer answer = find_in(tree, scope);
    CHECK_EQ(answer.how, PREFIX_NOTHING);
    CHECK_EQ(answer.tokens, 0);
    CHECK_EQ(answer.wait_slot, PREFIX_NO_SLOT);
    CHECK_EQ(answer.save_count, 0);
    CHECK(!prefix_tree_has(tree, scope, long_ids, 60));
}

TEST(what_is_of_one_scope_is_nothing_to_another)
{
    enum { MINE = 1, OTHERS = 2, SLOTS = 4 };
    struct prefix_options options = options_of(SLOTS);
    struct prefix_tree *tree = prefix_tree_new(&options);
    struct prefix_prompt prompt = {.scope = MINE, .ids = long_ids, .count = 60};
    void *blob = mem_alloc(10);
    prefix_tree_note(tree, &prompt);
    prefix_tree_slot_idle(tree, MINE, 0, long_ids, 60);
    prefix_tree_slot_busy(tree, MINE, 1, long_ids, 80);
    prefix_tree_slot_filling(tree, MINE, 2, long_ids, 90);
    CHECK_OK(prefix_tree_save(tree, MINE, long_ids, 60, &blob, 10));
    for (int round = 0; round < 2; round++) { /* unknown; then known, with something of its own */
        check_is_unknown(tree, OTHERS);
        check_is_unknown(tree, PREFIX_NOBODYS);
        CHECK_EQ(find_in(tree, MINE).how, PREFIX_CUT);
        CHECK(prefix_tree_has(tree, MINE, long_ids, 60));
        prefix_tree_slot_idle(tree, OTHERS, 3, (token_id[]){7, 8, 9}, 3);
        prefix_tree_note(tree, &(struct prefix_prompt){.scope = PREFIX_NOBODYS,
                                                       .ids = (token_id[]){7, 8, 9},
                                                       .count = 3});
        prefix_tree_lost(tree, OTHERS, long_ids, 60);
        prefix_tree_check(tree);
    }
    prefix_tree_slot_idle(tree, MINE, 0, NULL, 0);
    CHECK_EQ(find_in(tree, MINE).how, PREFIX_RESTORE);
    prefix_tree_free(tree);
}

TEST(scopes_take_room_like_prompts_and_are_forgotten_like_them)
{
    struct prefix_options options = options_of(1);
    options.nodes_max = 8;
    struct prefix_tree *tree = prefix_tree_new(&options);
    for (uint64_t scope = 0; scope < 1000; scope++) {
        prefix_tree_note(tree,
                         &(struct prefix_prompt){.scope = scope, .ids = long_ids, .count = 10});
        prefix_tree_check(tree);
    }
    CHECK_EQ(prefix_tree_counts(tree).nodes, 3); /* and three roots, and nobody's */
    CHECK_EQ(prefix_tree_counts(tree).prompts_forgotten, 997);
    prefix_tree_slot_idle(tree, 1, 0, long_ids, 10); /* comes back, and stays while it is held */
    for (uint64_t scope = 2; scope < 100; scope++)
        prefix_tree_note(tree,
                         &(struct prefix_prompt){.scope = scope, .ids = long_ids, .count = 10});
    CHECK_EQ(find_in(tree, 1).how, PREFIX_CUT);
    prefix_tree_check(tree);
    prefix_tree_free(tree);
}

static bool note_spill(void *ctx, uint64_t scope, const token_id *ids, uint32_t count, void **blob,
                       size_t bytes)
{
    uint64_t *spilled = ctx;
    CHECK(ids[0] == 1 && (count == 60 || count == 61) && *blob && bytes == 10);
    *spilled = scope;
    return true;
}

TEST(what_is_spilled_is_of_its_scope_and_found_in_no_other)
{
    for (uint64_t scope = 0; scope < 2; scope++) {
        uint64_t spilled = UINT64_MAX;
        struct prefix_options options = options_of(1);
        options.blob_bytes_max = 10;
        options.spill = note_spill;
        options.spill_ctx = &spilled;
        struct prefix_tree *tree = prefix_tree_new(&options);
        for (uint32_t i = 0; i < 2; i++) {
            void *blob = mem_alloc(10);
            CHECK_OK(prefix_tree_save(tree, scope, long_ids, 60 + i, &blob, 10));
        }
        CHECK_EQ(spilled, scope);
        prefix_tree_lost(tree, scope, long_ids, 61);
        CHECK_EQ(find_in(tree, scope).how, PREFIX_FETCH);
        CHECK_EQ(find_in(tree, 1 - scope).how, PREFIX_NOTHING);
        prefix_tree_check(tree);
        prefix_tree_free(tree);
    }
}

/* Slots 0 and 4 run; what is in the others is as old, or there is nothing. */
static struct prefix_tree *tree_with_gaps(double gap_us)
{
    struct prefix_options options = options_of(6);
    options.price.gap_us = gap_us;
    options.price.answer_tokens = 1;
    struct prefix_tree *tree = prefix_tree_new(&options);
    prefix_tree_slot_busy(tree, PREFIX_NOBODYS, 0, long_ids, 10);
    prefix_tree_slot_busy(tree, PREFIX_NOBODYS, 4, long_ids, 20);
    return tree;
}

TEST(a_free_slot_next_to_those_that_run_is_taken_first)
{
    struct prefix_tree *tree = tree_with_gaps(1);
    prefix_tree_slot_busy(tree, PREFIX_NOBODYS, 2, long_ids, 30);
    struct prefix_answer answer = find(tree, 0, 10);
    CHECK_EQ(answer.slot, 1); /* between two */
    CHECK(answer.saves_us == 2);
    prefix_tree_slot_busy(tree, PREFIX_NOBODYS, 1, long_ids, 40);
    CHECK_EQ(find(tree, 0, 10).slot, 3);
    prefix_tree_slot_busy(tree, PREFIX_NOBODYS, 3, long_ids, 50);
    answer = find(tree, 0, 10);
    CHECK_EQ(answer.slot, 5); /* the last one has one neighbour */
    CHECK(answer.saves_us == 1);
    prefix_tree_free(tree);
}

/* What 8 tokens are worth when nothing was asked since: 4 ms (rule 5 of what is lost: half). */
TEST(a_neighbour_is_taken_from_its_content_for_no_more_than_a_gap_costs)
{
    for (int is_dear = 0; is_dear < 2; is_dear++) {
        struct prefix_tree *tree = tree_with_gaps(is_dear ? 4001 : 3999);
        token_id own[8] = {90, 91, 92, 93, 94, 95, 96, 97};
        for (uint32_t slot = 1; slot < 6; slot++) {
            own[0] = 90 + (token_id)slot;
            if (slot != 4 && slot != 2) /* 2 is free and lies alone */
                prefix_tree_slot_idle(tree, PREFIX_NOBODYS, slot, own, 8);
        }
        struct prefix_answer answer = find(tree, 0, 10);
        CHECK_EQ(answer.slot, is_dear ? 1 : 2);
        CHECK_EQ(answer.slot_kept, is_dear);
        prefix_tree_free(tree);
    }
}

TEST(what_a_slot_has_of_the_prompt_counts_beside_where_it_lies)
{
    struct prefix_tree *tree = tree_with_gaps(5000);
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 2, long_ids, 60);
    struct prefix_answer answer = find(tree, 60, 70);
    CHECK_EQ(answer.how, PREFIX_CUT); /* 60 ms are more than 5 */
    CHECK_EQ(answer.slot, 2);
    prefix_tree_slot_idle(tree, PREFIX_NOBODYS, 3, long_ids, 58);
    CHECK_EQ(find(tree, 60, 70).slot, 3); /* 2 ms are less */
    prefix_tree_free(tree);
}
