/* commands - what the words on the command line do. argv[0] is the name for messages; each returns
 * the exit status: 0 as asked; 1 it could not, or stdout did not take its output; 2 the command
 * line or the configuration is wrong. */
#pragma once

int command_serve(int argc, char **argv); /* the host, or everything in one process (--solo) */
int command_ps(int argc, char **argv);
int command_worker(int argc, char **argv); /* MODEL first */
int command_config_check(int argc, char **argv);
int command_config_show(int argc, char **argv);
int command_config_doc(int argc, char **argv);
int command_version(int argc, char **argv);

/* The exit status of a command whose output is all that it does: 1 and a line on stderr when stdout
 * did not take it. */
int finish_output(void);
