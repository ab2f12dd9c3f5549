/* config - the three readers (file, environment, command line) over the one table, and what shows
 * it. */
#include "config/config.h"

#include "base/json.h"
#include "base/mem.h"
#include "config/api_keys.h"
#include "config/keys.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* The arena holds each value of each source twice: as given and as read. */
enum { CONFIG_FILE_MAX_BYTES = 1024 * 1024, CONFIG_ARENA_BYTES = 32 * 1024 * 1024 };
/* The longest is dummy_text; keys come from a file that is no larger. */
enum { CONFIG_VALUE_MAX_BYTES = 8 * 1024 * 1024 };

const char *config_source_name(enum config_source source)
{
    static const char *const names[CONFIG_SOURCE_COUNT] = {"default", "config file", "environment",
                                                           "command line", "host"};
    return names[source];
}

/* --- defaults and environment --- */

MUST_USE static enum err read_defaults(struct config *config, struct err_note *out_note)
{
    for (size_t i = 0; i < config_key_count; i++)
        TRY(config_key_set(&config_keys[i], CONFIG_DEFAULT, slice_str(config_keys[i].initial),
                           config, out_note));
    return ERR_OK;
}

static struct slice env_value(char *const *env, const char *name)
{
    size_t len = strlen(name);
    for (; env && *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return slice_str(*env + len + 1);
    return (struct slice){NULL, 0};
}

/* A variable that is set but empty counts as not set, as in most tools. */
MUST_USE static enum err read_env(struct config *config, char *const *env,
                                  struct err_note *out_note)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (!config_keys[i].env)
            continue;
        struct slice value = env_value(env, config_keys[i].env);
        if (value.len > 0)
            TRY(config_key_set(&config_keys[i], CONFIG_ENV, value, config, out_note));
    }
    return ERR_OK;
}

/* --- the file --- */

MUST_USE static enum err read_file(const char *path, struct text *out_bytes,
                                   struct err_note *out_note)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_note_fail(out_note, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, "%s: %s", path,
                             strerror(errno));
    struct stat info;
    enum err err = ERR_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        err = err_note_fail(out_note, ERR_SYSTEM, "%s is not a regular file", path);
    for (ssize_t got = 1; err == ERR_OK && got > 0;) {
        char block[4096];
        got = read(fd, block, sizeof(block));
        if (got < 0)
            err = err_note_fail(out_note, ERR_SYSTEM, "%s: %s", path, strerror(errno));
        else
            text_add(out_bytes, slice_of(block, (size_t)got));
    }
    close(fd);
    if (err == ERR_OK && text_status(out_bytes) != ERR_OK)
        err = err_note_fail(out_note, ERR_LIMIT, "%s is larger than %d bytes", path,
                            CONFIG_FILE_MAX_BYTES);
    return err;
}

static bool is_list(const struct config_key *key)
{
    return key->type == CONFIG_API_KEYS || key->type == CONFIG_ADAPTERS;
}

/* A JSON value as the text that config_key_read() takes; false when the type cannot be right. */
static bool value_text(const struct config_key *key, const json_t *value, struct text *out)
{
    if (json_is_integer(value) && (key->type == CONFIG_U32 || key->type == CONFIG_BYTES))
        text_add_i64(out, json_integer_value(value));
    else if (json_is_boolean(value) && key->type == CONFIG_BOOL)
        text_add_str(out, json_is_true(value) ? "true" : "false");
    else if (json_is_array(value) && is_list(key))
        json_add_value(out, value); /* to be read again there */
    else if (json_is_string(value) && key->type != CONFIG_U32 && key->type != CONFIG_BOOL &&
             !is_list(key))
        text_add(out, json_slice(value));
    else
        return false;
    return text_status(out) == ERR_OK;
}

