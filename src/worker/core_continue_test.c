/* core_continue_test - an answer that is cut anywhere and goes on in another core says what it
 * would have said undisturbed: ids, text, end. On the toy engine; core_llama_test has the shipped
 * model. */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/core_probe.h"
#include "worker/plan.h"
#include "worker/replay.h"
#include "worker/toy_engine.h"

enum { SEEDS = 120, PROMPT_MAX = 12, ANSWER_MAX = 24, STOPS_MAX = 3, WHOLE = 0, GOES_ON = 1 };

static const char *const forms[] = {"root ::= [ab]+ (\"\\n\" [ab]+)*",
                                    "root ::= (\" the\" | \"x\" | \"yz\"){1,7}",
                                    "root ::= ([^a] | \"ab\")*",
                                    ("root ::= item (\"\\n\" item)* \"STOP\"\n"
                                     "item ::= [a-z]{2,5} | [\\u4F60\\u00E9]+"),
                                    "root ::= [ab]{3} \"q\""}; /* nobody can say q */

struct whole { /* an undisturbed answer */
    struct probe probe;
    size_t text_at[ANSWER_MAX + 2]; /* bytes of text after so many tokens */
};

struct trial {
    uint64_t seed, random;
    bool rows_differ;
    token_id prompt[PROMPT_MAX + ANSWER_MAX];
    uint32_t prompt_count;
    struct slice stops[STOPS_MAX];
    const char *form; /* NULL: none */
    struct core_job job;
    struct whole whole;
};

/* A failure shows the seed as the first of the two values. */
#define HOLDS(cond) CHECK_EQ((cond) ? 0 : trial->seed, 0)

static uint32_t below(struct trial *trial, uint32_t limit)
{
    return (uint32_t)(test_random(&trial->random) % limit);
}

static enum grammar_token_kind token_of(void *ctx, uint32_t token, struct slice *out_piece)
{
    (void)ctx;
    *out_piece = toy_engine_piece((token_id)token);
    bool is_end = token == TOY_END || token == TOY_END_OF_TEXT;
    return is_end ? GRAMMAR_TOKEN_END : GRAMMAR_TOKEN_TEXT;
}

static const struct grammar_vocab *vocab_of_all(void)
{
    static struct grammar_vocab *vocab;
    vocab = vocab ? vocab : grammar_vocab_new(TOY_VOCAB, token_of, NULL);
    return vocab;
}

static struct grammar_match *new_match(const char *form)
{
    struct grammar *grammar;
    struct grammar_match *match;
    CHECK_OK(grammar_parse(slice_str(form), &grammar, NULL));
    CHECK_OK(grammar_match_new(grammar, NULL, &match));
    grammar_unref(grammar);
    return match;
}

static void make_trial(struct trial *trial, uint64_t seed)
{
    static const char *const stops[] = {"STOP", "a", "\n\n", "the a", "\xE4\xBD\xA0", "ST", "abab"};
    *trial = (struct trial){.seed = seed, .random = seed};
    struct sampling *sampling = &trial->job.sampling;
    trial->rows_differ = below(trial, 2);
    trial->prompt_count = 1 + below(trial, PROMPT_MAX);
    for (uint32_t i = 0; i < trial->prompt_count; i++)
        trial->prompt[i] = (token_id)below(trial, TOY_VOCAB);
    trial->job.stop_count = below(trial, STOPS_MAX + 1);
    for (size_t i = 0; i < trial->job.stop_count; i++)
        trial->stops[i] = slice_str(stops[below(trial, ARRAY_COUNT(stops))]);
    trial->job.max_tokens = 1 + below(trial, ANSWER_MAX);
    trial->job.ignore_eos = below(trial, 4) > 0;
    trial->form = below(trial, 2) ? forms[below(trial, ARRAY_COUNT(forms))] : NULL;
    *sampling = sampling_default();
    sampling->temperature = (float[]){0, 0.7f, 1, 2}[below(trial, 4)];
    sampling->repeat_penalty = below(trial, 2) ? 1.2f : 1;
    sampling->frequency_penalty = below(trial, 2) ? 0.3f : 0;
    sampling->dry_multiplier = below(trial, 2) ? 0.5f : 0;
    sampling->xtc_probability = below(trial, 2) ? 0.5f : 0;
    sampling->mirostat = below(trial, 2) ? 0 : (uint8_t)(1 + below(trial, 2));
    sampling->seed = test_random(&trial->random);
}

/* The job of the trial, as one that begins. */
static struct probe *make_probe(struct trial *trial, struct probes *probes, size_t index)
{
    struct probe *probe = probe_make(probes, index, trial->prompt, trial->prompt_count);
    probe->job.sampling = trial->job.sampling;
    probe->job.sampling.has_seed = true;
    probe->job.stops = trial->stops;
    probe->job.stop_count = trial->job.stop_count;
    probe->job.max_tokens = trial->job.max_tokens;
    probe->job.ignore_eos = trial->job.ignore_eos;
    probe->job.want_progress = true;
    if (trial->form) {
        probe->job.match = new_match(trial->form);
        probe->job.vocab = vocab_of_all();
    }
    return probe;
}

