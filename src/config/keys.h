/* keys - the table of everything that can be set. One row per key; see config.h. */
#pragma once

#include "config/config.h"

enum config_type { CONFIG_U32, CONFIG_BYTES, CONFIG_BOOL, CONFIG_STRING, CONFIG_CHOICE };

struct config_key {
    const char *name; /* in config.json; the option is --name with dashes */
    const char *env;
    const char *alias; /* another option name, or NULL */
    enum config_type type;
    size_t offset;       /* in struct config */
    const char *initial; /* the default, as text */
    uint64_t min, max;   /* U32, BYTES: the value; STRING: the length in bytes */
    const char *choices; /* CHOICE: "a|b|c" */
    const char *help;    /* one line, with the unit */
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* Reads `text` into the key's field. *out_note says what is allowed. */
MUST_USE enum err config_key_read(const struct config_key *key, struct slice text,
                                  struct config *config, struct err_note *out_note);
/* "0..65535", "exact|fast", "true|false", "at most 255 bytes". */
void config_key_range(const struct config_key *key, struct text *out);
