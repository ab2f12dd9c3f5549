/* The prefix cache in the core: what is there is not put in again, whoever put it in, and whatever
 * happens to it meanwhile; what is said does not depend on it (core_sim_test: at random). */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/core_probe.h"
#include "worker/toy_engine.h"

enum { SLOTS = 4, CONTEXT = 250, SHARED = 100, PROMPT = SHARED + 3, ANSWER = 5 };

struct rig {
    struct toy_engine toy;
    struct probes probes;
    token_id prompts[PROBES_MAX][PROMPT];
};

static struct core_options options_default(void)
{
    struct core_options options = core_options_default();
    options.prefix_bytes_max = 1 << 20;
    return options;
}

static struct rig *rig_of(uint32_t context_tokens, bool can_save, bool can_cut,
                          const struct core_options *options)
{
    struct rig *rig = mem_alloc(sizeof(*rig));
    toy_engine_init(&rig->toy, SLOTS, context_tokens, 32);
    rig->toy.engine.info.can_save = can_save;
    rig->toy.engine.info.can_cut = can_cut;
    rig->toy.cut_refused = !can_cut;
    probes_init(&rig->probes, &rig->toy.engine, options);
    return rig;
}

static struct rig *rig_new(const struct core_options *options)
{
    return rig_of(CONTEXT, true, true, options);
}

static void rig_free(struct rig *rig)
{
    probes_fini(&rig->probes);
    mem_free(rig);
}

/* All begin with the same SHARED tokens; what follows is the index's own. */
static struct probe *make(struct rig *rig, size_t index, uint64_t scope)
{
    probe_fill_prompt(rig->prompts[index], PROMPT, SHARED, index);
    struct probe *probe = probe_make(&rig->probes, index, rig->prompts[index], PROMPT);
    probe->job.max_tokens = ANSWER;
    probe->job.ignore_eos = true;
    probe->job.scope = scope;
    return probe;
}

static struct probe *start_of(struct rig *rig, size_t index, uint64_t scope)
{
    struct probe *probe = make(rig, index, scope);
    probe_start(&rig->probes, index);
    return probe;
}

static struct probe *start(struct rig *rig, size_t index)
{
    return start_of(rig, index, 0);
}

static void check_answer(const struct probe *probe)
{
    token_id all[PROMPT + ANSWER];
    CHECK(probe->is_ended && !probe->is_failed);
    CHECK_EQ(probe->id_count, ANSWER);
    memcpy(all, probe->prompt, PROMPT * sizeof(token_id));
    memcpy(all + PROMPT, probe->ids, ANSWER * sizeof(token_id));
    for (uint32_t i = 0; i < ANSWER; i++) {
        float logits[TOY_VOCAB];
        token_id best = 1;
        toy_engine_logits(all, PROMPT + i, logits);
        for (token_id id = 1; id < TOY_VOCAB; id++)
            if (id != TOY_END_OF_TEXT && logits[id] > logits[best])
                best = id;
        CHECK_EQ(probe->ids[i], best);
    }
}

TEST(a_slot_that_was_left_serves_who_begins_alike)
{
    struct core_options options = options_default();
    struct rig *rig = rig_new(&options);
    struct probe *first = start(rig, 0);
    probes_run(&rig->probes);
    CHECK_EQ(first->cached_tokens, 0);
    CHECK_EQ(rig->probes.slots_free, SLOTS);
    struct probe *other = start(rig, 1);
    probes_run(&rig->probes);
    CHECK_EQ(other->cached_tokens, SHARED);
    struct probe *same = probe_make(&rig->probes, 2, rig->prompts[1], PROMPT);
    same->job.max_tokens = ANSWER;
    same->job.ignore_eos = true;
    probe_start(&rig->probes, 2);
    probes_run(&rig->probes);
    CHECK(same->cached_tokens >= SHARED && same->cached_tokens < PROMPT);
    check_answer(first);
    check_answer(other);
    check_answer(same);
    rig_free(rig);
}

