/* worker_rig - a worker with a dummy engine, a tiny manager (manager_rig.h) and an asker, on one
 * loop over bus_mem, for tests. The engine has its own thread, so time is real here: waits are for
 * events, and give up after RIG_PATIENCE_S. Tests only. */
#pragma once

#include "ask/ask.h"
#include "bus/bus_mem.h"
#include "wire/node_state.h"
#include "worker/manager_rig.h"
#include "worker/worker.h"

enum { RIG_PATIENCE_S = 10, RIG_ANSWERS_MAX = 256, RIG_EVENTS_MAX = 512 };

struct answer {
    struct rig *rig;
    struct ask *ask;               /* NULL once ended */
    struct text text;              /* of deltas, or the data of results */
    uint8_t types[RIG_EVENTS_MAX]; /* of the worker's events, in order */
    size_t event_count, token_count, prefill_count, result_count;
    bool reads; /* gives credit back at once */
    uint32_t held_events, held_bytes;
    bool is_started, has_ended;
    bool is_leaving; /* for the test's own use */
    enum done_reason reason;
    enum fault fault;
    bool is_error;
    char message[256], param[32];
    uint32_t completion_tokens, prompt_tokens, cached_tokens, prefill_tokens;
    uint64_t seed, opened_us, ended_us;
};

struct rig {
    struct loop *loop;
    struct bus_mem *bus_mem, *far_mem; /* far_mem: the asker's, if there is a relay */
    struct bus *worker_bus, *asker_bus, *watcher_bus;
    struct bus *relay_near, *relay_far;
    struct ask_hub *hub;
    struct manager_rig *manager;
    struct worker *worker;
    struct engine_dummy_options engine;
    struct worker_options options;
    struct ask_options ask;
    bool is_ready, has_failed, has_stopped, loads_badly;
    enum err failed_why;
    char failed_note[256];
    struct answer answers[RIG_ANSWERS_MAX];

    struct bus_subscription *watch;
    struct arena *state_arena;
    struct node_state state; /* the last one heard */
    size_t state_count;
    uint32_t lose_one_in; /* of the frames through the relay; 0: it is not there */
    uint64_t random;
    size_t relayed, lost;
};

/* Everything that can be done without waiting. */
void rig_turns(struct rig *rig);

/* A rig to be changed before rig_start(): one slot, 20 tokens without delay. */
struct rig *rig_new(void);
void rig_start(struct rig *rig);
/* Another one in its place, which knows nothing. */
void rig_replace_manager(struct rig *rig);
/* Also waits until the model is loaded, and the manager knows. */
void rig_start_ready(struct rig *rig);
void rig_free(struct rig *rig); /* stops what runs */

/* Turns until `is_so(ctx)`; fails the test when it takes too long. */
void rig_until(struct rig *rig, bool (*is_so)(void *ctx), void *ctx);
void rig_until_ended(struct answer *answer);
void rig_until_started(struct answer *answer);
void rig_until_first_text(struct answer *answer);
/* All slots free, nothing queued, and node state and manager know it too. */
void rig_until_idle(struct rig *rig);
void rig_stop(struct rig *rig, uint32_t drain_ms); /* begins it */
void rig_until_stopped(struct rig *rig);

struct request rig_request(void);
struct answer *rig_ask(struct rig *rig, int index, const struct request *request);
/* Everything that came is consumed, and from now on at once. */
void rig_read_on(struct answer *answer);
/* A worker whose engine stalls after two tokens, until the request is cancelled. */
struct rig *rig_start_stalling(void);
/* Its slot taken: asks, and waits for the first text. */
struct answer *rig_occupy(struct rig *rig, int index);
/* It ended well, with the whole script. */
void rig_check_whole(const struct answer *answer);
void rig_check_error(const struct answer *answer, enum fault fault);
