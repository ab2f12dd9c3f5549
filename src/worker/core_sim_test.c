/* Random lives of random sequences on the toy engine, with everything going wrong that may: what
 * each one says must be what it would say alone, whatever happens around it. */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/core_probe.h"
#include "worker/sampler.h"
#include "worker/text_out.h"
#include "worker/toy_engine.h"

enum { JOBS_MAX = 20, PROMPT_MAX = 60, ANSWER_MAX = 60, STOPS_MAX = 3 };

struct expected { /* of a sequence that is alone and never disturbed */
    token_id ids[TOY_CONTEXT_MAX + 1];
    uint32_t count;
    struct text text;
    enum done_reason reason;
};

/* A failure shows the seed as the first of the two values. */
#define HOLDS(cond) CHECK_EQ((cond) ? 0 : sim->seed, 0)

struct sim {
    uint64_t seed, random;
    uint32_t abort_chance; /* of 1000, each time the engine asks */
    struct toy_engine toy;
    struct probes probes;
    uint32_t job_count, started;
    token_id prompts[JOBS_MAX][PROMPT_MAX];
    struct slice stops[JOBS_MAX][STOPS_MAX];
    bool is_cancelled[JOBS_MAX];
};

static uint32_t below(struct sim *sim, uint32_t limit)
{
    return (uint32_t)(test_random(&sim->random) % limit);
}

/* --- what should come out --- */

static struct slice piece(void *ctx, token_id token)
{
    (void)ctx;
    return toy_engine_piece(token);
}

static token_id expected_pick(const struct core_job *job, const token_id *all, uint32_t all_count,
                              struct sampler *sampler, struct sampler_state *state)
{
    float logits[TOY_VOCAB];
    static const token_id ends[] = {TOY_END, TOY_END_OF_TEXT};
    toy_engine_logits(all, all_count, logits);
    struct sampler_input input = {.sampling = &job->sampling,
                                  .logits = logits,
                                  .history = all,
                                  .history_count = all_count,
                                  .forbidden = ends,
                                  .forbidden_count = job->ignore_eos ? 2 : 0,
                                  .index = all_count - job->prompt_count,
                                  .state = state,
                                  .piece = piece};
    token_id token;
    CHECK_OK(sampler_pick(sampler, &input, &token));
    return token;
}

static void expect(const struct probe *probe, uint32_t context_tokens, struct expected *out)
{
    const struct core_job *job = &probe->job;
    token_id all[2 * TOY_CONTEXT_MAX];
    uint32_t count = job->prompt_count;
    struct sampler *sampler = sampler_new(TOY_VOCAB);
    struct sampler_state state = sampler_state_first(&job->sampling);
    struct text_out *text_out = text_out_new(job->stops, job->stop_count);
    int stop = TEXT_OUT_NO_STOP;
    memcpy(all, probe->prompt, count * sizeof(all[0]));
    *out = (struct expected){.reason = DONE_LENGTH};
    text_init(&out->text, 1 << 16);
    while (stop == TEXT_OUT_NO_STOP && out->count < job->max_tokens && count <= context_tokens) {
        token_id token = expected_pick(job, all, count, sampler, &state);
        if (token == TOY_END || token == TOY_END_OF_TEXT) {
            out->reason = DONE_EOS;
            break;
        }
        all[count++] = out->ids[out->count++] = token;
        stop = text_out_add(text_out, toy_engine_piece(token), &out->text);
    }
    if (stop == TEXT_OUT_NO_STOP)
        stop = text_out_end(text_out, &out->text);
    if (stop != TEXT_OUT_NO_STOP)
        out->reason = DONE_STOP;
    text_out_free(text_out);
    sampler_free(sampler);
}

/* --- making it --- */

static bool abort_at_random(void *host)
{
    struct sim *sim = host;
    return below(sim, 1000) < sim->abort_chance;
}

static void make_job(struct sim *sim, uint32_t index)
{
    static const char *const stops[] = {"STOP", "a", "\n\n", "the a", "\xE4\xBD\xA0", "ST", "abab"};
    uint32_t context = sim->toy.engine.info.context_tokens;
    uint32_t count = 1 + below(sim, context - 1 < PROMPT_MAX ? context - 1 : PROMPT_MAX);
    for (uint32_t i = 0; i < count; i++)
        sim->prompts[index][i] = (token_id)below(sim, TOY_VOCAB);
    struct core_job *job = &probe_make(&sim->probes, index, sim->prompts[index], count)->job;
    job->stops = sim->stops[index];
    job->stop_count = below(sim, STOPS_MAX + 1);
    for (size_t i = 0; i < job->stop_count; i++)
        sim->stops[index][i] = slice_str(stops[below(sim, ARRAY_COUNT(stops))]);
    job->max_tokens = 1 + below(sim, ANSWER_MAX);
    job->ignore_eos = below(sim, 2);
    job->want_progress = below(sim, 2);
    job->sampling.temperature = (float[]){0, 0.7f, 1, 2}[below(sim, 4)];
    job->sampling.top_p = below(sim, 2) ? 0.9f : 1;
    job->sampling.repeat_penalty = below(sim, 2) ? 1.2f : 1;
    job->sampling.dry_multiplier = below(sim, 2) ? 0.5f : 0;
    job->sampling.xtc_probability = below(sim, 2) ? 0.5f : 0;
    job->sampling.mirostat = below(sim, 4) ? 0 : (uint8_t)(1 + below(sim, 2));
    job->sampling.seed = test_random(&sim->random);
    job->event_limit = below(sim, 12);
    job->byte_limit = below(sim, 200);
}

