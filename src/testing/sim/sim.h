/* sim - the whole service in one thread and in virtual time: askers (as gateways have them), a
 * manager and workers, each with a loop of its own, over bus_sim. A seed decides how many there
 * are, what is asked of them, and what goes wrong when; the checker knows every byte of every
 * answer. The same seed gives the same run, frame by frame (struct sim_result.hash).
 *
 * 1. What an ask was given is at every moment the beginning of the right answer: no wrong, missing
 *    or repeated byte or token; exactly one end; `done` only with the whole answer.
 * 2. `worker_lost` only after a delta, and only if something did happen to the worker, to the
 *    asker, or to the network between them (if to the worker alone, within 2.5 s); or when the
 *    request was started over as often as it may. In every other seed asks keep their answers, and
 *    then only the latter counts: an answer goes on with another worker.
 * 3. SIM_RECOVERY_US after the last fault, and on, a new request of every asker to every model is
 *    answered whole.
 * 4. When all asks have ended, workers and manager count nothing any more, within SIM_SETTLE_US.
 * 5. Without faults nothing fails but by admission or at the asker's wish, nothing is repeated, and
 *    the manager assigns the requests of one model and priority in the order of their arrival. */
#pragma once

#include "base/err.h"

enum sim_class {
    SIM_CALM,  /* nothing goes wrong */
    SIM_ROUGH, /* processes die, stop and hang; the network is slow; the bus keeps bus.h */
    SIM_STORM, /* and the network drops, repeats and reorders */
    SIM_CLASS_COUNT
};
const char *sim_class_name(enum sim_class class);

enum { SIM_RECOVERY_US = 2000000, SIM_SETTLE_US = 15000000 };

struct sim_options {
    enum sim_class class;
    uint64_t seed;
    bool prints_trace; /* every frame and deed, to stdout */
};

struct sim_result {
    bool is_ok;
    char failure[512]; /* what was not as it should be, and when */
    uint64_t hash;     /* of all frames */
    uint64_t frames, virtual_us;
    uint32_t asks, whole, cancelled, refused, lost; /* how asks ended */
    uint32_t faults;
    uint64_t reruns, repeats; /* submits over again: next epoch, same epoch */
    uint64_t continued;       /* of the first, those in mid-stream */
};
void sim_run(const struct sim_options *options, struct sim_result *out_result);
