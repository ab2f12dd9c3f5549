/* Random lives of random sequences on the toy engine, with everything going wrong that may: what
 * each one says must be what it would say alone, whatever happens around it. */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/core_probe.h"
#include "worker/draft.h"
#include "worker/plan.h"
#include "worker/replay.h"
#include "worker/sampler.h"
#include "worker/text_out.h"
#include "worker/toy_engine.h"

enum { JOBS_MAX = 20, PROMPT_MAX = 60, ANSWER_MAX = 60, STOPS_MAX = 3 };

struct expected { /* of a sequence that is alone and never disturbed */
    token_id ids[TOY_CONTEXT_MAX + 1];
    uint32_t count;
    struct text text;
    size_t text_at[TOY_CONTEXT_MAX + 2]; /* bytes that so many tokens let go of */
    bool is_failed;                      /* nothing that the grammar allows can be said */
    enum done_reason reason;
};

/* A failure shows the seed as the first of the two values. */
#define HOLDS(cond) CHECK_EQ((cond) ? 0 : sim->seed, 0)

struct sim {
    uint64_t seed, random;
    uint32_t abort_chance; /* of 1000, each time the engine asks */
    struct toy_engine toy;
    struct probes probes;
    size_t prefix_bytes_max;
    uint64_t clock_us;
    uint32_t job_count, started;
    token_id prompts[JOBS_MAX][PROMPT_MAX + ANSWER_MAX]; /* and what is said behind them */
    struct slice stops[JOBS_MAX][STOPS_MAX];
    bool is_cancelled[JOBS_MAX];
    uint32_t follows[JOBS_MAX]; /* the prompt tokens of whom it goes on with; 0: nobody */
    const struct toy_form *forms[JOBS_MAX]; /* NULL: none */
};

static uint32_t below(struct sim *sim, uint32_t limit)
{
    return (uint32_t)(test_random(&sim->random) % limit);
}

/* --- grammars --- */

struct toy_form { /* of an answer: what the toy's pieces can say, in part and in pieces, or not at
                   * all
                   */
    const char *grammar;
    struct grammar_trigger trigger; /* no word and no token: it binds from the beginning */
};
#define FREE_UNTIL_WORD(text, included)                                                            \
    {                                                                                              \
        .word = SLICE(text), .token = GRAMMAR_NO_TOKEN, .is_included = (included)                  \
    }

static const struct toy_form all_forms[] = {
    {"root ::= [ab]+ (\"\\n\" [ab]+)*", {.token = GRAMMAR_NO_TOKEN}},
    {"root ::= (\" the\" | \"x\" | \"yz\"){1,7}", {.token = GRAMMAR_NO_TOKEN}},
    {"root ::= ([^a] | \"ab\")*", {.token = GRAMMAR_NO_TOKEN}},
    {"root ::= \"(\" root \")\" | [a-z]", {.token = GRAMMAR_NO_TOKEN}},
    {"root ::= item (\"\\n\" item)* \"STOP\"\nitem ::= [a-z]{2,5} | [\\u4F60\\u00E9]+",
     {.token = GRAMMAR_NO_TOKEN}},
    {"root ::= [ab]{3} \"q\"", {.token = GRAMMAR_NO_TOKEN}}, /* nobody can say q */
    {"root ::= \"ST\" [ab]+ \"\\n\"", FREE_UNTIL_WORD("ST", true)},
    {"root ::= [ab]{2,9}", FREE_UNTIL_WORD("ab", false)},
    {"root ::= \"x\" [xyz]{0,5}", {.token = 19, .is_included = true}},
};

static enum grammar_token_kind token_of(void *ctx, uint32_t token, struct slice *out_piece)
{
    (void)ctx;
    *out_piece = toy_engine_piece((token_id)token);
    bool is_end = token == TOY_END || token == TOY_END_OF_TEXT;
    return is_end ? GRAMMAR_TOKEN_END : GRAMMAR_TOKEN_TEXT;
}

static struct grammar_vocab *vocab; /* of all, made when first asked for */

__attribute__((destructor)) static void forget_vocab(void)
{
    grammar_vocab_free(vocab);
}

static bool is_lazy(const struct toy_form *form)
{
    return form->trigger.word.len > 0 || form->trigger.token != GRAMMAR_NO_TOKEN;
}

