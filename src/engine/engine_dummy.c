/* engine_dummy - an engine without a model: it answers with a script, at a set pace, and fails
 * where it is told to. Everything around an engine is tested against it. */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

enum {
    DUMMY_TOKEN_END = 0,
    DUMMY_FIRST_BYTE = 1,
    DUMMY_FIRST_PIECE = DUMMY_FIRST_BYTE + 256,
    DUMMY_SLOTS_MAX = 16384, /* what a worker lets live at once */
    DUMMY_TOKENS_MAX = 1 << 20,
    DUMMY_SCRIPT_MAX_BYTES = 16 << 20,
    DUMMY_NUMBERS = 8,        /* of an embedding */
    DUMMY_BATCH_TOKENS = 512, /* or a row for each slot, if that is more */
    /* An abort is seen within this. A wake-up costs some 10 us: looking every ms, a step of 3 ms
     * had three of them, 1 us for each event of 32 streams. */
    DUMMY_POLL_US = 5000,
};

/* Far enough below the scripted token's 0 that no temperature, penalty or bias changes the script.
 */
static const float DUMMY_UNLIKELY = -1e4f;
static const uint64_t SAVED_TAG = 0x31796d6d75646c6dULL; /* "mldummy1": begins a saved slot */

struct saved_slot {
    uint64_t tag, tokens;
};

struct dummy {
    struct engine engine;
    struct engine_dummy_options options;
    struct text script;
    uint32_t *piece_ends; /* end of piece n in the script */
    uint32_t *held;       /* tokens in each slot */
    token_id *next;       /* of each row of the last batch */
    char stamp[24];       /* with says_time: when the last batch was done, */
    size_t stamp_bytes;   /* as text */
    /* Every row of logits is a window of vocab_size floats on this ramp: DUMMY_UNLIKELY everywhere
     * but for one 0 at vocab_size - 1, so that the window's start picks the likely token. */
    float *ramp;
};

static struct dummy *dummy_of(struct engine *engine)
{
    return CONTAINER_OF(engine, struct dummy, engine);
}

static bool is_aborted(const struct engine *engine)
{
    return engine->should_abort && engine->should_abort(engine->abort_ctx);
}

static void tell_progress(const struct engine *engine)
{
    if (engine->on_progress)
        engine->on_progress(engine->abort_ctx);
}

