/* millrace - one binary, a sub-command per role. */
#include "base/log.h"
#include "config/config.h"
#include "solo/solo.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] =
    "millrace " MILLRACE_VERSION " - serves language models as streams\n\n"
    "  millrace serve [PORT] [options]         everything on this machine; --help lists the "
    "options\n"
    "  millrace config check|show [options]    read the configuration as serve would; show where "
    "it came from\n"
    "  millrace config doc                     the table of all keys, in Markdown\n"
    "  millrace version\n";

/* Else the first sockets of a process that was started without them would get these numbers, and
 * log lines would go to a client. */
static void fill_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        (void)close(fd); /* nothing was written */
}

/* The exit status of a command whose output is all that it does. */
static int finish_output(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    perror("millrace: standard output");
    return 1;
}

static void print_text(struct text *text, FILE *file)
{
    fwrite(text->data, 1, text->len, file);
    text_clear(text);
}

static int serve(const struct config *config)
{
    struct text conflicts;
    text_init(&conflicts, 65536);
    config_conflicts(config, &conflicts);
    print_text(&conflicts, stderr);
    text_fini(&conflicts);
    return solo_serve(config);
}

static int show(const struct config *config)
{
    struct text lines;
    text_init(&lines, 4 * 1024 * 1024);
    config_show(config, &lines);
    print_text(&lines, stdout);
    text_fini(&lines);
    return finish_output();
}

static int check(const struct config *config)
{
    printf("config is fine%s%s\n", config->file[0] ? ": " : "", config->file);
    return finish_output();
}

static int print_doc_table(void)
{
    struct text table;
    text_init(&table, 1024 * 1024);
    config_doc_table(&table);
    print_text(&table, stdout);
    text_fini(&table);
    return finish_output();
}

/* Loads the config from argv (argv[0] is the name for messages), sets the log level, calls `then`.
 */
static int with_config(int argc, char **argv, int (*then)(const struct config *config))
{
    struct config *config;
    struct err_note note;
    enum log_level level;
    enum err err = config_load(argc, argv, environ, &config, &note);
    if (err == ERR_CANCELLED) /* --help was printed */
        return 0;
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

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a closed peer is an error code, not the end */
    /* Else ggml, on its way to abort, starts a debugger that it finds installed, and waits for it.
     */
    setenv("GGML_NO_BACKTRACE", "1", 0);
    const char *command = argc > 1 ? argv[1] : "";
    const char *verb = argc > 2 ? argv[2] : "";
    if (strcmp(command, "serve") == 0) {
        argv[1] = (char[]){"millrace serve"};
        return with_config(argc - 1, argv + 1, serve);
    }
    if (strcmp(command, "config") == 0 && strcmp(verb, "doc") == 0)
        return print_doc_table();
    if (strcmp(command, "config") == 0 &&
        (strcmp(verb, "show") == 0 || strcmp(verb, "check") == 0)) {
        argv[2] = (char[]){"millrace config"};
        return with_config(argc - 2, argv + 2, strcmp(verb, "show") == 0 ? show : check);
    }
    if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0) {
        puts("millrace " MILLRACE_VERSION);
        return 0;
    }
    bool asked = strcmp(command, "help") == 0 || strcmp(command, "--help") == 0;
    fputs(usage, asked ? stdout : stderr);
    return asked ? 0 : 2;
}
