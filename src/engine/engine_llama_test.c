/* Tests of the llama engine on the shipped model. Without the libraries (tools/setup-engine gets
 * them) each says so and is skipped. */
#include "testing/test.h"
#include "engine/engine_llama_test_open.h"

#include "base/hash.h"
#include "base/mem.h"

#include <dirent.h>

static void check_refused(const struct engine_llama_options *options, enum err expected,
                          const char *why)
{
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    CHECK_ERR(engine_llama_open(options, NULL, NULL, &engine, &note), expected);
    CHECK(engine == NULL);
    if (!strstr(note.text, why))
        CHECK_STR(note.text, why);
}

enum { STEPS = 24 };

static token_id likeliest(const float *logits, uint32_t vocab_size)
{
    token_id best = 0;
    for (token_id i = 1; i < (token_id)vocab_size; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

/* One sequence going through the engine, and a fingerprint of all the logits it has got. */
struct sequence {
    uint32_t slot;
    token_id prompt[PROMPT_MAX];
    size_t prompt_len, prefilled;
    token_id last;
    token_id out[STEPS];
    uint64_t prints[STEPS]; /* of the logits that out[i] was the likeliest of */
    uint32_t count, wanted;
};

static struct sequence sequence_of(struct engine *engine, uint32_t slot, const char *prompt)
{
    struct sequence sequence = {.slot = slot, .wanted = STEPS};
    sequence.prompt_len = tokens_of(engine, prompt, sequence.prompt);
    return sequence;
}

static uint64_t fingerprint(const void *bytes, size_t len)
{
    return hash_bytes(slice_of(bytes, len));
}

/* Adds the sequence's next rows: up to `chunk` of its prompt, or its last token. */
static size_t add_rows(struct engine *engine, struct sequence *sequence, size_t chunk,
                       struct engine_row *rows)
{
    uint32_t at = engine_seq_tokens(engine, sequence->slot);
    if (sequence->prefilled == sequence->prompt_len) {
        rows[0] = (struct engine_row){sequence->last, at, sequence->slot, true};
        return 1;
    }
    size_t left = sequence->prompt_len - sequence->prefilled;
    size_t count = left < chunk ? left : chunk;
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct engine_row){sequence->prompt[sequence->prefilled + i], at + (uint32_t)i,
                                      sequence->slot, i + 1 == left};
    sequence->prefilled += count;
    return count;
}

static void take_logits(struct engine *engine, struct sequence *sequence, size_t row)
{
    if (sequence->prefilled < sequence->prompt_len || sequence->count == sequence->wanted)
        return;
    const float *logits = engine_logits(engine, row);
    uint32_t vocab_size = engine->info.vocab_size;
    sequence->prints[sequence->count] = fingerprint(logits, vocab_size * sizeof(*logits));
    sequence->last = likeliest(logits, vocab_size);
    sequence->out[sequence->count++] = sequence->last;
}

/* All together, a batch at a time, until the first has what it wants. */
static void run_together(struct engine *engine, struct sequence **sequences, size_t count,
                         size_t chunk)
{
    static struct engine_row rows[SLOTS * PROMPT_MAX];
    while (sequences[0]->count < sequences[0]->wanted) {
        size_t ends[SLOTS], len = 0;
        for (size_t i = 0; i < count; i++)
            ends[i] = len += add_rows(engine, sequences[i], chunk, rows + len);
        CHECK_OK(engine_decode(engine, rows, len));
        for (size_t i = 0; i < count; i++)
            take_logits(engine, sequences[i], ends[i] - 1);
    }
}

static void run_alone(struct engine *engine, struct sequence *sequence, size_t chunk)
{
    run_together(engine, &sequence, 1, chunk);
}

static void check_same(const struct sequence *sequence, const struct sequence *expected)
{
    for (uint32_t i = 0; i < sequence->wanted; i++) {
        CHECK_EQ(sequence->out[i], expected->out[i]);
        CHECK(sequence->prints[i] == expected->prints[i]);
    }
}

static const char story[] = "<|im_start|>user\nTell me a story about a fox.<|im_end|>\n"
                            "<|im_start|>assistant\n";
static const char facts[] = "<|im_start|>system\nYou answer questions about millrace in one or two "
                            "sentences.<|im_end|>\n<|im_start|>user\nWhich port does it listen on?"
                            "<|im_end|>\n<|im_start|>assistant\n";

TEST(chat_prompt_gets_its_greedy_answer)
{
    struct engine *engine = open_default();
    struct engine_chat_message messages[] = {
        {SLICE("user"), SLICE("Which port does it listen on?")}};
    struct text text;
    text_init(&text, 4096);
    CHECK(engine->info.has_chat);
    CHECK_OK(engine_chat(engine, messages, 1, &text, NULL));
    CHECK_SLICE(text_slice(&text), "<|im_start|>user\nWhich port does it listen on?<|im_end|>\n"
                                   "<|im_start|>assistant\n");

    struct engine_row rows[PROMPT_MAX];
    token_id tokens[PROMPT_MAX];
    text_add_byte(&text, '\0');
    size_t count = tokens_of(engine, text.data, tokens);
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct engine_row){tokens[i], (uint32_t)i, 0, i + 1 == count};
    CHECK_OK(engine_decode(engine, rows, count));
    token_id token = likeliest(engine_logits(engine, count - 1), engine->info.vocab_size);
    text_clear(&text);
    for (uint32_t i = 0; i < 100 && !engine_is_end(engine, token); i++) {
        text_add(&text, engine_piece(engine, token, NULL, 0));
        rows[0] = (struct engine_row){token, engine_seq_tokens(engine, 0), 0, true};
        CHECK_OK(engine_decode(engine, rows, 1));
        token = likeliest(engine_logits(engine, 0), engine->info.vocab_size);
    }
    CHECK(engine_is_end(engine, token));
    CHECK_SLICE(text_slice(&text), "It listens on 127.0.0.1, port 8080, unless you say otherwise.");
    text_fini(&text);
    engine_close(&engine);
}

