/* wheel - the timer wheel of wheel.h; "rule N" is its list. */
#include "loop/wheel.h"

enum {
    DIGIT_BITS = 6,
    DIGIT_MASK = WHEEL_SLOTS - 1,
    LOOK_MAX = 8, /* entries of one slot that are worth a look to save a wake-up */
};

void wheel_init(struct wheel *wheel, uint64_t now)
{
    wheel->now = now;
    list_init(&wheel->late);
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        wheel->used[level] = 0;
        for (int slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&wheel->slots[level][slot]);
    }
}

static unsigned level_of(uint64_t now, uint64_t tick) /* rule 1; tick > now */
{
    return (63u - (unsigned)__builtin_clzll(now ^ tick)) / DIGIT_BITS;
}

static unsigned slot_of(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (level * DIGIT_BITS)) & DIGIT_MASK;
}

static void place(struct wheel *wheel, struct wheel_entry *entry)
{
    if (entry->tick <= wheel->now) {
        list_push_back(&wheel->late, &entry->link);
        return;
    }
    unsigned level = level_of(wheel->now, entry->tick);
    unsigned slot = slot_of(entry->tick, level);
    list_push_back(&wheel->slots[level][slot], &entry->link);
    wheel->used[level] |= 1ULL << slot;
}

void wheel_add(struct wheel *wheel, struct wheel_entry *entry, uint64_t tick)
{
    entry->tick = tick;
    place(wheel, entry);
}

void wheel_remove(struct wheel *wheel, struct wheel_entry *entry)
{
    list_remove(&entry->link);
    if (entry->tick <= wheel->now)
        return; /* was late, or on its way out: no slot */
    unsigned level = level_of(wheel->now, entry->tick);
    unsigned slot = slot_of(entry->tick, level);
    if (list_is_empty(&wheel->slots[level][slot]))
        wheel->used[level] &= ~(1ULL << slot);
}

/* The first slot in time and the tick at which it begins; false when all are empty. The first bit
 * of the lowest used level is it (rule 1). */
static bool first_slot(const struct wheel *wheel, unsigned *out_level, unsigned *out_slot,
                       uint64_t *out_begin)
{
    unsigned level = 0;
    while (level < WHEEL_LEVELS && wheel->used[level] == 0)
        level++;
    if (level == WHEEL_LEVELS)
        return false;
    unsigned slot = (unsigned)__builtin_ctzll(wheel->used[level]);
    unsigned above = (level + 1) * DIGIT_BITS; /* 66 on the top level: nothing is above */
    uint64_t digits_above = above < 64 ? wheel->now >> above << above : 0;
    *out_level = level;
    *out_slot = slot;
    *out_begin = digits_above | (uint64_t)slot << (level * DIGIT_BITS);
    return true;
}

/* The first tick of a slot's entries, if there are few; else where it begins (rule 2). */
static uint64_t first_tick(const struct list *entries, uint64_t begin)
{
    uint64_t first = WHEEL_NEVER;
    int seen = 0;
    LIST_FOREACH (link, entries) {
        const struct wheel_entry *entry = CONTAINER_OF(link, struct wheel_entry, link);
        if (++seen > LOOK_MAX)
            return begin;
        if (entry->tick < first)
            first = entry->tick;
    }
    return first;
}

uint64_t wheel_next(const struct wheel *wheel)
{
    unsigned level, slot;
    uint64_t begin;
    if (!list_is_empty(&wheel->late))
        return wheel->now;
    if (!first_slot(wheel, &level, &slot, &begin))
        return WHEEL_NEVER;
    return level == 0 ? begin : first_tick(&wheel->slots[level][slot], begin);
}

static void move_all(struct list *from, struct list *to)
{
    for (struct list *link; (link = list_pop_front(from));)
        list_push_back(to, link);
}

void wheel_advance(struct wheel *wheel, uint64_t now, struct list *due)
{
    ASSERT(now >= wheel->now);
    unsigned level, slot;
    uint64_t begin;
    move_all(&wheel->late, due);
    while (first_slot(wheel, &level, &slot, &begin) && begin <= now) {
        wheel->now = begin;
        wheel->used[level] &= ~(1ULL << slot);
        for (struct list *link; (link = list_pop_front(&wheel->slots[level][slot]));)
            place(wheel, CONTAINER_OF(link, struct wheel_entry, link)); /* lower, or late: rule 2 */
        move_all(&wheel->late, due);
    }
    wheel->now = now;
}
