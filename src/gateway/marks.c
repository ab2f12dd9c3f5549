/* marks - a ring that doubles when it is full. */
#include "gateway/marks.h"

#include "base/mem.h"

enum { FIRST_CAPACITY = 4 };

void marks_fini(struct marks *marks)
{
    mem_free(marks->ring);
    *marks = (struct marks){0};
}

static uint32_t place_of(const struct marks *marks, uint32_t index)
{
    uint32_t place = marks->first + index; /* far from 2^32: the count is bounded by credit */
    return place < marks->capacity ? place : place - marks->capacity;
}

static void grow(struct marks *marks)
{
    uint32_t capacity = marks->capacity > 0 ? 2 * marks->capacity : FIRST_CAPACITY;
    struct mark *ring = mem_array(capacity, sizeof(*ring));
    for (uint32_t i = 0; i < marks->count; i++)
        ring[i] = marks->ring[place_of(marks, i)];
    mem_free(marks->ring);
    *marks = (struct marks){.ring = ring, .count = marks->count, .capacity = capacity};
}

void marks_push(struct marks *marks, struct mark mark)
{
    if (marks->count == marks->capacity)
        grow(marks);
    marks->ring[place_of(marks, marks->count++)] = mark;
}

void marks_pop(struct marks *marks)
{
    ASSERT(marks->count > 0);
    marks->first = place_of(marks, 1);
    marks->count--;
}
