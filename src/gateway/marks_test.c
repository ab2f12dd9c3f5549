/* marks_test - what goes in comes out in order, wherever the ring is full. */
#include "gateway/marks.h"

#include "testing/test.h"

static void push(struct marks *marks, uint64_t number)
{
    marks_push(marks, (struct mark){number, (uint32_t)number % 16, (uint32_t)number + 1});
}

static void check_next(struct marks *marks, uint64_t number)
{
    const struct mark *front = marks_front(marks);
    CHECK(front);
    CHECK_EQ(front->end_bytes, number);
    CHECK_EQ(front->choice, number % 16);
    CHECK_EQ(front->payload_bytes, number + 1);
    marks_pop(marks);
}

TEST(marks_come_out_in_order_wherever_the_ring_grows)
{
    for (uint64_t lead = 0; lead <= 9; lead++) { /* the ring's first place, when it grows */
        struct marks marks = {0};
        uint64_t next = 0;
        CHECK(marks_front(&marks) == NULL);
        for (uint64_t i = 0; i < lead; i++) {
            push(&marks, next);
            check_next(&marks, next++);
        }
        for (uint64_t count = 1; count <= 40; count++) {
            for (uint64_t i = 0; i < count; i++)
                push(&marks, next + i);
            CHECK_EQ(marks.count, count);
            for (uint64_t i = 0; i < count; i++)
                check_next(&marks, next + i);
            next += count;
            CHECK(marks_front(&marks) == NULL);
        }
        marks_fini(&marks);
    }
}

TEST(marks_take_the_memory_of_what_is_under_way_at_once)
{
    struct marks marks = {0};
    CHECK(marks.ring == NULL);
    for (uint64_t i = 0; i < 1000; i++) {
        push(&marks, i);
        check_next(&marks, i);
    }
    CHECK_EQ(marks.capacity, 4);
    marks_fini(&marks);
    CHECK(marks.ring == NULL);
    push(&marks, 7);
    check_next(&marks, 7);
    marks_fini(&marks);
}

TEST(a_mark_that_is_not_there_cannot_be_taken)
{
    struct marks marks = {0};
    CHECK_ABORTS(marks_pop(&marks), "count > 0");
}
