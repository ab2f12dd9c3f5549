/* The core on a real model, the shipped one: whatever happens around a sequence, it says what it
 * says alone. Skipped, with the reason, where there is no libllama (tools/setup-engine gets it). */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/core_probe.h"
#include "worker/replay.h"
#include "worker/selftest.h"

#include <stdio.h>
#include <stdlib.h>

enum { SLOTS = 3, JOBS = 8, PROMPT_MAX = 200, ANSWER_MAX = 64 };

struct answers {
    token_id ids[JOBS][ANSWER_MAX];
    uint32_t count[JOBS];
    enum done_reason reason[JOBS];
    char text[JOBS][1024];
};

static struct engine *open_nano_with(struct engine_llama_options options)
{
    static const char *const search[] = {SOURCE_ROOT "/build/deps/engine/lib", NULL};
    options.library_dir = getenv("MILLRACE_ENGINE_DIR");
    options.search = search;
    options.model_path = SOURCE_ROOT "/models/nano.gguf";
    options.slots = SLOTS;
    options.threads = options.threads_batch = 1;
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    enum err err = engine_llama_open(&options, NULL, NULL, &engine, &note);
    if (err == ERR_NOT_FOUND || err == ERR_REFUSED)
        SKIP("%s", note.text);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    return engine;
}

static struct engine *open_nano(void)
{
    return open_nano_with((struct engine_llama_options){.context_tokens = 256});
}

/* Eight different prompts, behind what they have in common, and ways to sample. */
static void make_behind(const char *shared, struct probes *probes, struct engine *engine,
                        size_t place)
{
    size_t index = place % JOBS;
    static const char *const questions[JOBS] = {"Which port does it listen on?",
                                                "Tell me a story about a fox.",
                                                "Count to 12.",
                                                "how can I stop a generation",
                                                "Repeat after me: bina toru",
                                                "7 + 8",
                                                "Tell me a story about a duck.",
                                                "What is a slot?"};
    char text[1024];
    token_id tokens[PROMPT_MAX];
    size_t count;
    snprintf(text, sizeof(text), "%s<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n",
             shared, questions[index]);
    CHECK_OK(engine_tokenize(engine, slice_str(text), true, true, tokens, PROMPT_MAX, &count));
    token_id *kept = mem_array(count, sizeof(*kept)); /* until the probes go: see free_prompts() */
    memcpy(kept, tokens, count * sizeof(*kept));
    struct probe *probe = probe_make(probes, place, kept, (uint32_t)count);
    probe->job.max_tokens = ANSWER_MAX;
    probe->job.ignore_eos = index % 2;
    probe->job.sampling.temperature = (float[]){0, 0.8f, 1, 1.5f}[index % 4];
    probe->job.sampling.top_p = index % 3 ? 0.95f : 1;
    probe->job.sampling.repeat_penalty = index == 6 ? 1.2f : 1;
    probe->job.sampling.mirostat = index == 2 ? 2 : 0;
    probe->job.sampling.seed = 1000 + index;
}

static void make(struct probes *probes, struct engine *engine, size_t index)
{
    make_behind("", probes, engine, index);
}

static void free_prompts(struct probes *probes)
{
    for (size_t i = 0; i < PROBES_MAX; i++)
        mem_free((void *)(uintptr_t)probes->probe[i].prompt);
}

/* One at a time, undisturbed. */
static void answer_alone_behind(const char *shared, struct engine *engine, struct answers *out)
{
    struct probes *probes = mem_alloc(sizeof(*probes));
    struct core_options options = core_options_default();
    probes_init(probes, engine, &options);
    for (size_t i = 0; i < JOBS; i++) {
        struct probe *probe = &probes->probe[i];
        make_behind(shared, probes, engine, i);
        probe_start(probes, i);
        probes_run(probes);
        CHECK(probe->is_ended && !probe->is_failed);
        out->count[i] = probe->id_count;
        out->reason[i] = probe->reason;
        memcpy(out->ids[i], probe->ids, probe->id_count * sizeof(token_id));
        CHECK(probe->text.len < sizeof(out->text[i]));
        snprintf(out->text[i], sizeof(out->text[i]), SLICE_FMT,
                 SLICE_ARG(text_slice(&probe->text)));
    }
    free_prompts(probes);
    probes_fini(probes);
    mem_free(probes);
}

static void answer_alone(struct engine *engine, struct answers *out)
{
    answer_alone_behind("", engine, out);
}

