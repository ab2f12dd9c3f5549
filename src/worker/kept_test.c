#include "testing/test.h"
#include "base/mem.h"
#include "worker/kept.h"

/* The plain way to do the same: everything that was ever added. */
enum { EVENTS_MAX = 4000, PAYLOAD_MAX = 700 };

struct plain {
    uint64_t begin[EVENTS_MAX + 1]; /* of event n, at n; 1.. */
    struct kept_event events[EVENTS_MAX + 1];
    struct text bytes;
};

static void check_same(const struct kept *kept, const struct plain *plain)
{
    struct text out;
    size_t bytes = kept->made_bytes - kept->acked_bytes;
    text_init(&out, 1 << 24);
    uint64_t at = kept->acked_bytes;
    for (uint64_t seq = kept->acked_seq + 1; seq <= kept->made_seq; seq++) {
        struct kept_event event = kept_at(kept, seq);
        CHECK_EQ(event.payload_bytes, plain->events[seq].payload_bytes);
        CHECK_EQ(event.type, plain->events[seq].type);
        CHECK_EQ(at, plain->begin[seq]);
        kept_write(kept, at, event.payload_bytes, &out);
        at += event.payload_bytes;
    }
    CHECK_EQ(at, kept->made_bytes);
    CHECK_SLICES(text_slice(&out), slice_of(plain->bytes.data + kept->acked_bytes, bytes));
    text_fini(&out);
}

static void add(struct kept *kept, struct plain *plain, uint64_t *random)
{
    char payload[PAYLOAD_MAX];
    size_t bytes = test_random(random) % (test_random(random) % 8 ? 20 : PAYLOAD_MAX + 1);
    for (size_t i = 0; i < bytes; i++)
        payload[i] = (char)test_random(random);
    uint64_t seq = kept->made_seq + 1;
    plain->bytes.len = kept->made_bytes; /* what was dropped at the end is made anew */
    plain->begin[seq] = kept->made_bytes;
    plain->events[seq] = (struct kept_event){(uint32_t)bytes, (uint16_t)(16 + seq % 9)};
    text_add(&plain->bytes, slice_of(payload, bytes));
    kept_add(kept, plain->events[seq].type, slice_of(payload, bytes));
    CHECK_EQ(kept->made_seq, seq);
}

static size_t held(const struct kept *kept)
{
    return kept->made_seq - kept->acked_seq;
}

TEST(rings_hold_what_a_plain_list_would_hold)
{
    uint64_t random = 1;
    struct plain *plain = mem_alloc(sizeof(*plain));
    struct kept kept = {0};
    text_init(&plain->bytes, 1 << 24);
    text_add_byte(&plain->bytes, 'x'); /* so that it has an address */
    while (kept.made_seq < EVENTS_MAX) {
        size_t most = 1 + test_random(&random) % 100; /* it fills and drains */
        if (held(&kept) < most)
            add(&kept, plain, &random);
        else if (test_random(&random) % 6)
            kept_drop_first(&kept);
        else
            kept_drop_last(&kept);
        if (kept.made_seq % 5 == 0)
            check_same(&kept, plain);
    }
    check_same(&kept, plain);
    text_fini(&plain->bytes);
    mem_free(plain);
    kept_fini(&kept);
}

TEST(rings_are_at_most_twice_what_they_held)
{
    struct kept kept = {0};
    for (uint64_t count = 1; count <= 300; count++) {
        kept_add(&kept, 21, SLICE("twelve bytes"));
        CHECK(kept.events_max <= (count < 16 ? 16 : 2 * count));
        CHECK(kept.payloads_max <= (count * 12 < 256 ? 256 : 2 * 12 * count));
    }
    while (held(&kept) > 0)
        kept_drop_first(&kept);
    size_t events_max = kept.events_max, payloads_max = kept.payloads_max;
    for (uint64_t count = 1; count <= 100000; count++) { /* 200 at once, for ever */
        kept_add(&kept, 21, SLICE("twelve bytes"));
        if (held(&kept) > 200)
            kept_drop_first(&kept);
    }
    CHECK_EQ(kept.events_max, events_max);
    CHECK_EQ(kept.payloads_max, payloads_max);
    kept_fini(&kept);
}

TEST(an_event_without_payload_takes_a_number_and_no_byte)
{
    struct kept kept = {0};
    struct text out;
    text_init(&out, 16);
    kept_add(&kept, 17, (struct slice){0});
    kept_write(&kept, 0, 0, &out);
    CHECK_EQ(out.len, 0);
    CHECK_EQ(kept_at(&kept, 1).type, 17);
    kept_add(&kept, 18, SLICE("a"));
    kept_drop_first(&kept);
    kept_write(&kept, 0, 1, &out);
    CHECK_SLICE(text_slice(&out), "a");
    text_fini(&out);
    kept_fini(&kept);
}

TEST(what_is_not_kept_is_not_asked_for)
{
    struct kept kept = {0};
    struct text out;
    text_init(&out, 16);
    kept_add(&kept, 16, SLICE("ab"));
    CHECK_ABORTS(kept_at(&kept, 0), "");
    CHECK_ABORTS(kept_at(&kept, 2), "");
    CHECK_ABORTS(kept_write(&kept, 1, 2, &out), "");
    kept_drop_first(&kept);
    CHECK_ABORTS(kept_drop_first(&kept), "");
    CHECK_ABORTS(kept_drop_last(&kept), "");
    text_fini(&out);
    kept_fini(&kept);
}
