/* The core on each kind of model that writes: whatever it takes from others' beginnings, parks,
 * saves and repairs, a sequence says what it says alone on a core without any of that. Of a model
 * that cannot be cut only whole states are of use (src/worker/prefix_tree.h rule 3). */
#include "base/mem.h"
#include "models/rig.h"
#include "worker/core_probe.h"

enum {
    SLOTS = 3,
    CONTEXT = 512,
    JOBS = 10,
    ROUNDS = 2,
    SHARED = 150, /* more than twice the window of the kind that has one */
    PROMPT_MAX = 240,
    ANSWER = 12,
};

struct answers {
    token_id prompts[JOBS][PROMPT_MAX];
    uint32_t prompt_count[JOBS];
    token_id ids[JOBS][ANSWER];
};

static const enum random_kind kinds[] = {RANDOM_LLAMA, RANDOM_RECURRENT, RANDOM_HYBRID,
                                         RANDOM_WINDOW};

struct subject { /* a model on libllama and what it says undisturbed */
    enum random_kind kind;
    struct made made;
    struct engine *engine;
    struct answers answers;
};

/* All begin with the same tokens; the odd ones leave that early, at places that no other prompt
 * ends at, the rest go on in their own way. */
static void make_prompt(struct answers *answers, size_t index)
{
    uint64_t random = 100 + index, shared = 7;
    uint32_t leaves_at = index % 2 ? 20 + 11 * (uint32_t)index : SHARED;
    answers->prompt_count[index] = leaves_at + 3 + (uint32_t)(test_random(&random) % 80);
    for (uint32_t i = 0; i < answers->prompt_count[index]; i++)
        answers->prompts[index][i] =
            (token_id)(10 + test_random(i < leaves_at ? &shared : &random) % 900);
}

static struct probe *start(struct probes *probes, const struct answers *answers, size_t place)
{
    size_t index = place % JOBS;
    struct probe *probe =
        probe_make(probes, place, answers->prompts[index], answers->prompt_count[index]);
    probe->job.max_tokens = ANSWER;
    probe->job.ignore_eos = true;
    probe->job.sampling.temperature = index % 3 ? 1 : 0;
    probe->job.sampling.seed = 40 + index;
    return probe;
}

static void answer_alone(struct subject *subject)
{
    struct probes *probes = mem_alloc(sizeof(*probes));
    struct core_options options = core_options_default();
    probes_init(probes, subject->engine, &options);
    for (size_t i = 0; i < JOBS; i++) {
        make_prompt(&subject->answers, i);
        struct probe *probe = start(probes, &subject->answers, i);
        probe_start(probes, i);
        probes_run(probes);
        CHECK(probe->is_ended && !probe->is_failed);
        CHECK_EQ(probe->id_count, ANSWER);
        CHECK_EQ(probe->cached_tokens, 0);
        memcpy(subject->answers.ids[i], probe->ids, sizeof(subject->answers.ids[i]));
    }
    probes_fini(probes);
    mem_free(probes);
}

static struct subject *subject_new(enum random_kind kind)
{
    struct made made = made_kind(kind);
    struct engine *engine =
        made_open(&made, (struct engine_llama_options){.slots = SLOTS, .context_tokens = CONTEXT});
    struct subject *subject = mem_alloc(sizeof(*subject));
    subject->kind = kind;
    subject->made = made;
    subject->engine = engine;
    answer_alone(subject);
    return subject;
}

static void subject_free(struct subject *subject)
{
    engine_close(&subject->engine);
    made_fini(&subject->made);
    mem_free(subject);
}

static void empty_slots(struct engine *engine)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        CHECK_OK(engine_seq_cut(engine, slot, 0));
}

