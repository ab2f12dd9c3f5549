/* llama_rows - sorts by length and slot. See llama_rows.h. */
#include "engine/llama_rows.h"

#include "base/mem.h"

void llama_rows_init(struct llama_rows *self, uint32_t slots, uint32_t batch_tokens)
{
    *self = (struct llama_rows){.slot_max = slots};
    self->order = mem_array(batch_tokens, sizeof(*self->order));
    self->call_ends = mem_array(slots, sizeof(*self->call_ends));
    self->slot_begin = mem_array(slots, sizeof(*self->slot_begin));
    self->slot_count = mem_array(slots, sizeof(*self->slot_count));
    self->slots = mem_array(slots, sizeof(*self->slots));
}

void llama_rows_fini(struct llama_rows *self)
{
    mem_free(self->order);
    mem_free(self->call_ends);
    mem_free(self->slot_begin);
    mem_free(self->slot_count);
    mem_free(self->slots);
}

void llama_rows_keep(struct llama_rows *self, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        self->order[i] = i;
    self->call_ends[0] = count;
    self->call_count = 1;
}

/* Those that have rows, most first, lowest first among equals. By insertion: nearly always all have
 * one, or all but the first few. Returns how many. */
static uint32_t sort_slots(struct llama_rows *self)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < self->slot_max; slot++) {
        if (self->slot_count[slot] == 0)
            continue;
        uint32_t at = count++;
        for (; at > 0 && self->slot_count[self->slots[at - 1]] < self->slot_count[slot]; at--)
            self->slots[at] = self->slots[at - 1];
        self->slots[at] = slot;
    }
    return count;
}

void llama_rows_arrange(struct llama_rows *self, const struct engine_row *rows, uint32_t count)
{
    uint32_t begin = 0, before = 0;
    for (uint32_t i = 0; i < count; i++)
        self->slot_count[rows[i].slot]++;
    uint32_t slot_count = sort_slots(self);
    self->call_count = 0;
    for (uint32_t i = 0; i < slot_count; i++) {
        uint32_t slot = self->slots[i], length = self->slot_count[slot];
        if (i > 0 && length != before)
            self->call_ends[self->call_count++] = begin;
        self->slot_begin[slot] = begin;
        self->slot_count[slot] = 0;
        begin += length;
        before = length;
    }
    self->call_ends[self->call_count++] = begin;
    for (uint32_t i = 0; i < count; i++)
        self->order[self->slot_begin[rows[i].slot]++] = i;
}
