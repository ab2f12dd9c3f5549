/* keys - the rows, and how one value is read from text. */
#include "config/keys.h"

#include "base/cpu_list.h"
#include "base/utf8.h"
#include "config/adapters.h"
#include "config/api_keys.h"

/* After the help a row may say CONFIG_LIVE. */
#define CONFIG_LIVE true
#define ROW_U32(field, env, alias, initial, min, max, ...)                                         \
    {                                                                                              \
#field, env, alias, CONFIG_U32, offsetof(struct config, field), initial, min, max, NULL,   \
            __VA_ARGS__                                                                            \
    }
#define ROW_BYTES(field, env, initial, min, max, ...)                                              \
    {                                                                                              \
#field, env, NULL, CONFIG_BYTES, offsetof(struct config, field), initial, min, max, NULL,  \
            __VA_ARGS__                                                                            \
    }
#define ROW_BOOL(field, env, initial, ...)                                                         \
    {                                                                                              \
#field, env, NULL, CONFIG_BOOL, offsetof(struct config, field), initial, 0, 0, NULL,       \
            __VA_ARGS__                                                                            \
    }
#define ROW_STRING(field, env, alias, initial, min, max, ...)                                      \
    {                                                                                              \
#field, env, alias, CONFIG_STRING, offsetof(struct config, field), initial, min, max,      \
            NULL, __VA_ARGS__                                                                      \
    }
#define ROW_CHOICE(field, env, initial, choices, ...)                                              \
    {                                                                                              \
#field, env, NULL, CONFIG_CHOICE, offsetof(struct config, field), initial, 0, 0, choices,  \
            __VA_ARGS__                                                                            \
    }
#define ROW_IPC_URL(field, env, initial, max, ...)                                                 \
    {                                                                                              \
#field, env, NULL, CONFIG_IPC_URL, offsetof(struct config, field), initial, 0, max, NULL,  \
            __VA_ARGS__                                                                            \
    }
#define ROW_CPUS(field, env, max, ...)                                                             \
    {                                                                                              \
#field, env, NULL, CONFIG_CPUS, offsetof(struct config, field), "", 0, max, NULL,          \
            __VA_ARGS__                                                                            \
    }
#define ROW_ADAPTERS(field, env, alias, max, ...)                                                  \
    {                                                                                              \
#field, env, alias, CONFIG_ADAPTERS, offsetof(struct config, field), "[]", 0, max, NULL,   \
            __VA_ARGS__                                                                            \
    }
#define ROW_API_KEYS(field, max, ...)                                                              \
    {                                                                                              \
#field, NULL, NULL, CONFIG_API_KEYS, offsetof(struct config, field), "[]", 0, max, NULL,   \
            __VA_ARGS__                                                                            \
    }

/* The path of a unix socket below the folder must fit 108 bytes. */
enum {
    DAY_MS = 86400000,
    KIB = 1024,
    MIB = 1024 * 1024,
    IPC_URL_MAX_BYTES = 6 + 96,
    CPUS_MAX_BYTES = 4096
};
#define TIB (1024ull * 1024 * MIB)