static void check_same(const struct subject *subject, const struct probe *probe, size_t place)
{
    size_t index = place % JOBS;
    CHECK(probe->is_ended && !probe->is_failed);
    CHECK_EQ(probe->id_count, ANSWER);
    for (size_t i = 0; i < ANSWER; i++)
        if (probe->ids[i] != subject->answers.ids[index][i])
            fprintf(stderr, "%s: job %zu, %u of %u tokens cached, differs at %zu\n",
                    random_kind_names[subject->kind], place, probe->cached_tokens,
                    probe->prompt_tokens, i);
    CHECK(memcmp(probe->ids, subject->answers.ids[index], ANSWER * sizeof(token_id)) == 0);
}

static struct core_options cached_options(void)
{
    struct core_options options = core_options_default();
    options.prefix_bytes_max = 64 << 20;
    options.prefix_save_tokens = 8;
    options.prefill_tokens = 37; /* so that prompts go in in parts, beside others */
    return options;
}

/* --- one after the other --- */

/* The tokens that the second of two prompts found. */
static uint32_t cached_of_second(struct subject *subject, size_t first, size_t second)
{
    struct probes *probes = mem_alloc(sizeof(*probes));
    struct core_options options = cached_options();
    probes_init(probes, subject->engine, &options);
    start(probes, &subject->answers, first);
    probe_start(probes, first);
    probes_run(probes);
    struct probe *probe = start(probes, &subject->answers, JOBS + second);
    probe_start(probes, JOBS + second);
    probes_run(probes);
    check_same(subject, probe, second);
    uint32_t cached = probe->cached_tokens;
    probes_fini(probes);
    mem_free(probes);
    empty_slots(subject->engine);
    return cached;
}

/* What the first left in its slot is longer than what the second has in common with it. */
TEST(a_part_of_a_slot_serves_only_where_it_can_be_cut)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct subject *subject = subject_new(kinds[i]);
        bool can_cut = subject->engine->info.can_cut;
        CHECK_EQ(can_cut, subject->kind == RANDOM_LLAMA);
        CHECK_EQ(cached_of_second(subject, 0, 2), can_cut ? SHARED : 0);
        CHECK_EQ(cached_of_second(subject, 0, 9), can_cut ? 119 : 0);
        subject_free(subject);
    }
}

/* --- a chat: each turn begins with all that was said before --- */

enum { TURNS = 5, TURN = 30 };

struct chat {
    token_id tokens[TURNS][TURNS * (TURN + ANSWER)];
    uint32_t count[TURNS];
    token_id said[TURNS][ANSWER];
};

static uint32_t chat_turn(struct probes *probes, struct chat *chat, size_t turn, token_id *out_ids)
{
    struct probe *probe = probe_make(probes, turn, chat->tokens[turn], chat->count[turn]);
    probe->job.max_tokens = ANSWER;
    probe->job.ignore_eos = true;
    probe_start(probes, turn);
    probes_run(probes);
    CHECK(probe->is_ended && !probe->is_failed);
    CHECK_EQ(probe->id_count, ANSWER);
    memcpy(out_ids, probe->ids, ANSWER * sizeof(token_id));
    return probe->cached_tokens;
}

static void add_turn(struct chat *chat, size_t turn)
{
    uint64_t random = 900 + turn;
    uint32_t count = 0;
    if (turn > 0) {
        count = chat->count[turn - 1];
        memcpy(chat->tokens[turn], chat->tokens[turn - 1], count * sizeof(token_id));
        memcpy(chat->tokens[turn] + count, chat->said[turn - 1], sizeof(chat->said[0]));
        count += ANSWER;
    }
    for (uint32_t i = 0; i < TURN; i++)
        chat->tokens[turn][count++] = (token_id)(10 + test_random(&random) % 900);
    chat->count[turn] = count;
}

/* What was left behind a turn, or saved before its answer, is a beginning of the next prompt as it
 * is: no kind needs a cut to go on from there. */
