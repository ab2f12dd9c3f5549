/* turns - see turns.h. */
#include "worker/turns.h"

const struct engine_adapter_set *turns_next(const struct turns *turns,
                                            const struct turns_seq *sequences, size_t count)
{
    const struct engine_adapter_set *own = NULL;
    const struct turns_seq *other = NULL;
    ASSERT(count > 0);
    for (size_t i = 0; i < count; i++) {
        const struct turns_seq *sequence = &sequences[i];
        if (engine_adapter_set_eq(sequence->adapters, &turns->now))
            own = sequence->adapters;
        else if (!other || sequence->waits_since < other->waits_since)
            other = sequence;
    }
    bool is_over = !own || turns->spent_us >= TURNS_US;
    return other && is_over ? other->adapters : own;
}

void turns_took(struct turns *turns, const struct engine_adapter_set *adapters, uint64_t spent_us)
{
    if (!engine_adapter_set_eq(adapters, &turns->now))
        *turns = (struct turns){.now = *adapters};
    turns->spent_us += spent_us > 0 ? spent_us : TURNS_US;
}