/* clang-format off: a table reads by its columns */
const struct config_key config_keys[] = {
    ROW_U32(http_port, "HTTP_PORT", "port", "8080", 0, 65535,
            "port to listen on; 0: the kernel picks one; the first bare argument means the same"),
    ROW_STRING(http_host, "HTTP_HOST", "host", "127.0.0.1", 1, 255,
               "numeric address to listen on, or localhost"),
    ROW_API_KEYS(
        keys, CONFIG_API_KEYS_MAX,
        "who may ask: {\"name\", \"sha256\", \"tenant\", \"weight\"} each; empty: everybody "
        "who reaches the port; config file only",
        CONFIG_LIVE),
    ROW_BOOL(allow_no_keys, "ALLOW_NO_KEYS", "false",
             "allow a non-loopback http_host although no API keys are set", CONFIG_LIVE),
    ROW_STRING(allowed_hosts, "ALLOWED_HOSTS", NULL, "", 0, 4096,
               "names accepted in Host beside the bind address and localhost, comma-separated",
               CONFIG_LIVE),
    ROW_STRING(allowed_origins, "ALLOWED_ORIGINS", NULL, "", 0, 4096,
               "origins that browsers may call from, comma-separated, * for any; empty: the same "
               "host on any port",
               CONFIG_LIVE),
    ROW_U32(worker_threads, "WORKER_THREADS", NULL, "4", 1, 256,
            "at most so many loop threads in the gateway and pool threads in the workers; capped "
            "at the cores"),
    ROW_STRING(default_model, "DEFAULT_MODEL", NULL, "llama", 1, 128,
               "model of a request that names none; also the name of the loaded GGUF model"),
    ROW_STRING(llama_model_path, "LLAMA_MODEL_PATH", "model", "", 0, 4096,
               "GGUF file; empty: the shipped model"),
    ROW_ADAPTERS(
        llama_lora, "LLAMA_LORA", "lora", CONFIG_ADAPTERS_MAX,
        "LoRA adapters of this model, loaded with it: {\"name\", \"path\", \"scale\"} each; "
        "requests name them in `lora`; a scale is for requests that name none"),
    ROW_U32(llama_n_ctx, "LLAMA_N_CTX", NULL, "4096", 64, 1048576,
            "tokens of one sequence; capped at what the model was trained for"),
    ROW_U32(llama_workers, "LLAMA_WORKERS", NULL, "1", 1, CONFIG_WORKERS_MAX,
            "workers of the GGUF model: processes, each with slots, kv_memory, prefix cache and "
            "threads of its own; weights are shared where they are mapped"),
    ROW_U32(llama_slots, "LLAMA_SLOTS", NULL, "0", 0, 256,
            "sequences at once; 0: what fits kv_memory, at most 8"),
    ROW_U32(llama_n_threads, "LLAMA_N_THREADS", NULL, "0", 0, 512,
            "engine threads while decoding; 0: min(4, max(1, (cores - 1) / llama_workers))"),
    ROW_U32(llama_n_threads_batch, "LLAMA_N_THREADS_BATCH", NULL, "0", 0, 512,
            "engine threads for prompts; 0: as llama_n_threads"),
    ROW_CPUS(
        llama_cpus, "LLAMA_CPUS", CPUS_MAX_BYTES,
        "CPUs that the engine's threads stay on, like 0-3,8; llama_n_threads 0 is then at most "
        "so many, divided by llama_workers; empty: any that the process may use"),
    ROW_U32(
        llama_n_gpu_layers, "LLAMA_N_GPU_LAYERS", NULL, "0", 0, 65536,
        "layers of the model on the GPUs; more than it has: all; 0: all on the processor; without "
        "a GPU more than 0 is an error"),
    ROW_CHOICE(
        llama_load, "LLAMA_LOAD", "auto", "auto|mmap|read",
        "how weights come into memory; mmap: shared with other processes, read ahead whole; "
        "read: into the worker's own; auto: mmap, but read where they are then copied (Q4_0)"),
    ROW_BYTES(kv_memory, "KV_MEMORY", "0", 0, 64 * TIB,
              "bytes for the caches of all slots; 0: a quarter of the memory available at "
              "load, divided by llama_workers"),
    ROW_CHOICE(kv_type_k, "KV_TYPE_K", "f16", "f16|f32|q8_0|q4_0",
               "how the cache keeps keys; q8_0 takes half of f16, q4_0 a quarter"),
    ROW_CHOICE(kv_type_v, "KV_TYPE_V", "f16", "f16|f32|q8_0|q4_0",
               "how the cache keeps values; the last two only with engine_profile fast"),
    ROW_BYTES(
        prefix_cache_bytes, "PREFIX_CACHE_BYTES", "512MiB", 0, 64 * TIB,
        "bytes for saved beginnings of prompts beside the caches of the slots, for each model, "
        "shared equally by its llama_workers; only prompts of one tenant (all without a key are "
        "one) find each other's; "
        "0: what was computed for one request is never used for another"),
    ROW_BYTES(prefix_disk_bytes, "PREFIX_DISK_BYTES", "0", 0, 64 * TIB,
              "bytes for copies of these in state_dir, for each model, shared equally by its "
              "llama_workers: they outlive the worker; 0: none"),
    ROW_U32(target_itl_ms, "TARGET_ITL_MS", NULL, "0", 0, 60000,
            "time between two tokens that new prompts may stretch it to, ms; 0: found by itself"),
    ROW_U32(draft_tokens, "DRAFT_TOKENS", NULL, "8", 0, 15,
            "tokens of a step that may be guessed from what prompt and answer said before, where "
            "that is faster and the self-test found that a stream alone says the same; only with "
            "engine_profile fast; 0: none"),
    ROW_CHOICE(engine_profile, "ENGINE_PROFILE", "exact", "exact|fast",
               "exact: an answer does not depend on what else runs; fast: it may, for flash "
               "attention, one cache for all slots, drafts and packed values: less memory, faster "
               "with short contexts, slower with long ones (docs/design/031)"),
    ROW_U32(self_test_ms, "SELF_TEST_MS", NULL, "60000", 0, 3600000,
            "most time for finding out, while it is idle, whether a model's answers depend on what "
            "else runs, and how long steps take, ms; kept in state_dir; 0: not done"),
    ROW_STRING(
        engine_dir, "MILLRACE_ENGINE_DIR", NULL, "", 0, 4096,
        "folder with libllama; empty: the system's, then the one that tools/setup-engine got"),
    ROW_STRING(data_dir, "MILLRACE_DATA", NULL, MILLRACE_DATA_DIR, 1, 4096,
               "folder with models/ and engine/"),
    ROW_U32(default_max_tokens, "DEFAULT_MAX_TOKENS", NULL, "512", 1, 1048576,
            "tokens of an answer when the request does not say"),
    ROW_U32(max_model_queue, "MAX_MODEL_QUEUE", NULL, "64", 0, 65536,
            "requests that may wait for a place on one model; above: 429 queue_full", CONFIG_LIVE),
    ROW_U32(max_queue_wait_ms, "MAX_QUEUE_WAIT_MS", NULL, "2000", 0, DAY_MS,
            "longest wait for a place on a loaded model, ms; after: 429 queue_timeout",
            CONFIG_LIVE),
    ROW_U32(model_load_timeout_ms, "MODEL_LOAD_TIMEOUT_MS", NULL, "300000", 1, DAY_MS,
            "longest wait for a model that is loading, ms", CONFIG_LIVE),
    ROW_U32(park_ms, "PARK_MS", NULL, "2000", 0, DAY_MS,
            "a sequence whose client does not read gives up its slot after, ms"),
    ROW_U32(stall_ms, "STALL_MS", NULL, "30000", 100, DAY_MS,
            "a client that reads nothing is closed after, ms"),
    ROW_U32(head_hold_ms, "HEAD_HOLD_MS", NULL, "3000", 0, 600000,
            "hold the head of a stream back for a real status so long after a worker took it, ms"),
    ROW_U32(drain_ms, "DRAIN_MS", NULL, "30000", 0, DAY_MS,
            "when stopping, running requests may finish for so long, ms"),
    ROW_U32(ping_ms, "PING_MS", NULL, "10000", 100, 600000,
            "keep-alive comment after so much silence in a stream, ms"),
    ROW_U32(
        max_connections, "MAX_CONNECTIONS", NULL, "10000", 1, 1000000,
        "client connections, an equal share for each loop thread, as far as the descriptor limit "
        "allows; above: 503"),
    ROW_U32(streams_per_key, "STREAMS_PER_KEY", NULL, "256", 1, 100000,
            "requests to a model in flight under one API key, per loop thread; above: 429",
            CONFIG_LIVE),
    ROW_U32(head_ms, "HEAD_MS", NULL, "10000", 10, DAY_MS,
            "a request's head must be whole within, ms"),
    ROW_U32(body_ms, "BODY_MS", NULL, "30000", 10, DAY_MS,
            "a request's body must be whole within, ms"),
    ROW_U32(idle_ms, "IDLE_MS", NULL, "75000", 10, DAY_MS,
            "an unused keep-alive connection is closed after, ms"),
    ROW_U32(head_max_fields, "HEAD_MAX_FIELDS", NULL, "100", 1, 100, "header fields of a request"),
    ROW_BYTES(head_max_bytes, "HEAD_MAX_BYTES", "16KiB", 256, MIB, "bytes of a request's head"),
    ROW_BYTES(body_max_bytes, "BODY_MAX_BYTES", "8MiB", KIB, 1024ull * MIB,
              "bytes of a request's body"),
    ROW_BYTES(out_max_bytes, "OUT_MAX_BYTES", "256KiB", 16 * KIB, 64 * MIB,
              "output waiting for one client, bytes"),
    ROW_BYTES(bus_peer_max_bytes, "BUS_PEER_MAX_BYTES", "8MiB", 64 * KIB, 1024ull * MIB,
              "frames waiting for one endpoint on the bus, bytes"),
    ROW_STRING(state_dir, "MILLRACE_STATE", NULL, "", 0, 4096,
               "folder for what outlives a start, one serve at a time; empty: "
               "$XDG_STATE_HOME/millrace, else ~/.local/state/millrace"),
    ROW_IPC_URL(bus_url, "BUS_URL", "", IPC_URL_MAX_BYTES,
                "where the roles meet: the folder of a switch; empty: serve runs its own"),
    ROW_U32(role_dead_ms, "ROLE_DEAD_MS", NULL, "750", 500, 60000,
            "a role whose main loop gives no sign for so long (five times that while it computes, "
            "or waits for a processor or the disk) is killed and started again, ms"),
    ROW_U32(watchdog_ms, "WATCHDOG_MS", NULL, "10000", 0, DAY_MS,
            "an engine that has work and makes no progress for so long has its worker killed and "
            "started again, ms; 0: never"),
    ROW_U32(sse_chunk_size, "SSE_CHUNK_SIZE", NULL, "0", 0, 65536,
            "group streamed text into pieces of about so many characters; 0: as produced"),
    ROW_CHOICE(log_level, "LOG_LEVEL", "info", "error|warn|info|debug",
               "least severe lines that are logged", CONFIG_LIVE),
    ROW_U32(dummy_workers, "DUMMY_WORKERS", NULL, "1", 1, CONFIG_WORKERS_MAX,
            "workers of the dummy model"),
    ROW_U32(dummy_tokens, "DUMMY_TOKENS", NULL, "20", 1, 65536,
            "tokens of the dummy model's answer"),
    ROW_U32(dummy_delay_ms, "DUMMY_DELAY_MS", NULL, "20", 0, 60000, "time between two of them, ms"),
    ROW_U32(dummy_prefill_us, "DUMMY_PREFILL_US", NULL, "0", 0, 1000000,
            "time that a token of a prompt takes the dummy model, us"),
    ROW_U32(dummy_slots, "DUMMY_SLOTS", NULL, "64", 1, 16384,
            "sequences the dummy model runs at once"),
    ROW_U32(dummy_fail_at, "DUMMY_FAIL_AT", NULL, "0", 0, 65536,
            "the dummy engine breaks at this token; 0: never"),
    ROW_U32(dummy_stall_at, "DUMMY_STALL_AT", NULL, "0", 0, 65536,
            "the dummy engine hangs at this token; 0: never"),
    ROW_U32(dummy_load_ms, "DUMMY_LOAD_MS", NULL, "0", 0, DAY_MS,
            "the dummy model takes so long to load, ms"),
    ROW_STRING(dummy_text, "DUMMY_TEXT", NULL, "", 0, 1048576,
               "what the dummy model says, cut into dummy_tokens pieces; empty: tok1 tok2 ..."),
    ROW_BOOL(dummy_clock, "DUMMY_CLOCK", "false",
             "the dummy model says the time instead: of each token, CLOCK_MONOTONIC in us"),
};
/* clang-format on */
const size_t config_key_count = ARRAY_COUNT(config_keys);
_Static_assert(ARRAY_COUNT(config_keys) <= CONFIG_KEYS_MAX, "origin[] has a place for each key");

