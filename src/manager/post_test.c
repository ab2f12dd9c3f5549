#include "base/mem.h"
#include "bus/bus_mem.h"
#include "manager/post.h"
#include "testing/test.h"

#include <stdio.h>

/* Who hears on one subject: frames, records, and the streams in the order in which they came. */
struct ear {
    size_t frames, records;
    uint64_t last_stream;
    bool is_in_order;
    char reply[BUS_SUBJECT_MAX_BYTES + 1];
    enum wire_kind kind;
};

struct stage {
    struct loop *loop;
    struct bus_mem *bus_mem;
    struct bus *bus;
    struct post *post;
    struct ear ears[100];
};

static void on_message(void *ctx, const struct bus_message *message)
{
    struct ear *ear = ctx;
    struct wire_reader reader;
    struct wire_record record;
    CHECK_OK(wire_open(message->frame, &reader));
    ear->kind = reader.kind;
    ear->frames++;
    snprintf(ear->reply, sizeof(ear->reply), SLICE_FMT, SLICE_ARG(message->reply));
    while (wire_next(&reader, &record) == ERR_OK) {
        ear->is_in_order &= record.stream == ear->last_stream + 1;
        ear->last_stream = record.stream;
        ear->records++;
    }
}

static struct slice subject_of(char room[16], size_t index)
{
    return slice_of(room, (size_t)snprintf(room, 16, "ear.%zu", index));
}

static void open_stage(struct stage *stage)
{
    *stage = (struct stage){.loop = loop_new_virtual(1), .bus_mem = bus_mem_new(1 << 20)};
    stage->bus = bus_mem_open(stage->bus_mem, stage->loop);
    stage->post = post_new(stage->bus);
    for (size_t i = 0; i < ARRAY_COUNT(stage->ears); i++) {
        char room[16];
        struct bus_subscription *until_closed;
        stage->ears[i].is_in_order = true;
        CHECK_OK(bus_subscribe(stage->bus, subject_of(room, i), (struct slice){0}, on_message,
                               &stage->ears[i], &until_closed));
    }
}

static void close_stage(struct stage *stage)
{
    post_free(stage->post);
    bus_close(&stage->bus);
    loop_advance(stage->loop, 0);
    bus_mem_free(stage->bus_mem);
    loop_free(stage->loop);
}

static void say(struct stage *stage, size_t index, uint64_t stream, size_t bytes)
{
    static char filler[256 * 1024];
    char room[16];
    struct wire_writer *writer = post_to(stage->post, WIRE_CONTROL, subject_of(room, index), bytes);
    CHECK(writer != NULL);
    wire_add(writer, &(struct wire_record){.stream = stream,
                                           .type = WIRE_SUBMIT,
                                           .payload = slice_of(filler, bytes)});
}

TEST(what_one_turn_says_to_one_subject_leaves_in_one_frame_and_in_order)
{
    struct stage stage;
    open_stage(&stage);
    for (uint64_t stream = 1; stream <= 10; stream++)
        for (size_t ear = 0; ear < 3; ear++)
            say(&stage, ear, stream, 5);
    CHECK_EQ(stage.ears[0].frames, 0);
    loop_advance(stage.loop, 0);
    for (size_t ear = 0; ear < 3; ear++) {
        CHECK_EQ(stage.ears[ear].frames, 1);
        CHECK_EQ(stage.ears[ear].records, 10);
        CHECK(stage.ears[ear].is_in_order);
        CHECK_SLICES(slice_str(stage.ears[ear].reply), bus_inbox(stage.bus));
    }
    CHECK_EQ(post_stats(stage.post).frames, 3);
    loop_advance(stage.loop, 1000000);
    CHECK_EQ(stage.ears[0].frames, 1); /* and only once */
    close_stage(&stage);
}

TEST(kinds_do_not_share_a_frame)
{
    struct stage stage;
    char room[16];
    open_stage(&stage);
    say(&stage, 0, 1, 0);
    wire_add(post_to(stage.post, WIRE_EVENTS, subject_of(room, 0), 0),
             &(struct wire_record){.stream = 2, .type = WIRE_UNKNOWN_STREAM});
    loop_advance(stage.loop, 0);
    CHECK_EQ(stage.ears[0].frames, 2);
    CHECK_EQ(stage.ears[0].kind, WIRE_EVENTS);
    close_stage(&stage);
}

TEST(a_full_frame_leaves_before_more_is_added)
{
    for (int more = -1; more <= 1; more++) {
        struct stage stage;
        open_stage(&stage);
        size_t first = 1000, head = WIRE_FRAME_HEADER_BYTES + WIRE_RECORD_HEADER_BYTES;
        say(&stage, 0, 1, first);
        say(&stage, 0, 2, (size_t)(POST_FRAME_BYTES - (int)(head + first) + more));
        loop_advance(stage.loop, 0);
        CHECK_EQ(stage.ears[0].frames, more > 0 ? 2 : 1);
        CHECK_EQ(stage.ears[0].records, 2);
        CHECK(stage.ears[0].is_in_order);
        close_stage(&stage);
    }
}

TEST(one_record_may_be_larger_than_a_frame_is_gathered_to)
{
    struct stage stage;
    open_stage(&stage);
    say(&stage, 0, 1, 10);
    say(&stage, 0, 2, 200 * 1024);
    say(&stage, 0, 3, 10);
    loop_advance(stage.loop, 0);
    CHECK_EQ(stage.ears[0].frames, 3);
    CHECK(stage.ears[0].is_in_order);
    close_stage(&stage);
}

TEST(more_subjects_than_there_is_place_for_are_served_all_the_same)
{
    struct stage stage;
    open_stage(&stage);
    for (uint64_t stream = 1; stream <= 2; stream++)
        for (size_t ear = 0; ear < POST_SUBJECTS_MAX + 1; ear++)
            say(&stage, ear, stream, 5);
    loop_advance(stage.loop, 0);
    for (size_t ear = 0; ear < POST_SUBJECTS_MAX + 1; ear++) {
        CHECK_EQ(stage.ears[ear].records, 2);
        CHECK(stage.ears[ear].is_in_order);
    }
    close_stage(&stage);
}

TEST(a_subject_that_no_bus_would_take_has_no_writer)
{
    static char subject[BUS_SUBJECT_MAX_BYTES + 1];
    struct stage stage;
    open_stage(&stage);
    memset(subject, 'x', sizeof(subject));
    CHECK(post_to(stage.post, WIRE_EVENTS, (struct slice){0}, 0) == NULL);
    CHECK(post_to(stage.post, WIRE_EVENTS, slice_of(subject, sizeof(subject)), 0) == NULL);
    CHECK(post_to(stage.post, WIRE_EVENTS, slice_of(subject, sizeof(subject) - 1), 0) != NULL);
    loop_advance(stage.loop, 0); /* nothing was added to it: nothing leaves */
    CHECK_EQ(post_stats(stage.post).frames + post_stats(stage.post).lost, 0);
    close_stage(&stage);
}

TEST(a_frame_for_which_there_is_no_memory_is_lost_and_the_next_one_is_not)
{
    struct stage stage;
    open_stage(&stage);
    mem_test_fail_nth(1);
    say(&stage, 0, 1, 100);
    loop_advance(stage.loop, 0);
    mem_test_fail_nth(0);
    CHECK_EQ(post_stats(stage.post).lost, 1);
    say(&stage, 0, 1, 100);
    loop_advance(stage.loop, 0);
    CHECK_EQ(stage.ears[0].records, 1);
    close_stage(&stage);
}
