/* config_commands - `millrace config check|show|doc`, and the way from a command line to a
 * configuration that they share with `serve`. */
#pragma once

#include "config/config.h"

/* Reads the configuration from argv (argv[0] is the name for messages), sets the log level, calls
 * `then`. The exit status: what `then` says; 0: --help was printed; 2: a mistake, told on stderr.
 */
int with_config(int argc, char **argv, int (*then)(const struct config *config));
/* The exit status of a command whose output is all that it does: 1 and a line on stderr when stdout
 * did not take it. */
int finish_output(void);

int config_command_check(int argc, char **argv);
int config_command_show(int argc, char **argv);
int config_command_doc(int argc, char **argv);