/* Profile exact: bit by bit. */
TEST(company_does_not_change_a_sequence)
{
    struct engine *engine = open_default();
    struct sequence alone = sequence_of(engine, 0, story);
    run_alone(engine, &alone, PROMPT_MAX);

    struct sequence again = sequence_of(engine, 2, story);
    struct sequence others[] = {sequence_of(engine, 1, facts), sequence_of(engine, 3, "7 + 8")};
    struct sequence *all[] = {&again, &others[0], &others[1]};
    run_together(engine, all, 3, 13);
    check_same(&again, &alone);
    engine_close(&engine);
}

TEST(chunks_do_not_change_a_sequence)
{
    struct engine *engine = open_default();
    struct sequence whole = sequence_of(engine, 0, facts);
    run_alone(engine, &whole, PROMPT_MAX);
    const size_t chunks[] = {2, 7, 32};
    for (size_t i = 0; i < ARRAY_COUNT(chunks); i++) {
        struct sequence cut = sequence_of(engine, 1, facts);
        size_t chunk = chunks[i];
        while (cut.prompt_len % chunk == 1) /* a row alone may have other bits (docs/design/020) */
            chunk++;
        run_alone(engine, &cut, chunk);
        check_same(&cut, &whole);
        CHECK_OK(engine_seq_cut(engine, 1, 0));
    }
    engine_close(&engine);
}

TEST(threads_do_not_change_a_sequence)
{
    struct engine_llama_options options = options_default();
    struct engine *engine = open_with(&options);
    struct sequence one = sequence_of(engine, 0, story);
    run_alone(engine, &one, PROMPT_MAX);
    engine_close(&engine);

    for (uint32_t threads = 1; threads <= 2;
         threads++) { /* a pool for prompts only; one for both */
        options.threads = threads;
        options.threads_batch = 2;
        engine = open_with(&options);
        struct sequence more = sequence_of(engine, 0, story);
        more.wanted =
            6; /* ggml's threads spin while they wait for each other: slow on a busy machine */
        run_alone(engine, &more, PROMPT_MAX);
        check_same(&more, &one);
        engine_close(&engine);
    }
}

TEST(cut_slot_goes_on_from_there)
{
    struct engine *engine = open_default();
    struct sequence first = sequence_of(engine, 0, story);
    run_alone(engine, &first, PROMPT_MAX);
    CHECK_EQ(engine_seq_tokens(engine, 0), first.prompt_len + STEPS - 1);

    struct sequence second = sequence_of(engine, 0, story);
    second.prefilled = 9;
    CHECK_OK(engine_seq_cut(engine, 0, 9));
    CHECK_EQ(engine_seq_tokens(engine, 0), 9);
    run_alone(engine, &second, PROMPT_MAX);
    check_same(&second, &first);
    engine_close(&engine);
}