static struct grammar_match *new_match(const struct toy_form *form)
{
    struct grammar *grammar;
    struct grammar_triggers *triggers = NULL;
    struct grammar_match *match;
    CHECK_OK(grammar_parse(slice_str(form->grammar), &grammar, NULL));
    if (is_lazy(form))
        CHECK_OK(grammar_triggers_new(grammar, &form->trigger, 1, &triggers, NULL));
    CHECK_OK(grammar_match_new(grammar, triggers, &match));
    grammar_triggers_unref(triggers);
    grammar_unref(grammar);
    return match;
}

/* As somebody who goes on elsewhere has it: from the bytes of the answer so far alone, unless a
 * token is what it waits for. */
static struct grammar_match *replayed(const struct toy_form *form, const token_id *ids,
                                      uint32_t count)
{
    struct grammar_match *match = new_match(form);
    struct text text;
    text_init(&text, 1 << 16);
    for (uint32_t i = 0; i < count; i++) {
        text_add(&text, toy_engine_piece(ids[i]));
        if (form->trigger.token != GRAMMAR_NO_TOKEN)
            CHECK_OK(grammar_match_accept(match, (uint32_t)ids[i], toy_engine_piece(ids[i])));
    }
    if (form->trigger.token == GRAMMAR_NO_TOKEN)
        CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, text_slice(&text)));
    text_fini(&text);
    return match;
}

/* --- what should come out --- */

struct alone { /* what it takes to pick for one sequence */
    const struct core_job *job;
    const struct toy_form *form;
    bool rows_differ;
    float habit;
    struct sampler *sampler;
    struct sampler_state state;
};

static struct slice piece(void *ctx, token_id token)
{
    (void)ctx;
    return toy_engine_piece(token);
}

/* By the mask, where the core asks for the token. */
static enum err pick_again(struct alone *alone, struct sampler_input *input,
                           struct sampler_state before, token_id *token)
{
    const token_id *ids = input->history + alone->job->prompt_count;
    struct grammar_masker *masker = grammar_masker_new(vocab, 1);
    struct grammar_match *match = replayed(alone->form, ids, (uint32_t)input->index);
    CHECK_OK(grammar_mask(masker, match, &input->allowed));
    enum err err = ERR_OK;
    if (!grammar_mask_has(input->allowed, (uint32_t)*token)) {
        alone->state = before;
        err = sampler_pick(alone->sampler, input, token);
    }
    grammar_match_free(match);
    grammar_masker_free(masker);
    return err;
}

static enum err expected_pick(struct alone *alone, const token_id *all, uint32_t all_count,
                              token_id *out_token)
{
    float logits[TOY_VOCAB];
    static const token_id ends[] = {TOY_END, TOY_END_OF_TEXT};
    const struct core_job *job = alone->job;
    uint32_t prompt_count = job->prompt_count;
    size_t single_at = !alone->rows_differ ? all_count : prompt_count == 1 ? 0 : prompt_count;
    toy_engine_logits_of_rows(all, all_count, single_at, logits);
    toy_engine_add_habit(alone->habit, all[all_count - 1], logits);
    struct sampler_state before = alone->state;
    struct sampler_input input = {.sampling = &job->sampling,
                                  .logits = logits,
                                  .history = all,
                                  .history_count = all_count,
                                  .forbidden = ends,
                                  .forbidden_count = job->ignore_eos ? 2 : 0,
                                  .index = all_count - job->prompt_count,
                                  .state = &alone->state,
                                  .piece = piece};
    CHECK_OK(sampler_pick(alone->sampler, &input, out_token));
    return alone->form ? pick_again(alone, &input, before, out_token) : ERR_OK;
}

static bool is_said(const struct alone *alone, const struct expected *expected)
{
    if (!alone->form)
        return false;
    struct grammar_match *match = replayed(alone->form, expected->ids, expected->count);
    bool is_over = grammar_match_is_over(match);
    grammar_match_free(match);
    return is_over;
}

/* Until it ends, or its context or its tokens do; returns the stop that it met. */
static int live_alone(struct alone *alone, token_id *all, uint32_t context_tokens,
                      struct text_out *text_out, struct expected *out)
{
    uint32_t count = alone->job->prompt_count;
    while (out->count < alone->job->max_tokens && count <= context_tokens) {
        token_id token;
        if (expected_pick(alone, all, count, &token) != ERR_OK) {
            out->is_failed = true;
            return TEXT_OUT_NO_STOP;
        }
        bool is_end = token == TOY_END || token == TOY_END_OF_TEXT;
        if (!is_end) {
            all[count++] = out->ids[out->count++] = token;
            int stop = text_out_add(text_out, toy_engine_piece(token), &out->text);
            if (stop != TEXT_OUT_NO_STOP)
                return stop;
            out->text_at[out->count] = out->text.len;
        }
        if (is_end || is_said(alone, out)) {
            out->reason = DONE_EOS;
            break;
        }
    }
    return text_out_end(text_out, &out->text);
}