TEST(those_that_come_at_once_wait_for_the_first_and_put_in_only_what_is_their_own)
{
    struct core_options options = options_default();
    struct rig *rig = rig_new(&options);
    struct probe *probes[2 * SLOTS];
    for (size_t i = 0; i < ARRAY_COUNT(probes); i++)
        probes[i] = start(rig, i);
    probes_run(&rig->probes);
    for (size_t i = 0; i < ARRAY_COUNT(probes); i++) {
        CHECK_EQ(probes[i]->cached_tokens, i == 0 ? 0 : SHARED);
        check_answer(probes[i]);
    }
    CHECK_EQ(rig->toy.saves, 1);
    CHECK(rig->probes.prefix_bytes > 0);
    rig_free(rig);
}

/* What a second client finds that comes while the first one's answer is still under way. */
static double cached_share(uint32_t system_tokens)
{
    struct core_options options = options_default();
    struct rig *rig = rig_new(&options);
    struct probe *first = make(rig, 0, 0), *second;
    first->job.system_tokens = system_tokens;
    probe_start(&rig->probes, 0);
    while (first->id_count == 0)
        probes_step(&rig->probes);
    uint64_t saves = rig->toy.saves;
    second = start(rig, 1);
    probes_run(&rig->probes);
    check_answer(first);
    check_answer(second);
    CHECK_EQ(saves, system_tokens > 0);
    double share = (double)second->cached_tokens / SHARED;
    rig_free(rig);
    return share;
}

TEST(the_end_of_a_system_prompt_is_saved_at_once)
{
    double without = cached_share(0), with = cached_share(SHARED);
    printf("cached of what is shared, the first one still running: %.2f -> %.2f\n", without, with);
    CHECK(without == 0 && with == 1);
}

/* What the second choice of a request finds that the engine thread hears of a step too late to wait
 * for the first, whose prompt fitted that step. */
static uint32_t cached_of_a_late_twin(bool can_cut, bool is_shared)
{
    struct core_options options = options_default();
    struct rig *rig = rig_of(CONTEXT, true, can_cut, &options);
    struct probe *twins[2];
    for (size_t i = 0; i < ARRAY_COUNT(twins); i++) {
        twins[i] = make(rig, i, 0);
        memcpy(rig->prompts[i], rig->prompts[0], sizeof(rig->prompts[i]));
        twins[i]->job.prompt_is_shared = is_shared;
    }
    probe_start(&rig->probes, 0);
    while (twins[0]->id_count == 0)
        probes_step(&rig->probes);
    CHECK_EQ(rig->toy.saves, is_shared);
    probe_start(&rig->probes, 1);
    probes_run(&rig->probes);
    check_answer(twins[0]);
    check_answer(twins[1]);
    uint32_t cached = twins[1]->cached_tokens;
    rig_free(rig);
    return cached;
}

TEST(a_prompt_that_choices_share_is_put_in_once_however_late_the_second_comes)
{
    uint32_t alone = cached_of_a_late_twin(true, false);
    printf("cached of %d, the first one's prompt in already: %u -> %u\n", PROMPT, alone,
           cached_of_a_late_twin(true, true));
    CHECK_EQ(alone, 0);
    CHECK_EQ(cached_of_a_late_twin(true, true), PROMPT - 1);
    CHECK_EQ(cached_of_a_late_twin(false, true), PROMPT - 1);
}

enum { CHOICES = SLOTS, FEW = 20 };

/* Rows that the choices of one request put in, which all are there before the first step. Each says
 * one token, so none of them is a decode. */
static uint64_t rows_of_choices(struct rig *rig, uint32_t prompt_count)
{
    for (size_t i = 0; i < CHOICES; i++) {
        struct probe *choice = make(rig, i, 0);
        memcpy(rig->prompts[i], rig->prompts[0], sizeof(rig->prompts[i]));
        choice->job.prompt_count = prompt_count;
        choice->job.prompt_is_shared = true;
        choice->job.max_tokens = 1;
        probe_start(&rig->probes, i);
    }
    probes_run(&rig->probes);
    for (size_t i = 0; i < CHOICES; i++) {
        const struct probe *choice = &rig->probes.probe[i];
        CHECK(choice->is_ended && !choice->is_failed);
        CHECK_EQ(choice->ids[0], rig->probes.probe[0].ids[0]);
    }
    uint64_t rows = rig->toy.rows;
    rig_free(rig);
    return rows;
}

