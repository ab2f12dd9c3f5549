/* bus_door - where the socket of the switch lies, and who may come in: the owner's folder, mode
 * 0700, and in it a socket that takes connections of his uid only. */
#pragma once

#include "base/err.h"

#include <sys/types.h>
#include <sys/un.h>

enum { BUS_DOOR_BACKLOG = 1024 }; /* connections that may wait to be taken */

/* DIRECTORY/bus. ERR_LIMIT: longer than a socket's path may be. */
MUST_USE enum err bus_door_address(const char *directory, struct sockaddr_un *out_address);
/* A listening socket there, non-blocking. An old socket file is replaced; whoever wants one switch
 * per folder holds a lock. Errors as bus_switch_new(). */
MUST_USE enum err bus_door_open(const struct sockaddr_un *address, const char *directory,
                                int *out_fd, struct err_note *out_note);
/* Closes it, and removes the file. */
void bus_door_close(const struct sockaddr_un *address, int fd);
/* The next connection of a process of `uid`; others are closed on the way. ERR_AGAIN: nobody waits;
 * ERR_SYSTEM: no descriptor is left. */
MUST_USE enum err bus_door_accept(int fd, uid_t uid, int *out_fd);