static void check_same(const struct probe *probe, const struct answers *alone, size_t index)
{
    CHECK(probe->is_ended && !probe->is_failed);
    CHECK_EQ(probe->id_count, alone->count[index]);
    CHECK(memcmp(probe->ids, alone->ids[index], probe->id_count * sizeof(token_id)) == 0);
    CHECK_SLICES(text_slice(&probe->text), slice_str(alone->text[index]));
    CHECK_EQ(probe->reason, alone->reason[index]);
}

TEST(a_question_is_answered_to_the_end_of_the_turn)
{
    struct engine *engine = open_nano();
    struct answers *alone = mem_alloc(sizeof(*alone));
    answer_alone(engine, alone);
    CHECK_EQ(alone->reason[0], DONE_EOS);
    CHECK(strstr(alone->text[0], "8080"));
    CHECK_EQ(alone->count[1], ANSWER_MAX); /* ignore_eos */
    mem_free(alone);
    engine_close(&engine);
}

TEST(company_chunks_parking_and_saving_change_no_token)
{
    struct engine *engine = open_nano();
    struct answers *alone = mem_alloc(sizeof(*alone));
    answer_alone(engine, alone);
    struct probes *probes = mem_alloc(sizeof(*probes));
    struct core_options options = core_options_default();
    options.prefill_tokens = 5;
    options.prefill_alone_tokens = 11;
    options.park_ms = 1;
    probes_init(probes, engine, &options);
    for (size_t i = 0; i < JOBS; i++) {
        make(probes, engine, i);
        probes->probe[i].job.event_limit = 1 + i;
        probe_start(probes, i);
    }
    uint64_t random = 3;
    bool were_saved = false;
    for (uint32_t ended = 0; ended < JOBS;) {
        probes_run(probes);
        were_saved |= probes->parked > SLOTS;
        size_t index = test_random(&random) % JOBS;
        probe_credit(probes, index, probes->probe[index].event_limit + 7, 0);
        probes->now_us += test_random(&random) % 900;
        ended = 0;
        for (size_t i = 0; i < JOBS; i++)
            ended += probes->probe[i].is_ended;
    }
    CHECK(were_saved);
    for (size_t i = 0; i < JOBS; i++)
        check_same(&probes->probe[i], alone, i);
    free_prompts(probes);
    probes_fini(probes);
    mem_free(probes);
    mem_free(alone);
    engine_close(&engine);
}

struct disturber {
    struct probes *probes;
    uint64_t random;
    uint32_t aborts;
};

/* Gives up one decode in some, somewhere inside. */
static bool abort_some(void *host)
{
    struct disturber *disturber = host;
    bool is_abort = test_random(&disturber->random) % 3000 == 0;
    disturber->aborts += is_abort;
    return is_abort;
}

TEST(aborted_decodes_and_cancelled_neighbours_change_no_token)
{
    struct engine *engine = open_nano();
    struct answers *alone = mem_alloc(sizeof(*alone));
    answer_alone(engine, alone);
    struct probes *probes = mem_alloc(sizeof(*probes));
    struct disturber disturber = {.probes = probes, .random = 11};
    struct core_options options = core_options_default();
    options.poll = abort_some;
    options.host = &disturber;
    probes_init(probes, engine, &options);
    for (size_t i = 0; i < JOBS; i++) {
        make(probes, engine, i);
        probe_start(probes, i);
    }
    for (uint32_t steps = 0; probes_step(probes); steps++) {
        if (steps == 10)
            atomic_store(&probes->probe[1].cancel->cancelled, true);
    }
    CHECK(disturber.aborts > 3);
    CHECK_EQ(probes->probe[1].reason, DONE_CANCELLED);
    for (size_t i = 0; i < JOBS; i++) {
        if (i != 1)
            check_same(&probes->probe[i], alone, i);
    }
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        CHECK_EQ(engine_seq_tokens(engine, slot), 0);
    free_prompts(probes);
    probes_fini(probes);
    mem_free(probes);
    mem_free(alone);
    engine_close(&engine);
}

static bool cancel_all(void *host)
{
    struct disturber *disturber = host;
    if (disturber->aborts++ == 20) {
        for (size_t i = 0; i < SLOTS; i++)
            atomic_store(&disturber->probes->probe[i].cancel->cancelled, true);
    }
    return false;
}

