/* selftest_run - calibration and self-test of a loaded model, whenever its engine has nothing else
 * to do; what they find is kept in a file for the next start. The engine thread's (core_thread.h).
 *
 *   NEW --a file of this key--> OVER, or, if it says `unknown`, TEST
 *    \--idle--> CALIBRATION --> TEST --> OVER
 *
 * 1. A step is one decode(). Before the core steps, selftest_run_yield(): what was under way begins
 *    again later. A step that runs when a request comes is aborted (core_options.poll).
 * 2. It needs the slots 0..15 (those that there are) empty. While they hold beginnings of prompts
 *    for others it waits until the core has been idle for SELFTEST_QUIET_US, and empties them then.
 * 3. All decode()s together, also those that were in vain, take no longer than budget_us, and one
 *    step; the calibration no longer than a quarter of that. Then what is known is the result, and
 *    `unknown` for the rest of it. The next start keeps the calibration, and tries the test again.
 * 4. Files are a help: one that cannot be read or written costs a warning, and a test at the next
 *    start. They are read here, once, while the model is not ready yet; the writing is the host's,
 *    for a disk may hang. */
#pragma once

#include "worker/core_host.h"
#include "worker/selftest_record.h"

#define SELFTEST_QUIET_US ((uint64_t)10 * 1000 * 1000)

struct selftest_options {
    uint64_t budget_us; /* 0: there is no self-test */
    const char *path;   /* of the file; "" or NULL: none. Outlives the run, as `key` does */
    const char *key;    /* all that the numbers depend on but what the engine says of itself */
    bool is_fast;       /* profile */
};

struct selftest_run;

/* Reads the file, and tells the core what it says. NULL: there is nothing to test (no budget, or a
 * model that has no slots). Borrows engine and core. */
struct selftest_run *selftest_run_new(struct engine *engine, struct core *core,
                                      const struct selftest_options *options, uint64_t now_us);
void selftest_run_free(struct selftest_run *run); /* NULL is fine */
/* When there is a step to do; UINT64_MAX: none any more, or not before the core has worked. */
uint64_t selftest_run_due_us(const struct selftest_run *run);
/* The core is idle, and it is due. `clock_us` as core_options; NULL: decode() takes no time. */
void selftest_run_step(struct selftest_run *run, uint64_t (*clock_us)(void *host), void *host);
/* The core has work, or had until now_us. Harmless at any time. */
void selftest_run_yield(struct selftest_run *run, uint64_t now_us);
/* Once after it was found or read: true. */
bool selftest_run_take_result(struct selftest_run *run, struct selftest_result *out_result);
/* And with it, once, what the file is to hold now (text_fini() it); empty: as it does. */
struct text selftest_run_take_file(struct selftest_run *run);
