/* llama_geometry - the sums behind slots and context. A lying header may hold any number: sums and
 * products stop at UINT64_MAX, which fits nowhere. */
#include "engine/llama_geometry.h"

enum {
    CELLS_STEP = 256,    /* libllama rounds the cells of a stream up to a multiple of it */
    SCORE_BYTES = 4,     /* f32 */
    FAST_MASK_BYTES = 2, /* flash attention keeps no scores, only the f16 mask */
};

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / 1048576;
}

static const struct {
    const char *name;
    uint32_t values, bytes; /* so many values in so many bytes */
} kv_types[] = {
    [ENGINE_KV_F16] = {"f16", 1, 2},
    [ENGINE_KV_F32] = {"f32", 1, 4},
    [ENGINE_KV_Q8_0] = {"q8_0", 32, 34},
    [ENGINE_KV_Q4_0] = {"q4_0", 32, 18},
};

static uint64_t kv_bytes(enum engine_kv_type type, uint64_t values)
{
    return times(values / kv_types[type].values, kv_types[type].bytes);
}

static uint64_t key_length(const struct gguf_summary *summary)
{
    if (summary->key_length)
        return summary->key_length;
    return summary->head_count ? summary->embedding_length / summary->head_count : 0;
}

static uint64_t value_length(const struct gguf_summary *summary)
{
    if (summary->value_length)
        return summary->value_length;
    return summary->head_count ? summary->embedding_length / summary->head_count : 0;
}

static enum err check_kv_type(const char *what, enum engine_kv_type type, uint64_t length,
                              struct err_note *out_note)
{
    if (length % kv_types[type].values == 0)
        return ERR_OK;
    return err_note_fail(out_note, ERR_LIMIT,
                         "a cache of %s %ss packs %u numbers together, and a %s of this model has "
                         "%llu: take f16 or f32",
                         kv_types[type].name, what, kv_types[type].values, what,
                         (unsigned long long)length);
}

/* libllama multiplies with packed values in flash attention only. */
static enum err check_kv_types(const struct gguf_summary *summary, const struct llama_wish *wish,
                               struct err_note *out_note)
{
    if (!wish->fast && kv_types[wish->kv_value].values > 1)
        return err_note_fail(out_note, ERR_LIMIT,
                             "a cache of %s values needs flash attention, which profile exact is "
                             "without: take f16 or f32, or profile fast",
                             kv_types[wish->kv_value].name);
    TRY(check_kv_type("key", wish->kv_key, key_length(summary), out_note));
    return check_kv_type("value", wish->kv_value, value_length(summary), out_note);
}

/* Keys and values of one token in all blocks. An upper bound where a model shares or compresses
 * them; 0 for one without attention, whose state does not grow. */
static uint64_t token_bytes(const struct gguf_summary *summary, const struct llama_wish *wish)
{
    uint64_t heads = summary->head_count_kv_sum;
    if (heads == 0)
        heads = times(summary->block_count,
                      summary->head_count_kv ? summary->head_count_kv : summary->head_count);
    return times(heads, plus(kv_bytes(wish->kv_key, key_length(summary)),
                             kv_bytes(wish->kv_value, value_length(summary))));
}

/* In profile fast all slots share one stream of cells; in exact each has its own. */
static uint64_t cells_of(const struct llama_wish *wish, uint32_t slots, uint32_t context_tokens)
{
    uint64_t stream = wish->fast ? times(slots, context_tokens) : context_tokens;
    stream = (stream + CELLS_STEP - 1) / CELLS_STEP * CELLS_STEP;
    return wish->fast ? stream : times(slots, stream);
}

/* The processor's back-end turns what it multiplies the values with, the scores, into their type
 * first, all heads at once. Flash attention has neither. */
static uint64_t scratch_bytes(const struct gguf_summary *summary, const struct llama_wish *wish,
                              uint64_t stream_cells, uint32_t batch_tokens)
{
    if (wish->fast || wish->kv_value != ENGINE_KV_F16)
        return 0;
    return times(times(stream_cells, batch_tokens),
                 times(summary->head_count, kv_types[ENGINE_KV_F16].bytes));
}

