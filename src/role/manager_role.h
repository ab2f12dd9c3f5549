/* manager_role - the manager on one loop: from config to its options, its endpoint, its metrics. */
#pragma once

#include "role/place.h"

struct manager_role;

/* On `loop`'s thread, or before it runs. Errors of the bus, with note. */
MUST_USE enum err manager_role_open(const struct role_place *place, struct loop *loop,
                                    struct manager_role **out_role, struct err_note *out_note);
/* Its loop. on_drained once, from there: what waited has been told to ask the next manager. */
void manager_role_drain(struct manager_role *role, void (*on_drained)(void *ctx), void *ctx);
/* Its loop. What of a reloaded configuration is the manager's. */
void manager_role_reload(struct manager_role *role, const struct config *config);
uint32_t manager_role_streams(const struct manager_role *role); /* queued and assigned */
/* Sets it NULL; NULL inside is fine. */
void manager_role_close(struct manager_role **role);