static struct rig *choices_rig(bool can_cut, bool single_rows_differ)
{
    struct core_options options = options_default();
    struct rig *rig = rig_of(CONTEXT, true, can_cut, &options);
    rig->toy.engine.info.single_rows_differ = single_rows_differ;
    return rig;
}

/* But for the last token of each, whose logits it wants: two, where a single row would differ. */
TEST(choices_put_their_prompt_in_once_however_short_it_is)
{
    /* Of 3 tokens nothing can be saved on the way without a single row (plan.h rule 8). */
    static const uint32_t lengths[] = {4, FEW, 63, 64, PROMPT};
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        for (int can_cut = 0; can_cut < 2; can_cut++) {
            for (uint32_t own = 1; own <= 2; own++)
                CHECK_EQ(rows_of_choices(choices_rig(can_cut, own == 2), lengths[i]),
                         lengths[i] + (CHOICES - 1) * own);
        }
    }
    struct core_options none = core_options_default();
    CHECK_EQ(rows_of_choices(rig_of(CONTEXT, true, true, &none), FEW), CHOICES * FEW);
}

/* The first one's prompt is a step, and the last tokens of the others are the next; nothing is cut
 * off the first to be saved before its end. */
TEST(choices_of_a_short_prompt_begin_within_two_steps)
{
    struct core_options options = options_default();
    struct rig *rig = rig_new(&options);
    for (size_t i = 0; i < CHOICES; i++) {
        struct probe *choice = make(rig, i, 0);
        memcpy(rig->prompts[i], rig->prompts[0], sizeof(rig->prompts[i]));
        choice->job.prompt_count = FEW;
        choice->job.prompt_is_shared = true;
        probe_start(&rig->probes, i);
    }
    while (rig->probes.probe[CHOICES - 1].id_count == 0)
        probes_step(&rig->probes);
    CHECK_EQ(rig->toy.decodes, 2);
    CHECK_EQ(rig->toy.saves, 1);
    CHECK_EQ(rig->toy.rows, FEW + 1 + (CHOICES - 1));
    rig_free(rig);
}

/* A crowd that has a few more tokens in common than the mark says does not have them saved twice.
 */
TEST(a_mark_near_enough_serves_those_that_wait_for_the_first)
{
    struct core_options options = options_default();
    struct rig *rig = rig_new(&options);
    struct probe *probes[2 * SLOTS];
    for (size_t i = 0; i < ARRAY_COUNT(probes); i++) {
        probes[i] = make(rig, i, 0);
        probes[i]->job.system_tokens = SHARED - 5;
        probe_start(&rig->probes, i);
    }
    probes_run(&rig->probes);
    for (size_t i = 0; i < ARRAY_COUNT(probes); i++) {
        CHECK(i == 0 ? probes[i]->cached_tokens == 0 : probes[i]->cached_tokens >= SHARED - 5);
        check_answer(probes[i]);
    }
    CHECK_EQ(rig->toy.saves, 1);
    rig_free(rig);
}

static uint64_t tick(void *host) /* each decode() takes a millisecond */
{
    uint64_t *now_us = host;
    return *now_us += 1000;
}

/* A prompt that has nothing in common with the others. */
static void start_short(struct rig *rig, size_t index, uint32_t answer)
{
    enum { SHORT = 20 };
    for (uint32_t i = 0; i < SHORT; i++)
        rig->prompts[index][i] = (token_id)(1 + (index * 5 + i) % 17);
    struct probe *probe = probe_make(&rig->probes, index, rig->prompts[index], SHORT);
    probe->job.max_tokens = answer;
    probe->job.ignore_eos = true;
    probe_start(&rig->probes, index);
}

struct slow_saves { /* each of them takes 50 ms, everything else a millisecond */
    const struct rig *rig;
    uint64_t now_us;
};

static uint64_t slow_saves_us(void *host)
{
    struct slow_saves *clock = host;
    clock->now_us += 1000;
    return clock->now_us + 50000 * (uint64_t)(clock->rig ? clock->rig->toy.saves : 0);
}

static uint32_t slots_that_hold(const struct rig *rig, uint32_t tokens)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        count += rig->toy.held[slot] == tokens;
    return count;
}