/* While the first goes on in the same decode(), which is also when the copy is made. */
static void copy_and_run(struct engine *engine, uint32_t keep, const struct sequence *alone)
{
    struct sequence first = sequence_of(engine, 0, story), second = sequence_of(engine, 2, story);
    struct engine_row rows[PROMPT_MAX];
    CHECK_OK(engine_decode(engine, rows, add_rows(engine, &first, first.prompt_len - 1, rows)));
    engine_seq_copy(engine, 0, 2);
    CHECK_EQ(engine_seq_tokens(engine, 2), first.prompt_len - 1);
    CHECK_OK(engine_seq_cut(engine, 2, keep));
    second.prefilled = keep;
    run_together(engine, (struct sequence *[]){&first, &second}, 2, PROMPT_MAX);
    run_alone(engine, &second, PROMPT_MAX);
    check_same(&first, alone);
    check_same(&second, alone);
    CHECK_OK(engine_seq_cut(engine, 0, 0));
    CHECK_OK(engine_seq_cut(engine, 2, 0));
}

TEST(copied_slot_goes_on_exactly_and_leaves_the_first_alone)
{
    struct engine *engine = open_default();
    CHECK(engine->info.can_cut);
    struct sequence alone = sequence_of(engine, 1, story);
    run_alone(engine, &alone, PROMPT_MAX);
    copy_and_run(engine, (uint32_t)alone.prompt_len - 1, &alone);
    copy_and_run(engine, 5, &alone);
    copy_and_run(engine, 1, &alone);
    engine_close(&engine);
}

/* Parts of other lengths in the same decode(), single rows among them, do not show, nor does the
 * order of slots: every row of a long prompt gives what it gives when all go in at once. */
static void check_parts(const struct engine_llama_options *options)
{
    enum { LEN = 240 };
    struct engine *engine = open_with(options);
    uint32_t vocab_size = engine->info.vocab_size;
    struct engine_row rows[SLOTS * LEN];
    uint64_t prints[LEN], random = 1;
    token_id tokens[LEN];
    for (uint32_t i = 0; i < LEN; i++) {
        tokens[i] = (token_id)(300 + test_random(&random) % 700);
        rows[i] = (struct engine_row){tokens[i], i, 0, true};
    }
    CHECK_OK(engine_decode(engine, rows, LEN));
    for (uint32_t i = 0; i < LEN; i++)
        prints[i] = fingerprint(engine_logits(engine, i), vocab_size * sizeof(float));
    for (uint32_t part = 2; part <= 9; part++) {
        uint32_t held[SLOTS] = {0};
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            CHECK_OK(engine_seq_cut(engine, slot, 0));
        for (uint32_t begin = 0; begin + part <= LEN; begin += part) {
            size_t count = 0, first = 0;
            for (uint32_t turn = 0; turn < SLOTS; turn++) {
                uint32_t slot = (part + turn) % SLOTS,
                         length = slot == 0 ? part : (slot + turn) % 4;
                first = slot == 0 ? count : first;
                for (uint32_t i = 0; i < length && held[slot] < LEN; i++, held[slot]++)
                    rows[count++] = (struct engine_row){tokens[(held[slot] + slot) % LEN],
                                                        held[slot], slot, i % 2 == 0 || slot == 0};
            }
            CHECK_OK(engine_decode(engine, rows, count));
            for (uint32_t i = 0; i < part; i++)
                CHECK(fingerprint(engine_logits(engine, first + i), vocab_size * sizeof(float)) ==
                      prints[begin + i]);
        }
    }
    engine_close(&engine);
}

TEST(parts_of_other_lengths_do_not_change_a_row)
{
    struct engine_llama_options options = options_default();
    check_parts(&options);
}

TEST(parts_of_other_lengths_do_not_change_a_row_where_keys_are_packed)
{
    struct engine_llama_options options = options_default();
    options.kv_key = ENGINE_KV_Q8_0;
    check_parts(&options);
}

