/* manager_fuzz - whatever askers, workers and nodes send, a manager lives, answers, and lets go of
 * everything in the end. The input is a sequence of: u8 what (bits 0-1: the subject, bit 2: which
 * of two senders, bits 4-7: how much time goes by), u16 length, and that many bytes of a frame. */
#include "base/log.h"
#include "bus/bus_mem.h"
#include "manager/manager.h"
#include "metrics/metrics.h"
#include "wire/frame.h"
#include "wire/little.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 64, PEER_BYTES_MAX = 1 << 20, HEADER_BYTES = 3 };
static const uint32_t pauses_ms[16] = {0, 0,   0,   0,   1,    10,   50,   100,
                                       0, 200, 300, 500, 1000, 2000, 4000, 10000};

struct stage {
    struct loop *loop;
    struct bus_mem *bus_mem;
    struct bus *bus, *senders[2];
    struct manager *manager;
    struct metrics *metrics;
};

static void on_message(void *ctx, const struct bus_message *message)
{
    (void)ctx;
    struct wire_reader reader;
    struct wire_record record;
    enum err err = wire_open(message->frame, &reader);
    while (err == ERR_OK)
        err = wire_next(&reader, &record);
    ASSERT(err == ERR_AGAIN); /* what a manager says is whole, whatever it heard */
}

static void open_stage(struct stage *stage)
{
    struct manager_options options = manager_options_default();
    options.load_timeout_ms = options.model_lease_ms = 3000; /* short: time costs turns */
    options.node_lease_ms = 2000;
    stage->loop = loop_new_virtual(1000000);
    stage->bus_mem = bus_mem_new(PEER_BYTES_MAX);
    stage->metrics = options.metrics = metrics_new();
    stage->bus = bus_mem_open(stage->bus_mem, stage->loop);
    enum err err = manager_open(stage->bus, &options, &stage->manager);
    ASSERT(err == ERR_OK);
    for (int i = 0; i < 2; i++) {
        struct bus_subscription *until_closed;
        stage->senders[i] = bus_mem_open(stage->bus_mem, stage->loop);
        err = bus_subscribe(stage->senders[i], bus_inbox(stage->senders[i]), (struct slice){0},
                            on_message, NULL, &until_closed);
        ASSERT(err == ERR_OK);
    }
}

static void close_stage(struct stage *stage)
{
    for (int i = 0; i < 2; i++)
        bus_close(&stage->senders[i]);
    loop_advance(stage->loop, 15 * 1000000ull); /* leases, timeouts and memory run out */
    struct manager_stats stats = manager_stats(stage->manager);
    ASSERT(stats.queued == 0 && stats.assigned == 0 && stats.nodes == 0 && stats.models == 0);
    manager_close(&stage->manager);
    bus_close(&stage->bus);
    loop_advance(stage->loop, 0);
    metrics_free(stage->metrics);
    bus_mem_free(stage->bus_mem);
    loop_free(stage->loop);
}

static void step(struct stage *stage, uint8_t what, struct slice frame)
{
    const struct slice subjects[] = {SLICE("submit"), SLICE("state.nodes"), SLICE("manager.calls"),
                                     bus_inbox(stage->bus)};
    struct bus *sender = stage->senders[what >> 2 & 1];
    (void)bus_publish(sender, subjects[what & 3], bus_inbox(sender),
                      frame); /* one that is too long is none */
    loop_advance(stage->loop, pauses_ms[what >> 4] * 1000ull);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stage stage;
    struct slice rest = slice_of(data, size);
    log_set_level(LOG_ERROR);
    open_stage(&stage);
    for (int i = 0; i < STEPS_MAX && rest.len >= HEADER_BYTES; i++) {
        uint8_t what = (uint8_t)rest.data[0];
        size_t bytes = little_get16(rest.data + 1);
        rest = slice_after(rest, HEADER_BYTES);
        step(&stage, what, slice_first(rest, bytes));
        rest = slice_after(rest, bytes);
    }
    close_stage(&stage);
    return 0;
}
