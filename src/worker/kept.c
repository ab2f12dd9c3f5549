/* kept - two rings whose places are the counters themselves. See kept.h. */
#include "worker/kept.h"

#include "base/mem.h"

enum { EVENTS_FIRST = 16, PAYLOADS_FIRST = 256 };

void kept_fini(struct kept *kept)
{
    mem_free(kept->events);
    mem_free(kept->payloads);
}

static struct kept_event *place(const struct kept *kept, uint64_t seq)
{
    return &kept->events[seq & (kept->events_max - 1)];
}

struct kept_event kept_at(const struct kept *kept, uint64_t seq)
{
    ASSERT(seq > kept->acked_seq && seq <= kept->made_seq);
    return *place(kept, seq);
}

void kept_write(const struct kept *kept, uint64_t at, size_t bytes, struct text *out)
{
    ASSERT(at >= kept->acked_bytes && bytes <= kept->made_bytes - at);
    if (bytes == 0)
        return;
    size_t begin = at & (kept->payloads_max - 1), to_the_end = kept->payloads_max - begin;
    size_t first = bytes < to_the_end ? bytes : to_the_end;
    text_add(out, slice_of(kept->payloads + begin, first));
    text_add(out, slice_of(kept->payloads, bytes - first));
}

static void put_bytes(struct kept *kept, struct slice payload)
{
    size_t begin = kept->made_bytes & (kept->payloads_max - 1);
    size_t to_the_end = kept->payloads_max - begin;
    size_t first = payload.len < to_the_end ? payload.len : to_the_end;
    memcpy(kept->payloads + begin, payload.data, first);
    memcpy(kept->payloads, payload.data + first, payload.len - first);
    kept->made_bytes += payload.len;
}

/* --- growing --- */

static void grow_events(struct kept *kept)
{
    struct kept old = *kept;
    kept->events_max = old.events_max ? 2 * old.events_max : EVENTS_FIRST;
    kept->events = mem_array(kept->events_max, sizeof(kept->events[0]));
    for (uint64_t seq = old.acked_seq + 1; seq <= old.made_seq; seq++)
        *place(kept, seq) = *place(&old, seq);
    mem_free(old.events);
}

static void grow_payloads(struct kept *kept, size_t payload_bytes)
{
    struct kept old = *kept;
    size_t held_bytes = old.made_bytes - old.acked_bytes;
    kept->payloads_max = old.payloads_max ? old.payloads_max : PAYLOADS_FIRST;
    while (kept->payloads_max < held_bytes + payload_bytes)
        kept->payloads_max *= 2;
    kept->payloads = mem_array(kept->payloads_max, 1);
    kept->made_bytes = old.acked_bytes;
    if (held_bytes) {
        size_t begin = old.acked_bytes & (old.payloads_max - 1);
        struct slice to_the_end = slice_of(old.payloads + begin, old.payloads_max - begin);
        struct slice first = slice_first(to_the_end, held_bytes);
        put_bytes(kept, first);
        put_bytes(kept, slice_of(old.payloads, held_bytes - first.len));
    }
    mem_free(old.payloads);
}

void kept_add(struct kept *kept, uint16_t type, struct slice payload)
{
    ASSERT(payload.len <= UINT32_MAX);
    if (kept->made_seq - kept->acked_seq == kept->events_max)
        grow_events(kept);
    if (kept->made_bytes - kept->acked_bytes + payload.len > kept->payloads_max)
        grow_payloads(kept, payload.len);
    if (payload.len)
        put_bytes(kept, payload);
    *place(kept, ++kept->made_seq) =
        (struct kept_event){.payload_bytes = (uint32_t)payload.len, .type = type};
}

/* --- dropping --- */

void kept_drop_first(struct kept *kept)
{
    kept->acked_bytes += kept_at(kept, kept->acked_seq + 1).payload_bytes;
    kept->acked_seq++;
}

void kept_drop_last(struct kept *kept)
{
    kept->made_bytes -= kept_at(kept, kept->made_seq).payload_bytes;
    kept->made_seq--;
}
