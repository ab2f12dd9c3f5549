/* lessons - samples of the families, rendered. A kind is a family's place in `families`. */
#include "nano/lessons.h"

#include "nano/family.h"

_Static_assert((int)FAMILY_COUNT <= (int)ROW_KINDS_MAX, "a kind for each family");

const char *lesson_kind_name(unsigned kind)
{
    return kind < FAMILY_COUNT ? families[kind]->name : NULL;
}

static unsigned kind_of(const struct family *family)
{
    unsigned kind = 0;
    while (families[kind] != family)
        kind++;
    return kind;
}

unsigned lesson_draw(void *ctx, uint64_t index, struct rendering *out)
{
    const struct lessons *lessons = ctx;
    struct sample sample;
    sample_init(&sample);
    const struct family *family = family_draw(&sample, lessons->seed, index);
    sample_render(&sample, out);
    sample_fini(&sample);
    return kind_of(family);
}

void lesson_examine(unsigned kind, uint64_t seed, uint64_t index, struct rendering *out)
{
    struct sample sample;
    sample_init(&sample);
    family_examine(&sample, families[kind], seed, index);
    sample_render(&sample, out);
    sample_fini(&sample);
}