TEST(a_prefill_of_cancelled_sequences_is_given_up_inside)
{
    struct engine *engine = open_nano();
    struct probes *probes = mem_alloc(sizeof(*probes));
    struct disturber disturber = {.probes = probes};
    struct core_options options = core_options_default();
    options.poll = cancel_all;
    options.host = &disturber;
    probes_init(probes, engine, &options);
    for (size_t i = 0; i < SLOTS; i++) {
        make(probes, engine, i);
        probe_start(probes, i);
    }
    probes_run(probes);
    for (size_t i = 0; i < SLOTS; i++)
        CHECK(probes->probe[i].is_ended && !probes->probe[i].is_started);
    CHECK(disturber.aborts < 60); /* the engine asks some hundred times in a whole decode */
    free_prompts(probes);
    probes_fini(probes);
    mem_free(probes);
    engine_close(&engine);
}

/* --- the prefix cache --- */

enum { ROUNDS = 4 };

static const char system_prompt[] =
    "<|im_start|>system\nYou are the assistant of a small shop that sells seeds, pots and tools "
    "for "
    "gardens. You answer in one or two short sentences, you never invent a price, and when you do "
    "not know something you say so and name the person to ask.<|im_end|>\n";

/* The same eight questions again and again, all of a round at once, so that every way of reuse
 * comes up: idle and busy slots, blobs, and waiting for one's neighbour. */
static uint64_t ask_in_rounds(struct engine *engine, size_t prefix_bytes_max, uint32_t park_ms,
                              const struct answers *alone)
{
    struct probes *probes = mem_alloc(sizeof(*probes));
    struct core_options options = core_options_default();
    options.prefix_bytes_max = prefix_bytes_max;
    options.prefix_save_tokens = 8;
    options.prefill_tokens = 7;
    options.park_ms = park_ms;
    probes_init(probes, engine, &options);
    uint64_t cached = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = round * JOBS; i < (round + 1) * JOBS; i++) {
            make_behind(system_prompt, probes, engine, i);
            probes->probe[i].job.event_limit = park_ms ? UINT64_MAX : 5;
            probe_start(probes, i);
        }
        for (size_t i = round * JOBS; i < (round + 1) * JOBS; i++) {
            probes_run(probes);
            probe_credit(probes, i, UINT64_MAX, 0);
        }
        probes_run(probes);
        for (size_t i = round * JOBS; i < (round + 1) * JOBS; i++) {
            check_same(&probes->probe[i], alone, i % JOBS);
            cached += probes->probe[i].cached_tokens;
        }
        CHECK(probes->prefix_bytes <= prefix_bytes_max);
    }
    free_prompts(probes);
    probes_fini(probes);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        CHECK_OK(engine_seq_cut(engine, slot, 0));
    mem_free(probes);
    return cached;
}

TEST(what_is_taken_from_the_cache_changes_no_token)
{
    struct engine *engine = open_nano();
    struct answers *alone = mem_alloc(sizeof(*alone));
    answer_alone_behind(system_prompt, engine, alone);
    CHECK_EQ(ask_in_rounds(engine, 0, 2000, alone), 0);
    CHECK(ask_in_rounds(engine, 16 << 20, 2000, alone) > 1500); /* tokens */
    CHECK(ask_in_rounds(engine, 16 << 20, 0, alone) > 1500);    /* and saved on the way */
    CHECK(ask_in_rounds(engine, 1, 2000, alone) > 0);           /* no room for a blob */
    mem_free(alone);
    engine_close(&engine);
}

/* --- answers that settle --- */

static struct probes *probes_with_cache(struct engine *engine)
{
    struct probes *probes = mem_alloc(sizeof(*probes));
    struct core_options options = core_options_default();
    options.prefix_bytes_max = 16 << 20;
    options.prefix_save_tokens = 8;
    probes_init(probes, engine, &options);
    return probes;
}

static void free_probes(struct probes *probes, struct engine *engine)
{
    free_prompts(probes);
    probes_fini(probes);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        CHECK_OK(engine_seq_cut(engine, slot, 0));
    mem_free(probes);
}