MUST_USE static enum err read_member(struct config *config, const char *path, const char *name,
                                     const json_t *value, struct err_note *out_note)
{
    static const char *const wanted[] = {[CONFIG_U32] = "a number",
                                         [CONFIG_BYTES] = "a number or a string like \"8MiB\"",
                                         [CONFIG_BOOL] = "true or false",
                                         [CONFIG_STRING] = "a string",
                                         [CONFIG_CHOICE] = "a string",
                                         [CONFIG_IPC_URL] = "a string",
                                         [CONFIG_CPUS] = "a string like \"0-3,8\"",
                                         [CONFIG_ADAPTERS] = "a list of objects",
                                         [CONFIG_API_KEYS] = "a list of objects"};
    const struct config_key *key = config_key_find(slice_str(name));
    if (!key)
        return err_note_fail(out_note, ERR_REFUSED, "%s: unknown key '%.64s'", path, name);
    struct text text;
    text_init(&text, CONFIG_FILE_MAX_BYTES);
    enum err err;
    struct err_note why;
    if (!value_text(key, value, &text))
        err = err_note_fail(out_note, ERR_REFUSED, "%s: %s must be %s", path, name,
                            wanted[key->type]);
    else if ((err = config_key_set(key, CONFIG_FILE, text_slice(&text), config, &why)) != ERR_OK)
        err = err_note_fail(out_note, err, "%s: %s", path, why.text);
    text_fini(&text);
    return err;
}

MUST_USE static enum err read_object(struct config *config, const char *path, struct slice bytes,
                                     struct err_note *out_note)
{
    json_t *root;
    struct err_note why;
    if (json_read(bytes, 8, &root, &why) != ERR_OK)
        return err_note_fail(out_note, ERR_REFUSED, "%s: %s", path, why.text);
    enum err err = ERR_OK;
    if (!json_is_object(root))
        err = err_note_fail(out_note, ERR_REFUSED, "%s: must be a JSON object", path);
    const char *name;
    json_t *value;
    if (err == ERR_OK)
        json_object_foreach(root, name, value)
        {
            err = read_member(config, path, name, value, out_note);
            if (err != ERR_OK)
                break;
        }
    json_decref(root);
    return err;
}

/* `asked`: the operator named the file, so it must be there. */
MUST_USE static enum err read_config_file(struct config *config, const char *path, bool asked,
                                          struct err_note *out_note)
{
    struct text bytes;
    text_init(&bytes, CONFIG_FILE_MAX_BYTES);
    enum err err = read_file(path, &bytes, out_note);
    if (err == ERR_NOT_FOUND && !asked) {
        text_fini(&bytes);
        return ERR_OK;
    }
    if (err == ERR_OK)
        err = read_object(config, path, text_slice(&bytes), out_note);
    struct slice copy;
    if (err == ERR_OK && (err = arena_dup(config->arena, slice_str(path), &copy)) == ERR_OK)
        config->file = copy.data;
    text_fini(&bytes);
    return err == ERR_OK ? ERR_OK : ERR_REFUSED;
}

/* --- the command line: argp over the table --- */

enum { OPTION_CONFIG = 0x1000, OPTION_SOLO, OPTION_KEYS };

struct command_line {
    struct config *config; /* NULL in the first pass, which looks for --config only */
    const char *config_path;
    const char *bad_word; /* what argp stumbled over */
    struct err_note *note;
    bool port_seen, failed;
};

static error_t fail_option(struct command_line *line)
{
    line->failed = true;
    return EINVAL;
}

static error_t take_key(struct command_line *line, const struct config_key *key, const char *value)
{
    if (!line->config)
        return 0;
    if (!value)
        value = "true"; /* a switch alone */
    return config_key_set(key, CONFIG_COMMAND_LINE, slice_str(value), line->config, line->note) ==
                   ERR_OK
               ? 0
               : fail_option(line);
}

static error_t take_argument(struct command_line *line, const char *argument)
{
    if (line->port_seen) {
        (void)err_note_fail(line->note, ERR_REFUSED, /* the code travels as EINVAL */
                            "command line: unexpected argument '%.64s'", argument);
        return fail_option(line);
    }
    line->port_seen = true;
    return take_key(line, config_key_find(SLICE("http_port")), argument);
}

