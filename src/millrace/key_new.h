/* key_new - `millrace key new`: makes an API key. The key goes to stdout once and is kept nowhere;
 * the entry for `keys` in config.json, on the next line, has only its digest. */
#pragma once

/* argv[0] is the name for messages; --name NAME, --tenant NAME, --weight N. The exit status: 1: no
 * random numbers, or stdout takes nothing; 2: the command line. */
int key_new(int argc, char **argv);