/* The prompt of `before`, what was said to it, and `more`. */
static struct probe *make_next(struct probes *probes, struct engine *engine, size_t index,
                               const struct probe *before, const char *more)
{
    uint32_t prompt_count = before->job.prompt_count, count = prompt_count + before->id_count;
    token_id *tokens = mem_array(count + PROMPT_MAX, sizeof(*tokens));
    size_t more_count = 0;
    memcpy(tokens, before->prompt, prompt_count * sizeof(*tokens));
    memcpy(tokens + prompt_count, before->ids, before->id_count * sizeof(*tokens));
    if (more[0])
        CHECK_OK(engine_tokenize(engine, slice_str(more), false, true, tokens + count, PROMPT_MAX,
                                 &more_count));
    struct probe *probe = probe_make(probes, index, tokens, count + (uint32_t)more_count);
    probe->job.max_tokens = ANSWER_MAX;
    probe->job.ignore_eos = true;
    return probe;
}

/* Every bit of the slot: of 100 other bits in the cells one shows in the logits. */
static void check_cells(struct engine *engine, uint32_t slot, struct probes *alone)
{
    void *settled, *fresh;
    size_t settled_bytes, fresh_bytes;
    CHECK_OK(engine_seq_save(engine, slot, &settled, &settled_bytes));
    CHECK_OK(engine_seq_cut(engine, slot, 0));
    probe_start(alone, 0);
    probes_run(alone);
    CHECK_OK(engine_seq_save(engine, slot, &fresh, &fresh_bytes));
    CHECK_EQ(settled_bytes, fresh_bytes);
    CHECK(memcmp(settled, fresh, fresh_bytes) == 0);
    mem_free(settled);
    mem_free(fresh);
}

TEST(what_settled_is_bit_for_bit_what_a_prompt_puts_in)
{
    struct engine *engine = open_nano();
    for (size_t i = 0; i < JOBS; i++) {
        struct probes *probes = probes_with_cache(engine), *alone = probes_with_cache(engine);
        make(probes, engine, i);
        struct probe *probe = &probes->probe[i];
        probe->job.max_tokens = 2 + 3 * (uint32_t)i;
        probe->job.ignore_eos = true;
        probe->job.is_conversation = true;
        probe_start(probes, i);
        probes_run(probes);
        CHECK_EQ(engine_seq_tokens(engine, 0), probe->job.prompt_count + probe->id_count);
        make_next(alone, engine, 0, probe, "")->job.max_tokens = 1;
        check_cells(engine, 0, alone);
        free_probes(alone, engine);
        free_probes(probes, engine);
    }
    engine_close(&engine);
}

/* They end one after the other, so all but the last settle beside those that still run. */
TEST(the_next_turn_finds_its_answer_and_says_what_it_says_alone)
{
    static const char question[] =
        "<|im_end|>\n<|im_start|>user\nAnd what is a slot?<|im_end|>\n<|im_start|>assistant\n";
    struct engine *engine = open_nano();
    struct probes *probes = probes_with_cache(engine), *alone = mem_alloc(sizeof(*alone));
    struct core_options options = core_options_default();
    probes_init(alone, engine, &options);
    for (size_t i = 0; i < SLOTS; i++) {
        make(probes, engine, i);
        probes->probe[i].job.max_tokens = 10 + 9 * (uint32_t)i;
        probes->probe[i].job.ignore_eos = true;
        probes->probe[i].job.is_conversation = true;
        probe_start(probes, i);
    }
    probes_run(probes);
    for (size_t i = 0; i < SLOTS; i++) {
        const struct probe *before = &probes->probe[i];
        (void)make_next(probes, engine, SLOTS + i, before, question);
        probe_start(probes, SLOTS + i);
    }
    probes_run(probes);
    for (size_t i = 0; i < SLOTS; i++)
        CHECK_OK(engine_seq_cut(engine, (uint32_t)i, 0));
    for (size_t i = 0; i < SLOTS; i++) {
        const struct probe *before = &probes->probe[i], *next = &probes->probe[SLOTS + i];
        struct probe *same = make_next(alone, engine, i, before, question);
        probe_start(alone, i);
        probes_run(alone);
        CHECK_EQ(next->cached_tokens, before->job.prompt_count + before->id_count);
        CHECK_EQ(same->cached_tokens, 0);
        CHECK_EQ(next->id_count, same->id_count);
        CHECK(memcmp(next->ids, same->ids, same->id_count * sizeof(token_id)) == 0);
    }
    free_probes(probes, engine);
    free_probes(alone, engine);
    engine_close(&engine);
}

/* --- answers that go on elsewhere --- */