TEST(saved_slot_goes_on_exactly_elsewhere)
{
    struct engine *engine = open_default();
    struct sequence whole = sequence_of(engine, 0, story);
    run_alone(engine, &whole, PROMPT_MAX);

    struct sequence half = sequence_of(engine, 1, story);
    struct engine_row rows[PROMPT_MAX];
    size_t count = add_rows(engine, &half, half.prompt_len - 1, rows);
    CHECK_OK(engine_decode(engine, rows, count));
    void *blob = NULL;
    size_t bytes = 0;
    CHECK_OK(engine_seq_save(engine, 1, &blob, &bytes));

    struct engine *other = open_default();
    CHECK_OK(engine_seq_restore(other, 3, blob, bytes));
    CHECK_EQ(engine_seq_tokens(other, 3), count);
    half.slot = 3;
    run_alone(other, &half, PROMPT_MAX);
    check_same(&half, &whole);

    mem_test_fail_nth(1);
    void *none = NULL;
    CHECK_ERR(engine_seq_save(engine, 1, &none, &bytes), ERR_NO_MEMORY);
    mem_test_fail_nth(0);
    mem_free(blob);
    engine_close(&other);
    engine_close(&engine);
}

TEST(restore_refuses_what_was_not_saved_here)
{
    struct engine *engine = open_default();
    struct sequence sequence = sequence_of(engine, 0, story);
    run_alone(engine, &sequence, PROMPT_MAX);
    unsigned char *blob = NULL;
    size_t bytes = 0;
    CHECK_OK(engine_seq_save(engine, 0, (void **)&blob, &bytes));
    for (size_t len = 0; len < bytes; len += 1 + len / 7) {
        CHECK_ERR(engine_seq_restore(engine, 1, blob, len), ERR_PROTOCOL);
        CHECK_EQ(engine_seq_tokens(engine, 1), 0);
    }
    blob[0] ^= 1;
    CHECK_ERR(engine_seq_restore(engine, 1, blob, bytes), ERR_PROTOCOL);
    blob[0] ^= 1;
    CHECK_OK(engine_seq_restore(engine, 1, blob, bytes)); /* none of it did harm */
    CHECK_EQ(engine_seq_tokens(engine, 1), engine_seq_tokens(engine, 0));

    struct engine_llama_options options = options_default();
    options.context_tokens = 16;
    struct engine *small = open_with(&options);
    CHECK_ERR(engine_seq_restore(small, 0, blob, bytes), ERR_FULL);
    CHECK_EQ(engine_seq_tokens(small, 0), 0);
    mem_free(blob);
    engine_close(&small);
    engine_close(&engine);
}

struct abort_after {
    uint32_t asked, limit;
};

static bool abort_after(void *ctx)
{
    struct abort_after *after = ctx;
    return ++after->asked > after->limit;
}

/* It is asked before each node of the graph: the first yes is the last question. */
TEST(abort_ends_a_prefill_at_the_next_node)
{
    struct engine *engine = open_default();
    struct sequence expected = sequence_of(engine, 1, story);
    run_alone(engine, &expected, PROMPT_MAX);

    struct sequence prompt = sequence_of(engine, 0, story);
    struct engine_row rows[PROMPT_MAX];
    size_t count = add_rows(engine, &prompt, PROMPT_MAX, rows);
    struct abort_after after = {.limit = UINT32_MAX};
    engine->should_abort = abort_after;
    engine->abort_ctx = &after;
    CHECK_OK(engine_decode(engine, rows, count));
    CHECK_OK(engine_seq_cut(engine, 0, 0));
    uint32_t nodes = after.asked;
    CHECK(nodes > 20); /* or it would be asked too seldom */
    for (uint32_t limit = 0; limit < nodes; limit += 1 + nodes / 8) {
        after = (struct abort_after){.limit = limit};
        CHECK_ERR(engine_decode(engine, rows, count), ERR_CANCELLED);
        CHECK_EQ(after.asked, limit + 1);
        CHECK_EQ(engine_seq_tokens(engine, 0), 0);
    }
    after = (struct abort_after){.limit = UINT32_MAX};
    struct sequence sequence = sequence_of(engine, 0, story);
    run_alone(engine, &sequence, PROMPT_MAX);
    check_same(&sequence, &expected);
    engine_close(&engine);
}

