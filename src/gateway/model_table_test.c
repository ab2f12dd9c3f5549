/* model_table_test - what a table knows when it has just begun to listen. */
#include "gateway/model_table.h"

#include "bus/bus_mem.h"
#include "testing/test.h"
#include "wire/frame.h"

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