/* Of the text of the first tokens, what is let go of while more may come. */
static size_t text_of(struct engine *engine, const token_id *ids, uint32_t count)
{
    struct text_out *text_out = text_out_new(NULL, 0);
    struct text text;
    char scratch[16];
    text_init(&text, 1 << 16);
    for (uint32_t i = 0; i < count; i++)
        CHECK_EQ(
            text_out_add(text_out, engine_piece(engine, ids[i], scratch, sizeof(scratch)), &text),
            TEXT_OUT_NO_STOP);
    size_t bytes = text.len;
    text_fini(&text);
    text_out_free(text_out);
    return bytes;
}

/* As if a worker had died after `count` tokens. */
static void start_behind(struct probes *probes, struct engine *engine, size_t index,
                         const struct answers *alone, uint32_t count)
{
    struct probe *probe = &probes->probe[index];
    struct err_note note = {{0}};
    make(probes, engine, index);
    size_t text_bytes = count == alone->count[index] ? strlen(alone->text[index])
                                                     : text_of(engine, alone->ids[index], count);
    uint32_t prompt_count = probe->job.prompt_count;
    token_id *tokens = mem_array(prompt_count + count, sizeof(*tokens));
    memcpy(tokens, probe->prompt, prompt_count * sizeof(*tokens));
    memcpy(tokens + prompt_count, alone->ids[index], count * sizeof(*tokens));
    mem_free((void *)(uintptr_t)probe->prompt);
    probe->job.prompt = tokens;
    probe->prompt = tokens;
    probe->job.said.count = count;
    CHECK_OK(replay_said(engine, &probe->job, text_bytes, &note));
    memcpy(probe->ids, alone->ids[index], count * sizeof(*tokens));
    probe->id_count = count;
    text_add(&probe->text, slice_first(slice_str(alone->text[index]), text_bytes));
    probe_start(probes, index);
}

static void go_on(struct engine *engine, const struct answers *alone, size_t first, size_t count,
                  uint64_t *random)
{
    struct probes *probes = mem_alloc(sizeof(*probes));
    struct core_options options = core_options_default();
    options.prefill_tokens = 7;
    options.prefill_alone_tokens = 20;
    probes_init(probes, engine, &options);
    for (size_t i = first; i < first + count; i++) {
        uint32_t cut = (uint32_t)(test_random(random) % (alone->count[i] + 1));
        start_behind(probes, engine, i, alone, cut);
        for (uint32_t steps = (uint32_t)(test_random(random) % 9); steps > 0; steps--)
            (void)probes_step(probes);
    }
    probes_run(probes);
    for (size_t i = first; i < first + count; i++)
        check_same(&probes->probe[i], alone, i);
    free_prompts(probes);
    probes_fini(probes);
    mem_free(probes);
}

/* Greedy and at temperatures up to 1.5, alone and in company: bit by bit, for one other bit in the
 * cells shows within some tokens (docs/design/018). */
TEST(an_answer_cut_anywhere_goes_on_as_it_was)
{
    struct engine *engine = open_nano();
    struct answers *alone = mem_alloc(sizeof(*alone));
    uint64_t random = 5;
    answer_alone(engine, alone);
    for (size_t i = 0; i < JOBS; i++)
        go_on(engine, alone, i, 1, &random);
    for (uint32_t round = 0; round < ROUNDS; round++)
        go_on(engine, alone, 0, JOBS, &random);
    mem_free(alone);
    engine_close(&engine);
}

/* --- drafts, in profile fast (docs/design/023) --- */

enum { DRAFTS = 8, QUOTED = 60, FAST_CONTEXT = 512 };

/* What of one stream this processor computes as single rows: 1, where it does for none. */
static uint32_t tested_rows(struct engine *engine)
{
    struct selftest test;
    enum selftest_next next;
    selftest_init(&test, engine, true);
    while ((next = selftest_step(&test)) <= SELFTEST_EMPTY)
        CHECK(next == SELFTEST_STEP || engine_seq_cut(engine, 0, 0) == ERR_OK);
    CHECK_EQ(next, SELFTEST_OVER);
    CHECK_OK(engine_seq_cut(engine, 0, 0));
    uint32_t rows = selftest_result(&test).draft_rows_exact_max;
    selftest_fini(&test);
    return rows;
}

struct quoted {
    token_id ids[QUOTED];
    char text[512];
    uint32_t steps;
    uint64_t right;
};

