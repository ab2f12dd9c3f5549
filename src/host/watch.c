/* watch - whether a process still lives, as its beats tell it. See watch.h. */
#include "host/watch.h"

const char *watch_verdict_name(enum watch_verdict verdict)
{
    static const char *const names[] = {[WATCH_FINE] = "fine",
                                        [WATCH_NO_START] = "no_start",
                                        [WATCH_SILENT] = "silent",
                                        [WATCH_STUCK] = "stuck",
                                        [WATCH_TOO_LATE] = "too_late"};
    return (unsigned)verdict < ARRAY_COUNT(names) ? names[verdict] : "?";
}

void watch_start(struct watch *watch, uint64_t now_us)
{
    *watch = (struct watch){.started_us = now_us};
}

void watch_beat(struct watch *watch, uint32_t stuck_ms, uint64_t now_us)
{
    watch->heard_us = now_us;
    watch->stuck_ms = stuck_ms;
}

void watch_end_by(struct watch *watch, uint64_t at_us)
{
    if (!watch->gone_by_us || at_us < watch->gone_by_us)
        watch->gone_by_us = at_us;
}

void watch_forgive(struct watch *watch, uint64_t now_us)
{
    if (watch->heard_us)
        watch->heard_us = now_us;
    else
        watch->started_us = now_us;
}

enum watch_verdict watch_look_hungry(const struct watch *watch, const struct watch_rules *rules,
                                     uint64_t now_us)
{
    struct watch_rules patient = *rules;
    patient.dead_ms *= WATCH_HUNGRY_FACTOR;
    return watch_look(watch, &patient, now_us);
}

enum watch_verdict watch_look(const struct watch *watch, const struct watch_rules *rules,
                              uint64_t now_us)
{
    if (watch->gone_by_us && now_us >= watch->gone_by_us)
        return WATCH_TOO_LATE;
    if (!watch->heard_us)
        return now_us - watch->started_us >= WATCH_FIRST_BEAT_US ? WATCH_NO_START : WATCH_FINE;
    uint64_t silence_us = rules->dead_ms * 1000ull + (watch->gone_by_us ? WATCH_ENDING_US : 0);
    if (now_us - watch->heard_us >= silence_us)
        return WATCH_SILENT;
    if (rules->stuck_max_ms && watch->stuck_ms >= rules->stuck_max_ms)
        return WATCH_STUCK;
    return WATCH_FINE;
}