void config_key_range(const struct config_key *key, struct text *out)
{
    switch (key->type) {
    case CONFIG_U32:
    case CONFIG_BYTES:
        text_add_u64(out, key->min);
        text_add_str(out, "..");
        text_add_u64(out, key->max);
        break;
    case CONFIG_BOOL:
        text_add_str(out, "true|false");
        break;
    case CONFIG_STRING:
        text_add_f(out, "%zu..%zu bytes", (size_t)key->min, (size_t)key->max);
        break;
    case CONFIG_CHOICE:
        text_add_str(out, key->choices);
        break;
    case CONFIG_IPC_URL:
        text_add_f(out, "empty, or ipc:///FOLDER of at most %zu bytes", (size_t)key->max);
        break;
    case CONFIG_CPUS:
        text_add_str(out, "empty, or CPUs as in 0-3,8");
        break;
    case CONFIG_ADAPTERS:
    case CONFIG_API_KEYS:
        text_add_f(out, "0..%zu objects", (size_t)key->max);
        break;
    }
}

MUST_USE static enum err out_of_range(const struct config_key *key, struct slice given,
                                      struct err_note *out_note)
{
    struct text range;
    text_init(&range, 128);
    config_key_range(key, &range);
    enum err err =
        err_note_fail(out_note, ERR_REFUSED, "%s is '" SLICE_FMT "': allowed is " SLICE_FMT,
                      key->name, SLICE_ARG(slice_first(given, 64)), SLICE_ARG(text_slice(&range)));
    text_fini(&range);
    return err;
}

