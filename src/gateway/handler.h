/* handler - what the HTTP server asks the gateway about every head and request.
 *
 * At the head, before the body: access (access.h), 415, OPTIONS, 404, 405, 503 while draining. With
 * the whole request: its dialect (reply.h) or a short answer made on the spot. */
#pragma once

#include "gateway/gateway_state.h"

struct http_handler handler_of(struct gateway *gateway);
