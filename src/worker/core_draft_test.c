/* What guessed tokens change, which is the number of steps, and nothing that is said. */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/core_probe.h"
#include "worker/toy_engine.h"

enum { SLOTS = 3, CONTEXT = 200, ANSWER = 120, DRAFTS = 8 };

/* Its answers repeat themselves, and now and then they do not. */
#define HABIT 5.0f

struct life {
    struct toy_engine toy;
    struct core_options options;
    struct probes probes;
    struct probe *cancelled; /* from inside a decode() with drafts */
    bool was_cancelled;
};

static const token_id prompts[SLOTS][4] = {{1, 10, 1, 10}, {2, 17, 2, 8}, {15, 12, 15, 12}};

static bool cancel_inside(void *host)
{
    struct life *life = host;
    if (life->cancelled && life->probes.tokens_drafted > 0) {
        atomic_store(&life->cancelled->cancel->cancelled, true);
        life->was_cancelled = true;
    }
    return false;
}

static struct life *life_new(uint32_t draft_tokens_max)
{
    struct life *life = mem_alloc(sizeof(*life));
    toy_engine_init(&life->toy, SLOTS, CONTEXT, 64);
    life->toy.habit = HABIT;
    life->toy.engine.info.logits_max = SLOTS + DRAFTS;
    life->options = core_options_default();
    life->options.draft_tokens_max = draft_tokens_max;
    life->options.poll = cancel_inside;
    life->options.host = life;
    return life;
}

static void life_begin(struct life *life, uint32_t count)
{
    probes_init(&life->probes, &life->toy.engine, &life->options);
    for (uint32_t i = 0; i < count; i++) {
        struct probe *probe = probe_make(&life->probes, i, prompts[i], ARRAY_COUNT(prompts[i]));
        probe->job.max_tokens = ANSWER;
        probe->job.ignore_eos = true;
        probe->job.sampling.temperature = i == 2 ? 0.7f : 0;
        probe->job.sampling.seed = 7;
        probe_start(&life->probes, i);
    }
}

/* Between two steps a slot holds what was said, without its last token, and nothing else. */
static void check_cells(const struct life *life, uint32_t count)
{
    uint32_t held = 0, said = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct probe *probe = &life->probes.probe[i];
        if (probe->is_started && !probe->is_ended)
            said += ARRAY_COUNT(prompts[i]) + probe->id_count - 1;
    }
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        held += life->toy.held[slot];
    CHECK_EQ(held, said);
}

static void life_run(struct life *life, uint32_t count)
{
    while (probes_step(&life->probes))
        check_cells(life, count);
}

static void life_free(struct life *life)
{
    probes_fini(&life->probes);
    mem_free(life);
}

static void check_same(const struct life *life, const struct life *other, uint32_t index)
{
    const struct probe *probe = &life->probes.probe[index], *same = &other->probes.probe[index];
    CHECK(probe->is_ended && !probe->is_failed);
    CHECK_EQ(probe->id_count, ANSWER);
    CHECK_EQ(probe->reason, same->reason);
    CHECK(memcmp(probe->ids, same->ids, ANSWER * sizeof(token_id)) == 0);
    CHECK_SLICES(text_slice(&probe->text), text_slice(&same->text));
}

/* `life` is begun and run; it must say what one without drafts does. */
static void check_as_without(struct life *life, uint32_t count)
{
    struct life *without = life_new(0);
    life_begin(without, count);
    life_run(without, count);
    CHECK_EQ(without->probes.tokens_drafted, 0);
    for (uint32_t i = 0; i < count; i++)
        check_same(life, without, i);
    life_free(without);
}

TEST(a_stream_that_repeats_itself_says_the_same_in_fewer_steps)
{
    struct life *life = life_new(DRAFTS);
    life_begin(life, 1);
    life_run(life, 1);
    CHECK_EQ(life->toy.decodes, ANSWER - life->probes.drafts_right);
    CHECK(life->toy.decodes < ANSWER * 4 / 5);
    CHECK(life->probes.drafts_right < life->probes.tokens_drafted);
    CHECK_EQ(life->probes.tokens_sampled, ANSWER);
    check_as_without(life, 1);
    life_free(life);
}

TEST(streams_beside_each_other_share_the_drafts_of_a_step)
{
    struct life *life = life_new(DRAFTS);
    life_begin(life, SLOTS);
    CHECK(probes_step(&life->probes)); /* the prompts */
    life->toy.widest = 0;
    life_run(life, SLOTS);
    CHECK(life->toy.widest > SLOTS && life->toy.widest <= SLOTS + DRAFTS);
    check_as_without(life, SLOTS);
    life_free(life);
}

TEST(what_the_engine_has_logits_for_bounds_the_drafts)
{
    struct life *life = life_new(DRAFTS);
    life->toy.engine.info.logits_max = SLOTS + 2; /* the toy holds us to it */
    life_begin(life, 1);
    life_run(life, 1);
    CHECK_EQ(life->toy.widest, 4); /* the prompt is as wide */
    CHECK(life->probes.tokens_drafted > 0);
    check_as_without(life, 1);
    life_free(life);
}

static void check_none(struct life *life)
{
    life_begin(life, 1);
    life_run(life, 1);
    CHECK_EQ(life->probes.tokens_drafted, 0);
    CHECK_EQ(life->toy.decodes, ANSWER);
    life_free(life);
}

TEST(nothing_is_drafted_where_cells_cannot_be_cut_or_rows_differ_or_nobody_tested_it)
{
    struct life *life = life_new(DRAFTS);
    life->toy.engine.info.can_cut = false;
    check_none(life);
    life = life_new(DRAFTS);
    life->toy.engine.info.single_rows_differ = true;
    check_none(life);
    life = life_new(DRAFTS);
    life->options.draft_is_exact = true;
    check_none(life);
}

