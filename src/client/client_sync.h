/* client_sync - an exchange that the caller waits for: a loop of its own, turned until there is
 * something to give. For command lines, tools and plain programs; client_request.h is for those who
 * have a loop. One thread at a time; never from a loop's callback.
 *
 *     TRY(client_sync_open(&options, &sync));
 *     while ((err = client_sync_next(sync, &event)) == ERR_OK)
 *         print(event.data);
 *     client_sync_close(&sync);
 *
 * 1. Nothing is read from the connection while the caller does something else, but what the last
 *    turn brought: so what is held is bounded by one turn's reading and CLIENT_SYNC_BODY_BYTES.
 * 2. Every wait ends: set the deadlines of the options (0 is for ever). */
#pragma once

#include "client/client_request.h"

enum { CLIENT_SYNC_BODY_BYTES = 16 * 1024 * 1024 /* of an answer that is no event stream */ };

struct client_sync;

/* Errors as client_request_start(); whether it can connect shows in the calls below. */
MUST_USE enum err client_sync_open(const struct client_options *options,
                                   struct client_sync **out_sync);
/* Waits for the final head: its status. Errors of client_events.on_done(). */
MUST_USE enum err client_sync_status(struct client_sync *sync, int *out_status);
/* The next event, valid until the next call. ERR_NOT_FOUND: the answer is whole, and no more come
 * (at once for one that is no event stream: see client_sync_body()); else how it ended, after the
 * events that came before. */
MUST_USE enum err client_sync_next(struct client_sync *sync, struct sse_event *out_event);
/* Waits for the end: the body of an answer that is no event stream. ERR_LIMIT: above
 * CLIENT_SYNC_BODY_BYTES. Valid until the close. */
MUST_USE enum err client_sync_body(struct client_sync *sync, struct slice *out_body);
/* Whatever its state: the connection is closed, which tells the server that nobody wants the rest.
 * Sets it NULL; NULL inside is fine. */
void client_sync_close(struct client_sync **sync);
