/* manager_rig - what the tests of this folder play on: a manager, and peers that hear everything
 * and say only what the test has them say, as askers or as workers. Virtual time, one loop,
 * bus_mem. Tests only. */
#pragma once

#include "bus/bus_mem.h"
#include "manager/manager.h"
#include "metrics/metrics.h"
#include "wire/event.h"
#include "wire/load.h"
#include "wire/node_state.h"
#include "wire/request.h"

enum { RIG_HEARD_MAX = 512, RIG_TEXT_MAX = 256, RIG_PEERS_MAX = 600 };

/* One record that a peer got. */
struct heard {
    uint16_t type, flags;
    uint64_t stream, seq;
    uint32_t epoch;
    uint64_t at_us;
    size_t frame;            /* which frame it came in, from 1 */
    char text[RIG_TEXT_MAX]; /* assigned: the control; error: the message; submit: the payload's
                                last bytes */
    uint32_t position, retry_after_ms;
    float fraction;
    enum fault fault;
    enum done_reason reason;
};

struct peer {
    struct rig *rig;
    struct bus *bus; /* NULL: it has left */
    struct bus_subscription *inbox;
    char control[BUS_SUBJECT_MAX_BYTES + 1];
    char node[64];
    const char *model;
    const char *numerics; /* its fingerprint, for worker_state(); NULL: it says nothing of that */
    bool has_adapters;    /* it says one in worker_state() */
    struct heard *heard;  /* the last RIG_HEARD_MAX, in a ring */
    size_t heard_count, frames_heard;
    struct text submit;                    /* the last one's payload */
    char reply[BUS_SUBJECT_MAX_BYTES + 1]; /* of the last frame */
    void (*on_record)(struct peer *peer, const struct wire_record *record); /* may be NULL */
    void *ctx;
    struct text out;
    struct wire_writer writer;
};

struct rig {
    struct manager_options options;
    size_t peer_bytes_max;
    struct loop *loop;
    struct bus_mem *bus_mem;
    struct bus *bus; /* the manager's */
    struct manager *manager;
    uint64_t opened_us; /* when it began */
    struct metrics *metrics;
    struct peer peers[RIG_PEERS_MAX];
    size_t peer_count;
    struct peer *watcher; /* hears "state.manager" */
    struct arena *arena;
    char manager_control[BUS_SUBJECT_MAX_BYTES + 1], manager_name[64];
    uint32_t queued_told; /* of all models, in the last broadcast */
    size_t states_heard;
    bool is_drained;
};

/* Options may be changed between rig_init() and rig_open(). Default: a manager past its greeting.
 */
void rig_init(struct rig *rig);
void rig_open(struct rig *rig); /* a manager that has just begun */
void rig_open_greeted(struct rig *rig);
void rig_close(struct rig *rig);
void rig_run(struct rig *rig, uint64_t ms); /* lets that much time pass */
/* The manager dies, another one begins. */
void rig_restart_manager(struct rig *rig);
void rig_drain(struct rig *rig);

struct peer *rig_peer(struct rig *rig);
/* One that hears nothing until its own loop is advanced. */
struct peer *rig_peer_on(struct rig *rig, struct loop *loop);
void peer_leave(struct peer *peer); /* its endpoint closes */

/* What it says: records are added to peer_frame(), then it leaves with peer_send(). */
struct wire_writer *peer_frame(struct peer *peer, enum wire_kind kind);
void peer_send(struct peer *peer, const char *subject);
void peer_send_bytes(struct peer *peer, const char *subject, struct slice frame);
void peer_say(struct peer *peer, uint16_t type, uint64_t stream, uint32_t epoch); /* to "submit" */
void peer_acknowledge(struct peer *peer, uint64_t stream, uint32_t epoch); /* to the manager */

/* --- as an asker --- */

struct request rig_request(const struct peer *asker, uint64_t stream);
void rig_submit(struct peer *asker, const struct request *request);
void rig_ask(struct peer *asker, uint64_t stream); /* a plain one, for model "m" */

/* --- as a worker --- */

struct peer *rig_worker(struct rig *rig, const char *model); /* says nothing yet */
/* State ready, and a first load. */
struct peer *rig_ready_worker(struct rig *rig, const char *model, uint32_t slots, uint32_t room);
void worker_state(struct peer *worker, enum node_phase phase, const char *detail);
void worker_state_from(struct peer *host, const char *node, const char *model,
                       enum node_phase phase, float fraction, const char *detail);
/* Begins a frame with its load; more may be added before worker_report(). */
struct wire_writer *worker_load(struct peer *worker, uint64_t seen, uint32_t slots, uint32_t room,
                                bool is_all);
void worker_report(struct peer *worker);
void worker_say_load(struct peer *worker, uint64_t seen, uint32_t slots, uint32_t room);
void worker_say_released(struct peer *worker, uint64_t seen, uint32_t slots, uint32_t room,
                         uint64_t stream, uint64_t kept_us);
struct wire_taken rig_taken(const struct peer *asker, uint64_t stream);

/* How many records of the type it heard, and the last one (NULL: none). */
size_t heard_count(const struct peer *peer, uint16_t type);
const struct heard *heard_last(const struct peer *peer, uint16_t type);
size_t heard_for(const struct peer *peer, uint16_t type, uint64_t stream);
enum {
    RIG_QUEUED = WIRE_EVENT + EVENT_QUEUED,
    RIG_LOADING = WIRE_EVENT + EVENT_LOADING,
    RIG_DONE = WIRE_EVENT + EVENT_DONE,
    RIG_ERROR = WIRE_EVENT + EVENT_ERROR
};
/* The last error that came is that one, numbered 1. */
void check_error(const struct peer *asker, uint64_t stream, enum fault fault);
