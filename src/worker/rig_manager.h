/* rig_manager - a tiny manager for the tests of a worker: what askers submit waits in one queue and
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

struct rig_manager {
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
struct rig_manager *rig_manager_open(struct bus *bus);
/* Also closes the endpoint: like a process that dies. Sets it NULL; NULL inside is fine. */
void rig_manager_close(struct rig_manager **manager);
void rig_manager_broadcast(struct rig_manager *manager); /* here I am */
/* To the worker, whether it has room or not; the next number. */
void rig_manager_assign(struct rig_manager *manager, const struct request *request);
void rig_manager_assign_bytes(struct rig_manager *manager, uint64_t stream, uint32_t epoch,
                              struct slice submit);
const struct rig_listed *rig_manager_listed(const struct rig_manager *manager, uint64_t stream);
/* NULL: it was not told of. */
const struct rig_released *rig_manager_released(const struct rig_manager *manager, uint64_t stream,
                                                uint32_t epoch);
