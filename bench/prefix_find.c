/* prefix_find - how long it takes to look up a prompt of 1k to 32k tokens, and to note it, in a
 * tree that knows 10 000 others: 100 system prompts of 500 tokens, each with 100 conversations of
 * 200 tokens, 64 slots and 1000 blobs. Prints microseconds: the median and the best of 41 runs. One
 * thread, no I/O. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/splitmix.h"
#include "worker/prefix_tree.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SYSTEMS = 100,
    CHATS = 100,
    SYSTEM = 500,
    CHAT = 200,
    LONGEST = 32768,
    RUNS = 41,
    ROUND = 20
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The chat's number is its seed; what stands behind its 700 tokens is its own, too. */
static void make_prompt(uint64_t system, uint64_t chat, uint32_t count, token_id *out_ids)
{
    uint64_t first = system, rest = 1000 + system * CHATS + chat;
    for (uint32_t i = 0; i < count; i++)
        out_ids[i] = (token_id)(splitmix_next(i < SYSTEM ? &first : &rest) % 32000);
}

static void save(struct prefix_tree *tree, const token_id *ids, uint32_t count)
{
    void *blob = mem_alloc(1000);
    ASSERT(prefix_tree_save(tree, PREFIX_NOBODYS, ids, count, &blob, 1000) == ERR_OK);
}

static struct prefix_tree *make_tree(token_id *ids)
{
    struct prefix_options options = prefix_options_default(64, LONGEST + 1);
    options.price.restore_us = 1e-5;
    struct prefix_tree *tree = prefix_tree_new(&options);
    for (uint32_t i = 0; i < SYSTEMS * CHATS; i++) {
        make_prompt(i % SYSTEMS, i / SYSTEMS, SYSTEM + CHAT, ids);
        prefix_tree_note(tree, &(struct prefix_prompt){.ids = ids, .count = SYSTEM + CHAT});
        if (i < SYSTEMS)
            save(tree, ids, SYSTEM);
        else if (i % 11 == 0)
            save(tree, ids, SYSTEM + CHAT);
        if (i % 2)
            prefix_tree_slot_busy(tree, PREFIX_NOBODYS, i % 64, ids, SYSTEM + CHAT);
        else
            prefix_tree_slot_idle(tree, PREFIX_NOBODYS, i % 64, ids, SYSTEM + CHAT);
    }
    return tree;
}

static void measure(struct prefix_tree *tree, uint32_t count, token_id *ids)
{
    double find_us[RUNS], note_us[RUNS];
    uint64_t random = count;
    uint32_t tokens = 0;
    for (int run = 0; run < RUNS; run++) {
        uint64_t find = 0, note = 0;
        for (int i = 0; i < ROUND; i++) {
            make_prompt(splitmix_next(&random) % SYSTEMS, splitmix_next(&random) % CHATS, count,
                        ids);
            struct prefix_prompt prompt = {.ids = ids, .count = count};
            uint64_t start = clock_monotonic_us();
            tokens = prefix_tree_find(tree, &prompt).tokens;
            uint64_t between = clock_monotonic_us();
            prefix_tree_note(tree, &prompt);
            find += between - start;
            note += clock_monotonic_us() - between;
            ASSERT(tokens >= SYSTEM);
        }
        find_us[run] = (double)find / ROUND;
        note_us[run] = (double)note / ROUND;
    }
    qsort(find_us, RUNS, sizeof(*find_us), by_value);
    qsort(note_us, RUNS, sizeof(*note_us), by_value);
    printf("%5u tokens   find: median %6.1f us   best %6.1f us   note: median %6.1f us\n", count,
           find_us[RUNS / 2], find_us[0], note_us[RUNS / 2]);
}

int main(void)
{
    token_id *ids = mem_array(LONGEST, sizeof(*ids));
    struct prefix_tree *tree = make_tree(ids);
    struct prefix_counts counts = prefix_tree_counts(tree);
    printf("%zu nodes, %zu ids, %zu blobs\n", counts.nodes, counts.ids, counts.blobs);
    for (uint32_t count = 1024; count <= LONGEST; count *= 2)
        measure(tree, count, ids);
    prefix_tree_free(tree);
    mem_free(ids);
}
