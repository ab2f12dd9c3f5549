/* role_run - the roles as processes: `millrace gateway`, `millrace manager`, `millrace worker`.
 *
 * argv as config_load() takes it (argv[0] is the name for messages); under a host nothing of it
 * counts but the model. Each returns the exit status: role_process_run(). */
#pragma once

int role_run_gateway(int argc, char **argv);
int role_run_manager(int argc, char **argv);
/* A model that cannot be loaded ends it with status 1; the shipped model on a machine without an
 * engine library does not: the worker stays and its model is shown as failed. */
int role_run_worker(int argc, char **argv, const char *model);