/* "8388608", "8MiB", "8M", "8 GiB": powers of 1024. */
MUST_USE static enum err read_bytes(struct slice text, uint64_t max, uint64_t *out_value)
{
    size_t digits = 0;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    struct slice unit = slice_trim(slice_after(text, digits));
    int shift = 0;
    if (!slice_is_empty(unit)) {
        static const char *const names[] = {"K", "M", "G", "T"};
        for (size_t i = 0; i < ARRAY_COUNT(names) && !shift; i++)
            if (slice_eq_ci(slice_first(unit, 1), slice_str(names[i])))
                shift = 10 * ((int)i + 1);
        struct slice tail = slice_after(unit, 1);
        if (!shift || !(slice_is_empty(tail) || slice_eq_ci(tail, SLICE("iB"))))
            return ERR_PROTOCOL;
    }
    uint64_t value;
    TRY(slice_parse_u64(slice_first(text, digits), max >> shift, &value));
    *out_value = value << shift;
    return ERR_OK;
}

static bool is_choice(const char *choices, struct slice text)
{
    struct slice rest = slice_str(choices), one;
    bool more = true;
    while (more) {
        more = slice_cut(rest, '|', &one, &rest);
        if (slice_eq(one, text))
            return true;
    }
    return false;
}

MUST_USE static enum err read_string(const struct config_key *key, struct slice text,
                                     struct config *config, struct err_note *out_note)
{
    struct slice copy;
    if (text.len < key->min || text.len > key->max || slice_find_byte(text, '\0') != SLICE_NPOS)
        return out_of_range(key, text, out_note);
    if (!utf8_is_valid(text)) /* it travels as JSON, to other processes and to clients */
        return err_note_fail(out_note, ERR_REFUSED, "%s must be UTF-8", key->name);
    TRY(arena_dup(config->arena, text, &copy));
    *(const char **)(void *)((char *)config + key->offset) = copy.data;
    return ERR_OK;
}

