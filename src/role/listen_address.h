/* listen_address - where the configuration says to listen, and what a person is told about it. */
#pragma once

#include "config/config.h"
#include "net/listener.h"

/* ERR_REFUSED + note: others could reach it and there are no keys (allow_no_keys says that this is
 * meant); ERR_PROTOCOL + note: no address. */
MUST_USE enum err listen_address(const struct config *config, struct net_address *out_address,
                                 struct err_note *out_note);
/* On stdout, flushed: "millrace 1.2.3 is listening on http://...", and requests to try. The first
 * thing a newcomer reads; tests read the address from the first line. */
void listen_address_print(const struct net_address *address, const struct config *config);
