/* core_host - see core_host.h. */
#include "worker/core_host.h"

#include "worker/core_impl.h"

bool core_is_idle(const struct core *core)
{
    return !core->broken && map_count(core->sequences) == 0 && core->next.result_count == 0;
}

bool core_empty_slots(struct core *core, uint32_t count)
{
    struct engine_adapter_set set = engine_default_adapters(&core->engine->info);
    bool is_other = !engine_adapter_set_eq(&core->adapters, &set);
    core_use_adapters(core, &set);
    for (uint32_t slot = 0; slot < count; slot++) {
        ASSERT(!core->slots[slot].owner);
        core_empty_slot(core, slot);
    }
    if (!core->broken)
        core_recover(core); /* what the cache believes of them */
    return is_other;
}

void core_learn_step(struct core *core, const struct step_shape *shape, uint64_t spent_us)
{
    if (!core->options.learns_steps)
        return;
    step_cost_learn(&core->cost, shape, spent_us);
    if (core->tree && shape->prompt_rows > 0)
        core_prefix_learn_price(core);
}