TEST(a_chat_goes_on_where_it_was)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct subject *subject = subject_new(kinds[i]);
        struct probes *cached = mem_alloc(sizeof(*cached)), *plain = mem_alloc(sizeof(*plain));
        struct chat *chat = mem_alloc(sizeof(*chat));
        struct core_options options = cached_options();
        probes_init(cached, subject->engine, &options);
        uint32_t found = 0;
        for (size_t turn = 0; turn < TURNS; turn++) {
            add_turn(chat, turn);
            found += chat_turn(cached, chat, turn, chat->said[turn]);
        }
        probes_fini(cached);
        empty_slots(subject->engine);
        options = core_options_default();
        probes_init(plain, subject->engine, &options);
        for (size_t turn = 0; turn < TURNS; turn++) {
            token_id said[ANSWER];
            CHECK_EQ(chat_turn(plain, chat, turn, said), 0);
            CHECK(memcmp(said, chat->said[turn], sizeof(said)) == 0);
        }
        probes_fini(plain);
        CHECK(found >= (TURNS - 1) * TURN);
        mem_free(chat);
        mem_free(cached);
        mem_free(plain);
        subject_free(subject);
    }
}

/* --- many at once --- */

struct disturber {
    uint64_t random;
    uint32_t one_in; /* 0: never */
    uint32_t aborts;
};

/* Gives up one decode in some, somewhere inside. */
static bool abort_some(void *host)
{
    struct disturber *disturber = host;
    bool is_abort =
        disturber->one_in > 0 && test_random(&disturber->random) % disturber->one_in == 0;
    disturber->aborts += is_abort;
    return is_abort;
}

/* Every prompt in every round, with as much credit as it happens to get. Returns the tokens that
 * were found. */
static uint64_t ask_in_rounds(struct subject *subject, struct core_options options,
                              bool with_pauses)
{
    struct probes *probes = mem_alloc(sizeof(*probes));
    probes_init(probes, subject->engine, &options);
    uint64_t cached = 0, random = 21;
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t begin = round * JOBS, end = begin + JOBS;
        for (size_t i = begin; i < end; i++) {
            start(probes, &subject->answers, i)->job.event_limit = with_pauses ? 1 + i % 5 : ANSWER;
            probe_start(probes, i);
        }
        for (size_t ended = 0; ended < JOBS;) {
            probes_run(probes);
            size_t place = begin + test_random(&random) % JOBS;
            probe_credit(probes, place, probes->probe[place].event_limit + 7, 0);
            probes->now_us += test_random(&random) % 1500;
            ended = 0;
            for (size_t i = begin; i < end; i++)
                ended += probes->probe[i].is_ended;
        }
        for (size_t i = begin; i < end; i++) {
            check_same(subject, &probes->probe[i], i);
            cached += probes->probe[i].cached_tokens;
        }
        CHECK(probes->prefix_bytes <= options.prefix_bytes_max);
    }
    probes_fini(probes);
    mem_free(probes);
    empty_slots(subject->engine);
    return cached;
}

TEST(what_was_found_changes_no_token)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct subject *subject = subject_new(kinds[i]);
        struct core_options options = cached_options();
        CHECK(ask_in_rounds(subject, options, false) > 700); /* whole states, where not cut */
        options.prefix_bytes_max = 1;                        /* no room for a blob */
        ask_in_rounds(subject, options, false);
        subject_free(subject);
    }
}

TEST(parking_and_saving_change_no_token)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct subject *subject = subject_new(kinds[i]);
        struct core_options options = core_options_default();
        options.park_ms = 1;
        CHECK_EQ(ask_in_rounds(subject, options, true), 0);
        options = cached_options();
        options.park_ms = 1;
        CHECK(ask_in_rounds(subject, options, true) > 700);
        subject_free(subject);
    }
}

TEST(decodes_that_are_given_up_change_no_token)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct subject *subject = subject_new(kinds[i]);
        struct disturber disturber = {.random = 5, .one_in = 1500};
        struct core_options options = cached_options();
        options.park_ms = 1;
        options.poll = abort_some;
        options.host = &disturber;
        ask_in_rounds(subject, options, true);
        CHECK(disturber.aborts > 3);
        subject_free(subject);
    }
}