/* Three slots hold what was left there, one runs; who comes then has a slot saved before it takes
 * it. */
TEST(what_a_save_takes_is_the_new_prompts_loss_not_that_of_those_that_run)
{
    struct slow_saves clock = {0};
    struct core_options options = options_default();
    options.learns_steps = true;
    options.clock_us = slow_saves_us;
    options.host = &clock;
    struct rig *rig = rig_new(&options);
    clock.rig = rig;
    for (size_t i = 0; i < SLOTS - 1; i++)
        (void)start_of(rig, i, 1 + i); /* each to its end */
    probes_run(&rig->probes);
    start_short(rig, SLOTS, 60);
    for (int i = 0; i < 3; i++)
        probes_step(&rig->probes);
    CHECK_EQ(rig->toy.saves, 0);
    struct probe *late = start_of(rig, SLOTS + 1, 99);
    probes_step(&rig->probes);
    CHECK_EQ(rig->toy.saves, 1);
    CHECK_EQ(slots_that_hold(rig, 1), 1); /* no time was left for more than its first row */
    probes_step(&rig->probes);
    CHECK(slots_that_hold(rig, 1) == 0 && !late->is_ended);
    probes_run(&rig->probes);
    check_answer(late);
    rig_free(rig);
}

/* Slot 0 runs, in slot 1 is what an earlier request left, and the others were never used. */
static bool takes_the_neighbour(bool gaps_cost)
{
    uint64_t now_us = 0;
    struct core_options options = options_default();
    options.learns_steps = true;
    options.clock_us = tick;
    options.host = &now_us;
    struct rig *rig = rig_new(&options);
    rig->toy.engine.info.gaps_cost = gaps_cost;
    start_short(rig, 0, 100);
    start_short(rig, 1, 5);
    while (!rig->probes.probe[1].is_ended)
        probes_step(&rig->probes);
    CHECK(engine_seq_tokens(&rig->toy.engine, 1) > 0 &&
          engine_seq_tokens(&rig->toy.engine, 2) == 0);
    start_short(rig, 2, 5);
    probes_run(&rig->probes);
    bool is_neighbour = engine_seq_tokens(&rig->toy.engine, 2) == 0;
    rig_free(rig);
    return is_neighbour;
}

TEST(where_gaps_cost_a_short_content_is_given_up_for_the_slot_next_to_those_that_run)
{
    CHECK(takes_the_neighbour(true));
    CHECK(!takes_the_neighbour(false));
}

TEST(a_blob_that_cannot_be_had_costs_only_time)
{
    struct core_options options = options_default();
    struct rig *rig = rig_new(&options);
    rig->toy.next_save = ERR_NO_MEMORY;
    struct probe *first = start(rig, 0), *second = start(rig, 1);
    probes_run(&rig->probes);
    CHECK_EQ(second->cached_tokens, SHARED); /* not saved there, but at the end of its prompt */
    check_answer(first);
    check_answer(second);
    rig_free(rig);

    rig = rig_of(CONTEXT, false, true, &options);
    first = start(rig, 0), second = start(rig, 1);
    probes_run(&rig->probes);
    CHECK_EQ(second->cached_tokens, 0); /* less than half of the stream: not copied */
    check_answer(first);
    check_answer(second);
    rig_free(rig);
}

TEST(a_busy_slot_is_copied_when_that_is_most_of_its_stream)
{
    struct core_options options = options_default();
    struct rig *rig = rig_of(PROMPT + ANSWER, false, true, &options);
    struct probe *first = start(rig, 0);
    while (!first->is_started)
        CHECK(probes_step(&rig->probes));
    struct probe *second = start(rig, 1);
    probes_run(&rig->probes);
    CHECK_EQ(rig->toy.copies, 1);
    CHECK_EQ(second->cached_tokens, SHARED);
    check_answer(first);
    check_answer(second);
    rig_free(rig);
}

TEST(a_cancelled_prompt_leaves_what_it_had_put_in)
{
    struct core_options options = options_default();
    struct rig *rig = rig_new(&options);
    struct probe *first = start(rig, 0);
    CHECK(probes_step(&rig->probes)); /* 32 rows of it */
    core_cancel(rig->probes.core, 1);
    struct probe *second = start(rig, 1);
    probes_run(&rig->probes);
    CHECK_EQ(first->reason, DONE_CANCELLED);
    CHECK_EQ(second->cached_tokens, 32);
    check_answer(second);
    rig_free(rig);
}

