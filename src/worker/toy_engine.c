/* toy_engine - see toy_engine.h. Nothing is computed but hashes of prefixes. */
#include "worker/toy_engine.h"

#include "base/mem.h"

#include <math.h>

static const char *const pieces[TOY_VOCAB] = {
    "",     "a",    "b",    "ab", " the", "",  "\xE4\xBD", "\xA0", "\xE4\xBD\xA0", "\xF0\x9F\x98",
    "\x80", "\xFF", "S",    "T",  "O",    "P", "ST",       "OP",   "\xC3\xA9",     "x",
    "yz",   "\n",   "\n\n", "", /* the last is a control token that is no end */
};

static struct toy_engine *toy_of(struct engine *engine)
{
    return CONTAINER_OF(engine, struct toy_engine, engine);
}

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94D049BB133111EB);
    return value ^ (value >> 31);
}

/* 0: none. */
static uint64_t hash_of_set(const struct engine_adapter_set *set)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < set->count; i++)
        hash = mix(hash * 31 + set->uses[i].index * 1000 +
                   (uint64_t)((double)set->uses[i].scale * 64 + 100000));
    return hash;
}

static uint64_t hash_of(uint64_t before, token_id token, bool is_single)
{
    return mix(before * 31 + (uint64_t)token + (is_single ? TOY_VOCAB : 0) + 1) | 1; /* never 0 */
}

static void logits_of(uint64_t hash, float *out_logits)
{
    for (uint64_t id = 0; id < TOY_VOCAB; id++)
        out_logits[id] = (float)(mix(hash + id) >> 40) * (6.0f / (1 << 24)) - 3;
}

void toy_engine_logits_of_rows(const token_id *tokens, size_t count, size_t single_at,
                               float out_logits[TOY_VOCAB])
{
    uint64_t hash = 0;
    for (size_t i = 0; i < count; i++)
        hash = hash_of(hash, tokens[i], i >= single_at);
    logits_of(hash, out_logits);
}

void toy_engine_logits(const token_id *tokens, size_t count, float out_logits[TOY_VOCAB])
{
    toy_engine_logits_of_rows(tokens, count, count, out_logits);
}

void toy_engine_logits_with(const token_id *tokens, size_t count,
                            const struct engine_adapter_set *adapters, float out_logits[TOY_VOCAB])
{
    uint64_t hash = 0;
    for (size_t i = 0; i < count; i++)
        hash = hash_of(hash ^ hash_of_set(adapters), tokens[i], false);
    logits_of(hash, out_logits);
}

void toy_engine_add_adapters(struct toy_engine *toy, uint32_t count)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    ASSERT(count <= ARRAY_COUNT(names));
    for (uint32_t i = 0; i < count; i++)
        toy->adapters[i] = (struct engine_adapter){.name = names[i], .digest = {(uint8_t)(i + 1)}};
    toy->engine.info.adapters = toy->adapters;
    toy->engine.info.adapter_count = count;
}

void toy_engine_add_habit(float habit, token_id last, float logits[TOY_VOCAB])
{
    logits[(last * 7 + 3) % TOY_VOCAB] += habit; /* and back: twice is the token itself */
}

struct slice toy_engine_piece(token_id token)
{
    return slice_str(pieces[token]);
}

static struct slice toy_piece(struct engine *engine, token_id token, char *scratch,
                              size_t scratch_bytes)
{
    (void)engine, (void)scratch, (void)scratch_bytes;
    return toy_engine_piece(token);
}

static bool toy_is_end(struct engine *engine, token_id token)
{
    (void)engine;
    return token == TOY_END || token == TOY_END_OF_TEXT;
}

static enum err take_error(enum err *once)
{
    enum err err = *once;
    *once = ERR_OK;
    return err;
}

static void lose(struct toy_engine *toy)
{
    for (uint32_t slot = 0; slot < TOY_SLOTS_MAX; slot++)
        toy->held[slot] -= toy->held[slot] < toy->lost_tokens ? toy->held[slot] : toy->lost_tokens;
}

static enum err toy_decode(struct engine *engine, const struct engine_row *rows, size_t count)
{
    struct toy_engine *toy = toy_of(engine);
    toy->decodes++;
    toy->widest = count > toy->widest ? (uint32_t)count : toy->widest;
    enum err err = take_error(&toy->next_decode);
    if (err != ERR_OK)
        return err;
    if (toy->rows_max > 0 && count > toy->rows_max)
        return ERR_FULL;
    uint32_t slot_rows[TOY_SLOTS_MAX] = {0}, logits = 0;
    for (size_t i = 0; i < count; i++) {
        slot_rows[rows[i].slot]++;
        logits += rows[i].wants_logits;
    }
    ASSERT(logits <= engine->info.logits_max);
    for (size_t i = 0; i < count; i++) {
        uint32_t slot = rows[i].slot;
        if (engine->should_abort && engine->should_abort(engine->abort_ctx)) {
            lose(toy);
            return ERR_CANCELLED;
        }
        ASSERT_MSG(rows[i].position == toy->held[slot], "slot %u holds %u, row is at %u", slot,
                   toy->held[slot], rows[i].position);
        ASSERT(rows[i].position < engine->info.context_tokens);
        bool is_single = engine->info.single_rows_differ && slot_rows[slot] == 1;
        uint64_t before = rows[i].position ? toy->hash[slot][rows[i].position] : 0;
        uint64_t hash = hash_of(before ^ hash_of_set(&toy->now), rows[i].token, is_single);
        toy->hash[slot][++toy->held[slot]] = hash;
        toy->row_hash[i] = rows[i].wants_logits ? hash : 0;
        toy->row_token[i] = rows[i].token;
    }
    toy->rows += count;
    return ERR_OK;
}

