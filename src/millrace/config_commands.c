/* config_commands - what the program says about its configuration. */
#include "millrace/config_commands.h"

#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

enum { SHOWN_MAX_BYTES = 16 * 1024 * 1024 };

int with_config(int argc, char **argv, int (*then)(const struct config *config))
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

int config_command_check(int argc, char **argv)
{
    return with_config(argc, argv, check);
}

int config_command_show(int argc, char **argv)
{
    return with_config(argc, argv, show);
}

int config_command_doc(int argc, char **argv)
{
    (void)argc, (void)argv;
    struct text table;
    text_init(&table, SHOWN_MAX_BYTES);
    config_doc_table(&table);
    return print(&table);
}