/* Slots whose rows are not as many are computed one after the other: what is done stays. */
TEST(abort_keeps_the_slots_that_were_done)
{
    struct engine *engine = open_default();
    struct abort_after after = {.limit = UINT32_MAX};
    engine->should_abort = abort_after;
    engine->abort_ctx = &after;
    struct sequence first = sequence_of(engine, 0, "7 + 8"), second = sequence_of(engine, 1, story);
    struct engine_row rows[PROMPT_MAX * 2];
    size_t count = add_rows(engine, &first, PROMPT_MAX, rows);
    count += add_rows(engine, &second, PROMPT_MAX, rows + count);
    CHECK_OK(engine_decode(engine, rows, count));
    uint32_t nodes = after.asked;
    CHECK_OK(engine_seq_cut(engine, 0, 0));
    CHECK_OK(engine_seq_cut(engine, 1, 0));

    after = (struct abort_after){.limit = nodes - 1};
    CHECK_ERR(engine_decode(engine, rows, count), ERR_CANCELLED);
    uint32_t held[] = {engine_seq_tokens(engine, 0), engine_seq_tokens(engine, 1)};
    CHECK(held[0] + held[1] > 0);
    CHECK(held[0] + held[1] < count);

    /* And both go on from what they hold. */
    after = (struct abort_after){.limit = UINT32_MAX};
    size_t left = 0;
    for (size_t i = 0; i < count; i++)
        if (rows[i].position >= held[rows[i].slot])
            rows[left++] = rows[i];
    CHECK_OK(engine_decode(engine, rows, left));
    CHECK_EQ(engine_seq_tokens(engine, 0), first.prompt_len);
    CHECK_EQ(engine_seq_tokens(engine, 1), second.prompt_len);
    engine_close(&engine);
}

TEST(slot_is_full_at_the_promised_length)
{
    struct engine_llama_options options = options_default();
    options.context_tokens = 20; /* libllama rounds up to 256 cells */
    struct engine *engine = open_with(&options);
    CHECK_EQ(engine->info.context_tokens, 20);
    struct engine_row rows[21];
    for (uint32_t i = 0; i < 21; i++)
        rows[i] = (struct engine_row){300, i, 0, i >= 19};
    CHECK_ERR(engine_decode(engine, rows, 21), ERR_FULL);
    CHECK_EQ(engine_seq_tokens(engine, 0), 0);
    CHECK_OK(engine_decode(engine, rows, 20));
    CHECK_ERR(engine_decode(engine, rows + 20, 1), ERR_FULL);
    CHECK_EQ(engine_seq_tokens(engine, 0), 20);
    engine_close(&engine);
}

TEST(every_slot_takes_its_row_at_the_largest_number_of_slots)
{
    struct engine_llama_options options = options_default();
    options.slots = 256;
    options.batch_tokens = 16;
    options.context_tokens = 32;
    struct engine *engine = open_with(&options);
    CHECK_EQ(engine->info.slots, 256);
    CHECK_EQ(engine->info.batch_tokens, 256);
    struct engine_row rows[256];
    for (uint32_t i = 0; i < 256; i++)
        rows[i] = (struct engine_row){300, 0, i, true};
    CHECK_OK(engine_decode(engine, rows, 256));
    uint32_t vocab_bytes = engine->info.vocab_size * (uint32_t)sizeof(float);
    uint64_t first = fingerprint(engine_logits(engine, 0), vocab_bytes);
    for (uint32_t i = 1; i < 256; i++)
        CHECK(fingerprint(engine_logits(engine, i), vocab_bytes) == first);
    engine_close(&engine);
}

TEST(fast_profile_answers_too)
{
    struct engine_llama_options options = options_default();
    options.fast = true;
    struct engine *engine = open_with(&options);
    struct sequence sequences[] = {sequence_of(engine, 0, facts), sequence_of(engine, 1, story)};
    struct sequence *all[] = {&sequences[0], &sequences[1]};
    run_together(engine, all, 2, 64);
    char scratch[1];
    CHECK_SLICE(engine_piece(engine, sequences[0].out[0], scratch, 1), "I");
    engine_close(&engine);
}

