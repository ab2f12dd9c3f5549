/* Sequences of several sets of adapters in one core: each says what it says alone, with the cache
 * and without, in steps of one set each; they take turns, and nobody waits for ever. */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/core_host.h"
#include "worker/core_probe.h"
#include "worker/toy_engine.h"
#include "worker/turns.h"

enum { SLOTS = 4, CONTEXT = 200, SHARED = 60, PROMPT = SHARED + 4, ANSWER = 12, SETS = 4 };

static const struct engine_adapter_set sets[SETS] = {
    {0},
    {.count = 1, .uses = {{0, 1}}},
    {.count = 1, .uses = {{0, 0.5f}}},
    {.count = 2, .uses = {{0, 1}, {1, -1}}},
};

struct rig {
    struct toy_engine toy;
    struct probes probes;
    token_id prompts[PROBES_MAX][PROMPT];
    uint64_t clock_us, decode_us;
    uint32_t decodes_seen;
};

/* A decode() takes decode_us: the clock is asked before and behind it. */
static uint64_t clock_us(void *host)
{
    struct rig *rig = host;
    if (rig->toy.decodes != rig->decodes_seen)
        rig->clock_us += rig->decode_us;
    rig->decodes_seen = rig->toy.decodes;
    return rig->clock_us;
}

static struct rig *rig_new(size_t prefix_bytes, uint64_t decode_us)
{
    struct rig *rig = mem_alloc(sizeof(*rig));
    struct core_options options = core_options_default();
    rig->decode_us = decode_us;
    options.prefix_bytes_max = prefix_bytes;
    options.prefix_save_tokens = 8;
    options.prefill_tokens = 16;
    options.clock_us = clock_us;
    options.host = rig;
    toy_engine_init(&rig->toy, SLOTS, CONTEXT, 32);
    toy_engine_add_adapters(&rig->toy, 2);
    probes_init(&rig->probes, &rig->toy.engine, &options);
    return rig;
}

static void rig_free(struct rig *rig)
{
    probes_fini(&rig->probes);
    mem_free(rig);
}

static struct probe *start(struct rig *rig, size_t index, size_t set)
{
    probe_fill_prompt(rig->prompts[index], PROMPT, SHARED, index);
    struct probe *probe = probe_make(&rig->probes, index, rig->prompts[index], PROMPT);
    probe->job.max_tokens = ANSWER;
    probe->job.ignore_eos = true;
    probe->job.adapters = sets[set];
    probe->job.scope = set;
    probe_start(&rig->probes, index);
    return probe;
}

static void check_answer(const struct probe *probe, size_t set)
{
    token_id all[PROMPT + ANSWER];
    CHECK(probe->is_ended && !probe->is_failed);
    CHECK_EQ(probe->id_count, ANSWER);
    memcpy(all, probe->prompt, PROMPT * sizeof(token_id));
    memcpy(all + PROMPT, probe->ids, ANSWER * sizeof(token_id));
    for (uint32_t i = 0; i < ANSWER; i++) {
        float logits[TOY_VOCAB];
        token_id best = 1;
        toy_engine_logits_with(all, PROMPT + i, &sets[set], logits);
        for (token_id id = 1; id < TOY_VOCAB; id++)
            if (id != TOY_END_OF_TEXT && logits[id] > logits[best])
                best = id;
        CHECK_EQ(probe->ids[i], best);
    }
}

/* Twelve of four sets, more than there are slots for, whose prompts all begin alike. */
static uint32_t ask_all(struct rig *rig)
{
    uint32_t cached = 0;
    for (size_t i = 0; i < 3 * SETS; i++)
        start(rig, i, i % SETS);
    probes_run(&rig->probes);
    for (size_t i = 0; i < 3 * SETS; i++) {
        check_answer(&rig->probes.probe[i], i % SETS);
        cached += rig->probes.probe[i].cached_tokens;
    }
    return cached;
}

TEST(each_says_what_it_says_alone)
{
    struct rig *rig = rig_new(0, 0);
    CHECK_EQ(ask_all(rig), 0);
    CHECK(rig->toy.changes >= SETS - 1);
    rig_free(rig);
}

/* Of each set the second and third find what the first left, and no more. */
TEST(what_is_found_is_of_the_same_adapters)
{
    struct rig *rig = rig_new(1 << 20, 0);
    CHECK_EQ(ask_all(rig), SETS * 2 * SHARED);
    rig_free(rig);
}

