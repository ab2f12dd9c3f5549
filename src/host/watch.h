/* watch - whether a process still lives, as its beats tell it. Pure.
 *
 * 1. A process that beat once and then not for dead_ms is silent: its main loop hangs, or it was
 *    stopped. Before its first beat it has WATCH_FIRST_BEAT_US (exec, configuration, the bus);
 * while it ends WATCH_ENDING_US more (its loop has stopped, its threads are being joined).
 *    One that is hungry (hunger.h) may only be waiting for its turn on a full machine, and killing
 * it would break streams that nothing is wrong with: it gets WATCH_HUNGRY_FACTOR times as long.
 * 2. A process that has work and no progress for stuck_max_ms is stuck, although it beats.
 * 3. Time in which the host itself was held up counts against nobody (watch_forgive). */
#pragma once

#include "base/err.h"

enum {
    WATCH_FIRST_BEAT_US = 10 * 1000 * 1000,
    WATCH_ENDING_US = 3 * 1000 * 1000,
    WATCH_HUNGRY_FACTOR = 5
};

struct watch_rules {
    uint32_t dead_ms;
    uint32_t stuck_max_ms; /* 0: never */
};

struct watch {
    uint64_t started_us;
    uint64_t heard_us;   /* 0: no beat yet */
    uint64_t gone_by_us; /* set once it was told to end, or drains; 0: not */
    uint32_t stuck_ms;
};

enum watch_verdict { WATCH_FINE, WATCH_NO_START, WATCH_SILENT, WATCH_STUCK, WATCH_TOO_LATE };
/* What it did wrong, for the log: "silent" ... */
const char *watch_verdict_name(enum watch_verdict verdict);

void watch_start(struct watch *watch, uint64_t now_us);
void watch_beat(struct watch *watch, uint32_t stuck_ms, uint64_t now_us);
/* It must have ended by then: WATCH_TOO_LATE. An earlier one stays. */
void watch_end_by(struct watch *watch, uint64_t at_us);
void watch_forgive(struct watch *watch, uint64_t now_us);
enum watch_verdict watch_look(const struct watch *watch, const struct watch_rules *rules,
                              uint64_t now_us);
/* The same for one that is hungry; worth asking for who is silent. */
enum watch_verdict watch_look_hungry(const struct watch *watch, const struct watch_rules *rules,
                                     uint64_t now_us);
