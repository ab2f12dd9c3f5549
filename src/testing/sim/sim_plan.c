/* sim_plan - what a seed means: who is there, what is asked, what goes wrong and when. */
#include "testing/sim/sim_impl.h"

#include "testing/test.h"

enum {
    FIRST_ASK_US = 1000000, /* without faults: everybody is ready by then */
    LOAD_US = 4500000,      /* for so long new requests come */
    FAULTS_US = 7000000,
    RESTART_MAX_US = 1000000,
    FAULTS_MAX = 14,
    PROBE_TOKENS_MAX = 8,
    KEPT_BYTES = 1 << 20, /* of answers that may go on elsewhere */
};

static bool one_in(struct sim *sim, uint32_t count)
{
    return sim_below(sim, count) == 0;
}

static bool is_calm(const struct sim *sim)
{
    return sim->options.class == SIM_CALM;
}

/* --- who is there --- */

static struct role *add_place(struct sim *sim, enum role_kind kind)
{
    struct plan *plan = &sim->plan;
    struct role *role = &sim->roles[plan->place_count];
    ASSERT(plan->place_count < SIM_PLACES_MAX);
    *role = (struct role){.sim = sim, .kind = kind, .place = plan->place_count++};
    uint32_t late_us = is_calm(sim) || kind == ROLE_HOST ? 0 : sim_below(sim, 300000);
    sim_plan_deed(sim, SIM_START_US + late_us, DEED_START, role->place);
    return role;
}

static void draw_places(struct sim *sim)
{
    struct plan *plan = &sim->plan;
    plan->asker_count = sim_between(sim, 1, 3);
    plan->model_count = sim_between(sim, 1, SIM_MODELS_MAX);
    for (uint32_t i = 0; i < plan->asker_count; i++)
        (void)add_place(sim, ROLE_ASKER); /* the first places */
    (void)add_place(sim, ROLE_MANAGER);
    (void)add_place(sim, ROLE_HOST);
    for (uint32_t model = 0; model < plan->model_count; model++) {
        uint32_t workers = sim_between(sim, 1, 3);
        for (uint32_t i = 0; i < workers; i++) {
            struct role *role = add_place(sim, ROLE_WORKER);
            role->model = model;
            role->slots = sim_between(sim, 1, 4);
            role->pace.load_us = sim_between(sim, 1000, 500000);
            role->pace.step_us = sim_between(sim, 500, one_in(sim, 2) ? 20000 : 8000);
        }
    }
}

static void draw_options(struct sim *sim)
{
    struct plan *plan = &sim->plan;
    plan->manager = manager_options_default();
    plan->manager.queue_max = one_in(sim, 3) ? sim_between(sim, 3, 8) : 64; /* probes have room */
    plan->manager.queue_wait_ms = sim_between(sim, 2500, 4000);
    plan->ask = ask_options_default();
    if (sim->options.seed % 2) /* drawn from the seed itself: what else happens is not another */
        plan->ask.continue_bytes_max = KEPT_BYTES;
    if (one_in(sim, 2)) { /* so little that a lost grant is felt */
        plan->ask.credit_events = sim_between(sim, 2, 12);
        plan->ask.credit_bytes = sim_between(sim, 20, 400);
    }
    plan->worker = worker_options_default();
    plan->worker.core = core_options_default();
    plan->worker.core.park_ms = one_in(sim, 2) ? 2000 : sim_between(sim, 10, 200);
    plan->worker.core.prefill_tokens = sim_between(sim, 4, 64);
}

static void draw_weather(struct sim *sim)
{
    struct bus_sim_weather *weather = sim->plan.weather;
    weather[0] = (struct bus_sim_weather){.delay_min_us = 20, .delay_max_us = 2000};
    weather[1] = (struct bus_sim_weather){.delay_min_us = 20,
                                          .delay_max_us = sim_between(sim, 5000, 200000),
                                          .lose_per_1000 = one_in(sim, 2) ? 100 : 0};
    weather[2] = weather[1];
    if (sim->options.class != SIM_STORM)
        return;
    weather[2].drop_per_1000 = sim_between(sim, 1, 200);
    weather[2].repeat_per_1000 = sim_between(sim, 1, 200);
    weather[2].disorder_per_1000 = sim_between(sim, 1, 200);
}

/* --- what is asked --- */

static void draw_question(struct sim *sim, struct question *question)
{
    static const char *const stops[] = {"STOP", "a", "\n\n", "the a", "ST", "abab"};
    question->prompt_count = sim_between(sim, 1, QUESTION_PROMPT_MAX);
    for (uint32_t i = 0; i < question->prompt_count; i++)
        question->prompt[i] = (token_id)sim_below(sim, TOY_VOCAB);
    question->max_tokens = sim_between(sim, 1, one_in(sim, 2) ? QUESTION_ANSWER_MAX : 20);
    question->ignore_eos = one_in(sim, 2);
    question->stop_count = one_in(sim, 3) ? sim_below(sim, QUESTION_STOPS_MAX + 1) : 0;
    for (size_t i = 0; i < question->stop_count; i++)
        question->stops[i] = slice_str(stops[sim_below(sim, ARRAY_COUNT(stops))]);
    question->sampling = sampling_default();
    question->sampling.temperature = (float[]){0, 0.7f, 1, 2}[sim_below(sim, 4)];
    question->sampling.has_seed = true; /* who asks chooses it, so that a rerun says the same */
    question->sampling.seed = test_random(&sim->random);
}