TEST(a_cache_that_is_full_ends_one_and_mixes_nothing_up)
{
    struct rig *rig = rig_new(1 << 20, 0);
    uint64_t random = 3;
    for (size_t i = 0; i < SETS; i++)
        start(rig, i, i);
    for (size_t i = 0; i < SETS; i++)
        rig->probes.probe[i].event_limit = ANSWER;
    for (uint32_t steps = 0; probes_step(&rig->probes); steps++) {
        CHECK(steps < 10000);
        if (test_random(&random) % 3 == 0)
            rig->toy.next_decode = ERR_FULL; /* the youngest of the batch ends */
        rig->probes.now_us += 1000;
    }
    size_t ended_well = 0;
    for (size_t i = 0; i < SETS; i++) {
        const struct probe *probe = &rig->probes.probe[i];
        CHECK(probe->is_ended);
        if (!probe->is_failed)
            check_answer(probe, i);
        ended_well += !probe->is_failed;
    }
    CHECK(ended_well < SETS); /* it did go wrong */
    rig_free(rig);
}

/* What another worker said goes in again through the same adapters, and what comes behind it is
 * what would have come. */
TEST(an_answer_goes_on_with_its_adapters)
{
    enum { SAID = 5 };
    struct rig *rig = rig_new(1 << 20, 0);
    struct probe *whole = start(rig, 0, 3), *other = start(rig, 1, 2);
    token_id tokens[PROMPT + SAID];
    probes_run(&rig->probes);
    check_answer(whole, 3);
    check_answer(other, 2);
    memcpy(tokens, rig->prompts[0], sizeof(rig->prompts[0]));
    memcpy(tokens + PROMPT, whole->ids, SAID * sizeof(token_id));
    struct probe *rest = probe_make(&rig->probes, 2, tokens, PROMPT);
    rest->job.max_tokens = ANSWER;
    rest->job.ignore_eos = true;
    rest->job.adapters = sets[3];
    rest->job.scope = 3;
    rest->job.said.count = rest->id_count = SAID;
    memcpy(rest->ids, whole->ids, SAID * sizeof(token_id));
    probe_start(&rig->probes, 2);
    start(rig, 3, 1); /* beside it */
    probes_run(&rig->probes);
    check_answer(rest, 3);
    check_answer(&rig->probes.probe[3], 1);
    rig_free(rig);
}

/* --- turns --- */

/* The tokens that each has when the first has all. */
TEST(two_sets_get_on_side_by_side)
{
    struct rig *rig = rig_new(0, TURNS_US / 4);
    struct probe *first = start(rig, 0, 1), *second = start(rig, 1, 2);
    while (!first->is_ended && !second->is_ended)
        CHECK(probes_step(&rig->probes));
    uint32_t less = first->id_count < second->id_count ? first->id_count : second->id_count;
    CHECK(less + 4 + 1 >= ANSWER); /* a turn is four steps here */
    /* Five steps for each prompt, one for each token; four of them a turn. */
    CHECK(rig->toy.changes >= 2 && rig->toy.changes <= 2 * (5 + ANSWER) / 4 + 2);
    probes_run(&rig->probes);
    check_answer(first, 1);
    check_answer(second, 2);
    rig_free(rig);
}

TEST(steps_of_one_set_change_nothing)
{
    struct rig *rig = rig_new(0, 10);
    for (size_t i = 0; i < SLOTS; i++)
        start(rig, i, 3);
    probes_run(&rig->probes);
    CHECK_EQ(rig->toy.changes, 1);
    for (size_t i = 0; i < SLOTS; i++)
        check_answer(&rig->probes.probe[i], 3);
    rig_free(rig);
}

/* A long prompt with other adapters must not take a whole batch while somebody waits to decode. */
TEST(a_prompt_of_another_set_goes_in_in_small_steps_beside_who_decodes)
{
    struct rig *rig = rig_new(0, TURNS_US);
    start(rig, 0, 0);
    while (rig->probes.probe[0].id_count == 0)
        CHECK(probes_step(&rig->probes));
    rig->toy.widest = 0;
    start(rig, 1, 1);
    while (rig->probes.probe[1].id_count == 0)
        CHECK(probes_step(&rig->probes));
    CHECK_EQ(rig->toy.widest, 16); /* prefill_tokens, not the batch of 32 */
    CHECK(rig->probes.probe[0].id_count > 3);
    rig_free(rig);
}

/* --- the host of the core --- */

TEST(who_uses_the_engine_while_it_is_idle_has_the_adapters_that_nobody_names)
{
    struct rig *rig = rig_new(1 << 20, 0);
    start(rig, 0, 1);
    probes_run(&rig->probes);
    CHECK(engine_adapter_set_eq(&rig->toy.now, &sets[1]));
    CHECK(core_is_idle(rig->probes.core));
    core_empty_slots(rig->probes.core, SLOTS);
    CHECK(engine_adapter_set_eq(&rig->toy.now, &sets[0]));
    start(rig, 1, 1);
    probes_run(&rig->probes);
    check_answer(&rig->probes.probe[1], 1);
    rig_free(rig);
}