static void expect(const struct sim *sim, uint32_t index, struct expected *out)
{
    const struct probe *probe = &sim->probes.probe[index];
    struct alone alone = {.job = &probe->job,
                          .form = sim->forms[index],
                          .rows_differ = sim->toy.engine.info.single_rows_differ,
                          .habit = sim->toy.habit,
                          .sampler = sampler_new(TOY_VOCAB),
                          .state = sampler_state_first(&probe->job.sampling)};
    token_id all[2 * TOY_CONTEXT_MAX];
    struct text_out *text_out = text_out_new(alone.job->stops, alone.job->stop_count);
    memcpy(all, probe->prompt, alone.job->prompt_count * sizeof(all[0]));
    *out = (struct expected){.reason = DONE_LENGTH};
    text_init(&out->text, 1 << 16);
    if (live_alone(&alone, all, sim->toy.engine.info.context_tokens, text_out, out) !=
        TEXT_OUT_NO_STOP)
        out->reason = DONE_STOP;
    text_out_free(text_out);
    sampler_free(alone.sampler);
}

/* --- making it --- */

static bool abort_at_random(void *host)
{
    struct sim *sim = host;
    return below(sim, 1000) < sim->abort_chance;
}

static uint64_t tick(void *host)
{
    struct sim *sim = host;
    return sim->clock_us += below(sim, 2000);
}

/* The next turn of what the other one began: its prompt is in, and what is said to it follows. */
static void go_on_with(struct sim *sim, uint32_t index, uint32_t other, uint32_t count)
{
    struct expected expected;
    uint32_t other_count = sim->probes.probe[other].job.prompt_count, room = count - other_count;
    expect(sim, other, &expected);
    uint32_t said = expected.count < room ? expected.count : room;
    memcpy(sim->prompts[index] + other_count, expected.ids, said * sizeof(token_id));
    sim->follows[index] = other_count;
    text_fini(&expected.text);
}

/* With a prefix cache most prompts begin as an earlier one did, or are the same. */
static void begin_alike(struct sim *sim, uint32_t index, uint32_t count)
{
    if (sim->prefix_bytes_max == 0 || index == 0 || below(sim, 5) == 0)
        return;
    uint32_t other = below(sim, index), other_count = sim->probes.probe[other].job.prompt_count;
    uint32_t alike = below(sim, 2) ? count : below(sim, count + 1);
    alike = alike < other_count ? alike : other_count;
    memcpy(sim->prompts[index], sim->prompts[other], alike * sizeof(token_id));
    if (alike == other_count && alike < count && below(sim, 3) > 0)
        go_on_with(sim, index, other, count);
}

static void make_job(struct sim *sim, uint32_t index)
{
    static const char *const stops[] = {"STOP", "a", "\n\n", "the a", "\xE4\xBD\xA0", "ST", "abab"};
    uint32_t context = sim->toy.engine.info.context_tokens;
    uint32_t count = 1 + below(sim, context - 1 < PROMPT_MAX ? context - 1 : PROMPT_MAX);
    for (uint32_t i = 0; i < count; i++)
        sim->prompts[index][i] = (token_id)below(sim, TOY_VOCAB);
    begin_alike(sim, index, count);
    struct core_job *job = &probe_make(&sim->probes, index, sim->prompts[index], count)->job;
    job->stops = sim->stops[index];
    job->stop_count = below(sim, STOPS_MAX + 1);
    for (size_t i = 0; i < job->stop_count; i++)
        sim->stops[index][i] = slice_str(stops[below(sim, ARRAY_COUNT(stops))]);
    job->max_tokens = 1 + below(sim, ANSWER_MAX);
    job->ignore_eos = below(sim, 2);
    job->want_progress = below(sim, 2);
    job->prompt_is_shared = below(sim, 4) == 0;
    job->is_conversation = below(sim, 4) > 0;
    job->sampling.temperature = (float[]){0, 0.7f, 1, 2}[below(sim, 4)];
    job->sampling.top_p = below(sim, 2) ? 0.9f : 1;
    job->sampling.repeat_penalty = below(sim, 2) ? 1.2f : 1;
    job->sampling.dry_multiplier = below(sim, 2) ? 0.5f : 0;
    job->sampling.xtc_probability = below(sim, 2) ? 0.5f : 0;
    job->sampling.mirostat = below(sim, 4) ? 0 : (uint8_t)(1 + below(sim, 2));
    job->sampling.seed = test_random(&sim->random);
    job->event_limit = below(sim, 12);
    job->byte_limit = below(sim, 200);
    sim->forms[index] = below(sim, 2) ? &all_forms[below(sim, ARRAY_COUNT(all_forms))] : NULL;
    if (sim->forms[index]) {
        vocab = vocab ? vocab : grammar_vocab_new(TOY_VOCAB, token_of, NULL);
        job->match = new_match(sim->forms[index]);
        job->vocab = vocab;
    }
}