/* An engine and a core of some kind: what they are must not show. */
static void open_core(struct trial *trial, struct toy_engine *toy, struct probes *probes)
{
    struct core_options options = core_options_default();
    toy_engine_init(toy, 1 + below(trial, 3), TOY_CONTEXT_MAX,
                    1 + trial->rows_differ * PLAN_PAIR_ROWS + below(trial, 30));
    toy->engine.info.single_rows_differ = trial->rows_differ;
    options.prefill_tokens = below(trial, 20);
    options.prefill_alone_tokens = below(trial, 20);
    options.prefix_bytes_max = below(trial, 2) * (1 << 20);
    options.prefix_save_tokens = 1;
    probes_init(probes, &toy->engine, &options);
}

static void answer_whole(struct trial *trial)
{
    struct toy_engine toy;
    struct probes *probes = mem_alloc(sizeof(*probes));
    struct whole *whole = &trial->whole;
    open_core(trial, &toy, probes);
    const struct probe *probe = make_probe(trial, probes, WHOLE);
    probe_start(probes, WHOLE);
    while (probes_step(probes))
        whole->text_at[probe->id_count] = probe->text.len; /* the end may add some to the last */
    HOLDS(probe->is_ended && probe->id_count <= ANSWER_MAX);
    whole->probe = *probe;
    text_init(&whole->probe.text, 1 << 20);
    text_add(&whole->probe.text, text_slice(&probe->text));
    probes_fini(probes);
    mem_free(probes);
}

/* The first tokens of the answer, and so many bytes of its text. */
static enum err say_before(struct trial *trial, struct probe *probe, struct toy_engine *toy,
                           uint32_t count, size_t text_bytes, struct err_note *note)
{
    const struct probe *whole = &trial->whole.probe;
    memcpy(probe->ids, whole->ids, count * sizeof(token_id));
    memcpy(trial->prompt + trial->prompt_count, whole->ids, count * sizeof(token_id));
    probe->id_count = count;
    text_add(&probe->text, slice_first(text_slice(&whole->text), text_bytes));
    probe->job.prompt = trial->prompt;
    probe->job.said.count = count;
    return replay_said(&toy->engine, &probe->job, text_bytes, note);
}

static void start_company(struct trial *trial, struct probes *probes)
{
    if (below(trial, 2))
        return;
    for (size_t i = 2; i < 4; i++) {
        make_probe(trial, probes, i)->job.sampling.seed = i;
        probe_start(probes, i);
        for (uint32_t steps = below(trial, 6); steps > 0 && probes_step(probes); steps--)
            ;
    }
}

static void check_goes_on(struct trial *trial, uint32_t count, size_t text_bytes)
{
    struct toy_engine toy;
    struct err_note note = {{0}};
    struct probes *probes = mem_alloc(sizeof(*probes));
    const struct probe *whole = &trial->whole.probe;
    open_core(trial, &toy, probes);
    start_company(trial, probes);
    struct probe *probe = make_probe(trial, probes, GOES_ON);
    CHECK_OK(say_before(trial, probe, &toy, count, text_bytes, &note));
    probe_start(probes, GOES_ON);
    probes_run(probes);
    HOLDS(probe->is_ended && probe->is_failed == whole->is_failed);
    HOLDS(probe->id_count == whole->id_count);
    HOLDS(memcmp(probe->ids, whole->ids, whole->id_count * sizeof(token_id)) == 0);
    HOLDS(slice_eq(text_slice(&probe->text), text_slice(&whole->text)));
    HOLDS(probe->is_failed || probe->reason == whole->reason);
    HOLDS(strcmp(probe->stop, whole->stop) == 0 && strcmp(probe->message, whole->message) == 0);
    HOLDS(probe->prompt_tokens == trial->prompt_count);
    HOLDS(probe->completion_tokens == whole->completion_tokens);
    HOLDS(probe->prefill_done <= trial->prompt_count);
    probes_fini(probes);
    mem_free(probes);
}

/* Where a character ends, at or before `bytes`. */
static size_t boundary(const struct text *text, size_t bytes)
{
    while (bytes > 0 && bytes < text->len && (text->data[bytes] & 0xC0) == 0x80)
        bytes--;
    return bytes;
}

static void check_every_cut(struct trial *trial)
{
    const struct probe *whole = &trial->whole.probe;
    for (uint32_t count = 0; count <= whole->id_count; count++) {
        size_t with_it = trial->whole.text_at[count]; /* of the last: with what the end let go of */
        if (count == 0)
            with_it = 0;
        check_goes_on(trial, count, with_it);
        check_goes_on(trial, count, boundary(&whole->text, below(trial, (uint32_t)with_it + 1)));
    }
}

TEST(an_answer_cut_anywhere_goes_on_as_if_nothing_had_happened)
{
    uint32_t stopped = 0, failed = 0, formed = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct trial *trial = mem_alloc(sizeof(*trial));
        make_trial(trial, seed);
        answer_whole(trial);
        check_every_cut(trial);
        stopped += trial->whole.probe.reason == DONE_STOP;
        failed += trial->whole.probe.is_failed;
        formed += trial->form != NULL;
        text_fini(&trial->whole.probe.text);
        mem_free(trial);
    }
    CHECK(stopped > SEEDS / 10 && failed > 0 && formed > SEEDS / 4);
}
