/* manager_rig - a tiny manager for the tests of a worker: what askers submit waits in one queue and
 * is assigned as the worker tells of room; what the worker tells is written down. One worker, no
 * bounds, no time. Tests only. */
#pragma once

#include "bus/bus.h"
#include "wire/load.h"
#include "wire/request.h"

enum { RIG_LIST_MAX = 512, RIG_RELEASED_MAX = 512 };

struct rig_listed { /* a HELD or TAKEN */
    uint64_t stream;
    uint32_t epoch;
    bool is_taken;
    struct wire_held held;
    char tenant[32], session[32], label[32], inbox[BUS_SUBJECT_MAX_BYTES + 1];
    int64_t arrival_ms;
};

struct rig_released {
    uint64_t stream;
    uint32_t epoch;
    struct wire_released what;
};

struct manager_rig {
    struct bus *bus;
    char control[BUS_SUBJECT_MAX_BYTES + 1]; /* of the worker; empty: not heard yet */
    struct list queue;                       /* submits that wait for room */
    struct map *known;                       /* stream -> epoch, of all that were submitted */
    uint64_t number;                         /* of the last assignment */
    bool is_blind; /* assigns whatever comes, where it has heard of a worker */
    bool is_deaf;  /* loses what the worker tells */

    struct wire_load load; /* as told last */
    uint64_t seen;
    size_t load_count, list_count;        /* frames; lists: with WIRE_FLAG_ALL */
    struct rig_listed list[RIG_LIST_MAX]; /* the last one that was whole */
    size_t listed;
    struct rig_released released[RIG_RELEASED_MAX]; /* all there were */
    size_t released_count;
};

/* Speaks at once. */
struct manager_rig *manager_rig_open(struct bus *bus);
/* Also closes the endpoint: like a process that dies. Sets it NULL; NULL inside is fine. */
void manager_rig_close(struct manager_rig **manager);
void manager_rig_broadcast(struct manager_rig *manager); /* here I am */
/* To the worker, whether it has room or not; the next number. */
void manager_rig_assign(struct manager_rig *manager, const struct request *request);
void manager_rig_assign_bytes(struct manager_rig *manager, uint64_t stream, uint32_t epoch,
                              struct slice submit);
const struct rig_listed *manager_rig_listed(const struct manager_rig *manager, uint64_t stream);
/* NULL: it was not told of. */
const struct rig_released *manager_rig_released(const struct manager_rig *manager, uint64_t stream,
                                                uint32_t epoch);