static void set_slots(const struct gguf_summary *summary, const struct llama_wish *wish,
                      uint32_t slots, struct llama_geometry *geometry)
{
    uint64_t cells = cells_of(wish, slots, geometry->context_tokens);
    geometry->slots = slots;
    geometry->cells = cells <= INT32_MAX ? (uint32_t)cells : 0;
    geometry->batch_tokens = wish->batch_tokens > slots ? wish->batch_tokens : slots;
    geometry->kv_bytes = cells <= INT32_MAX ? times(cells, geometry->token_bytes) : UINT64_MAX;
    uint64_t row = wish->fast
                       ? times(cells, FAST_MASK_BYTES)
                       : times(times(cells / slots, plus(summary->head_count, 1)), SCORE_BYTES);
    geometry->scratch_bytes = scratch_bytes(summary, wish, cells / slots, geometry->batch_tokens);
    geometry->compute_bytes = plus(times(row, geometry->batch_tokens), geometry->scratch_bytes);
}

static uint64_t needed(const struct llama_geometry *geometry)
{
    return plus(plus(geometry->weights_bytes, geometry->adapter_bytes),
                plus(geometry->kv_bytes, geometry->compute_bytes));
}

static uint64_t kv_memory_of(const struct llama_wish *wish)
{
    if (wish->kv_memory_bytes)
        return wish->kv_memory_bytes;
    if (wish->memory_available_bytes == UINT64_MAX)
        return UINT64_MAX - 1;
    return wish->memory_available_bytes / 4 / (wish->workers ? wish->workers : 1);
}

enum err llama_geometry_check(const struct llama_geometry *geometry, const struct llama_wish *wish,
                              struct err_note *out_note)
{
    uint64_t kv_memory = kv_memory_of(wish);
    if (geometry->kv_bytes > kv_memory)
        return err_note_fail(
            out_note, ERR_NO_MEMORY,
            "%u slots of %u tokens of %llu bytes need a cache of %.1f MiB, but "
            "kv_memory is %.1f MiB%s: take fewer slots, a shorter context or more "
            "kv_memory",
            geometry->slots, geometry->context_tokens, (unsigned long long)geometry->token_bytes,
            mib(geometry->kv_bytes), mib(kv_memory),
            wish->kv_memory_bytes ? ""
            : wish->workers > 1   ? " (its share, as one of llama_workers, of a quarter of what is "
                                    "available)"
                                  : " (a quarter of what is available)");
    if (needed(geometry) > wish->memory_available_bytes)
        return err_note_fail(out_note, ERR_NO_MEMORY,
                             "%.1f MiB of weights%s + %.1f MiB of cache (%u slots of %u tokens) + "
                             "about %.1f MiB to compute are more than the %.1f MiB of memory "
                             "available: take fewer slots, a shorter context or a smaller model",
                             mib(plus(geometry->weights_bytes, geometry->adapter_bytes)),
                             geometry->adapter_bytes ? " and adapters" : "",
                             mib(geometry->kv_bytes), geometry->slots, geometry->context_tokens,
                             mib(geometry->compute_bytes), mib(wish->memory_available_bytes));
    return ERR_OK;
}

static enum err set_context(const struct gguf_summary *summary, const struct llama_wish *wish,
                            struct llama_geometry *geometry, struct err_note *out_note)
{
    uint64_t trained = summary->context_length < INT32_MAX ? summary->context_length : INT32_MAX;
    if (trained == 0)
        return err_note_fail(out_note, ERR_PROTOCOL,
                             "the model file does not say %s.context_length",
                             summary->architecture);
    bool is_shorter = wish->context_tokens && wish->context_tokens < trained;
    geometry->context_tokens = is_shorter ? wish->context_tokens : (uint32_t)trained;
    return ERR_OK;
}

enum err llama_geometry_plan(const struct gguf_summary *summary, const struct llama_wish *wish,
                             struct llama_geometry *out_geometry, struct err_note *out_note)
{
    ASSERT(wish->batch_tokens > 0);
    if (wish->slots > LLAMA_SLOTS_MAX)
        return err_note_fail(out_note, ERR_LIMIT, "%u slots: allowed are 1..%d, or 0 for what fits",
                             wish->slots, LLAMA_SLOTS_MAX);
    struct llama_geometry geometry = {.token_bytes = token_bytes(summary, wish),
                                      .weights_bytes = summary->data_bytes,
                                      .adapter_bytes = wish->adapter_bytes};
    TRY(check_kv_types(summary, wish, out_note));
    TRY(set_context(summary, wish, &geometry, out_note));
    uint32_t slots = wish->slots ? wish->slots : LLAMA_SLOTS_DEFAULT_MAX;
    set_slots(summary, wish, slots, &geometry);
    while (wish->slots == 0 && slots > 1 && llama_geometry_check(&geometry, wish, NULL) != ERR_OK)
        set_slots(summary, wish, --slots, &geometry);
    TRY(llama_geometry_check(&geometry, wish, out_note));
    *out_geometry = geometry;
    return ERR_OK;
}