static error_t on_option(int key, char *value, struct argp_state *state)
{
    struct command_line *line = state->input;
    if (key == OPTION_CONFIG) {
        line->config_path = value;
        return 0;
    }
    if (key == ARGP_KEY_ERROR)
        line->bad_word = state->next > 0 ? state->argv[state->next - 1] : NULL;
    if (key == OPTION_SOLO) {
        if (line->config)
            line->config->is_solo = true;
        return 0;
    }
    if (key == ARGP_KEY_ARG)
        return take_argument(line, value);
    if (key >= OPTION_KEYS && key < OPTION_KEYS + (int)config_key_count)
        return take_key(line, &config_keys[key - OPTION_KEYS], value);
    return ARGP_ERR_UNKNOWN;
}

/* "http_port" -> "http-port", in the arena. */
static const char *option_name(struct arena *arena, const char *key_name)
{
    struct slice copy;
    if (arena_dup(arena, slice_str(key_name), &copy) != ERR_OK)
        return NULL;
    for (char *c = (char *)(uintptr_t)copy.data; *c; c++)
        if (*c == '_')
            *c = '-';
    return copy.data;
}

static const struct argp_option *option_table(struct arena *arena)
{
    struct argp_option *options =
        arena_array(arena, 2 * config_key_count + 3, sizeof(struct argp_option));
    ASSERT(options); /* the arena holds megabytes, the table kilobytes */
    size_t count = 0;
    options[count++] = (struct argp_option){
        "config", OPTION_CONFIG, "FILE", 0, "config file; else CONFIG_PATH, else ./config.json", 0};
    options[count++] =
        (struct argp_option){"solo", OPTION_SOLO, NULL, 0, "serve: all roles in one process", 0};
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->type == CONFIG_API_KEYS)
            continue;
        bool is_switch = key->type == CONFIG_BOOL;
        options[count++] = (struct argp_option){option_name(arena, key->name),
                                                OPTION_KEYS + (int)i,
                                                is_switch ? "BOOL" : "VALUE",
                                                is_switch ? OPTION_ARG_OPTIONAL : 0,
                                                key->help,
                                                0};
        if (key->alias)
            options[count++] = (struct argp_option){key->alias, 0, NULL, OPTION_ALIAS, NULL, 0};
    }
    return options;
}

static struct argp argp_of(struct arena *arena)
{
    return (struct argp){.options = option_table(arena),
                         .parser = on_option,
                         .args_doc = "[PORT]",
                         .doc = "Serves language models as streams. Every option is also a key of "
                                "config.json and an environment variable: see docs/config.md."};
}

MUST_USE static enum err read_command_line(int argc, char **argv, struct arena *arena,
                                           struct command_line *line)
{
    const struct argp argp = argp_of(arena);
    error_t error = argp_parse(&argp, argc, argv, ARGP_NO_EXIT | ARGP_NO_ERRS, NULL, line);
    if (error == 0)
        return ERR_OK;
    if (!line->failed)
        return err_note_fail(line->note, ERR_REFUSED,
                             "command line: unknown option, or one without its value: '%.64s'",
                             line->bad_word ? line->bad_word : "?");
    return ERR_REFUSED;
}

/* ARGP_NO_ERRS silences --help too, so it is looked for by hand. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-?") == 0)
            return true;
    return false;
}

static void print_help(const char *name, struct arena *arena)
{
    const struct argp argp = argp_of(arena);
    argp_help(&argp, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_PRE_DOC,
              (char *)(uintptr_t)name);
}

/* --- all of it --- */

MUST_USE static enum err read_sources(struct config *config, int argc, char **argv,
                                      char *const *env, struct err_note *out_note)
{
    struct command_line line = {.note = out_note};
    TRY(read_command_line(argc, argv, config->arena, &line));
    struct slice from_env = env_value(env, "CONFIG_PATH");
    const char *path = line.config_path ? line.config_path
                       : from_env.len   ? from_env.data
                                        : "config.json";
    TRY(read_defaults(config, out_note));
    TRY(read_config_file(config, path, line.config_path || from_env.len, out_note));
    TRY(read_env(config, env, out_note));
    line = (struct command_line){.config = config, .note = out_note};
    return read_command_line(argc, argv, config->arena, &line);
}

