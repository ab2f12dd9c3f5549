/* Where requests come to lie, in virtual time: conversations and single prompts on eight slots,
 * half of which run. Slots next to each other run in one graph (docs/design/020); how many runs of
 * such slots a step has, and what the whole takes, with and without a price for gaps. */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/prefix_tree.h"

#include <stdio.h>

enum {
    SLOTS = 8,
    CONTEXT = 4096,
    CHATS = 6,
    REQUESTS = 4000,
    RUNNING = 4,
    ANSWER = 128,
    ROUNDS = 4
};

/* The 110m model on one thread (docs/design/016, 020), in us. */
static const double RUN_US = 3080, ROW_US = 6780, TOKEN_US = 2300;

struct running {
    uint32_t chat; /* CHATS: of none */
    uint32_t count, left;
    bool is_there;
    token_id ids[CONTEXT];
};

struct place_sim {
    uint64_t random;
    struct prefix_tree *tree;
    struct running slots[SLOTS];
    token_id chats[CHATS][CONTEXT];
    uint32_t chat_tokens[CHATS];
    bool chat_runs[CHATS];
    uint32_t started, running, fresh; /* fresh: the next token that nobody has had */
    uint64_t steps, runs, rows, put_in;
};

static uint32_t below(struct place_sim *sim, uint32_t limit)
{
    return (uint32_t)(test_random(&sim->random) % limit);
}

static void append(struct place_sim *sim, token_id *ids, uint32_t *count, uint32_t more)
{
    for (uint32_t i = 0; i < more; i++)
        ids[(*count)++] = (token_id)(++sim->fresh & 0x7fffffff);
}

/* The prompt of a chat's next turn, which begins anew when it is long, or one of its own. */
static void make_prompt(struct place_sim *sim, struct running *next)
{
    next->chat = below(sim, 2 * CHATS);
    next->count = 0;
    if (next->chat >= CHATS || sim->chat_runs[next->chat]) {
        next->chat = CHATS;
    } else {
        next->count = sim->chat_tokens[next->chat];
        memcpy(next->ids, sim->chats[next->chat], next->count * sizeof(token_id));
        if (next->count > CONTEXT / 2)
            next->count = 0;
    }
    append(sim, next->ids, &next->count, 20 + below(sim, 180));
    next->left = 8 + below(sim, 2 * ANSWER - 16);
    next->is_there = true;
}

static void save(struct place_sim *sim, uint32_t slot)
{
    const struct running *held = &sim->slots[slot];
    size_t bytes = (size_t)held->count * 2000;
    void *blob = mem_alloc(1);
    CHECK_OK(prefix_tree_save(sim->tree, PREFIX_NOBODYS, held->ids, held->count, &blob, bytes));
}

static void start_one(struct place_sim *sim)
{
    struct running next;
    make_prompt(sim, &next);
    struct prefix_prompt prompt = {.ids = next.ids, .count = next.count};
    struct prefix_answer answer = prefix_tree_find(sim->tree, &prompt);
    CHECK(answer.slot < SLOTS && !sim->slots[answer.slot].is_there);
    if (answer.slot_kept)
        save(sim, answer.slot);
    if (answer.how == PREFIX_RESTORE)
        prefix_tree_used(sim->tree);
    sim->put_in += next.count - answer.tokens;
    prefix_tree_note(sim->tree, &prompt);
    prefix_tree_slot_busy(sim->tree, PREFIX_NOBODYS, answer.slot, next.ids, next.count);
    if (next.chat < CHATS)
        sim->chat_runs[next.chat] = true;
    sim->slots[answer.slot] = next;
    sim->started++;
    sim->running++;
}

static void end_one(struct place_sim *sim, uint32_t slot)
{
    struct running *going = &sim->slots[slot];
    going->is_there = false;
    sim->running--;
    prefix_tree_slot_idle(sim->tree, PREFIX_NOBODYS, slot, going->ids, going->count);
    if (going->chat == CHATS)
        return;
    sim->chat_runs[going->chat] = false;
    sim->chat_tokens[going->chat] = going->count;
    memcpy(sim->chats[going->chat], going->ids, going->count * sizeof(token_id));
}

/* A token each. */
static void step(struct place_sim *sim)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        if (!sim->slots[slot].is_there)
            continue;
        sim->rows++;
        sim->runs += slot == 0 || !sim->slots[slot - 1].is_there;
    }
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        struct running *one = &sim->slots[slot];
        if (!one->is_there)
            continue;
        append(sim, one->ids, &one->count, 1);
        if (--one->left == 0)
            end_one(sim, slot);
    }
    sim->steps++;
}

struct outcome {
    double runs, put_in, seconds;
};

static struct outcome run(uint64_t seed, double gap_us)
{
    struct place_sim *sim = mem_alloc(sizeof(*sim));
    struct prefix_options options = prefix_options_default(SLOTS, CONTEXT);
    options.price = (struct prefix_price){.recompute_us = TOKEN_US,
                                          .restore_us = 0.005,
                                          .save_us = 0.005,
                                          .gap_us = gap_us,
                                          .answer_tokens = ANSWER};
    sim->random = seed;
    sim->tree = prefix_tree_new(&options);
    while (sim->started < REQUESTS) {
        uint32_t wanted = 1 + below(sim, 2 * RUNNING - 1);
        if (sim->running < wanted)
            start_one(sim);
        step(sim);
    }
    double us =
        (double)sim->runs * RUN_US + (double)sim->rows * ROW_US + (double)sim->put_in * TOKEN_US;
    struct outcome outcome = {.runs = (double)sim->runs / (double)sim->steps,
                              .put_in = (double)sim->put_in / REQUESTS,
                              .seconds = us / 1e6};
    prefix_tree_check(sim->tree);
    prefix_tree_free(sim->tree);
    mem_free(sim);
    return outcome;
}

TEST(a_price_for_gaps_makes_runs_fewer_and_the_whole_shorter)
{
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct outcome without = run(seed, 0), with = run(seed, RUN_US);
        printf("seed %u: %.2f -> %.2f runs a step, %.0f -> %.0f tokens of a prompt put in, "
               "%.0f -> %.0f s\n",
               (unsigned)seed, without.runs, with.runs, without.put_in, with.put_in,
               without.seconds, with.seconds);
        CHECK(with.runs < without.runs);
        CHECK(with.seconds < without.seconds);
    }
}