static void sleep_until_us(uint64_t when_us)
{
    struct timespec at = {.tv_sec = (time_t)(when_us / 1000000),
                          .tv_nsec = (long)(when_us % 1000000) * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

static void sleep_at_most_us(uint64_t us)
{
    sleep_until_us(clock_monotonic_us() + (us < DUMMY_POLL_US ? us : DUMMY_POLL_US));
}

/* Plays work until then. Looks for an abort at once, then at least every DUMMY_POLL_US. */
static enum err work_until_us(const struct engine *engine, uint64_t when_us)
{
    for (;;) {
        if (is_aborted(engine))
            return ERR_CANCELLED;
        tell_progress(engine);
        uint64_t now_us = clock_monotonic_us();
        if (now_us >= when_us)
            return ERR_OK;
        sleep_at_most_us(when_us - now_us);
    }
}

/* Plays an engine that hangs: it can be aborted, and gets no further. */
static enum err stall(const struct engine *engine)
{
    ASSERT(engine->should_abort); /* or nobody could end it */
    while (!is_aborted(engine))
        sleep_at_most_us(DUMMY_POLL_US);
    return ERR_CANCELLED;
}

static void dummy_close(struct engine *engine)
{
    struct dummy *dummy = dummy_of(engine);
    text_fini(&dummy->script);
    mem_free(dummy->piece_ends);
    mem_free(dummy->held);
    mem_free(dummy->next);
    mem_free(dummy->ramp);
    mem_free(dummy);
}

static enum err dummy_tokenize(struct engine *engine, struct slice text, bool add_special,
                               bool parse_special, token_id *out_tokens, size_t max_tokens,
                               size_t *out_count)
{
    (void)engine, (void)add_special, (void)parse_special; /* a byte is a byte */
    *out_count = text.len;
    if (text.len > max_tokens)
        return ERR_LIMIT;
    for (size_t i = 0; i < text.len; i++)
        out_tokens[i] = DUMMY_FIRST_BYTE + (unsigned char)text.data[i];
    return ERR_OK;
}

static struct slice dummy_piece(struct engine *engine, token_id token, char *scratch,
                                size_t scratch_bytes)
{
    const struct dummy *dummy = dummy_of(engine);
    if (token == DUMMY_TOKEN_END)
        return (struct slice){0};
    if (token < DUMMY_FIRST_PIECE) {
        ASSERT(scratch_bytes >= 1);
        scratch[0] = (char)(token - DUMMY_FIRST_BYTE);
        return slice_of(scratch, 1);
    }
    if (dummy->options.says_time)
        return slice_of(dummy->stamp, dummy->stamp_bytes);
    uint32_t index = (uint32_t)(token - DUMMY_FIRST_PIECE);
    uint32_t start = index ? dummy->piece_ends[index - 1] : 0;
    return slice_of(dummy->script.data + start, dummy->piece_ends[index] - start);
}

static bool dummy_is_end(struct engine *engine, token_id token)
{
    (void)engine;
    return token == DUMMY_TOKEN_END;
}

static enum err dummy_chat(struct engine *engine, const struct engine_chat_message *messages,
                           size_t count, struct text *out_prompt, struct err_note *out_note)
{
    (void)engine;
    for (size_t i = 0; i < count; i++)
        text_add_f(out_prompt, SLICE_FMT ": " SLICE_FMT "\n", SLICE_ARG(messages[i].role),
                   SLICE_ARG(messages[i].content));
    text_add_str(out_prompt, "assistant: ");
    if (text_status(out_prompt) == ERR_OK)
        return ERR_OK;
    return err_note_fail(out_note, ERR_LIMIT, "the rendered messages exceed %zu bytes",
                         out_prompt->max_bytes);
}

/* The next token depends on the last one alone, so a replayed prefix goes on where it ended. */
static token_id next_token(const struct dummy *dummy, token_id last)
{
    token_id next = last < DUMMY_FIRST_PIECE ? DUMMY_FIRST_PIECE : last + 1;
    return next < DUMMY_FIRST_PIECE + (token_id)dummy->options.tokens ? next : DUMMY_TOKEN_END;
}

/* Number of the piece (1..) that this row would sample; 0: none, or the end. */
static uint32_t sampled_piece(const struct dummy *dummy, const struct engine_row *row)
{
    token_id next = next_token(dummy, row->token);
    if (!row->wants_logits || next == DUMMY_TOKEN_END)
        return 0;
    return (uint32_t)(next - DUMMY_FIRST_PIECE) + 1;
}

static bool batch_samples_piece(const struct dummy *dummy, const struct engine_row *rows,
                                size_t count, uint32_t piece)
{
    for (size_t i = 0; piece && i < count; i++)
        if (sampled_piece(dummy, &rows[i]) == piece)
            return true;
    return false;
}

/* A row behind a piece that was sampled before: one step of a running sequence. */
static bool is_generation(const struct engine_row *row)
{
    return row->wants_logits && row->token >= DUMMY_FIRST_PIECE;
}

static enum err wait_for_step(const struct dummy *dummy, const struct engine_row *rows,
                              size_t count, uint64_t *now_us)
{
    for (size_t i = 0; i < count; i++)
        if (is_generation(&rows[i])) {
            *now_us += dummy->options.delay_us;
            break;
        }
    return work_until_us(&dummy->engine, *now_us);
}

static void stamp(struct dummy *dummy)
{
    if (dummy->options.says_time)
        dummy->stamp_bytes = (size_t)snprintf(dummy->stamp, sizeof(dummy->stamp), "%llu ",
                                              (unsigned long long)clock_monotonic_us());
}

static enum err dummy_decode(struct engine *engine, const struct engine_row *rows, size_t count)
{
    struct dummy *dummy = dummy_of(engine);
    for (size_t i = 0; i < count; i++)
        if (rows[i].position >= engine->info.context_tokens)
            return ERR_FULL;
    if (batch_samples_piece(dummy, rows, count, dummy->options.fail_at))
        return ERR_SYSTEM;
    if (batch_samples_piece(dummy, rows, count, dummy->options.stall_at))
        return stall(engine);

    uint64_t now_us = clock_monotonic_us(); /* runs ahead: when the work so far will be done */
    TRY(wait_for_step(dummy, rows, count, &now_us));
    for (size_t i = 0; i < count; i++) {
        const struct engine_row *row = &rows[i];
        if (dummy->options.prefill_us_per_token && !is_generation(row)) {
            now_us += dummy->options.prefill_us_per_token;
            TRY(work_until_us(engine, now_us)); /* the rows before it stay, as with llama */
        }
        ASSERT_MSG(row->position == dummy->held[row->slot], "slot %u holds %u, row is at %u",
                   row->slot, dummy->held[row->slot], row->position);
        dummy->held[row->slot]++;
        dummy->next[i] = row->wants_logits ? next_token(dummy, row->token) : -1;
    }
    stamp(dummy);
    return ERR_OK;
}

static const float *dummy_logits(struct engine *engine, size_t row)
{
    const struct dummy *dummy = dummy_of(engine);
    ASSERT(dummy->next[row] >= 0);
    return dummy->ramp + (engine->info.vocab_size - 1 - (uint32_t)dummy->next[row]);
}

static uint32_t dummy_seq_tokens(struct engine *engine, uint32_t slot)
{
    return dummy_of(engine)->held[slot];
}

static enum err dummy_seq_cut(struct engine *engine, uint32_t slot, uint32_t keep_tokens)
{
    dummy_of(engine)->held[slot] = keep_tokens;
    return ERR_OK;
}

static enum err dummy_seq_save(struct engine *engine, uint32_t slot, void **out_blob,
                               size_t *out_bytes)
{
    struct saved_slot *saved = mem_peer_alloc(sizeof(*saved));
    if (!saved)
        return ERR_NO_MEMORY;
    *saved = (struct saved_slot){.tag = SAVED_TAG, .tokens = dummy_of(engine)->held[slot]};
    *out_blob = saved;
    *out_bytes = sizeof(*saved);
    return ERR_OK;
}

static enum err dummy_seq_restore(struct engine *engine, uint32_t slot, const void *blob,
                                  size_t bytes)
{
    struct saved_slot saved;
    if (bytes != sizeof(saved))
        return ERR_PROTOCOL;
    memcpy(&saved, blob, sizeof(saved));
    if (saved.tag != SAVED_TAG)
        return ERR_PROTOCOL;
    if (saved.tokens > engine->info.context_tokens)
        return ERR_FULL;
    dummy_of(engine)->held[slot] = (uint32_t)saved.tokens;
    return ERR_OK;
}

static void dummy_seq_copy(struct engine *engine, uint32_t from, uint32_t to)
{
    struct dummy *dummy = dummy_of(engine);
    dummy->held[to] = dummy->held[from];
}

/* --- texts as a whole --- */

/* Letters count: number n is how many tokens are n modulo DUMMY_NUMBERS, so that texts of the same
 * words are near each other, and a test can say what comes out. */
static void count_tokens(const token_id *tokens, size_t count, float *numbers)
{
    for (int i = 0; i < DUMMY_NUMBERS; i++)
        numbers[i] = 0;
    for (size_t i = 0; i < count; i++)
        numbers[tokens[i] % DUMMY_NUMBERS] += 1;
}

/* How many tokens of the query, which a DUMMY_TOKEN_END ends, stand at their place in the document.
 */
static float score_of(const token_id *tokens, size_t count)
{
    size_t query = 0, equal = 0;
    while (query < count && tokens[query] != DUMMY_TOKEN_END)
        query++;
    for (size_t i = 0; i < query && query + 1 + i < count; i++)
        equal += tokens[i] == tokens[query + 1 + i];
    return (float)equal;
}

static enum err dummy_embed(struct engine *engine, const token_id *tokens, size_t count,
                            enum engine_pooling pooling, bool (*should_abort)(void *ctx), void *ctx,
                            float *out_numbers, struct err_note *out_note)
{
    const struct dummy *dummy = dummy_of(engine);
    uint64_t done_us = clock_monotonic_us() + (uint64_t)count * dummy->options.prefill_us_per_token;
    (void)out_note; /* nothing fails */
    for (uint64_t now_us; (now_us = clock_monotonic_us()) < done_us;) {
        if (should_abort && should_abort(ctx))
            return ERR_CANCELLED;
        sleep_at_most_us(done_us - now_us);
    }
    if (pooling == ENGINE_POOL_RANK)
        out_numbers[0] = score_of(tokens, count);
    else if (pooling == ENGINE_POOL_MEAN)
        count_tokens(tokens, count, out_numbers);
    else
        count_tokens(tokens + (pooling == ENGINE_POOL_CLS ? 0 : count - 1), 1, out_numbers);
    return ERR_OK;
}

static enum err dummy_pair(struct engine *engine, struct slice query, struct slice document,
                           token_id *out_tokens, size_t max_tokens, size_t *out_count)
{
    size_t document_count = 0;
    *out_count = query.len + 1 + document.len;
    if (*out_count > max_tokens)
        return ERR_LIMIT;
    TRY(dummy_tokenize(engine, query, false, false, out_tokens, max_tokens, &document_count));
    out_tokens[query.len] = DUMMY_TOKEN_END;
    return dummy_tokenize(engine, document, false, false, out_tokens + query.len + 1,
                          max_tokens - query.len - 1, &document_count);
}

static const struct engine_ops dummy_ops = {
    .close = dummy_close,
    .tokenize = dummy_tokenize,
    .piece = dummy_piece,
    .is_end = dummy_is_end,
    .chat = dummy_chat,
    .decode = dummy_decode,
    .logits = dummy_logits,
    .seq_tokens = dummy_seq_tokens,
    .seq_cut = dummy_seq_cut,
    .seq_save = dummy_seq_save,
    .seq_restore = dummy_seq_restore,
    .seq_copy = dummy_seq_copy,
    .embed = dummy_embed,
    .pair = dummy_pair,
};

struct engine_dummy_options engine_dummy_options_default(void)
{
    return (struct engine_dummy_options){
        .slots = 8, .context_tokens = 4096, .tokens = 20, .delay_us = 20000};
}

static enum err check_options(const struct engine_dummy_options *options, struct err_note *out_note)
{
    if (options->slots < 1 || options->slots > DUMMY_SLOTS_MAX)
        return err_note_fail(out_note, ERR_LIMIT, "dummy engine: %u slots: allowed are 1..%d",
                             options->slots, DUMMY_SLOTS_MAX);
    if (options->context_tokens < 1 || options->context_tokens > INT32_MAX)
        return err_note_fail(out_note, ERR_LIMIT,
                             "dummy engine: context of %u tokens: allowed are 1..%d",
                             options->context_tokens, INT32_MAX);
    if (options->tokens > DUMMY_TOKENS_MAX)
        return err_note_fail(out_note, ERR_LIMIT,
                             "dummy engine: script of %u tokens: allowed are 0..%d",
                             options->tokens, DUMMY_TOKENS_MAX);
    if (options->script.len > DUMMY_SCRIPT_MAX_BYTES)
        return err_note_fail(out_note, ERR_LIMIT,
                             "dummy engine: script of %zu bytes: allowed are at most %d",
                             options->script.len, DUMMY_SCRIPT_MAX_BYTES);
    return ERR_OK;
}

static enum err wait_for_load(uint32_t load_ms, engine_progress_fn *on_progress, void *progress_ctx,
                              struct err_note *out_note)
{
    uint64_t start_us = clock_monotonic_us(), load_us = load_ms * 1000ULL, spent_us = 0;
    for (;;) {
        float fraction = load_us ? (float)spent_us / (float)load_us : 1.0f;
        if (on_progress && !on_progress(progress_ctx, fraction))
            return err_note_fail(out_note, ERR_CANCELLED, "dummy engine: the load was stopped");
        if (spent_us >= load_us)
            return ERR_OK;
        sleep_at_most_us(load_us - spent_us);
        spent_us = clock_monotonic_us() - start_us;
        if (spent_us > load_us)
            spent_us = load_us;
    }
}

static void cut_script(struct dummy *dummy, struct slice script)
{
    text_add(&dummy->script, script);
    for (uint64_t n = 1; n <= dummy->options.tokens; n++)
        dummy->piece_ends[n - 1] = (uint32_t)(n * script.len / dummy->options.tokens);
}

static void count_script(struct dummy *dummy)
{
    for (uint32_t n = 1; n <= dummy->options.tokens; n++) {
        text_add_f(&dummy->script, "%stok%u", n > 1 ? " " : "", n);
        dummy->piece_ends[n - 1] = (uint32_t)dummy->script.len;
    }
}

static void make_script(struct dummy *dummy, struct slice script)
{
    if (script.len > 0 && dummy->options.tokens > script.len)
        dummy->options.tokens = (uint32_t)script.len; /* no piece is empty */
    dummy->piece_ends = mem_array(dummy->options.tokens + 1, sizeof(*dummy->piece_ends));
    text_init(&dummy->script, DUMMY_SCRIPT_MAX_BYTES);
    if (script.len > 0)
        cut_script(dummy, script);
    else
        count_script(dummy);
    dummy->options.script = text_slice(&dummy->script);
    ASSERT(!dummy->script.overflowed);
}

static void make_ramp(struct dummy *dummy, uint32_t vocab_size)
{
    dummy->ramp = mem_array(2 * (size_t)vocab_size - 1, sizeof(*dummy->ramp));
    for (size_t i = 0; i < 2 * (size_t)vocab_size - 1; i++)
        dummy->ramp[i] = DUMMY_UNLIKELY;
    dummy->ramp[vocab_size - 1] = 0;
}

enum err engine_dummy_open(const struct engine_dummy_options *options,
                           engine_progress_fn *on_progress, void *progress_ctx,
                           struct engine **out_engine, struct err_note *out_note)
{
    TRY(check_options(options, out_note));
    TRY(wait_for_load(options->load_ms, on_progress, progress_ctx, out_note));

    struct dummy *dummy = mem_alloc(sizeof(*dummy));
    dummy->options = *options;
    make_script(dummy, options->script);
    uint32_t batch_tokens =
        options->slots > DUMMY_BATCH_TOKENS ? options->slots : DUMMY_BATCH_TOKENS;
    uint32_t vocab_size = DUMMY_FIRST_PIECE + dummy->options.tokens;
    dummy->held = mem_array(options->slots, sizeof(*dummy->held));
    dummy->next = mem_array(batch_tokens, sizeof(*dummy->next));
    make_ramp(dummy, vocab_size);
    dummy->engine.ops = &dummy_ops;
    dummy->engine.info =
        (struct engine_info){.kind = "dummy",
                             .description = "dummy, a script without weights",
                             .slots = options->slots,
                             .context_tokens = options->context_tokens,
                             .batch_tokens = batch_tokens,
                             .vocab_size = vocab_size,
                             .has_chat = true,
                             .can_save = true,
                             .can_cut = true,
                             .embed_numbers = options->ranks ? 1 : DUMMY_NUMBERS,
                             .embed_tokens = options->context_tokens,
                             .pooling = options->ranks ? ENGINE_POOL_RANK : ENGINE_POOL_MEAN,
                             .changing_pieces = options->says_time};
    *out_engine = &dummy->engine;
    return ERR_OK;
}
