/* zmq_switch_listen - where the socket of the switch lies, and who may reach it: the owner's
 * folder, mode 0700, and in it a socket that takes connections of his uid only. */
#pragma once

#include "base/err.h"

enum { ZMQ_SWITCH_ADDRESS_BYTES = 128 };

/* "ipc://DIRECTORY/bus". ERR_LIMIT: longer than a socket's path may be. */
MUST_USE enum err zmq_switch_address(const char *directory,
                                     char out_address[ZMQ_SWITCH_ADDRESS_BYTES]);
/* Sets the options of a ROUTER and binds it. Errors as zmq_switch_new(). */
MUST_USE enum err zmq_switch_listen(void *socket, const char *address, const char *directory,
                                    struct err_note *out_note);
/* Removes the socket file of one that listens; libzmq leaves it. */
void zmq_switch_unlisten(const char *address);
