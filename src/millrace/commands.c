/* commands - from words on the command line to the parts of the program. */
#include "millrace/commands.h"

#include "base/log.h"
#include "cli/ps.h"
#include "host/host.h"
#include "role/role_run.h"
#include "solo/solo.h"

#include <stdio.h>
#include <unistd.h>

enum { SHOWN_MAX_BYTES = 16 * 1024 * 1024 };

/* Reads the configuration from argv, sets the log level, calls `then`. */
static int with_config(int argc, char **argv, int (*then)(const struct config *config))
{
    struct config *config;
    struct err_note note;
    enum log_level level;
    enum err err = config_load(argc, argv, environ, &config, &note);
    if (err == ERR_CANCELLED) /* --help was printed */
        return finish_output();
    if (err != ERR_OK) {
        fprintf(stderr, "millrace: %s\n", note.text);
        return 2;
    }
    if (log_level_parse(slice_str(config->log_level), &level) == ERR_OK)
        log_set_level(level);
    int status = then(config);
    config_free(config);
    return status;
}

int finish_output(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    perror("millrace: standard output");
    return 1;
}

/* --- serve and the roles --- */

static int serve_with(const struct config *config)
{
    struct text conflicts;
    text_init(&conflicts, SHOWN_MAX_BYTES);
    config_conflicts(config, &conflicts);
    fwrite(conflicts.data, 1, conflicts.len, stderr);
    text_fini(&conflicts);
    return config->is_solo ? solo_serve(config) : host_serve(config);
}

int command_serve(int argc, char **argv)
{
    return with_config(argc, argv, serve_with);
}

int command_ps(int argc, char **argv)
{
    return with_config(argc, argv, cli_ps);
}

int command_worker(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0))
        return role_run_worker(argc, argv, "dummy"); /* the options, and where they come from */
    if (argc < 2 || argv[1][0] == '-') {
        fputs("millrace worker: which model? 'dummy', or the name in default_model\n", stderr);
        return 2;
    }
    char *model = argv[1];
    argv[1] = argv[0]; /* the model is no argument of the configuration */
    return role_run_worker(argc - 1, argv + 1, model);
}

int command_version(int argc, char **argv)
{
    (void)argc, (void)argv;
    puts("millrace " MILLRACE_VERSION);
    return finish_output();
}

/* --- config --- */

static int print(struct text *text)
{
    fwrite(text->data, 1, text->len, stdout);
    text_fini(text);
    return finish_output();
}

static int check(const struct config *config)
{
    printf("config is fine%s%s\n", config->file[0] ? ": " : "", config->file);
    return finish_output();
}

static int show(const struct config *config)
{
    struct text lines;
    text_init(&lines, SHOWN_MAX_BYTES);
    config_show(config, &lines);
    return print(&lines);
}

int command_config_check(int argc, char **argv)
{
    return with_config(argc, argv, check);
}

int command_config_show(int argc, char **argv)
{
    return with_config(argc, argv, show);
}

int command_config_doc(int argc, char **argv)
{
    (void)argc, (void)argv;
    struct text table;
    text_init(&table, SHOWN_MAX_BYTES);
    config_doc_table(&table);
    return print(&table);
}
