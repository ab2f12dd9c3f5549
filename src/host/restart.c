/* restart - when a role's process is started again. See restart.h. */
#include "host/restart.h"

const char *restart_state_name(enum restart_state state)
{
    static const char *const names[RESTART_STATE_COUNT] = {[RESTART_STARTING] = "starting",
                                                           [RESTART_READY] = "ready",
                                                           [RESTART_DRAINING] = "draining",
                                                           [RESTART_DEAD] = "dead",
                                                           [RESTART_HELD_BACK] = "held_back"};
    return (unsigned)state < RESTART_STATE_COUNT ? names[state] : "?";
}

void restart_init(struct restart *restart, bool overlaps, bool is_vital, uint64_t now_us)
{
    *restart = (struct restart){.overlaps = overlaps,
                                .is_vital = is_vital,
                                .started_us = now_us,
                                .hold_us = RESTART_HOLD_US};
}

static enum restart_action start(struct restart *restart, uint64_t now_us)
{
    restart->state = RESTART_STARTING;
    restart->started_us = now_us;
    restart->is_ready = restart->is_proven = false;
    restart->restarts++;
    return RESTART_START;
}

static enum restart_action hold(struct restart *restart, uint64_t now_us)
{
    if (restart->is_vital)
        return RESTART_GIVE_UP;
    restart->state = RESTART_HELD_BACK;
    restart->due_us = now_us + restart->hold_us;
    restart->hold_us *= 2;
    if (restart->hold_us > RESTART_HOLD_MAX_US)
        restart->hold_us = RESTART_HOLD_MAX_US;
    return RESTART_HOLD;
}

/* How far the next start is from this one's (rule 2). */
static uint64_t spacing_us(unsigned quick_row)
{
    if (quick_row <= 1)
        return 0;
    uint64_t spacing = RESTART_SPACING_US;
    for (unsigned i = 2; i < quick_row && spacing < RESTART_SPACING_MAX_US; i++)
        spacing *= 2;
    return spacing;
}

/* A vital role is worth more trust: the service would end with it. */
static bool has_served(struct restart *restart, uint64_t now_us)
{
    bool served = restart->is_proven ||
                  (restart->is_ready && now_us - restart->ready_us >= RESTART_SERVED_US);
    restart->has_served |= served;
    return served || (restart->is_ready && restart->is_vital && restart->has_served);
}

static enum restart_action crashed(struct restart *restart, uint64_t now_us)
{
    bool served = has_served(restart, now_us);
    bool was_quick = now_us - restart->started_us < RESTART_PROVEN_US;
    restart->useless_row = served ? 1 : restart->useless_row + 1;
    if (served)
        restart->hold_us = RESTART_HOLD_US;
    restart->quick_row = was_quick ? restart->quick_row + 1 : 0;
    if (restart->useless_row >= RESTART_ROW)
        return hold(restart, now_us);
    uint64_t earliest_us = restart->started_us + spacing_us(restart->quick_row);
    if (earliest_us <= now_us)
        return start(restart, now_us);
    restart->state = RESTART_DEAD;
    restart->due_us = earliest_us;
    return RESTART_NOTHING;
}

static enum restart_action drains(struct restart *restart, uint64_t now_us)
{
    if (!restart->overlaps) {
        restart->state = RESTART_DRAINING;
        return RESTART_NOTHING;
    }
    (void)start(restart, now_us); /* it always says RESTART_START */
    return RESTART_START_ANOTHER;
}

static bool is_running(const struct restart *restart)
{
    return restart->state == RESTART_STARTING || restart->state == RESTART_READY;
}

static bool has_process(const struct restart *restart)
{
    return is_running(restart) || restart->state == RESTART_DRAINING;
}

static bool is_waiting(const struct restart *restart)
{
    return restart->state == RESTART_DEAD || restart->state == RESTART_HELD_BACK;
}

enum restart_action restart_step(struct restart *restart, enum restart_event event, uint64_t now_us)
{
    switch (event) {
    case RESTART_IS_READY:
        if (restart->state != RESTART_STARTING)
            return RESTART_NOTHING;
        restart->state = RESTART_READY;
        restart->ready_us = now_us;
        restart->is_ready = restart->was_ever_ready = true;
        return RESTART_NOTHING;
    case RESTART_WORKS:
        restart->is_proven |= restart->state == RESTART_READY;
        return RESTART_NOTHING;
    case RESTART_DRAINS:
        return is_running(restart) ? drains(restart, now_us) : RESTART_NOTHING;
    case RESTART_ENDED:
        if (restart->state == RESTART_DRAINING)
            return start(restart, now_us);
        return is_running(restart) ? crashed(restart, now_us) : RESTART_NOTHING;
    case RESTART_CRASHED:
        return has_process(restart) ? crashed(restart, now_us) : RESTART_NOTHING;
    case RESTART_TIME:
        return is_waiting(restart) && now_us >= restart->due_us ? start(restart, now_us)
                                                                : RESTART_NOTHING;
    case RESTART_RETRY:
        return restart->state == RESTART_HELD_BACK ? start(restart, now_us) : RESTART_NOTHING;
    case RESTART_EVENT_COUNT:
        break;
    }
    ASSERT_MSG(false, "event %d", (int)event);
}

uint64_t restart_due_us(const struct restart *restart)
{
    return is_waiting(restart) ? restart->due_us : UINT64_MAX;
}
