/* manager - who runs what, and when. Knows the nodes (what workers say of themselves), keeps a
 * bounded queue per model, gives each request to the worker with most room, refuses what cannot be
 * served in time, and answers questions about all of it. Events go from worker to asker without it:
 * when it dies, running streams do not notice, and what waited is asked for again.
 *
 *   asker --submit--> QUEUED --a worker has room--> ASSIGNED --released--> (forgotten after 60 s)
 *     any in QUEUED --full | too late | cancelled | no such model--> one end event, made here
 *
 * 1. It keeps what it cannot lose nowhere: nodes tell it again (wire/load.h), askers repeat
 *    (ask.h). A restarted manager is whole when every worker has registered, at most
 *    MANAGER_STATE_INTERVAL_MS later.
 * 2. A request (id, epoch) is assigned once. Whose worker dies is told to the asker
 *    (unknown_stream), who asks again with the next epoch; a repeated submit of an assigned one is
 *    answered with where it is.
 * 3. At most queue_max wait per model above the room there is (who asks again is let in, where its
 *    first arrival says), each at most queue_wait_ms (while a
 *    model loads: load_timeout_ms); then 429 with the time that the measured service rate says.
 * 4. A node is gone when a frame to it bounces, or nothing came from it for its lease. A model that
 *    has no node is remembered for model_lease_ms: its requests wait for the node to come back.
 * 5. What waits is bounded in bytes too (waiting_bytes_max), and the ended that are remembered.
 * Belongs to one loop. */
#pragma once

#include "bus/bus.h"

struct manager_options {
    uint32_t queue_max;       /* per model; 64 */
    uint32_t queue_wait_ms;   /* 2000 */
    uint32_t load_timeout_ms; /* 300000 */
    uint32_t node_lease_ms;   /* a node that says nothing; 5000 */
    uint32_t model_lease_ms;  /* a model without any node; 90000 */
    size_t waiting_bytes_max; /* submits in all queues; 256 MiB */
    struct metrics *metrics;  /* borrowed; NULL: none are kept */
};
struct manager_options manager_options_default(void);

struct manager;
/* Subscribes to "submit" (group "managers"), "manager.calls" and "state.nodes". */
MUST_USE enum err manager_open(struct bus *bus, const struct manager_options *options,
                               struct manager **out_manager);
struct manager_limits {
    uint32_t queue_max, queue_wait_ms, load_timeout_ms; /* as in manager_options */
};
/* For who comes from now on. Who waits keeps its time, until its model changes between being served
 * and not. */
void manager_set_limits(struct manager *manager, const struct manager_limits *limits);
/* Lets go of what waits: askers hear unknown_stream and ask the next manager. Nothing that runs
 * needs us. on_drained from the loop, once everything was said. */
void manager_drain(struct manager *manager, void (*on_drained)(void *ctx), void *ctx);
/* Sets it NULL; NULL inside is fine. */
void manager_close(struct manager **manager);

struct manager_stats {
    uint32_t nodes, models, queued, assigned;
    uint64_t submits, refused, cancelled, ended;
};
struct manager_stats manager_stats(const struct manager *manager);
