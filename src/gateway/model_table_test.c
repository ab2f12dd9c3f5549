/* model_table_test - what a table knows when it has just begun to listen. */
#include "gateway/model_table.h"

#include "bus/bus_mem.h"
#include "testing/test.h"
#include "wire/frame.h"

#include <stdio.h>

enum { CAP = 1024 * 1024 };

struct listener {
    size_t asked;
    enum wire_type type;
};

static void on_wanted(void *ctx, const struct bus_message *message)
{
    struct listener *listener = ctx;
    struct wire_reader reader;
    struct wire_record record;
    CHECK_OK(wire_open(message->frame, &reader));
    CHECK_EQ(reader.kind, WIRE_STATE);
    CHECK_OK(wire_next(&reader, &record));
    listener->type = (enum wire_type)record.type;
    listener->asked++;
}

static void say(struct bus *bus, const char *node, enum node_phase phase, float fraction)
{
    struct text frame;
    struct wire_writer writer;
    struct node_state state = {.node = slice_str(node),
                               .model = SLICE("m"),
                               .engine = SLICE("dummy"),
                               .control = bus_inbox(bus),
                               .phase = phase,
                               .load_fraction = fraction};
    text_init(&frame, CAP);
    wire_begin(&writer, &frame, WIRE_STATE);
    wire_open_record(&writer, &(struct wire_record){.type = WIRE_NODE_STATE});
    node_state_encode(&state, &frame);
    wire_close_record(&writer);
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(bus_publish(bus, SLICE("state.nodes"), (struct slice){0}, text_slice(&frame)));
    text_fini(&frame);
}

/* Its model is known for so long as somebody may ask for it, and then nothing of it is left. */
TEST(a_worker_that_is_started_again_and_again_is_remembered_once)
{
    struct loop *loop = loop_new_virtual(1000000);
    struct bus_mem *bus_mem = bus_mem_new(CAP);
    struct bus *worker = bus_mem_open(bus_mem, loop), *gateway = bus_mem_open(bus_mem, loop);
    struct model_table *table = NULL;
    CHECK_OK(model_table_new(gateway, &table));
    for (int start = 1; start <= 200; start++) {
        char name[32];
        snprintf(name, sizeof(name), "m-%d", start);
        say(worker, name, NODE_READY, 1);
        loop_advance(loop, 0);
        CHECK_EQ(model_table_kept(table), 1);
        loop_advance(loop, NODE_STATE_DEAD_MS * 1000ull);
        CHECK(model_table_knows(table, SLICE("m")));
        loop_advance(loop, 1);
        CHECK(!model_table_knows(table, SLICE("m")));
    }
    model_table_free(table);
    bus_close(&gateway);
    bus_close(&worker);
    bus_mem_free(bus_mem);
    loop_free(loop);
}

TEST(who_is_there_already_is_asked_for_its_state)
{
    struct loop *loop = loop_new();
    struct bus_mem *bus_mem = bus_mem_new(CAP);
    struct bus *worker = bus_mem_open(bus_mem, loop), *gateway = bus_mem_open(bus_mem, loop);
    struct bus_subscription *wanted = NULL;
    struct listener listener = {0};
    struct model_table *table = NULL;
    CHECK_OK(bus_subscribe(worker, SLICE("state.wanted"), (struct slice){0}, on_wanted, &listener,
                           &wanted));
    CHECK_OK(model_table_new(gateway, &table));
    while (loop_turn(loop, false))
        continue;
    CHECK_EQ(listener.asked, 1);
    CHECK_EQ(listener.type, WIRE_STATE_WANTED);
    CHECK(model_table_is_empty(table));
    model_table_free(table);
    bus_unsubscribe(&wanted);
    bus_close(&gateway);
    bus_close(&worker);
    bus_mem_free(bus_mem);
    loop_free(loop);
}

static struct slice found(struct loop *loop, struct model_table *table)
{
    loop_advance(loop, 0);
    const struct node_state *state = model_table_find(table, SLICE("m"));
    return state ? state->node : (struct slice){0};
}

/* Its host speaks for a worker that is started again, and goes on to while it loads. */
TEST(of_those_that_load_the_one_that_is_furthest_is_told)
{
    struct loop *loop = loop_new_virtual(1000000);
    struct bus_mem *bus_mem = bus_mem_new(CAP);
    struct bus *worker = bus_mem_open(bus_mem, loop), *gateway = bus_mem_open(bus_mem, loop);
    struct model_table *table = NULL;
    CHECK_OK(model_table_new(gateway, &table));
    say(worker, "m.host", NODE_LOADING, 0);
    CHECK_SLICE(found(loop, table), "m.host");
    say(worker, "m-2", NODE_LOADING, 0.5f);
    CHECK_SLICE(found(loop, table), "m-2");
    say(worker, "m.host", NODE_LOADING, 0);
    CHECK_SLICE(found(loop, table), "m-2");
    say(worker, "m-3", NODE_LOADING, 0.5f); /* as far: it stays the one it was */
    CHECK_SLICE(found(loop, table), "m-2");
    say(worker, "m-4", NODE_READY, 0);
    CHECK_SLICE(found(loop, table), "m-4");
    model_table_free(table);
    bus_close(&gateway);
    bus_close(&worker);
    bus_mem_free(bus_mem);
    loop_free(loop);
}
