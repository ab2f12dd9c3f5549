/* node_state - what a worker tells everyone about itself: on every change and every second
 * (NODE_STATE_INTERVAL_MS). Who has not been heard for NODE_STATE_DEAD_MS is gone. JSON. Pure. */
#pragma once

#include "base/arena.h"
#include "base/text.h"

enum { NODE_STATE_INTERVAL_MS = 1000, NODE_STATE_DEAD_MS = 5000 };

enum { NODE_FINGERPRINT_BYTES = 32 }; /* hex digits */

enum node_phase { NODE_LOADING, NODE_READY, NODE_FAILED, NODE_DRAINING, NODE_PHASE_COUNT };
const char *node_phase_name(enum node_phase phase); /* "loading" ... */

/* Does an answer depend on what else runs (docs/design/022-self-test.md)? */
enum node_determinism {
    NODE_DETERMINISM_UNKNOWN, /* not tested yet, or it cannot be */
    NODE_EXACT,               /* no: the same bits, whatever the batch */
    NODE_COMPATIBLE,          /* it may: sums are added in other orders */
    NODE_DETERMINISM_COUNT
};
const char *node_determinism_name(enum node_determinism determinism); /* "unknown" ... */

struct node_numerics {
    struct slice profile; /* "exact", "fast"; empty: it does not say, and nothing of the rest */
    enum node_determinism determinism;
    uint32_t width_max;       /* streams at once that it was tested with */
    struct slice fingerprint; /* where equal, and both are exact, answers are equal; or empty */
};

enum { NODE_ADAPTERS_MAX = 16 };

struct node_adapter { /* LoRA; its id is its place in the list */
    struct slice name;
    float scale; /* of requests that name none; 0: without it */
};

struct node_state {
    struct slice node;    /* unique: name + generation */
    struct slice model;   /* the name requests use */
    struct slice engine;  /* "llama", "dummy" */
    struct slice detail;  /* model description, or why it failed */
    struct slice control; /* subject for direct control */
    enum node_phase phase;
    float load_fraction;
    uint32_t layers;         /* of the model; 0: it does not say, or not yet */
    bool reads_only;         /* it makes no tokens: embeddings, scores */
    uint32_t context_tokens; /* of one sequence */
    uint32_t slots, slots_busy, queued, parked;
    int64_t created_s;     /* wall clock: when the model was loaded or its file made */
    uint64_t size_bytes;   /* of the weights; 0: not known yet */
    uint64_t tokens_total; /* sampled since start */
    int64_t last_token_ms; /* wall clock of the last sampled token; 0: none yet */
    struct node_numerics numerics;
    const struct node_adapter *adapters; /* at most NODE_ADAPTERS_MAX; known once it is ready */
    size_t adapter_count;
};
/* A detail beyond 1365 bytes is cut. Text overflow shows in text_status(). */
void node_state_encode(const struct node_state *state, struct text *out);
/* The strings are copied into the arena. ERR_PROTOCOL: not a node state; ERR_LIMIT: a string or
 * number beyond its limit (names 256 bytes, detail 4096, profile and fingerprint 32), or no room.
 */
MUST_USE enum err node_state_decode(struct slice payload, struct arena *arena,
                                    struct node_state *out_state);
