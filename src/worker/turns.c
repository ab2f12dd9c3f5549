/* turns - see turns.h. */
#include "worker/turns.h"

static struct turns_tenant *find_tenant(struct turns *turns, uint64_t tenant)
{
    for (uint32_t i = 0; i < turns->tenant_count; i++)
        if (turns->tenants[i].tenant == tenant)
            return &turns->tenants[i];
    return NULL;
}

static struct turns_tenant *find_oldest(struct turns *turns)
{
    struct turns_tenant *oldest = &turns->tenants[0];
    for (uint32_t i = 1; i < turns->tenant_count; i++)
        if (turns->tenants[i].had_at < oldest->had_at)
            oldest = &turns->tenants[i];
    return oldest;
}

static void note_turn(struct turns *turns, uint64_t tenant, uint64_t step)
{
    struct turns_tenant *place = find_tenant(turns, tenant);
    if (!place && turns->tenant_count < TURNS_TENANTS)
        place = &turns->tenants[turns->tenant_count++];
    if (!place)
        place = find_oldest(turns);
    *place = (struct turns_tenant){tenant, step + 1};
}

static uint64_t tenant_waits_since(struct turns *turns, const struct turns_seq *sequence)
{
    const struct turns_tenant *tenant = find_tenant(turns, sequence->tenant);
    return tenant ? tenant->had_at : sequence->waits_since;
}

static bool is_before(struct turns *turns, const struct turns_seq *a, const struct turns_seq *b)
{
    uint64_t a_since = tenant_waits_since(turns, a), b_since = tenant_waits_since(turns, b);
    return a_since != b_since ? a_since < b_since : a->waits_since < b->waits_since;
}

const struct engine_adapter_set *turns_next(struct turns *turns, const struct turns_seq *sequences,
                                            size_t count, uint64_t step)
{
    const struct engine_adapter_set *own = NULL;
    const struct turns_seq *other = NULL;
    bool is_over = turns->spent_us >= TURNS_US;
    ASSERT(count > 0);
    for (size_t i = 0; i < count && !own; i++)
        if (engine_adapter_set_eq(sequences[i].adapters, &turns->now))
            own = sequences[i].adapters;
    for (size_t i = 0; i < count && (is_over || !own); i++) {
        bool is_other = !engine_adapter_set_eq(sequences[i].adapters, &turns->now);
        if (is_other && (!other || is_before(turns, &sequences[i], other)))
            other = &sequences[i];
    }
    if (!other)
        return own;
    note_turn(turns, other->tenant, step);
    return other->adapters;
}

void turns_took(struct turns *turns, const struct engine_adapter_set *adapters, uint64_t spent_us)
{
    bool is_first = !engine_adapter_set_eq(adapters, &turns->now);
    if (is_first) {
        turns->now = *adapters;
        turns->spent_us = 0;
        turns->turn_count++;
    }
    bool has_second = is_first && turns->turn_count % TURNS_LEARNED == 0;
    if (has_second && spent_us >= TURNS_US)
        spent_us = TURNS_US - 1;
    turns->spent_us += spent_us > 0 ? spent_us : TURNS_US;
}
