/* Many requests: what they cost, and that nothing of them stays. */
#include "base/clock.h"
#include "base/mem.h"
#include "manager/manager_rig.h"
#include "testing/test.h"

#include <malloc.h>
#include <stdio.h>

enum { REQUESTS = 65000, MORE = 5000, AT_ONCE = 250, SLOTS = 100 };

static struct rig rig;
static struct peer *asker;
static uint64_t released;

/* A worker that is done with everything in the turn after it came. */
struct quick {
    struct peer *peer;
    uint64_t streams[AT_ONCE];
    uint32_t count;
    uint64_t seen;
};

static void on_record(struct peer *peer, const struct wire_record *record)
{
    struct quick *quick = peer->ctx;
    if (record->type != WIRE_SUBMIT)
        return;
    CHECK(quick->count < AT_ONCE);
    quick->streams[quick->count++] = record->stream;
    quick->seen = record->seq;
}

static void release_all(struct quick *quick)
{
    struct wire_writer *writer = worker_load(quick->peer, quick->seen, SLOTS, SLOTS, false);
    for (uint32_t i = 0; i < quick->count; i++)
        wire_add_released(writer, quick->streams[i], 1, &(struct wire_released){1, 1000});
    released += quick->count;
    quick->count = 0;
    worker_report(quick->peer);
}

static void submit_some(uint64_t first)
{
    struct wire_writer *writer = peer_frame(asker, WIRE_CONTROL);
    for (uint64_t stream = first; stream < first + AT_ONCE; stream++) {
        struct request request = rig_request(asker, stream);
        wire_open_record(writer,
                         &(struct wire_record){.stream = stream, .epoch = 1, .type = WIRE_SUBMIT});
        request_encode(&request, writer->out);
        wire_close_record(writer);
    }
    peer_send(asker, "submit");
}

static void run_all(struct quick *quick, size_t quick_count, uint64_t first, uint64_t count)
{
    for (uint64_t stream = first; stream < first + count; stream += AT_ONCE) {
        submit_some(stream);
        while (manager_stats(rig.manager).queued + manager_stats(rig.manager).assigned > 0)
            for (size_t i = 0; i < quick_count; i++)
                release_all(&quick[i]);
        rig_run(&rig, 10);
        asker->heard_count = 0;
    }
    rig_run(&rig, 61000); /* and nothing is remembered */
    for (size_t i = 0; i < quick_count; i++) {
        worker_state(quick[i].peer, NODE_READY, "");
        worker_say_load(quick[i].peer, quick[i].seen, SLOTS, SLOTS);
        quick[i].peer->heard_count = 0;
    }
}

TEST(sixty_five_thousand_requests_leave_nothing_behind)
{
    struct quick quick[3] = {0};
    rig_init(&rig);
    rig.options.queue_max = AT_ONCE;
    rig.options.node_lease_ms = 120000; /* they are silent while it is all forgotten */
    rig_open_greeted(&rig);
    asker = rig_peer(&rig);
    for (size_t i = 0; i < ARRAY_COUNT(quick); i++) {
        quick[i].peer = rig_ready_worker(&rig, "m", SLOTS, SLOTS);
        quick[i].peer->ctx = &quick[i];
        quick[i].peer->on_record = on_record;
    }
    run_all(quick, ARRAY_COUNT(quick), 1,
            REQUESTS); /* the table of tickets has its full size now */
    size_t in_use = mallinfo2().uordblks;
    uint64_t begun_us = clock_monotonic_us();
    run_all(quick, ARRAY_COUNT(quick), 1 + REQUESTS, MORE);
    printf("%.1f us for each request, askers and workers included\n",
           (double)(clock_monotonic_us() - begun_us) / MORE);
    CHECK_EQ(released, REQUESTS + MORE);
    CHECK_EQ(manager_stats(rig.manager).submits, REQUESTS + MORE);
    CHECK_EQ(manager_stats(rig.manager).ended, REQUESTS + MORE);
    CHECK_EQ(manager_stats(rig.manager).refused, 0);
    CHECK_NEAR((double)mallinfo2().uordblks, (double)in_use, 64 * 1024); /* 0 with sanitizers */
    rig_close(&rig);
}

/* A flood of refusals is remembered up to the bound, and no further. */
TEST(what_is_remembered_of_the_ended_is_bounded)
{
    rig_init(&rig);
    rig.options.queue_max = 0;
    rig_open_greeted(&rig);
    asker = rig_peer(&rig);
    (void)rig_ready_worker(&rig, "m", 1, 0);
    uint64_t last = 0;
    for (uint64_t first = 1; first < 70000; first += AT_ONCE) {
        submit_some(first);
        last = first + AT_ONCE - 1;
        asker->heard_count = 0;
    }
    CHECK_EQ(manager_stats(rig.manager).refused, last);
    rig_ask(asker, last - 65535); /* the oldest that is remembered: its end is said again */
    CHECK_EQ(manager_stats(rig.manager).submits, last);
    rig_ask(asker, last - 65536); /* this one is new */
    CHECK_EQ(manager_stats(rig.manager).submits, last + 1);
    rig_close(&rig);
}
