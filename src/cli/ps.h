/* ps - `millrace ps`: the roles of the service with this state folder, as its host tells them. */
#pragma once

#include "config/config.h"

/* Prints the table; the exit status. 1: nothing runs, or it does not answer (a sentence on stderr
 * says which). */
int cli_ps(const struct config *config);