static uint64_t kv_bytes_with(enum engine_kv_type key, enum engine_kv_type value, bool fast)
{
    struct engine_llama_options options = options_default();
    options.kv_key = key;
    options.kv_value = value;
    options.fast = fast;
    struct engine *engine = open_with(&options);
    struct sequence sequence = sequence_of(engine, 1, facts);
    run_alone(engine, &sequence, 32);
    char scratch[1];
    CHECK_SLICE(engine_piece(engine, sequence.out[0], scratch, 1), "I"); /* it still knows */
    uint64_t bytes = engine->info.kv_bytes;
    engine_close(&engine);
    return bytes;
}

/* 6 blocks of 2 heads of 32. */
TEST(cache_of_other_types_answers_too)
{
    enum { CELLS = SLOTS * 1024, HEADS = 6 * 2 };
    CHECK_EQ(kv_bytes_with(ENGINE_KV_F32, ENGINE_KV_F32, false), CELLS * HEADS * (128 + 128));
    CHECK_EQ(kv_bytes_with(ENGINE_KV_Q8_0, ENGINE_KV_F16, false), CELLS * HEADS * (34 + 64));
    CHECK_EQ(kv_bytes_with(ENGINE_KV_Q8_0, ENGINE_KV_Q8_0, true), CELLS * HEADS * (34 + 34));
}

TEST(packed_values_are_refused_in_profile_exact)
{
    struct engine_llama_options options = options_default();
    options.kv_value = ENGINE_KV_Q8_0;
    check_refused(&options, ERR_LIMIT, "or profile fast");
}

TEST(gpu_layers_are_never_done_by_the_processor_instead)
{
    struct engine_llama_options options = options_default();
    const struct llama_api *api = NULL;
    CHECK_OK(llama_api_load(NULL, search, &api, NULL));
    if (api->ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) ||
        api->ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_IGPU))
        SKIP("%s", "there is a GPU here");
    options.gpu_layers = 1;
    check_refused(&options, ERR_LIMIT, "libllama finds none");
}

TEST(weights_are_the_same_however_they_come_into_memory)
{
    struct engine_llama_options options = options_default();
    struct engine *engine = open_with(&options);
    struct sequence mapped = sequence_of(engine, 0, story);
    run_alone(engine, &mapped, PROMPT_MAX);
    engine_close(&engine);
    options.load = ENGINE_LOAD_READ;
    engine = open_with(&options);
    struct sequence read = sequence_of(engine, 0, story);
    run_alone(engine, &read, PROMPT_MAX);
    check_same(&read, &mapped);
    engine_close(&engine);
}

TEST(logits_of_few_rows_take_less_and_are_the_same)
{
    struct engine_llama_options options = options_default();
    struct engine *engine = open_with(&options);
    uint64_t compute_bytes = engine->info.compute_bytes;
    struct sequence all = sequence_of(engine, 0, story);
    run_alone(engine, &all, 32);
    engine_close(&engine);
    options.logits_per_slot = 1;
    engine = open_with(&options);
    struct sequence few = sequence_of(engine, 0, story);
    run_alone(engine, &few, 32);
    check_same(&few, &all);
    CHECK(engine->info.compute_bytes <= compute_bytes);
    engine_close(&engine);
}

TEST(info_tells_the_sums)
{
    struct engine *engine = open_default();
    const struct engine_info *info = &engine->info;
    CHECK_STR(info->kind, "llama");
    CHECK_STR(info->description, "llama 2.6M Q8_0");
    CHECK_EQ(info->slots, SLOTS);
    CHECK_EQ(info->context_tokens, 1024); /* what it was trained for */
    CHECK_EQ(info->batch_tokens, 512);
    CHECK_EQ(info->kv_bytes, SLOTS * 1024 * 1536);
    CHECK(info->weights_bytes > 2000000 && info->weights_bytes < 4000000);
    CHECK(info->compute_bytes > 8000000 && info->compute_bytes < 32000000);
    CHECK(info->can_save);
    engine_close(&engine);
}

TEST(slots_that_do_not_fit_are_refused_with_the_sums)
{
    struct engine_llama_options options = options_default();
    options.slots = 8;
    options.kv_memory_bytes = 8 * 1024 * 1536 - 1;
    check_refused(&options, ERR_NO_MEMORY, "8 slots of 1024 tokens of 1536 bytes need a cache of");
    options.slots = 0;
    struct engine *engine = open_with(&options);
    CHECK_EQ(engine->info.slots, 7);
    engine_close(&engine);
}

