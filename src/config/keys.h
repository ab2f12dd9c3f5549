/* keys - the table of everything that can be set. One row per key; see config.h. */
#pragma once

#include "config/config.h"

enum config_type {
    CONFIG_U32,
    CONFIG_BYTES,
    CONFIG_BOOL,
    CONFIG_STRING,
    CONFIG_CHOICE,
    CONFIG_IPC_URL,  /* "" or ipc:///FOLDER */
    CONFIG_CPUS,     /* "" or base/cpu_list.h */
    CONFIG_ADAPTERS, /* adapters.h */
    CONFIG_API_KEYS  /* api_keys.h; from the file only */
};

struct config_key {
    const char *name;  /* in config.json; the option is --name with dashes */
    const char *env;   /* NULL: the config file only */
    const char *alias; /* another option name, or NULL */
    enum config_type type;
    size_t offset;       /* in struct config */
    const char *initial; /* the default, as text */
    uint64_t min, max;   /* U32, BYTES: the value; STRING: its bytes; lists: how many */
    const char *choices; /* CHOICE: "a|b|c" */
    const char *help;    /* one line, with the unit */
    bool is_live;        /* SIGHUP changes it; else it needs a restart */
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* Reads `text` into the key's field. *out_note says what is allowed. */
MUST_USE enum err config_key_read(const struct config_key *key, struct slice text,
                                  struct config *config, struct err_note *out_note);
/* "0..65535", "exact|fast", "true|false", "at most 255 bytes". */
void config_key_range(const struct config_key *key, struct text *out);
const struct config_key *config_key_find(struct slice name); /* NULL: there is none */
/* The same, and remembers that this source said so; the last source to speak wins. The note begins
 * with the source. */
MUST_USE enum err config_key_set(const struct config_key *key, enum config_source source,
                                 struct slice text, struct config *config,
                                 struct err_note *out_note);
/* The value in force as text that config_key_read() reads back to the same value: with secrets. */
void config_key_write(const struct config_key *key, const struct config *config, struct text *out);

/* Nothing is set, not even the defaults. */
struct config *config_new(void);
const char *config_source_name(enum config_source source);
