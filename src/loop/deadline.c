/* deadline - deadlines of a loop, kept in its wheel. See loop.h. */
#include "loop/loop_impl.h"

void deadline_init(struct deadline *deadline, struct loop *loop, deadline_fn *fire, void *ctx)
{
    *deadline = (struct deadline){.loop = loop, .fire = fire, .ctx = ctx};
}

void deadline_at(struct deadline *deadline, uint64_t at_us)
{
    struct loop *loop = deadline->loop;
    deadline_clear(deadline);
    deadline->at_us = at_us ? at_us : 1; /* 0 would mean: not armed */
    /* Up to the next tick: early is wrong, late is allowed. */
    uint64_t tick = at_us / loop->tick_us + (at_us % loop->tick_us != 0);
    wheel_add(&loop->wheel, &deadline->entry, tick < WHEEL_NEVER ? tick : WHEEL_NEVER - 1);
}

void deadline_after(struct deadline *deadline, uint64_t after_us)
{
    uint64_t now_us = loop_now_us(deadline->loop);
    deadline_at(deadline, after_us < UINT64_MAX - now_us ? now_us + after_us : UINT64_MAX);
}

void deadline_round(struct deadline *deadline, uint64_t period_us)
{
    ASSERT(period_us > 0);
    uint64_t at_us = loop_now_us(deadline->loop) + period_us + period_us / 2;
    deadline_at(deadline, at_us - at_us % period_us);
}

void deadline_clear(struct deadline *deadline)
{
    if (!deadline_is_armed(deadline))
        return;
    deadline->at_us = 0;
    wheel_remove(&deadline->loop->wheel, &deadline->entry);
}

/* Everything due leaves the wheel first, so what a callback arms for "now" waits for the next turn;
 * what it clears or moves leaves `due` before it is reached. */
bool deadlines_fire(struct loop *loop)
{
    struct list due;
    list_init(&due);
    wheel_advance(&loop->wheel, loop_now_us(loop) / loop->tick_us, &due);
    bool any = !list_is_empty(&due);
    for (struct list *link; (link = list_pop_front(&due));) {
        struct wheel_entry *entry = CONTAINER_OF(link, struct wheel_entry, link);
        struct deadline *deadline = CONTAINER_OF(entry, struct deadline, entry);
        deadline->at_us = 0;
        deadline->fire(deadline->ctx); /* may free `deadline` */
    }
    return any;
}