TEST(with_draft_is_exact_no_stream_has_more_rows_than_were_tested)
{
    struct life *life = life_new(DRAFTS);
    life->options.draft_is_exact = true;
    life_begin(life, 1);
    core_set_draft_rows_exact_max(life->probes.core, 6);
    life_run(life, 1);
    CHECK_EQ(life->toy.widest, 6);
    check_as_without(life, 1);
    life_free(life);
}

TEST(with_draft_is_exact_nothing_is_drafted_through_adapters_that_were_not_tested)
{
    for (uint32_t count = 0; count < 2; count++) {
        struct life *life = life_new(DRAFTS);
        toy_engine_add_adapters(&life->toy, 1);
        life->options.draft_is_exact = true;
        probes_init(&life->probes, &life->toy.engine, &life->options);
        core_set_draft_rows_exact_max(life->probes.core, 6);
        struct probe *probe = probe_make(&life->probes, 0, prompts[0], ARRAY_COUNT(prompts[0]));
        probe->job.max_tokens = ANSWER;
        probe->job.ignore_eos = true;
        probe->job.adapters = (struct engine_adapter_set){count, {{0, count ? 1 : 0}}};
        probe_start(&life->probes, 0);
        life_run(life, 1);
        CHECK_EQ(life->probes.tokens_drafted > 0, count == 0);
        life_free(life);
    }
}

/* Of two, so that the batch is not given up for it. */
TEST(a_cancel_inside_a_step_with_drafts_ends_that_one_and_changes_no_other)
{
    struct life *life = life_new(DRAFTS), *without = life_new(0);
    life_begin(life, 2);
    life_begin(without, 2);
    life->cancelled = &life->probes.probe[0];
    life_run(life, 2);
    life_run(without, 2);
    CHECK(life->was_cancelled);
    CHECK_EQ(life->probes.probe[0].reason, DONE_CANCELLED);
    CHECK(life->probes.probe[0].id_count < ANSWER);
    check_same(life, without, 1);
    life_free(life);
    life_free(without);
}

TEST(an_engine_without_room_for_drafts_is_asked_again_later_and_nobody_fails)
{
    struct life *life = life_new(DRAFTS);
    life->toy.rows_max = 4; /* the prompt */
    life_begin(life, 1);
    life_run(life, 1);
    uint64_t refused = life->toy.decodes - (ANSWER - life->probes.drafts_right);
    CHECK(refused >= 1 && refused <= 2); /* of 120 steps: the pauses are 64 and 128 */
    check_as_without(life, 1);
    life_free(life);
}

TEST(an_engine_that_has_room_again_gets_drafts_again)
{
    struct life *life = life_new(DRAFTS);
    life->toy.rows_max = 4;
    life_begin(life, 1);
    while (life->toy.widest <= life->toy.rows_max)
        CHECK(probes_step(&life->probes));
    life->toy.rows_max = 0;
    uint64_t drafted = life->probes.tokens_drafted, decodes = life->toy.decodes;
    while (life->probes.tokens_drafted == drafted)
        CHECK(probes_step(&life->probes));
    CHECK(life->toy.decodes - decodes > 64);
    life_run(life, 1);
    check_as_without(life, 1);
    life_free(life);
}

TEST(without_memory_for_the_index_a_stream_goes_on_without_and_tries_again)
{
    struct life *life = life_new(DRAFTS);
    life_begin(life, 1);
    while (life->probes.probe[0].id_count == 0) /* its first guess comes with the next step */
        CHECK(probes_step(&life->probes));
    uint64_t before = mem_peer_count();
    mem_test_fail_nth(1);
    CHECK(probes_step(&life->probes));
    CHECK_EQ(life->probes.tokens_drafted, 0);
    CHECK(mem_peer_count() > before);
    mem_test_fail_nth(0);
    life_run(life, 1);
    CHECK(life->probes.drafts_right > 0);
    check_as_without(life, 1);
    life_free(life);
}

/* A chat's next turn: what it finds of the last one in a slot, or as a blob, is what was said. */
TEST(what_the_prefix_cache_keeps_of_an_answer_has_no_drafts_in_it)
{
    struct life *life = life_new(DRAFTS), *fresh = life_new(0);
    token_id next[4 + ANSWER + 1];
    life->options.prefix_bytes_max = 1 << 20;
    life->options.prefix_save_tokens = 1;
    life_begin(life, 1);
    while (probes_step(&life->probes))
        continue;
    CHECK(life->probes.drafts_right > 0);
    memcpy(next, prompts[0], sizeof(prompts[0]));
    memcpy(next + 4, life->probes.probe[0].ids, ANSWER * sizeof(token_id));
    next[4 + ANSWER] = 9;
    probes_init(&fresh->probes, &fresh->toy.engine, &fresh->options);
    for (int i = 0; i < 2; i++) {
        struct probes *probes = i ? &fresh->probes : &life->probes;
        struct probe *probe = probe_make(probes, 1, next, ARRAY_COUNT(next));
        probe->job.max_tokens = 40;
        probe->job.ignore_eos = true;
        probe_start(probes, 1);
        while (probes_step(probes))
            continue;
    }
    const struct probe *probe = &life->probes.probe[1], *same = &fresh->probes.probe[1];
    CHECK(probe->cached_tokens >= 4 + ANSWER - 1);
    CHECK_EQ(probe->id_count, 40);
    CHECK(memcmp(probe->ids, same->ids, 40 * sizeof(token_id)) == 0);
    life_free(life);
    life_free(fresh);
}