static struct sim_ask *draw_ask(struct sim *sim, uint32_t index, uint32_t asker, uint32_t model)
{
    static const enum request_priority priorities[] = {PRIORITY_NORMAL, PRIORITY_NORMAL,
                                                       PRIORITY_HIGH, PRIORITY_LOW};
    ASSERT(index < SIM_ASKS_MAX);
    struct sim_ask *ask = &sim->asks[index];
    ask->sim = sim;
    ask->index = index;
    ask->asker = &sim->roles[asker];
    ask->model = model;
    ask->worker_place = -1;
    draw_question(sim, &ask->question);
    ask->id.high = sim->options.seed + 1;
    ask->id.low = test_random(&sim->random);
    ask->priority = priorities[sim_below(sim, ARRAY_COUNT(priorities))];
    ask->wants_progress = one_in(sim, 3);
    return ask;
}

static void draw_load(struct sim *sim)
{
    struct plan *plan = &sim->plan;
    uint32_t first_us = is_calm(sim) ? FIRST_ASK_US : 0;
    plan->ask_count = sim_between(sim, 1, one_in(sim, 4) ? 120 : 40);
    bool is_burst = one_in(sim, 4);
    for (uint32_t i = 0; i < plan->ask_count; i++) {
        struct sim_ask *ask =
            draw_ask(sim, i, sim_below(sim, plan->asker_count), sim_below(sim, plan->model_count));
        uint64_t at_us = SIM_START_US + first_us + sim_below(sim, is_burst ? 200000 : LOAD_US);
        ask->read_us =
            one_in(sim, 4) ? sim_between(sim, 1000, one_in(sim, 4) ? 3000000 : 50000) : 0;
        sim_plan_deed(sim, at_us, DEED_ASK, i);
        if (one_in(sim, 8))
            sim_plan_deed(sim, at_us + sim_below(sim, 1000000), DEED_CANCEL, i);
    }
}

/* Short, and before what may still wait. */
static void make_probe(struct sim_ask *ask)
{
    ask->is_probe = true;
    ask->priority = PRIORITY_HIGH;
    if (ask->question.max_tokens > PROBE_TOKENS_MAX)
        ask->question.max_tokens = PROBE_TOKENS_MAX;
}

static void draw_probes(struct sim *sim)
{
    struct plan *plan = &sim->plan;
    uint32_t index = plan->ask_count;
    for (uint32_t asker = 0; asker < plan->asker_count; asker++)
        for (uint32_t model = 0; model < plan->model_count; model++)
            make_probe(draw_ask(sim, index++, asker, model));
    sim_plan_deed(sim, plan->quiet_us + SIM_RECOVERY_US, DEED_PROBE, 0);
}

/* --- what goes wrong --- */

/* How long a process is stopped, or an engine hangs. */
static uint32_t draw_pause(struct sim *sim)
{
    return one_in(sim, 3) ? sim_between(sim, 1000000, 7000000) : sim_between(sim, 1000, 1500000);
}

/* Half of all hit a worker: there the streams are. */
static uint32_t draw_victim(struct sim *sim)
{
    uint32_t first_worker = 0;
    while (sim->roles[first_worker].kind != ROLE_WORKER)
        first_worker++;
    return one_in(sim, 2) ? sim_between(sim, first_worker, sim->plan.place_count - 1)
                          : sim_below(sim, sim->plan.place_count);
}

static void draw_fault(struct sim *sim)
{
    uint32_t place = draw_victim(sim);
    if (sim->roles[place].kind == ROLE_HOST)
        return; /* all the others die with it: tests/ shows that with processes */
    uint64_t at_us = SIM_START_US + sim_below(sim, FAULTS_US);
    uint32_t pause_us = draw_pause(sim);
    static const struct {
        enum deed from, to;
    } faults[] = {
        {DEED_KILL, DEED_START},  {DEED_KILL, DEED_START},    {DEED_FREEZE, DEED_THAW},
        {DEED_FREEZE, DEED_THAW}, {DEED_STALL, DEED_UNSTALL}, {DEED_BREAK, DEED_KILL},
        {DEED_LEAVE, DEED_START}, {DEED_FULL, DEED_EMPTY},    {DEED_WEATHER, DEED_WEATHER},
    };
    uint32_t which = sim_below(sim, ARRAY_COUNT(faults));
    if (faults[which].from == DEED_WEATHER) {
        sim_plan_deed(sim, at_us, DEED_WEATHER, sim_between(sim, 1, 2));
        sim_plan_deed(sim, at_us + pause_us, DEED_WEATHER, 0);
        return;
    }
    if (faults[which].from == DEED_KILL || faults[which].from == DEED_BREAK)
        pause_us = sim_between(sim, 50000, RESTART_MAX_US);
    sim_plan_deed(sim, at_us, faults[which].from, place);
    sim_plan_deed(sim, at_us + pause_us, faults[which].to, place);
    if (faults[which].to == DEED_KILL)
        sim_plan_deed(sim, at_us + 2 * (uint64_t)pause_us, DEED_START, place);
}

void sim_draw(struct sim *sim)
{
    sim->plan.quiet_us = SIM_START_US + FAULTS_US;
    draw_places(sim);
    draw_options(sim);
    draw_weather(sim);
    draw_load(sim);
    for (uint32_t i = is_calm(sim) ? 0 : sim_between(sim, 1, FAULTS_MAX); i > 0; i--)
        draw_fault(sim);
    sim_plan_deed(sim, sim->plan.quiet_us, DEED_QUIET, 0);
    draw_probes(sim);
}