/* Where a character ends, at or before `bytes`. */
static size_t boundary(const struct text *text, size_t bytes)
{
    while (bytes > 0 && bytes < text->len && (text->data[bytes] & 0xC0) == 0x80)
        bytes--;
    return bytes;
}

/* Another worker has said a part of its answer, and perhaps all of it (replay.h). */
static void say_before(struct sim *sim, uint32_t index)
{
    struct probe *probe = &sim->probes.probe[index];
    struct core_job *job = &probe->job;
    uint32_t room = sim->toy.engine.info.context_tokens - job->prompt_count;
    struct expected expected;
    struct err_note note = {{0}};
    job->max_tokens = job->max_tokens < room ? job->max_tokens : room; /* as prep.c has it */
    job->event_limit++; /* a whole answer says what is left at once */
    job->byte_limit++;
    expect(sim, index, &expected);
    uint32_t count = below(sim, expected.count + 1);
    size_t with_it = expected.text_at[count];
    size_t text_bytes = boundary(&expected.text, below(sim, (uint32_t)with_it + 1));
    memcpy(sim->prompts[index] + job->prompt_count, expected.ids, count * sizeof(token_id));
    memcpy(probe->ids, expected.ids, count * sizeof(token_id));
    probe->id_count = job->said.count = count;
    text_add(&probe->text, slice_first(text_slice(&expected.text), text_bytes));
    job->prompt = sim->prompts[index];
    CHECK_OK(replay_said(&sim->toy.engine, job, text_bytes, &note));
    text_fini(&expected.text);
}

/* And answers that say more of the same. */
static void make_drafts(struct sim *sim, struct core_options *options)
{
    sim->toy.habit = (float[]){0, 5, 20}[below(sim, 3)];
    sim->toy.engine.info.logits_max += below(sim, 4) ? below(sim, 2 * DRAFT_MAX) : 0;
    options->draft_tokens_max = below(sim, 4) ? below(sim, 2 * DRAFT_MAX) : 0;
    options->draft_is_exact = below(sim, 3) == 0;
}

static void make_sim(struct sim *sim, uint64_t seed)
{
    *sim = (struct sim){.seed = seed, .random = seed};
    bool rows_differ = below(sim, 2);
    toy_engine_init(&sim->toy, 1 + below(sim, TOY_SLOTS_MAX), 8 + below(sim, 200),
                    1 + rows_differ * PLAN_PAIR_ROWS + below(sim, below(sim, 2) ? 6 : 200));
    sim->toy.engine.info.single_rows_differ = rows_differ;
    struct core_options options = core_options_default();
    options.prefill_tokens = below(sim, 20);
    options.prefill_alone_tokens = below(sim, 60);
    options.park_ms = below(sim, 4);
    options.saved_bytes_max = below(sim, 2) ? 1 << 20 : below(sim, 2000);
    options.poll = options.is_awaited = abort_at_random;
    options.host = sim;
    sim->abort_chance = below(sim, 2) ? below(sim, 30) : 0;
    sim->toy.lost_tokens = below(sim, 3) ? 0 : below(sim, 20);
    sim->toy.engine.info.can_save = below(sim, 8) > 0;
    sim->toy.engine.info.can_cut = below(sim, 4) > 0;
    sim->toy.cut_refused = !sim->toy.engine.info.can_cut;
    sim->prefix_bytes_max = (size_t[]){0, below(sim, 3000), 1 << 20}[below(sim, 3)];
    options.prefix_bytes_max = sim->prefix_bytes_max;
    options.prefix_save_tokens = below(sim, 20);
    options.learns_steps = below(sim, 2);
    options.target_itl_ms = below(sim, 2) * below(sim, 100);
    options.clock_us = tick;
    make_drafts(sim, &options);
    probes_init(&sim->probes, &sim->toy.engine, &options);
    sim->job_count = 1 + below(sim, JOBS_MAX);
    for (uint32_t i = 0; i < sim->job_count; i++) {
        make_job(sim, i);
        if (below(sim, 4) == 0)
            say_before(sim, i);
    }
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
        sim->toy.cut_refused = !sim->toy.engine.info.can_cut || below(sim, 4) == 0;
        sim->toy.next_save = below(sim, 4) ? ERR_OK : ERR_NO_MEMORY;
        sim->toy.next_restore = below(sim, 4) ? ERR_OK : ERR_PROTOCOL;
        core_set_draft_rows_exact_max(sim->probes.core, below(sim, 6));
        break;
    default:
        probes_step(&sim->probes);
        HOLDS(sim->probes.prefix_bytes <= sim->prefix_bytes_max);
    }
}