MUST_USE static enum err read_number(const struct config_key *key, struct slice text,
                                     struct config *config, struct err_note *out_note)
{
    uint64_t value;
    enum err err = key->type == CONFIG_BYTES ? read_bytes(text, key->max, &value)
                                             : slice_parse_u64(text, key->max, &value);
    if (err != ERR_OK || value < key->min)
        return out_of_range(key, text, out_note);
    void *field = (char *)config + key->offset;
    if (key->type == CONFIG_BYTES)
        *(uint64_t *)field = value;
    else
        *(uint32_t *)field = (uint32_t)value;
    return ERR_OK;
}

MUST_USE static enum err read_cpus(const struct config_key *key, struct slice text,
                                   struct config *config, struct err_note *out_note)
{
    cpu_set_t cpus;
    struct err_note why;
    if (text.len > 0 && cpu_list_parse(text, &cpus, &why) != ERR_OK)
        return err_note_fail(out_note, ERR_REFUSED,
                             "%s is '" SLICE_FMT "': %s; allowed is empty, "
                             "or CPUs as in 0-3,8",
                             key->name, SLICE_ARG(slice_first(text, 64)), why.text);
    return read_string(key, text, config, out_note);
}

enum err config_key_read(const struct config_key *key, struct slice text, struct config *config,
                         struct err_note *out_note)
{
    bool *flag = (bool *)((char *)config + key->offset);
    switch (key->type) {
    case CONFIG_U32:
    case CONFIG_BYTES:
        return read_number(key, text, config, out_note);
    case CONFIG_BOOL:
        if (slice_eq_str(text, "true") || slice_eq_str(text, "1"))
            *flag = true;
        else if (slice_eq_str(text, "false") || slice_eq_str(text, "0"))
            *flag = false;
        else
            return out_of_range(key, text, out_note);
        return ERR_OK;
    case CONFIG_STRING:
        return read_string(key, text, config, out_note);
    case CONFIG_IPC_URL:
        return text.len == 0 || (slice_starts_with(text, SLICE("ipc:///")) && text.len > 7)
                   ? read_string(key, text, config, out_note)
                   : out_of_range(key, text, out_note);
    case CONFIG_CPUS:
        return read_cpus(key, text, config, out_note);
    case CONFIG_ADAPTERS:
        return config_adapters_read(text, config, out_note);
    case CONFIG_API_KEYS:
        return api_keys_read(text, config, out_note);
    case CONFIG_CHOICE:
        return is_choice(key->choices, text)
                   ? read_string(&(struct config_key){.name = key->name,
                                                      .offset = key->offset,
                                                      .max = SIZE_MAX},
                                 text, config, out_note)
                   : out_of_range(key, text, out_note);
    }
    return ERR_REFUSED;
}

