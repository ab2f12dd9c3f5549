/* asker_rig - an asker that is not ours, for the tests of a worker: its requests are assigned by
 * the rig's manager as they are, and it counts what comes. Tests only. */
#pragma once

#include "worker/worker_rig.h"

struct raw {
    struct rig *rig;
    struct bus *bus;
    size_t accepted, ends, unknown, heartbeats, others;
    uint64_t high_seq;
    enum fault fault;
    char message[256];
    uint64_t queue_us; /* of the last usage */
};

struct raw *raw_open(struct rig *rig);
void raw_close(struct raw *raw); /* dies: what is sent to it bounces from now on */
struct request raw_request(const struct raw *raw);
/* Straight to the worker, in the manager's name. */
void raw_submit(struct raw *raw, const struct request *request);
void raw_send(struct raw *raw, struct slice subject, const struct wire_record *record);
void raw_cancel(struct raw *raw, const struct request *request);
void raw_credit(struct raw *raw, const struct request *request, uint64_t acked_seq, bool resend);
/* For rig_until(). */
bool raw_has_end(void *raw);
bool raw_has_unknown(void *raw);
bool raw_is_accepted(void *raw);
bool raw_has_heartbeat(void *raw);