TEST(the_cap_on_blobs_holds_and_the_answers_with_it)
{
    struct core_options options = options_default();
    options.prefix_bytes_max = (SHARED + 10) * sizeof(uint64_t); /* one */
    struct rig *rig = rig_new(&options);
    for (size_t i = 0; i < 3 * SLOTS; i++)
        start(rig, i);
    while (probes_step(&rig->probes))
        CHECK(rig->probes.prefix_bytes <= options.prefix_bytes_max);
    for (size_t i = 0; i < 3 * SLOTS; i++)
        check_answer(&rig->probes.probe[i]);
    rig_free(rig);
}

static bool abort_once(void *host)
{
    bool *wanted = host, was = *wanted;
    *wanted = false;
    return was;
}

TEST(cells_that_an_idle_slot_lost_are_not_believed_to_be_there)
{
    struct core_options options = options_default();
    bool wants_abort = false;
    options.poll = abort_once;
    options.host = &wants_abort;
    struct rig *rig = rig_new(&options);
    struct probe *first = start(rig, 0);
    probes_run(&rig->probes);
    token_id alien[] = {20, 21, 22};
    struct probe *other = probe_make(&rig->probes, 1, alien, ARRAY_COUNT(alien));
    other->job.max_tokens = 1;
    probe_start(&rig->probes, 1);
    rig->toy.lost_tokens = 20; /* of every slot */
    wants_abort = true;
    probes_run(&rig->probes);
    CHECK(!wants_abort && other->is_ended);
    struct probe *second = start(rig, 2);
    probes_run(&rig->probes);
    CHECK_EQ(second->cached_tokens, PROMPT + ANSWER - 1 - 20);
    check_answer(first);
    check_answer(second);
    rig_free(rig);
}

TEST(a_model_that_cannot_cut_goes_on_from_whole_contents_alone)
{
    struct core_options options = options_default();
    struct rig *rig = rig_of(CONTEXT, true, false, &options);
    struct probe *probes[3];
    for (size_t i = 0; i < ARRAY_COUNT(probes); i++) {
        probes[i] = start(rig, i);
        probes_run(&rig->probes);
        check_answer(probes[i]);
    }
    CHECK_EQ(probes[1]->cached_tokens, 0); /* the slot holds more than they share; it saves that */
    CHECK_EQ(probes[2]->cached_tokens, SHARED);
    rig_free(rig);
}

TEST(without_a_cache_slots_are_emptied_and_nothing_is_reused)
{
    struct core_options options = core_options_default();
    struct rig *rig = rig_new(&options);
    for (size_t i = 0; i < 2; i++) {
        struct probe *probe = start(rig, i);
        probes_run(&rig->probes);
        CHECK_EQ(probe->cached_tokens, 0);
        check_answer(probe);
    }
    CHECK_EQ(rig->toy.held[0], 0);
    rig_free(rig);
}

/* Slots that were left, prompts that are being put in, blobs of both. */
TEST(what_a_scope_put_in_serves_no_other)
{
    struct core_options options = options_default();
    struct rig *rig = rig_new(&options);
    struct probe *probe = rig->probes.probe;
    for (size_t i = 0; i < 6; i++) { /* three scopes one after the other, and each once more */
        start_of(rig, i, i % 3);
        probes_run(&rig->probes);
        CHECK_EQ(probe[i].cached_tokens, i < 3 ? 0 : SHARED);
    }
    for (size_t i = 6; i < 6 + 2 * SLOTS; i++) /* two more at once: one of each is the first */
        start_of(rig, i, 10 + i % 2);
    probes_run(&rig->probes);
    for (size_t i = 6; i < 6 + 2 * SLOTS; i++)
        CHECK_EQ(probe[i].cached_tokens, i < 8 ? 0 : SHARED);
    for (size_t i = 14; i < 20; i++) { /* strangers, and those of the beginning */
        start_of(rig, i, i % 2 ? i / 2 - 7 : i);
        probes_run(&rig->probes);
        CHECK_EQ(probe[i].cached_tokens, i % 2 ? SHARED : 0);
    }
    for (size_t i = 0; i < 20; i++)
        check_answer(&probe[i]);
    rig_free(rig);
}

