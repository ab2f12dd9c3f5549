#include "testing/test.h"
#include "worker/admission.h"

enum { MS = 1000 };

struct queue {
    struct admission admission;
    struct admission_place places[32];
};

static void open_queue(struct queue *queue, uint32_t queue_max)
{
    admission_init(&queue->admission, &(struct admission_options){.queue_max = queue_max,
                                                                  .queue_wait_ms = 100,
                                                                  .load_timeout_ms = 1000});
}

static void open_loaded(struct queue *queue, uint32_t queue_max, uint32_t slots)
{
    open_queue(queue, queue_max);
    admission_loaded(&queue->admission, slots);
}

static enum err enter(struct queue *queue, int index, enum request_priority priority)
{
    return admission_enter(&queue->admission, &queue->places[index], priority, UINT64_MAX, 0);
}

static void enter_ready(struct queue *queue, int index, enum request_priority priority,
                        uint64_t now_us)
{
    CHECK_OK(enter(queue, index, priority));
    admission_ready(&queue->admission, &queue->places[index], now_us);
}

static long index_of(const struct queue *queue, const struct admission_place *place)
{
    return place ? place - queue->places : -1;
}

static long next(struct queue *queue)
{
    return index_of(queue, admission_next(&queue->admission));
}

static long expired(struct queue *queue, uint64_t now_us)
{
    return index_of(queue, admission_expired(&queue->admission, now_us));
}

TEST(high_goes_before_normal_before_low_and_first_come_inside)
{
    struct queue queue;
    open_loaded(&queue, 8, 6);
    enter_ready(&queue, 0, PRIORITY_LOW, 0);
    enter_ready(&queue, 1, PRIORITY_NORMAL, 0);
    enter_ready(&queue, 2, PRIORITY_HIGH, 0);
    enter_ready(&queue, 3, PRIORITY_LOW, 0);
    enter_ready(&queue, 4, PRIORITY_NORMAL, 0);
    enter_ready(&queue, 5, PRIORITY_HIGH, 0);
    static const long expected[] = {2, 5, 1, 4, 0, 3};
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++)
        CHECK_EQ(next(&queue), expected[i]);
    CHECK_EQ(next(&queue), -1);
    CHECK_EQ(queue.admission.count, 0);
}

TEST(a_place_in_preparation_holds_up_nobody_behind_it)
{
    struct queue queue;
    open_loaded(&queue, 8, 2);
    CHECK_OK(enter(&queue, 0, PRIORITY_NORMAL));
    enter_ready(&queue, 1, PRIORITY_NORMAL, 0);
    CHECK_EQ(next(&queue), 1);
    CHECK_EQ(next(&queue), -1);
    admission_ready(&queue.admission, &queue.places[0], 0);
    CHECK_EQ(next(&queue), 0);
}

TEST(no_more_start_than_slots_are_free)
{
    struct queue queue;
    open_loaded(&queue, 8, 1);
    enter_ready(&queue, 0, PRIORITY_NORMAL, 0);
    enter_ready(&queue, 1, PRIORITY_NORMAL, 0);
    CHECK_EQ(next(&queue), 0);
    CHECK_EQ(next(&queue), -1);
    admission_set_slots_free(&queue.admission, 1, 0, 0);
    CHECK_EQ(next(&queue), 1);
}

TEST(slots_that_jobs_under_way_will_take_are_not_free)
{
    static const struct {
        uint32_t said, given, counted, expected;
    } cases[] = {{4, 0, 0, 4}, {4, 2, 2, 4}, {4, 3, 2, 3}, {4, 6, 2, 0},
                 {4, 7, 2, 0}, {0, 2, 1, 0}, {4, 2, 3, 4} /* one it counted has ended since */};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct queue queue;
        open_loaded(&queue, 8, 4);
        admission_set_slots_free(&queue.admission, cases[i].said, cases[i].given, cases[i].counted);
        CHECK_EQ(queue.admission.slots_free, cases[i].expected);
    }
}

TEST(the_queue_takes_queue_max_above_the_free_slots_and_no_more)
{
    for (uint32_t slots = 0; slots <= 2; slots++)
        for (uint32_t queue_max = 0; queue_max <= 3; queue_max++) {
            struct queue queue;
            open_loaded(&queue, queue_max, 2);
            admission_set_slots_free(&queue.admission, slots, 0, 0);
            for (uint32_t i = 0; i < queue_max + slots; i++)
                CHECK_OK(enter(&queue, (int)i, PRIORITY_NORMAL));
            CHECK_ERR(enter(&queue, 20, PRIORITY_HIGH), ERR_FULL);
            CHECK_EQ(queue.admission.count, queue_max + slots);
            if (queue_max + slots == 0)
                continue;
            admission_leave(&queue.admission, &queue.places[0]);
            CHECK_OK(enter(&queue, 20, PRIORITY_LOW));
        }
}

TEST(time_is_up_exactly_queue_wait_after_it_was_prepared)
{
    struct queue queue;
    open_loaded(&queue, 8, 1);
    admission_set_slots_free(&queue.admission, 0, 0, 0);
    CHECK_OK(enter(&queue, 0, PRIORITY_NORMAL));
    CHECK_EQ(admission_wake_us(&queue.admission) == UINT64_MAX, true);
    admission_ready(&queue.admission, &queue.places[0], 7);
    CHECK_EQ(admission_wake_us(&queue.admission), 7 + 100 * MS);
    CHECK_EQ(expired(&queue, 6 + 100 * MS), -1);
    CHECK_EQ(expired(&queue, 7 + 100 * MS), 0);
    CHECK_EQ(queue.places[0].phase, ADMISSION_READY);
    CHECK_EQ(queue.admission.count, 0);
    CHECK(admission_wake_us(&queue.admission) == UINT64_MAX);
}

