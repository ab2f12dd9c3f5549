/* worker_role - one model's worker on one loop (and its engine's thread): from config to its
 * options, its endpoint, its metrics; and what the loss of its engine means. */
#pragma once

#include "role/place.h"

struct worker_role;

enum worker_loss {
    /* The shipped model, and no engine library on this machine: the worker stays, its model is
     * failed, who serves says how to get the engine. */
    WORKER_LACKS_ENGINE,
    WORKER_CANNOT_LOAD, /* what the operator asked for cannot be had */
    WORKER_BROKE        /* it had worked; the next one may */
};

/* From the loop; on_lost at most once, and the worker then takes nothing any more. */
struct worker_role_events {
    void (*on_ready)(void *ctx);
    void (*on_first_work)(void *ctx); /* worker.h; NULL: nobody wants to know */
    void (*on_lost)(void *ctx, enum worker_loss loss, const char *note);
    void *ctx;
};

/* `model`: "dummy", or the name in default_model. On `loop`'s thread, or before it runs. Errors
 * with note: ERR_NOT_FOUND: another model; of the bus; ERR_SYSTEM: no thread for the engine. */
MUST_USE enum err worker_role_open(const struct role_place *place, struct loop *loop,
                                   const char *model, const struct worker_role_events *events,
                                   struct worker_role **out_role, struct err_note *out_note);
/* Its loop. Lets what runs end for at most drain_ms; on_stopped once, from there. */
void worker_role_stop(struct worker_role *role, uint32_t drain_ms, void (*on_stopped)(void *ctx),
                      void *ctx);
const char *worker_role_model(const struct worker_role *role);
uint32_t worker_role_stuck_ms(const struct worker_role *role); /* worker_stuck_ms() */
uint32_t worker_role_streams(const struct worker_role *role);  /* all that it has */
/* One that was never stopped is stopped here, which turns its loop: not from inside a turn. Sets it
 * NULL; NULL inside is fine. */
void worker_role_close(struct worker_role **role);

/* One sentence or two on stderr, for whoever started it. */
void worker_loss_print(enum worker_loss loss, const char *model, const char *note);
