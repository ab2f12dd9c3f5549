/* gateway_role - the gateway on N loops, each on a thread of its own: from config to options, and
 * the way between these threads and the main one.
 *
 *   open (main thread, nothing runs) -> start (threads run) -> drain -> on_drained -> close
 *
 * Everything here is called from the main loop's thread, and calls back there. */
#pragma once

#include "net/listener.h"
#include "role/place.h"

enum { GATEWAY_THREADS_MAX = 64 };

struct gateway_role;

/* How many threads, and so listening sockets, there are: min(worker_threads, cores, 64). */
unsigned gateway_role_threads(const struct config *config);

/* Listens on `address` (claimed by the caller) with gateway_role_threads() sockets of its own; or,
 * if fd_count > 0, on these, one thread for each: they are taken, also when it fails. Errors with
 * note: of the bus, of listening. */
MUST_USE enum err gateway_role_open(const struct role_place *place, struct loop *main_loop,
                                    const struct net_address *address, const int *fds,
                                    size_t fd_count, struct gateway_role **out_role,
                                    struct err_note *out_note);
MUST_USE enum err gateway_role_start(struct gateway_role *role); /* ERR_SYSTEM: no threads */
/* Takes what may change while it serves (keys, hosts, origins) from *config, which it keeps as long
 * as a thread needs it and sets NULL. Requests in flight go on. */
void gateway_role_reload(struct gateway_role *role, struct config **config);
/* Refuses new requests, lets streams end for at most drain_ms. on_drained once. */
void gateway_role_drain(struct gateway_role *role, uint32_t drain_ms, void (*on_drained)(void *ctx),
                        void *ctx);
/* Has every thread turned within GATEWAY_TURN_LATE_MS? They do it of themselves each
 * GATEWAY_TURN_MS. */
bool gateway_role_is_alive(const struct gateway_role *role);
enum { GATEWAY_TURN_MS = 200, GATEWAY_TURN_LATE_MS = 300 };
uint32_t gateway_role_streams(const struct gateway_role *role); /* in flight, as of the last turn */
/* At once, whatever is in flight. Sets it NULL; NULL inside is fine. */
void gateway_role_close(struct gateway_role **role);