static void make_sim(struct sim *sim, uint64_t seed)
{
    *sim = (struct sim){.seed = seed, .random = seed};
    toy_engine_init(&sim->toy, 1 + below(sim, TOY_SLOTS_MAX), 8 + below(sim, 200),
                    1 + below(sim, below(sim, 2) ? 6 : 200));
    struct core_options options = core_options_default();
    options.prefill_tokens = below(sim, 20);
    options.prefill_alone_tokens = below(sim, 60);
    options.park_ms = below(sim, 4);
    options.saved_bytes_max = below(sim, 2) ? 1 << 20 : below(sim, 2000);
    options.poll = abort_at_random;
    options.host = sim;
    sim->abort_chance = below(sim, 2) ? below(sim, 30) : 0;
    sim->toy.lost_tokens = below(sim, 3) ? 0 : below(sim, 20);
    sim->toy.engine.info.can_save = below(sim, 8) > 0;
    probes_init(&sim->probes, &sim->toy.engine, &options);
    sim->job_count = 1 + below(sim, JOBS_MAX);
    for (uint32_t i = 0; i < sim->job_count; i++)
        make_job(sim, i);
}

/* --- living it --- */

static void cancel_one(struct sim *sim)
{
    uint32_t index = below(sim, sim->started);
    sim->is_cancelled[index] = true;
    uint32_t how = below(sim, 3);
    if (how != 0)
        atomic_store(&sim->probes.probe[index].cancel->cancelled, true);
    if (how != 1)
        core_cancel(sim->probes.core, index + 1);
}

static void credit_one(struct sim *sim)
{
    uint32_t index = below(sim, sim->started);
    const struct probe *probe = &sim->probes.probe[index];
    probe_credit(&sim->probes, index, probe->event_limit + below(sim, 12),
                 probe->byte_limit + below(sim, 200));
}

static void act(struct sim *sim)
{
    switch (below(sim, 10)) {
    case 0:
        if (sim->started < sim->job_count)
            probe_start(&sim->probes, sim->started++);
        break;
    case 1:
        if (sim->started > 0 && below(sim, 20) == 0)
            cancel_one(sim);
        break;
    case 2:
    case 3:
        if (sim->started > 0)
            credit_one(sim);
        break;
    case 4:
        sim->probes.now_us += below(sim, 3000);
        break;
    case 5:
        sim->toy.cut_refused = below(sim, 4) == 0;
        sim->toy.next_save = below(sim, 4) ? ERR_OK : ERR_NO_MEMORY;
        sim->toy.next_restore = below(sim, 4) ? ERR_OK : ERR_PROTOCOL;
        break;
    default:
        probes_step(&sim->probes);
    }
}

static void check_one(const struct sim *sim, uint32_t index)
{
    const struct probe *probe = &sim->probes.probe[index];
    struct expected expected;
    expect(probe, sim->toy.engine.info.context_tokens, &expected);
    HOLDS(probe->is_ended && !probe->is_failed);
    HOLDS(probe->id_count <= expected.count);
    HOLDS(memcmp(probe->ids, expected.ids, probe->id_count * sizeof(token_id)) == 0);
    HOLDS(slice_starts_with(text_slice(&expected.text), text_slice(&probe->text)));
    if (probe->reason == DONE_CANCELLED) {
        HOLDS(sim->is_cancelled[index]);
    } else {
        HOLDS(probe->reason == expected.reason);
        HOLDS(probe->id_count == expected.count);
        HOLDS(probe->text.len == expected.text.len);
    }
    text_fini(&expected.text);
}

static void check_rest(const struct sim *sim)
{
    const struct engine_info *info = &sim->toy.engine.info;
    HOLDS(sim->probes.slots_free == info->slots);
    HOLDS(sim->probes.running == 0 && sim->probes.parked == 0);
    HOLDS(sim->toy.widest <= info->batch_tokens);
    for (uint32_t slot = 0; slot < info->slots; slot++)
        HOLDS(sim->toy.held[slot] == 0);
}

static void run_sim(struct sim *sim, uint64_t seed)
{
    make_sim(sim, seed);
    for (uint32_t i = below(sim, 600); i > 0; i--)
        act(sim);
    while (sim->started < sim->job_count)
        probe_start(&sim->probes, sim->started++);
    for (uint32_t i = 0; i < sim->job_count; i++)
        probe_credit(&sim->probes, i, UINT64_MAX, UINT64_MAX);
    probes_run(&sim->probes); /* bounded: nobody starves */
    for (uint32_t i = 0; i < sim->job_count; i++)
        check_one(sim, i);
    check_rest(sim);
    probes_fini(&sim->probes);
}

TEST(every_sequence_says_what_it_would_say_alone)
{
    struct sim *sim = mem_alloc(sizeof(*sim));
    for (uint64_t seed = 1; seed <= 1500; seed++)
        run_sim(sim, seed);
    mem_free(sim);
}