static const float *toy_logits(struct engine *engine, size_t row)
{
    struct toy_engine *toy = toy_of(engine);
    ASSERT(toy->row_hash[row] != 0);
    logits_of(toy->row_hash[row], toy->logits);
    toy_engine_add_habit(toy->habit, toy->row_token[row], toy->logits);
    for (int id = 0; toy->has_no_number && id < TOY_VOCAB; id++)
        toy->logits[id] = NAN;
    return toy->logits;
}

static uint32_t toy_seq_tokens(struct engine *engine, uint32_t slot)
{
    return toy_of(engine)->held[slot];
}

static enum err toy_seq_cut(struct engine *engine, uint32_t slot, uint32_t keep_tokens)
{
    struct toy_engine *toy = toy_of(engine);
    if (keep_tokens == 0 && toy->empty_fails != ERR_OK)
        return toy->empty_fails;
    bool is_refused = toy->cut_refused && keep_tokens > 0 && keep_tokens < toy->held[slot];
    toy->held[slot] = is_refused ? 0 : keep_tokens;
    return is_refused ? ERR_REFUSED : ERR_OK;
}

/* A blob is the slot's hashes. */
static enum err toy_seq_save(struct engine *engine, uint32_t slot, void **out_blob,
                             size_t *out_bytes)
{
    struct toy_engine *toy = toy_of(engine);
    ASSERT(toy->held[slot] > 0); /* of nothing, not every engine has a state */
    TRY(take_error(&toy->next_save));
    *out_bytes = (toy->held[slot] + 1) * sizeof(uint64_t);
    *out_blob = mem_alloc(*out_bytes);
    memcpy(*out_blob, toy->hash[slot], *out_bytes);
    toy->saves++;
    return ERR_OK;
}

static enum err toy_seq_restore(struct engine *engine, uint32_t slot, const void *blob,
                                size_t bytes)
{
    struct toy_engine *toy = toy_of(engine);
    toy->held[slot] = 1; /* a failure may leave something behind */
    TRY(take_error(&toy->next_restore));
    memcpy(toy->hash[slot], blob, bytes);
    toy->held[slot] = (uint32_t)(bytes / sizeof(uint64_t) - 1);
    toy->restores++;
    return ERR_OK;
}

static void toy_seq_copy(struct engine *engine, uint32_t from, uint32_t to)
{
    struct toy_engine *toy = toy_of(engine);
    memcpy(toy->hash[to], toy->hash[from], sizeof(toy->hash[to]));
    toy->held[to] = toy->held[from];
    toy->copies++;
}

static void toy_use_adapters(struct engine *engine, const struct engine_adapter_set *set)
{
    struct toy_engine *toy = toy_of(engine);
    toy->changes += !engine_adapter_set_eq(&toy->now, set);
    toy->now = *set;
}

static const struct engine_ops toy_ops = {
    .piece = toy_piece,
    .is_end = toy_is_end,
    .decode = toy_decode,
    .logits = toy_logits,
    .seq_tokens = toy_seq_tokens,
    .seq_cut = toy_seq_cut,
    .seq_save = toy_seq_save,
    .seq_restore = toy_seq_restore,
    .seq_copy = toy_seq_copy,
    .use_adapters = toy_use_adapters,
};

void toy_engine_init(struct toy_engine *toy, uint32_t slots, uint32_t context_tokens,
                     uint32_t batch_tokens)
{
    ASSERT(slots <= TOY_SLOTS_MAX && context_tokens <= TOY_CONTEXT_MAX);
    ASSERT(batch_tokens <= TOY_BATCH_MAX);
    *toy = (struct toy_engine){.engine = {.ops = &toy_ops}};
    toy->engine.info = (struct engine_info){.kind = "toy",
                                            .description = "toy",
                                            .slots = slots,
                                            .context_tokens = context_tokens,
                                            .batch_tokens = batch_tokens,
                                            .logits_max = slots,
                                            .vocab_size = TOY_VOCAB,
                                            .can_save = true,
                                            .can_cut = true};
}
