/* millrace - one binary, a sub-command per role. */
#include "base/err.h"
#include "millrace/commands.h"
#include "millrace/key_new.h"
#include "role/role_run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static int help(int argc, char **argv);

static const struct command {
    const char *words; /* what is typed: one or two */
    int (*run)(int argc, char **argv);
    const char *arguments, *meaning; /* NULL: not listed */
} commands[] = {
    {"serve", command_serve, "[PORT] [options]",
     "everything on this machine; --help lists the options"},
    {"ps", command_ps, "[options]", "the processes of the service with this state folder"},
    {"gateway", role_run_gateway, "[PORT] [options]",
     "one role by hand, at --bus-url ipc:///FOLDER"},
    {"manager", role_run_manager, "[options]", "as above"},
    {"worker", command_worker, "MODEL [options]",
     "as above; MODEL: dummy, or the name in default_model"},
    {"key new", key_new, "--name NAME [--tenant NAME] [--weight N]",
     "an API key and its entry for config.json"},
    {"config check", command_config_check, "[options]", "read the configuration as serve would"},
    {"config show", command_config_show, "[options]", "every value, and where it came from"},
    {"config doc", command_config_doc, "", "the table of all keys, in Markdown"},
    {"version", command_version, "", ""},
    {"--version", command_version, NULL, NULL},
    {"help", help, "", ""},
    {"--help", help, NULL, NULL},
};

static void print_usage(FILE *file)
{
    fputs("millrace " MILLRACE_VERSION " - serves language models as streams\n\n", file);
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        const struct command *command = &commands[i];
        if (!command->arguments)
            continue;
        fprintf(file, "  millrace %s%s%s\n", command->words, command->arguments[0] ? " " : "",
                command->arguments);
        if (command->meaning[0])
            fprintf(file, "      %s\n", command->meaning);
    }
}

static int help(int argc, char **argv)
{
    (void)argc, (void)argv;
    print_usage(stdout);
    return finish_output();
}

/* "serve" or "config show": how many arguments it takes up; 0: it is not there. */
static int match(const char *words, int argc, char **argv)
{
    char typed[64];
    int count = strchr(words, ' ') ? 2 : 1;
    if (argc <= count)
        return 0;
    snprintf(typed, sizeof(typed), "%s%s%s", argv[1], count == 2 ? " " : "",
             count == 2 ? argv[2] : "");
    return strcmp(typed, words) == 0 ? count : 0;
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a closed peer is an error code, not the end */
    /* Else ggml, on its way to abort, starts a debugger that it finds installed, and waits for it.
     */
    setenv("GGML_NO_BACKTRACE", "1", 0);
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        int count = match(commands[i].words, argc, argv);
        char name[64];
        snprintf(name, sizeof(name), "millrace %s", commands[i].words);
        if (count) {
            argv[count] = name;
            return commands[i].run(argc - count, argv + count);
        }
    }
    print_usage(stderr);
    return 2;
}
