/* config - everything an operator can set, read once into a const struct.
 *
 * Order: command line > environment > config file > default. File: --config, else CONFIG_PATH, else
 * config.json in the working folder if it is there. Unknown keys, wrong types and values out of
 * range are errors that name key, value, source and range; nothing is silently defaulted. Every key
 * is one row of keys.c: the three readers, `config show`, --help and docs/config.md (a test
 * compares) all come from it. Main thread. */
#pragma once

#include "base/arena.h"
#include "base/text.h"

enum config_source {
    CONFIG_DEFAULT,
    CONFIG_FILE,
    CONFIG_ENV,
    CONFIG_COMMAND_LINE,
    CONFIG_SNAPSHOT, /* from the host: snapshot.h */
    CONFIG_SOURCE_COUNT
};

enum {
    CONFIG_KEYS_MAX = 96,   /* rows of the table */
    CONFIG_WORKERS_MAX = 8, /* of one model, from the configuration */
    CONFIG_API_KEYS_MAX = 1024,
    CONFIG_API_KEY_NAME_MAX_BYTES = 64,
    CONFIG_TENANT_MAX_BYTES = 128,
    CONFIG_WEIGHT_MAX = 1000,
    CONFIG_ADAPTERS_MAX = 16,
    CONFIG_ADAPTERS_AT_ONCE = 2,
    CONFIG_ADAPTER_NAME_MAX_BYTES = 64
};

/* The key itself is nowhere: who shows something with this digest has it. */
struct config_api_key {
    const char *name;   /* unique */
    const char *tenant; /* as named, else the name */
    uint8_t sha256[32]; /* unique */
    uint32_t weight;    /* 1..CONFIG_WEIGHT_MAX */
};

struct config_adapter { /* LoRA, of the GGUF model */
    const char *name;   /* unique; letters, digits, - _ . */
    const char *path;
    float scale; /* for requests that name none; 0, in all but CONFIG_ADAPTERS_AT_ONCE: without */
};

/* As asked for: what depends on the machine (threads by cores, slots by memory) is resolved by who
 * uses it, and logged there. Strings live as long as the config; none is NULL. */
struct config {
    /* listening */
    uint32_t http_port; /* 0: the kernel picks */
    const char *http_host;
    const struct config_api_key *keys; /* key_count of them; the file alone can set them */
    size_t key_count;
    bool allow_no_keys; /* a non-loopback http_host without keys is refused unless set */
    const char
        *allowed_hosts; /* comma-separated names for Host beside the bind address and localhost */
    const char
        *allowed_origins; /* comma-separated origins, "*" = any; "": the same host, any port */
    uint32_t worker_threads;
    /* models */
    const char *default_model;
    const char *llama_model_path;            /* "": the shipped model below data_dir */
    const struct config_adapter *llama_lora; /* llama_lora_count of them */
    size_t llama_lora_count;
    uint32_t llama_n_ctx;
    uint32_t llama_workers; /* 1..CONFIG_WORKERS_MAX processes, each with all of what follows */
    uint32_t llama_slots;   /* 0: what fits kv_memory, at most 8 */
    uint32_t llama_n_threads, llama_n_threads_batch; /* 0: as many as role/models.c finds */
    const char *llama_cpus;                          /* "0-3,8" (base/cpu_list.h); "": any */
    uint64_t kv_memory; /* bytes for the caches of all slots; 0: a quarter of what is available */
    const char *kv_type_k, *kv_type_v; /* "f16", "f32", "q8_0" or "q4_0" */
    uint32_t llama_n_gpu_layers;
    const char *llama_load;      /* "auto", "mmap" or "read" */
    uint64_t prefix_cache_bytes; /* 0: no prefix cache */
    uint64_t prefix_disk_bytes;  /* 0: what is saved is in memory alone */
    uint32_t target_itl_ms;      /* 0: found by itself */
    uint32_t draft_tokens;       /* of a step; 0: nothing is guessed */
    const char *engine_profile;  /* "exact" or "fast" */
    uint32_t self_test_ms;       /* 0: no self-test and no calibration */
    const char *engine_dir;      /* "": search */
    const char *data_dir;
    uint32_t default_max_tokens;
    /* admission and time, milliseconds */
    uint32_t max_model_queue, max_queue_wait_ms, model_load_timeout_ms;
    uint32_t park_ms, stall_ms, head_hold_ms, drain_ms, ping_ms;
    /* HTTP limits */
    uint32_t max_connections, streams_per_key, head_ms, body_ms, idle_ms, head_max_fields;
    uint64_t head_max_bytes, body_max_bytes, out_max_bytes, bus_peer_max_bytes;
    /* roles */
    const char *state_dir; /* "": the user's own (role/folders.h) */
    const char *bus_url;   /* "": embedded; "ipc:///folder" of a switch */
    uint32_t role_dead_ms, watchdog_ms;
    bool is_solo; /* serve --solo: all roles in one process. Of the command line alone, no key. */
    /* output */
    uint32_t sse_chunk_size;
    const char *log_level; /* "error", "warn", "info" or "debug" */
    /* the built-in model `dummy` */
    uint32_t dummy_workers, dummy_tokens, dummy_delay_ms, dummy_prefill_us, dummy_slots,
        dummy_fail_at, dummy_stall_at, dummy_load_ms;
    const char *dummy_text;
    bool dummy_clock;

    /* where it came from */
    const char *file; /* the config file that was read; "": none */
    struct config_origin {
        enum config_source source;
        const char
            *text[CONFIG_SOURCE_COUNT]; /* the value as each source gave it; NULL: it did not */
    } origin[CONFIG_KEYS_MAX];
    struct arena *arena;
    int argc; /* borrowed, for config_reload() */
    char **argv;
};

/* argv[0] is the name for messages. Options: "--http-port 9000", "--http-port=9000", "--config
 * FILE", a switch alone ("--allow-no-keys") means true, and the first bare argument is http_port.
 * --model is short for --llama-model-path, --port and --host for http_port and http_host. `env` is
 * like environ. ERR_REFUSED: wrong, *out_note says what; ERR_CANCELLED: --help was printed. */
MUST_USE enum err config_load(int argc, char **argv, char *const *env, struct config **out_config,
                              struct err_note *out_note);
void config_free(struct config *config); /* NULL is fine */
/* Reads the same sources again; argv of config_load() must still be there. `env` may have moved
 * since (setenv), so it is asked for. */
MUST_USE enum err config_reload(const struct config *config, char *const *env,
                                struct config **out_config, struct err_note *out_note);

/* is_live: a running role takes the new value (SIGHUP); else it needs a restart. */
typedef void config_change_fn(void *ctx, const char *key, bool is_live);
/* Calls for every key whose value differs. */
void config_changes(const struct config *before, const struct config *after,
                    config_change_fn *on_change, void *ctx);

/* "http_port = 8080    (default)" per key, secrets masked. */
void config_show(const struct config *config, struct text *out);
/* One line per key that two sources set to different values: which won, and what the other said. */
void config_conflicts(const struct config *config, struct text *out);
/* The table of docs/config.md. */
void config_doc_table(struct text *out);