/* Behind the end of the turn as well: there it goes on to quote itself. */
static void quote(struct engine *engine, uint32_t drafts, uint32_t rows, struct quoted *out)
{
    static const char prompt[] = "<|im_start|>user\nRepeat after me: bina toru kel dovi bina toru "
                                 "kel dovi bina toru kel dovi<|im_end|>\n<|im_start|>assistant\n";
    struct probes *probes = mem_alloc(sizeof(*probes));
    struct core_options options = core_options_default();
    token_id tokens[PROMPT_MAX];
    size_t count;
    options.draft_tokens_max = drafts;
    options.draft_is_exact = true;
    probes_init(probes, engine, &options);
    core_set_draft_rows_exact_max(probes->core, rows);
    CHECK_OK(engine_tokenize(engine, SLICE(prompt), true, true, tokens, PROMPT_MAX, &count));
    struct probe *probe = probe_make(probes, 0, tokens, (uint32_t)count);
    probe->job.max_tokens = QUOTED;
    probe->job.ignore_eos = true;
    probe->job.sampling.temperature = 0;
    probe_start(probes, 0);
    while (probes_step(probes))
        out->steps++;
    CHECK(probe->is_ended && !probe->is_failed);
    CHECK_EQ(probe->id_count, QUOTED);
    memcpy(out->ids, probe->ids, sizeof(out->ids));
    snprintf(out->text, sizeof(out->text), SLICE_FMT, SLICE_ARG(text_slice(&probe->text)));
    out->right = probes->drafts_right;
    probes_fini(probes);
    mem_free(probes);
}

/* On any processor: where several rows of a stream are not as single ones the self-test says so,
 * and then nothing may be drafted; where they are, the same bits are the same tokens. */
TEST(what_is_quoted_takes_fewer_steps_and_is_the_same_with_drafts)
{
    struct engine *engine =
        open_nano_with((struct engine_llama_options){.context_tokens = FAST_CONTEXT,
                                                     .fast = true,
                                                     .logits_per_slot = 1,
                                                     .logits_extra = DRAFTS});
    uint32_t rows = tested_rows(engine);
    struct quoted without = {0}, with = {0};
    quote(engine, 0, rows, &without);
    quote(engine, DRAFTS, rows, &with);
    printf("%u rows as single ones; %u steps without drafts, %u with: %s\n", rows, without.steps,
           with.steps, with.text);
    CHECK(strstr(without.text, "bina toru kel dovi"));
    CHECK_STR(with.text, without.text);
    CHECK(memcmp(with.ids, without.ids, sizeof(with.ids)) == 0);
    CHECK_EQ(without.right, 0);
    CHECK_EQ(with.steps + with.right, without.steps);
    CHECK(rows == 1 ? with.right == 0 : with.steps < without.steps);
    engine_close(&engine);
}

/* By hand, without the self-test: the same question of a text that is nobody's answer, at each
 * place on both sides of the 256 cells from which on flash attention takes another way. */
TEST(the_self_test_of_profile_fast_is_right_about_other_texts)
{
    enum { TEXT = 330, PUT_IN = 200 };
    struct engine *engine =
        open_nano_with((struct engine_llama_options){.context_tokens = FAST_CONTEXT,
                                                     .fast = true,
                                                     .logits_per_slot = 1,
                                                     .logits_extra = DRAFTS});
    uint32_t rows = tested_rows(engine), vocab = engine->info.vocab_size;
    float *alone = mem_array((size_t)(TEXT - PUT_IN) * vocab, sizeof(*alone));
    struct engine_row text[TEXT];
    uint64_t random = 29;
    for (uint32_t i = 0; i < TEXT; i++)
        text[i] = (struct engine_row){.token = (token_id)(test_random(&random) % vocab),
                                      .position = i,
                                      .wants_logits = i >= PUT_IN};
    for (uint32_t width = 1; width <= rows; width++) {
        CHECK_OK(engine_seq_cut(engine, 0, 0));
        CHECK_OK(engine_decode(engine, text, PUT_IN));
        for (uint32_t at = PUT_IN; at < TEXT; at += width) {
            uint32_t count = at + width <= TEXT ? width : TEXT - at;
            CHECK_OK(engine_decode(engine, text + at, count));
            for (uint32_t i = 0; i < count; i++) {
                float *same = alone + (size_t)(at + i - PUT_IN) * vocab;
                if (width == 1)
                    memcpy(same, engine_logits(engine, i), vocab * sizeof(*same));
                CHECK(memcmp(same, engine_logits(engine, i), vocab * sizeof(*same)) == 0);
            }
        }
    }
    mem_free(alone);
    engine_close(&engine);
}