static void check_one(const struct sim *sim, uint32_t index)
{
    const struct probe *probe = &sim->probes.probe[index];
    struct expected expected;
    expect(sim, index, &expected);
    bool is_cancelled = !probe->is_failed && probe->reason == DONE_CANCELLED;
    HOLDS(probe->is_ended);
    HOLDS(probe->id_count <= expected.count);
    HOLDS(memcmp(probe->ids, expected.ids, probe->id_count * sizeof(token_id)) == 0);
    HOLDS(slice_starts_with(text_slice(&expected.text), text_slice(&probe->text)));
    if (is_cancelled) {
        HOLDS(sim->is_cancelled[index]);
    } else {
        HOLDS(probe->is_failed == expected.is_failed);
        HOLDS(probe->is_failed ? probe->fault == FAULT_INVALID_REQUEST
                               : probe->reason == expected.reason);
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
    for (uint32_t slot = 0; slot < info->slots && sim->prefix_bytes_max == 0; slot++)
        HOLDS(sim->toy.held[slot] == 0);
}

struct reuse {
    uint64_t cached, copies, with_blobs;
    uint64_t drafted, right;
    uint64_t settled, found; /* of answers, where single rows differ */
};

static void count_reuse(const struct sim *sim, struct reuse *reuse)
{
    for (uint32_t i = 0; i < sim->job_count; i++) {
        HOLDS(sim->prefix_bytes_max > 0 || sim->probes.probe[i].cached_tokens == 0);
        reuse->cached += sim->probes.probe[i].cached_tokens;
        if (sim->toy.engine.info.single_rows_differ && sim->follows[i] > 0 &&
            sim->probes.probe[i].cached_tokens > sim->follows[i])
            reuse->found += sim->probes.probe[i].cached_tokens - sim->follows[i];
    }
    reuse->copies += sim->toy.copies;
    reuse->drafted += sim->probes.tokens_drafted;
    reuse->right += sim->probes.drafts_right;
    bool settles = sim->prefix_bytes_max > 0 && sim->toy.engine.info.single_rows_differ &&
                   sim->toy.engine.info.can_cut;
    HOLDS(settles || sim->probes.tokens_settled == 0);
    reuse->settled += sim->probes.tokens_settled;
    reuse->with_blobs += sim->probes.prefix_bytes > 0;
}

static void run_sim(struct sim *sim, uint64_t seed, struct reuse *reuse)
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
    count_reuse(sim, reuse);
    probes_fini(&sim->probes);
}

TEST(every_sequence_says_what_it_would_say_alone)
{
    struct sim *sim = mem_alloc(sizeof(*sim));
    struct reuse reuse = {0};
    for (uint64_t seed = 1, seeds = test_seeds(1500); seed <= seeds; seed++)
        run_sim(sim, seed, &reuse);
    CHECK(reuse.cached > 10000);
    CHECK(reuse.copies > 20);
    CHECK(reuse.with_blobs > 100);
    CHECK(reuse.right > 500 && reuse.drafted - reuse.right > 100);
    CHECK(reuse.settled > 5000 && reuse.found > 500);
    mem_free(sim);
}
