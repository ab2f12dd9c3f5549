/* The core on a model with LoRA adapters: whatever runs beside it, takes turns with it, parks it or
 * was computed before it, a sequence says what it says alone with its adapters. */
#include "base/mem.h"
#include "models/rig.h"
#include "worker/adapters.h"
#include "worker/core_probe.h"

enum { SLOTS = 4, CONTEXT = 256, JOBS = 8, SHARED = 60, PROMPT = 80, ANSWER = 10, SETS = 4 };

static const struct engine_adapter_set sets[SETS] = {
    {0},
    {.count = 1, .uses = {{0, 1}}},
    {.count = 1, .uses = {{0, 0.5f}}},
    {.count = 2, .uses = {{0, 1}, {1, 0.5f}}},
};

struct subject {
    struct made model, adapters[2];
    struct engine *engine;
    token_id prompts[JOBS][PROMPT];
    token_id ids[JOBS][ANSWER]; /* said alone */
};

static const struct engine_adapter_set *set_of(size_t job)
{
    return &sets[job % SETS];
}

static struct probe *start(struct probes *probes, const struct subject *subject, size_t job)
{
    struct probe *probe = probe_make(probes, job, subject->prompts[job], PROMPT);
    probe->job.max_tokens = ANSWER;
    probe->job.ignore_eos = true;
    probe->job.sampling.temperature = job % 2 ? 1 : 0;
    probe->job.sampling.seed = 40 + job;
    probe->job.adapters = *set_of(job);
    probe->job.scope =
        adapters_scope(&subject->engine->info, (struct slice){0}, &probe->job.adapters);
    return probe;
}

static void answer_alone(struct subject *subject)
{
    struct probes *probes = mem_alloc(sizeof(*probes));
    struct core_options options = core_options_default();
    probes_init(probes, subject->engine, &options);
    for (size_t job = 0; job < JOBS; job++) {
        uint64_t random = 100 + job, shared = 7;
        for (uint32_t i = 0; i < PROMPT; i++)
            subject->prompts[job][i] =
                (token_id)(10 + test_random(i < SHARED ? &shared : &random) % 900);
        struct probe *probe = start(probes, subject, job);
        probe_start(probes, job);
        probes_run(probes);
        CHECK(probe->is_ended && !probe->is_failed);
        CHECK_EQ(probe->id_count, ANSWER);
        memcpy(subject->ids[job], probe->ids, sizeof(subject->ids[job]));
    }
    probes_fini(probes);
    mem_free(probes);
}

static struct subject *subject_new(enum random_kind kind)
{
    struct made model = made_kind(kind);
    struct random_lora lora = random_lora_default(model.path);
    struct made first = made_lora(&lora);
    lora.seed = 2;
    lora.rank = 4;
    struct made second = made_lora(&lora);
    struct engine_adapter_file files[] = {{"first", first.path, 0}, {"second", second.path, 0}};
    struct engine *engine = made_open(
        &model,
        (struct engine_llama_options){
            .slots = SLOTS, .context_tokens = CONTEXT, .adapters = files, .adapter_count = 2});
    struct subject *subject = mem_alloc(sizeof(*subject));
    *subject = (struct subject){.model = model, .adapters = {first, second}, .engine = engine};
    answer_alone(subject);
    return subject;
}

static void subject_free(struct subject *subject)
{
    engine_close(&subject->engine);
    made_fini(&subject->model);
    made_fini(&subject->adapters[0]);
    made_fini(&subject->adapters[1]);
    mem_free(subject);
}

/* All at once. Returns the tokens that were found. */
static uint32_t ask_all(struct subject *subject, struct core_options options, uint64_t credit)
{
    struct probes *probes = mem_alloc(sizeof(*probes));
    uint32_t cached = 0;
    options.prefill_tokens = 37;
    probes_init(probes, subject->engine, &options);
    for (size_t job = 0; job < JOBS; job++) {
        start(probes, subject, job)->job.event_limit = credit;
        probe_start(probes, job);
    }
    probes_run(probes);
    for (size_t job = 0; credit < ANSWER && job < JOBS; job++) { /* each goes on when it may */
        probes->now_us += 5000;
        probe_credit(probes, job, ANSWER, 0);
        probes_run(probes);
    }
    for (size_t job = 0; job < JOBS; job++) {
        const struct probe *probe = &probes->probe[job];
        CHECK(probe->is_ended && !probe->is_failed);
        CHECK_EQ(probe->id_count, ANSWER);
        CHECK(memcmp(probe->ids, subject->ids[job], sizeof(subject->ids[job])) == 0);
        cached += probe->cached_tokens;
    }
    probes_fini(probes);
    mem_free(probes);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        CHECK_OK(engine_seq_cut(subject->engine, slot, 0));
    return cached;
}

TEST(sets_differ)
{
    struct subject *subject = subject_new(RANDOM_LLAMA);
    for (size_t job = 0; job < SETS; job += 2) /* greedy both, and other prompts */
        CHECK(memcmp(subject->ids[job], subject->ids[job + SETS], sizeof(subject->ids[0])) != 0);
    struct core_options options = core_options_default();
    struct probes *probes = mem_alloc(sizeof(*probes));
    probes_init(probes, subject->engine, &options);
    struct probe *probe = start(probes, subject, 0);
    probe->job.adapters = sets[1]; /* the same prompt, and yet */
    probe_start(probes, 0);
    probes_run(probes);
    CHECK(memcmp(probe->ids, subject->ids[0], sizeof(subject->ids[0])) != 0);
    probes_fini(probes);
    mem_free(probes);
    subject_free(subject);
}

static void check_kind(enum random_kind kind)
{
    struct subject *subject = subject_new(kind);
    struct core_options options = core_options_default();
    CHECK_EQ(ask_all(subject, options, ANSWER), 0);
    options.prefix_bytes_max = 64 << 20;
    options.prefix_save_tokens = 8;
    uint32_t cached = ask_all(subject, options, ANSWER);
    CHECK(cached <= (JOBS - SETS) * SHARED); /* of each set the second finds the first's, at most */
    CHECK(cached > 0 || !subject->engine->info.can_cut); /* whole states are seldom of use */
    options.park_ms = 1;
    ask_all(subject, options, 3);
    subject_free(subject);
}

TEST(company_of_other_sets_changes_no_token)
{
    check_kind(RANDOM_LLAMA);
}

TEST(company_of_other_sets_changes_no_token_where_slots_cannot_be_cut)
{
    check_kind(RANDOM_RECURRENT);
}