TEST(a_busy_slot_is_not_copied_to_another_scope)
{
    struct core_options options = options_default();
    struct rig *rig = rig_of(PROMPT + ANSWER, false, true, &options);
    struct probe *first = start_of(rig, 0, 1);
    while (!first->is_started)
        CHECK(probes_step(&rig->probes));
    struct probe *second = start_of(rig, 1, 2);
    probes_run(&rig->probes);
    CHECK_EQ(rig->toy.copies, 0);
    CHECK_EQ(second->cached_tokens, 0);
    check_answer(first);
    check_answer(second);
    rig_free(rig);
}

TEST(a_slot_that_lost_cells_keeps_its_scope)
{
    struct core_options options = options_default();
    bool wants_abort = false;
    options.poll = abort_once;
    options.host = &wants_abort;
    struct rig *rig = rig_new(&options);
    start_of(rig, 0, 1);
    probes_run(&rig->probes);
    token_id alien[] = {20, 21, 22};
    struct probe *other = probe_make(&rig->probes, 1, alien, ARRAY_COUNT(alien));
    other->job.max_tokens = 1;
    other->job.scope = 2;
    probe_start(&rig->probes, 1);
    rig->toy.lost_tokens = 20; /* of every slot */
    wants_abort = true;
    probes_run(&rig->probes);
    CHECK(!wants_abort && other->is_ended);
    struct probe *stranger = start_of(rig, 2, 2), *known = start_of(rig, 3, 1);
    probes_run(&rig->probes);
    CHECK_EQ(stranger->cached_tokens, 0);
    CHECK(known->cached_tokens > 0);
    check_answer(stranger);
    check_answer(known);
    rig_free(rig);
}

/* --- where single rows differ --- */

TEST(an_answer_is_put_in_again_where_single_rows_differ)
{
    for (int differs = 0; differs < 2; differs++) {
        struct core_options options = options_default();
        struct rig *rig = rig_new(&options);
        rig->toy.engine.info.single_rows_differ = differs;
        struct probe *first = start(rig, 0);
        probes_run(&rig->probes);
        token_id chat[PROMPT + ANSWER + 2]; /* the next turn: what was said, and two tokens more */
        memcpy(chat, first->prompt, sizeof(token_id) * PROMPT);
        memcpy(chat + PROMPT, first->ids, sizeof(token_id) * ANSWER);
        chat[PROMPT + ANSWER] = chat[PROMPT + ANSWER + 1] = 3;
        struct probe *next = probe_make(&rig->probes, 1, chat, ARRAY_COUNT(chat));
        next->job.max_tokens = 1;
        probe_start(&rig->probes, 1);
        probes_run(&rig->probes);
        CHECK_EQ(next->cached_tokens, differs ? PROMPT : PROMPT + ANSWER - 1);
        struct probe *same = probe_make(&rig->probes, 2, chat, ARRAY_COUNT(chat));
        same->job.max_tokens = 1;
        probe_start(&rig->probes, 2);
        probes_run(&rig->probes);
        CHECK_EQ(same->cached_tokens, ARRAY_COUNT(chat) - (differs ? 2 : 1));
        rig_free(rig);
    }
}

TEST(a_prompt_of_one_token_is_of_no_use_where_single_rows_differ)
{
    struct core_options options = options_default();
    struct rig *rig = rig_new(&options);
    rig->toy.engine.info.single_rows_differ = true;
    static token_id one[] = {7}, two[] = {7, 8, 9};
    struct probe *first = probe_make(&rig->probes, 0, one, 1);
    first->job.max_tokens = 2;
    probe_start(&rig->probes, 0);
    probes_run(&rig->probes);
    struct probe *second = probe_make(&rig->probes, 1, two, 3);
    second->job.max_tokens = 1;
    probe_start(&rig->probes, 1);
    probes_run(&rig->probes);
    CHECK_EQ(second->cached_tokens, 0);
    rig_free(rig);
}
