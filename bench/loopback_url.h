/* loopback_url - the server to measure or to stress: http://HOST:PORT on this machine, for what
 * is done to it is an attack elsewhere. */
#pragma once

#include "net/listener.h"

/* Nothing may stand behind the port but a slash. ERR_PROTOCOL or ERR_REFUSED + note. */
MUST_USE enum err loopback_url_parse(const char *url, struct net_address *out_address,
                                     struct err_note *out_note);