/* How many threads of this process may run on these processors, and on no others. */
static int threads_on(const cpu_set_t *cpus)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    CHECK(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        cpu_set_t its;
        pid_t id = (pid_t)strtol(entry->d_name, NULL, 10);
        count += id > 0 && sched_getaffinity(id, sizeof(its), &its) == 0 && CPU_EQUAL(&its, cpus);
    }
    closedir(folder);
    return count;
}

TEST(threads_stay_on_the_processors_that_are_named)
{
    cpu_set_t before, one;
    CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
    if (CPU_COUNT(&before) < 2)
        SKIP("there is one processor only");
    int cpu = 0;
    while (!CPU_ISSET(cpu, &before))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    struct engine_llama_options options = options_default();
    options.cpus = &one;
    options.threads = options.threads_batch = 3;
    struct engine *engine = open_with(&options);
    token_id tokens[PROMPT_MAX];
    struct engine_row row = {.token = 1, .wants_logits = true};
    CHECK_OK(engine_decode(engine, &row, 1));
    CHECK_EQ(threads_on(&one), 3); /* this one and the pool's */
    CHECK(tokens_of(engine, "Hi", tokens) > 0);
    engine_close(&engine);
    cpu_set_t after;
    CHECK(sched_getaffinity(0, sizeof(after), &after) == 0);
    CHECK(CPU_EQUAL(&after, &before));
    while (threads_on(&one) > 0) /* a thread that was joined is in /proc for a moment more */
        sched_yield();
    CPU_SET(CPU_SETSIZE - 1, &one);
    check_refused(&options, ERR_LIMIT, "this process may use");
}

static bool stop_halfway(void *ctx, float fraction)
{
    uint32_t *calls = ctx;
    ++*calls;
    return fraction < 0.5f;
}

/* In each part of a load: while a file to be mapped is read ahead, and while libllama reads. */
TEST(load_can_be_stopped)
{
    static const enum engine_load loads[] = {ENGINE_LOAD_MAP, ENGINE_LOAD_READ};
    for (size_t i = 0; i < ARRAY_COUNT(loads); i++) {
        struct engine_llama_options options = options_default();
        struct engine *engine = NULL;
        struct err_note note = {{0}};
        uint32_t calls = 0;
        options.load = loads[i];
        CHECK_ERR(engine_llama_open(&options, stop_halfway, &calls, &engine, &note), ERR_CANCELLED);
        CHECK(engine == NULL);
        CHECK(calls > 1);
        CHECK(strstr(note.text, "was stopped"));
    }
}

struct told_progress {
    float first, last;
    uint32_t calls;
    uint32_t parts; /* below the whole */
};

static bool note_progress(void *ctx, float fraction)
{
    struct told_progress *told = ctx;
    CHECK(fraction >= told->last && fraction <= 1);
    if (told->calls++ == 0)
        told->first = fraction;
    told->parts += fraction > told->last && fraction < 1;
    told->last = fraction;
    return true;
}

/* Mapped, libllama itself would tell 0 and, at once, 1: what is told then are bytes of the file. */
TEST(load_tells_how_far_it_is_however_weights_come_into_memory)
{
    static const enum engine_load loads[] = {ENGINE_LOAD_MAP, ENGINE_LOAD_READ};
    for (size_t i = 0; i < ARRAY_COUNT(loads); i++) {
        struct engine_llama_options options = options_default();
        options.load = loads[i];
        struct told_progress told = {0};
        struct engine *engine = NULL;
        struct err_note note = {{0}};
        CHECK_OK(engine_llama_open(&options, note_progress, &told, &engine, &note));
        CHECK(told.parts >= 2);
        if (loads[i] == ENGINE_LOAD_MAP)
            CHECK(told.first > 0.01f && told.first < 0.9f); /* a MiB of the file */
        CHECK(told.last == 1);
        engine_close(&engine);
    }
}

TEST(missing_model_is_named)
{
    struct engine_llama_options options = options_default();
    options.model_path = "/nowhere/model.gguf";
    check_refused(&options, ERR_PROTOCOL, "/nowhere/model.gguf");
}