struct config *config_new(void)
{
    struct config *config = mem_alloc(sizeof(*config));
    config->arena = arena_new(CONFIG_ARENA_BYTES);
    config->file = "";
    return config;
}

enum err config_load(int argc, char **argv, char *const *env, struct config **out_config,
                     struct err_note *out_note)
{
    struct config *config = config_new();
    config->argc = argc;
    config->argv = argv;
    enum err err = ERR_CANCELLED;
    if (wants_help(argc, argv))
        print_help(argv[0], config->arena);
    else
        err = read_sources(config, argc, argv, env, out_note);
    if (err != ERR_OK) {
        config_free(config);
        return err;
    }
    *out_config = config;
    return ERR_OK;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    arena_free(config->arena);
    mem_free(config);
}

enum err config_reload(const struct config *config, char *const *env, struct config **out_config,
                       struct err_note *out_note)
{
    return config_load(config->argc, config->argv, env, out_config, out_note);
}

/* By value, not by spelling: "8MiB" and "8388608" are the same. */
static bool is_same(const struct config_key *key, const struct config *one,
                    const struct config *other)
{
    struct text texts[2];
    const struct config *configs[] = {one, other};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        text_init(&texts[i], CONFIG_VALUE_MAX_BYTES);
        config_key_write(key, configs[i], &texts[i]);
        ASSERT(text_status(&texts[i]) == ERR_OK);
    }
    bool same = slice_eq(text_slice(&texts[0]), text_slice(&texts[1]));
    text_fini(&texts[0]);
    text_fini(&texts[1]);
    return same;
}

void config_changes(const struct config *before, const struct config *after,
                    config_change_fn *on_change, void *ctx)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (!is_same(&config_keys[i], before, after))
            on_change(ctx, config_keys[i].name, config_keys[i].is_live);
}

void config_show(const struct config *config, struct text *out)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_origin *origin = &config->origin[i];
        if (config_keys[i].type == CONFIG_API_KEYS) {
            text_add_f(out, "%-22s = ", config_keys[i].name);
            api_keys_write(config, true, out);
            text_add_f(out, " (%s)\n", config_source_name(origin->source));
        } else {
            text_add_f(out, "%-22s = %-24s (%s)\n", config_keys[i].name,
                       origin->text[origin->source], config_source_name(origin->source));
        }
    }
    text_add_f(out, "%s%s\n", config->file[0] ? "config file: " : "no config file", config->file);
}

void config_conflicts(const struct config *config, struct text *out)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_origin *origin = &config->origin[i];
        for (int other = CONFIG_FILE; other < (int)origin->source; other++)
            if (origin->text[other] && strcmp(origin->text[other], origin->text[origin->source]))
                text_add_f(out, "%s is %s from the %s; the %s says %s\n", config_keys[i].name,
                           origin->text[origin->source], config_source_name(origin->source),
                           config_source_name((enum config_source)other), origin->text[other]);
    }
}

void config_doc_table(struct text *out)
{
    text_add_str(out,
                 "| key | environment | default | allowed | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        struct text range;
        text_init(&range, 128);
        config_key_range(key, &range);
        bool is_data_dir = strcmp(key->name, "data_dir") == 0; /* its default is the build's */
        text_add_f(out, "| `%s` | %s%s%s | %s%s%s | ", key->name, key->env ? "`" : "",
                   key->env ? key->env : "-", key->env ? "`" : "", key->initial[0] ? "`" : "",
                   is_data_dir ? "set by the build" : key->initial, key->initial[0] ? "`" : "");
        for (size_t c = 0; c < range.len; c++) /* a bar would end the cell */
            text_add_str(out, range.data[c] == '|' ? ", " : (char[2]){range.data[c], 0});
        text_add_f(out, " | %s%s |\n", key->help, key->is_live ? " (live)" : "");
        text_fini(&range);
    }
}