const struct config_key *config_key_find(struct slice name)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (slice_eq_str(name, config_keys[i].name))
            return &config_keys[i];
    return NULL;
}

enum err config_key_set(const struct config_key *key, enum config_source source, struct slice text,
                        struct config *config, struct err_note *out_note)
{
    struct config_origin *origin = &config->origin[key - config_keys];
    struct err_note why;
    struct slice copy;
    if (config_key_read(key, text, config, &why) != ERR_OK)
        return err_note_fail(out_note, ERR_REFUSED, "%s: %s", config_source_name(source), why.text);
    TRY(arena_dup(config->arena, text, &copy));
    origin->text[source] = copy.data;
    origin->source = source;
    return ERR_OK;
}

void config_key_write(const struct config_key *key, const struct config *config, struct text *out)
{
    const void *field = (const char *)config + key->offset;
    switch (key->type) {
    case CONFIG_U32:
        text_add_u64(out, *(const uint32_t *)field);
        break;
    case CONFIG_BYTES:
        text_add_u64(out, *(const uint64_t *)field);
        break;
    case CONFIG_BOOL:
        text_add_str(out, *(const bool *)field ? "true" : "false");
        break;
    case CONFIG_STRING:
    case CONFIG_CHOICE:
    case CONFIG_IPC_URL:
    case CONFIG_CPUS:
        text_add_str(out, *(const char *const *)field);
        break;
    case CONFIG_ADAPTERS:
        config_adapters_write(config, out);
        break;
    case CONFIG_API_KEYS:
        api_keys_write(config, false, out);
        break;
    }
}
