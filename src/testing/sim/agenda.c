/* agenda - a binary heap of happenings. See agenda.h. */
#include "testing/sim/agenda.h"

#include "base/mem.h"

struct agenda {
    struct happening **items;
    size_t count, room;
    uint64_t last_number;
};

struct agenda *agenda_new(void)
{
    return mem_alloc(sizeof(struct agenda));
}

void agenda_free(struct agenda *agenda)
{
    if (!agenda)
        return;
    ASSERT(agenda->count == 0);
    mem_free(agenda->items);
    mem_free(agenda);
}

static bool is_before(const struct happening *a, const struct happening *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

void agenda_put(struct agenda *agenda, struct happening *happening, uint64_t at_us)
{
    if (agenda->count == agenda->room) {
        agenda->room = agenda->room ? 2 * agenda->room : 64;
        agenda->items = mem_grow(agenda->items, agenda->room * sizeof(*agenda->items));
    }
    happening->at_us = at_us;
    happening->number = ++agenda->last_number;
    size_t at = agenda->count++;
    for (; at > 0 && is_before(happening, agenda->items[(at - 1) / 2]); at = (at - 1) / 2)
        agenda->items[at] = agenda->items[(at - 1) / 2];
    agenda->items[at] = happening;
}

uint64_t agenda_next_us(const struct agenda *agenda)
{
    return agenda->count ? agenda->items[0]->at_us : UINT64_MAX;
}

/* Puts the last one where the first was, and lets it sink. */
static void close_gap(struct agenda *agenda)
{
    struct happening *last = agenda->items[--agenda->count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < agenda->count; at = child) {
        if (child + 1 < agenda->count && is_before(agenda->items[child + 1], agenda->items[child]))
            child++;
        if (!is_before(agenda->items[child], last))
            break;
        agenda->items[at] = agenda->items[child];
    }
    agenda->items[at] = last;
}

struct happening *agenda_take(struct agenda *agenda, uint64_t now_us)
{
    if (agenda->count == 0 || agenda->items[0]->at_us > now_us)
        return NULL;
    struct happening *first = agenda->items[0];
    close_gap(agenda);
    return first;
}

size_t agenda_count(const struct agenda *agenda)
{
    return agenda->count;
}

struct happening *agenda_at(const struct agenda *agenda, size_t index)
{
    ASSERT(index < agenda->count);
    return agenda->items[index];
}
