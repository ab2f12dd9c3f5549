/* load_poll - asks a server what it has in flight, on a connection of its own. */
#pragma once

#include "load.h"

struct load_poll {
    /* Only to be read. */
    uint32_t in_flight, queued; /* by the last answer; queued ones are in flight, too */
    uint64_t asked_us;
    bool is_asking;

    /* Private. */
    struct load *load;
    struct exchange exchange;
    struct text request;
    void (*on_answer)(void *ctx);
    void *ctx;
};

/* on_answer: in_flight and queued are new. It does not come for an answer that is wrong (a doubt).
 */
void load_poll_init(struct load_poll *poll, struct load *load, void (*on_answer)(void *ctx),
                    void *ctx);
void load_poll_fini(struct load_poll *poll);
/* Asks, unless it is asking. */
void load_poll_ask(struct load_poll *poll);

/* Pure: reads the page of that kind of server. False: it does not say, or not all. */
bool load_poll_read(enum load_poll_peer peer, struct slice page, uint32_t *out_in_flight,
                    uint32_t *out_queued);