TEST(loading_has_its_own_timeout_and_does_not_count_as_waiting)
{
    struct queue queue;
    open_queue(&queue, 8);
    CHECK_OK(enter(&queue, 0, PRIORITY_NORMAL));
    CHECK_OK(admission_enter(&queue.admission, &queue.places[1], PRIORITY_NORMAL, UINT64_MAX, 5));
    CHECK_EQ(expired(&queue, 1000 * MS), 0);
    CHECK_EQ(queue.places[0].phase, ADMISSION_LOADING);
    admission_loaded(&queue.admission, 1);
    admission_set_slots_free(&queue.admission, 0, 0, 0);
    CHECK(admission_wake_us(&queue.admission) == UINT64_MAX);
    admission_ready(&queue.admission, &queue.places[1], 5000 * MS);
    CHECK_EQ(admission_wake_us(&queue.admission), 5100 * MS);
}

TEST(a_deadline_ends_every_kind_of_waiting)
{
    struct queue queue;
    open_queue(&queue, 8);
    CHECK_OK(admission_enter(&queue.admission, &queue.places[0], PRIORITY_NORMAL, 50 * MS, 0));
    CHECK_OK(admission_enter(&queue.admission, &queue.places[1], PRIORITY_NORMAL, 60 * MS, 0));
    CHECK_OK(admission_enter(&queue.admission, &queue.places[2], PRIORITY_NORMAL, 70 * MS, 0));
    CHECK_EQ(expired(&queue, 50 * MS), 0);
    admission_loaded(&queue.admission, 1);
    admission_set_slots_free(&queue.admission, 0, 0, 0);
    CHECK_EQ(expired(&queue, 60 * MS), 1);
    admission_ready(&queue.admission, &queue.places[2], 65 * MS);
    CHECK_EQ(expired(&queue, 69 * MS), -1);
    CHECK_EQ(expired(&queue, 70 * MS), 2);
}

TEST(places_expire_in_the_order_of_their_times_whatever_the_order_of_arrival)
{
    struct queue queue;
    uint64_t random = 1;
    for (int round = 0; round < 100; round++) {
        open_queue(&queue, 32);
        for (int i = 0; i < 32; i++)
            CHECK_OK(admission_enter(&queue.admission, &queue.places[i], i % 3,
                                     1 + test_random(&random) % 1000, 0));
        uint64_t last_us = 0;
        for (int i = 0; i < 32; i++) {
            struct admission_place *place = admission_expired(&queue.admission, 1000);
            CHECK(place && place->expires_us >= last_us);
            last_us = place->expires_us;
        }
        CHECK_EQ(queue.admission.count, 0);
    }
}

TEST(one_that_started_or_left_does_not_expire)
{
    struct queue queue;
    open_loaded(&queue, 8, 1);
    enter_ready(&queue, 0, PRIORITY_NORMAL, 0);
    enter_ready(&queue, 1, PRIORITY_NORMAL, 0);
    CHECK_EQ(next(&queue), 0);
    admission_leave(&queue.admission, &queue.places[1]);
    admission_leave(&queue.admission, &queue.places[1]); /* again, and of one that started */
    admission_leave(&queue.admission, &queue.places[0]);
    CHECK_EQ(queue.admission.count, 0);
    CHECK_EQ(expired(&queue, UINT64_MAX - 1), -1);
}

TEST(estimates_come_from_the_measured_service)
{
    struct queue queue;
    open_loaded(&queue, 8, 4);
    CHECK_EQ(admission_eta_ms(&queue.admission, 0), 0);
    CHECK_EQ(admission_retry_after_ms(&queue.admission), 1000);
    admission_count_served(&queue.admission, 400 * MS);
    CHECK_EQ(admission_eta_ms(&queue.admission, 0), 100); /* one of four ends every 100 ms */
    CHECK_EQ(admission_eta_ms(&queue.admission, 3), 400);
    CHECK_EQ(admission_retry_after_ms(&queue.admission), 100);
    CHECK_OK(enter(&queue, 0, PRIORITY_NORMAL));
    CHECK_OK(enter(&queue, 1, PRIORITY_NORMAL));
    CHECK_EQ(admission_retry_after_ms(&queue.admission), 300);
    for (int i = 0; i < 100; i++)
        admission_count_served(&queue.admission, 4000 * MS);
    CHECK_NEAR(admission_eta_ms(&queue.admission, 0), 1000, 10);
    for (int i = 0; i < 200; i++)
        admission_count_served(&queue.admission, 0);
    CHECK_EQ(admission_eta_ms(&queue.admission, 0), 1);
    for (int i = 0; i < 200; i++)
        admission_count_served(&queue.admission, 3600ull * 1000 * MS);
    CHECK_EQ(admission_retry_after_ms(&queue.admission), 60000);
}

TEST(the_visit_goes_through_all_in_the_order_of_service)
{
    struct queue queue;
    open_loaded(&queue, 8, 1);
    CHECK(admission_after(&queue.admission, NULL) == NULL);
    CHECK_OK(enter(&queue, 0, PRIORITY_LOW));
    CHECK_OK(enter(&queue, 1, PRIORITY_LOW));
    CHECK_OK(enter(&queue, 2, PRIORITY_HIGH));
    static const long expected[] = {2, 0, 1, -1};
    struct admission_place *place = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        place = admission_after(&queue.admission, place);
        CHECK_EQ(index_of(&queue, place), expected[i]);
    }
}
