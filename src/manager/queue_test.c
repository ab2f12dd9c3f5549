#include "manager/queue.h"
#include "testing/test.h"

enum { MS = 1000 };

struct waiters {
    struct queue queue;
    struct queue_place places[32];
};

static void open_queue(struct waiters *waiters, uint32_t queue_max)
{
    queue_init(&waiters->queue, &(struct queue_options){.queue_max = queue_max,
                                                        .queue_wait_ms = 100,
                                                        .load_timeout_ms = 1000});
}

static void open_served(struct waiters *waiters, uint32_t queue_max, uint32_t slots)
{
    open_queue(waiters, queue_max);
    queue_set_service(&waiters->queue, true, slots, 0, 0);
}

static enum err enter_at(struct waiters *waiters, int index, enum request_priority priority,
                         uint64_t deadline_us, uint64_t now_us)
{
    struct queue_entry entry = {
        .priority = priority, .arrived_ms = index, .deadline_us = deadline_us};
    return queue_enter(&waiters->queue, &waiters->places[index], &entry, now_us);
}

static enum err enter(struct waiters *waiters, int index, enum request_priority priority)
{
    return enter_at(waiters, index, priority, UINT64_MAX, 0);
}

static long index_of(const struct waiters *waiters, const struct queue_place *place)
{
    return place ? place - waiters->places : -1;
}

/* Whose line goes on: the first letters of their numerics; and how often it was asked. */
struct free_workers {
    const char *letters;
    int asked;
};

static bool is_free(void *ctx, const char *numerics)
{
    struct free_workers *workers = ctx;
    workers->asked++;
    return numerics[0] == '\0' || strchr(workers->letters, numerics[0]);
}

static struct queue_place *first_for(struct waiters *waiters, const char *letters)
{
    struct free_workers workers = {letters, 0};
    return queue_first(&waiters->queue, is_free, &workers);
}

static long next(struct waiters *waiters)
{
    struct queue_place *place = first_for(waiters, "");
    if (place)
        queue_leave(&waiters->queue, place);
    return index_of(waiters, place);
}

static long expired(struct waiters *waiters, uint64_t now_us)
{
    return index_of(waiters, queue_expired(&waiters->queue, now_us));
}

TEST(high_goes_before_normal_before_low_and_first_come_inside)
{
    static const enum request_priority priorities[] = {
        PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_HIGH};
    static const long expected[] = {2, 5, 1, 4, 0, 3, -1};
    struct waiters waiters;
    open_served(&waiters, 8, 6);
    for (int i = 0; i < 6; i++)
        CHECK_OK(enter(&waiters, i, priorities[i]));
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++)
        CHECK_EQ(next(&waiters), expected[i]);
    CHECK_EQ(waiters.queue.count, 0);
}

TEST(a_place_knows_how_many_are_before_it_when_it_enters_and_when_all_are_numbered)
{
    struct waiters waiters;
    open_served(&waiters, 8, 1);
    CHECK_OK(enter(&waiters, 0, PRIORITY_NORMAL));
    CHECK_OK(enter(&waiters, 1, PRIORITY_LOW));
    CHECK_OK(enter(&waiters, 2, PRIORITY_HIGH));
    CHECK_OK(enter(&waiters, 3, PRIORITY_NORMAL));
    CHECK_EQ(waiters.places[0].position, 0);
    CHECK_EQ(waiters.places[1].position, 1);
    CHECK_EQ(waiters.places[2].position, 0);
    CHECK_EQ(waiters.places[3].position, 2);
    queue_leave(&waiters.queue, &waiters.places[2]);
    queue_number(&waiters.queue);
    CHECK_EQ(waiters.places[0].position, 0);
    CHECK_EQ(waiters.places[3].position, 1);
    CHECK_EQ(waiters.places[1].position, 2);
}

TEST(the_queue_takes_queue_max_above_the_room_and_no_more)
{
    for (uint32_t room = 0; room <= 2; room++)
        for (uint32_t queue_max = 0; queue_max <= 3; queue_max++) {
            struct waiters waiters;
            open_queue(&waiters, queue_max);
            queue_set_service(&waiters.queue, true, 2, room, 0);
            for (uint32_t i = 0; i < queue_max + room; i++)
                CHECK_OK(enter(&waiters, (int)i, PRIORITY_NORMAL));
            CHECK_ERR(enter(&waiters, 20, PRIORITY_HIGH), ERR_FULL);
            CHECK_EQ(waiters.queue.count, queue_max + room);
            if (queue_max + room == 0)
                continue;
            queue_leave(&waiters.queue, &waiters.places[0]);
            CHECK_OK(enter(&waiters, 20, PRIORITY_LOW));
        }
}

TEST(room_beyond_32_bits_with_queue_max_does_not_wrap)
{
    struct waiters waiters;
    open_queue(&waiters, UINT32_MAX);
    queue_set_service(&waiters.queue, true, 1, UINT32_MAX, 0);
    CHECK_OK(enter(&waiters, 0, PRIORITY_NORMAL));
}

TEST(time_is_up_exactly_queue_wait_after_it_entered)
{
    struct waiters waiters;
    open_served(&waiters, 8, 1);
    CHECK(queue_wake_us(&waiters.queue) == UINT64_MAX);
    CHECK_OK(enter_at(&waiters, 0, PRIORITY_NORMAL, UINT64_MAX, 7));
    CHECK_EQ(queue_wake_us(&waiters.queue), 7 + 100 * MS);
    CHECK_EQ(expired(&waiters, 6 + 100 * MS), -1);
    CHECK_EQ(expired(&waiters, 7 + 100 * MS), 0);
    CHECK_EQ(waiters.queue.count, 0);
    CHECK(queue_wake_us(&waiters.queue) == UINT64_MAX);
    CHECK_EQ(expired(&waiters, UINT64_MAX), -1);
}

TEST(a_model_that_is_not_served_has_its_own_timeout)
{
    struct waiters waiters;
    open_queue(&waiters, 8);
    CHECK_OK(enter(&waiters, 0, PRIORITY_NORMAL));
    CHECK_OK(enter_at(&waiters, 1, PRIORITY_NORMAL, UINT64_MAX, 5));
    CHECK_EQ(expired(&waiters, 1000 * MS), 0);
    queue_set_service(&waiters.queue, true, 1, 0, 1000 * MS);
    CHECK_EQ(queue_wake_us(&waiters.queue), 1100 * MS);
}

TEST(the_wait_begins_anew_when_service_comes_or_goes_and_only_then)
{
    struct waiters waiters;
    open_served(&waiters, 8, 1);
    CHECK_OK(enter(&waiters, 0, PRIORITY_NORMAL));
    queue_set_service(&waiters.queue, true, 2, 0, 50 * MS);
    CHECK_EQ(queue_wake_us(&waiters.queue), 100 * MS);
    queue_set_service(&waiters.queue, false, 0, 0, 60 * MS);
    CHECK_EQ(queue_wake_us(&waiters.queue), 1060 * MS);
    queue_set_service(&waiters.queue, true, 2, 0, 70 * MS);
    CHECK_EQ(queue_wake_us(&waiters.queue), 170 * MS);
}

TEST(a_deadline_ends_every_kind_of_waiting)
{
    struct waiters waiters;
    open_queue(&waiters, 8);
    CHECK_OK(enter_at(&waiters, 0, PRIORITY_NORMAL, 50 * MS, 0));
    CHECK_OK(enter_at(&waiters, 1, PRIORITY_NORMAL, 60 * MS, 0));
    CHECK_EQ(expired(&waiters, 50 * MS), 0);
    queue_set_service(&waiters.queue, true, 1, 0, 55 * MS);
    CHECK_EQ(expired(&waiters, 59 * MS), -1);
    CHECK_EQ(expired(&waiters, 60 * MS), 1);
}

TEST(places_expire_in_the_order_of_their_times_whatever_the_order_of_arrival)
{
    struct waiters waiters;
    uint64_t random = 1;
    for (int round = 0; round < 100; round++) {
        open_queue(&waiters, 32);
        for (int i = 0; i < 32; i++)
            CHECK_OK(enter_at(&waiters, i, i % 3, 1 + test_random(&random) % 1000, 0));
        uint64_t last_us = 0;
        for (int i = 0; i < 32; i++) {
            struct queue_place *place = queue_expired(&waiters.queue, 1000);
            CHECK(place && place->expires_us >= last_us);
            last_us = place->expires_us;
        }
        CHECK_EQ(waiters.queue.count, 0);
    }
}

TEST(one_that_left_does_not_expire_and_may_leave_again)
{
    struct waiters waiters;
    open_served(&waiters, 8, 1);
    CHECK_OK(enter(&waiters, 0, PRIORITY_NORMAL));
    CHECK_OK(enter(&waiters, 1, PRIORITY_NORMAL));
    CHECK_EQ(next(&waiters), 0);
    for (int again = 0; again < 2; again++) {
        queue_leave(&waiters.queue, &waiters.places[1]);
        queue_leave(&waiters.queue, &waiters.places[0]);
    }
    CHECK_EQ(waiters.queue.count, 0);
    CHECK_EQ(expired(&waiters, UINT64_MAX), -1);
}

TEST(estimates_come_from_the_measured_service)
{
    struct waiters waiters;
    struct queue *queue = &waiters.queue;
    open_served(&waiters, 8, 4);
    CHECK_EQ(queue_eta_ms(queue, 0), 0);
    CHECK_EQ(queue_retry_after_ms(queue), 1000);
    queue_count_served(queue, 400 * MS);
    CHECK_EQ(queue_eta_ms(queue, 0), 100); /* one of four ends every 100 ms */
    CHECK_EQ(queue_eta_ms(queue, 3), 400);
    CHECK_EQ(queue_retry_after_ms(queue), 100);
    CHECK_OK(enter(&waiters, 0, PRIORITY_NORMAL));
    CHECK_OK(enter(&waiters, 1, PRIORITY_NORMAL));
    CHECK_EQ(queue_retry_after_ms(queue), 300);
    queue_set_service(queue, true, 8, 0, 0); /* a second worker with four slots */
    CHECK_EQ(queue_retry_after_ms(queue), 150);
    for (int i = 0; i < 200; i++)
        queue_count_served(queue, 0);
    CHECK_EQ(queue_eta_ms(queue, 0), 1);
}

TEST(no_measured_time_makes_an_estimate_wrap)
{
    struct waiters waiters;
    open_served(&waiters, 8, 1);
    for (int i = 0; i < 200; i++)
        queue_count_served(&waiters.queue, UINT64_MAX);
    CHECK_EQ(queue_retry_after_ms(&waiters.queue), 60000);
    CHECK_EQ(queue_eta_ms(&waiters.queue, UINT32_MAX), UINT32_MAX);
    CHECK_EQ(queue_eta_ms(&waiters.queue, 0), UINT32_MAX);
}

TEST(the_visit_goes_through_all_in_the_order_of_service)
{
    struct waiters waiters;
    open_served(&waiters, 8, 1);
    CHECK(first_for(&waiters, "") == NULL);
    CHECK_OK(enter(&waiters, 0, PRIORITY_LOW));
    CHECK_OK(enter(&waiters, 1, PRIORITY_LOW));
    CHECK_OK(enter(&waiters, 2, PRIORITY_HIGH));
    static const long expected[] = {2, 0, 1, -1};
    struct queue_place *place = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        place = queue_after(&waiters.queue, place);
        CHECK_EQ(index_of(&waiters, place), expected[i]);
    }
}

static enum err enter_again(struct waiters *waiters, int index, enum request_priority priority)
{
    struct queue_entry entry = {
        .priority = priority, .arrived_ms = index, .is_again = true, .deadline_us = UINT64_MAX};
    return queue_enter(&waiters->queue, &waiters->places[index], &entry, 0);
}

/* As after a manager's end, when each asker repeats its own. */
TEST(who_comes_again_stands_where_the_first_arrival_says)
{
    static const int entered[] = {4, 1, 3, 2, 9, 0};
    static const long expected[] = {0, 1, 2, 3, 4, 9, -1};
    struct waiters waiters;
    open_served(&waiters, 8, 1);
    for (size_t i = 0; i < ARRAY_COUNT(entered); i++)
        CHECK_OK(enter_again(&waiters, entered[i], PRIORITY_NORMAL));
    CHECK_EQ(waiters.places[0].position, 0);
    queue_number(&waiters.queue);
    CHECK_EQ(waiters.places[9].position, 5);
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++)
        CHECK_EQ(next(&waiters), expected[i]);
}

TEST(who_comes_again_passes_nobody_of_a_higher_priority)
{
    static const long expected[] = {5, 1, 4, 0, -1};
    struct waiters waiters;
    open_served(&waiters, 8, 1);
    CHECK_OK(enter(&waiters, 5, PRIORITY_HIGH));
    CHECK_OK(enter(&waiters, 4, PRIORITY_NORMAL));
    CHECK_OK(enter_again(&waiters, 0, PRIORITY_LOW));
    CHECK_OK(enter_again(&waiters, 1, PRIORITY_NORMAL));
    CHECK_EQ(waiters.places[1].position, 1);
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++)
        CHECK_EQ(next(&waiters), expected[i]);
}

/* The clocks of two machines differ: who comes for the first time stands at the end all the same.
 */
TEST(who_comes_for_the_first_time_gains_nothing_by_an_early_arrival)
{
    struct waiters waiters;
    open_served(&waiters, 8, 1);
    CHECK_OK(enter(&waiters, 7, PRIORITY_NORMAL));
    CHECK_OK(enter(&waiters, 2, PRIORITY_NORMAL));
    CHECK_EQ(next(&waiters), 7);
    CHECK_EQ(next(&waiters), 2);
}

TEST(a_full_queue_refuses_who_is_new_and_nobody_else)
{
    struct waiters waiters;
    open_served(&waiters, 1, 1);
    CHECK_OK(enter(&waiters, 0, PRIORITY_NORMAL));
    CHECK_ERR(enter(&waiters, 1, PRIORITY_NORMAL), ERR_FULL);
    CHECK_OK(enter_again(&waiters, 2, PRIORITY_NORMAL));
    CHECK_ERR(enter(&waiters, 3, PRIORITY_NORMAL), ERR_FULL);
    CHECK_EQ(next(&waiters), 0);
    CHECK_ERR(enter(&waiters, 3, PRIORITY_NORMAL), ERR_FULL);
    CHECK_EQ(next(&waiters), 2);
    CHECK_OK(enter(&waiters, 3, PRIORITY_NORMAL));
}

TEST(who_has_lost_its_worker_waits_for_the_successor_though_others_serve)
{
    struct waiters waiters;
    struct queue *queue = &waiters.queue;
    const struct queue_entry entry = {.is_again = true, .has_run = true, .deadline_us = UINT64_MAX};
    const struct queue_entry hasty = {.is_again = true, .has_run = true, .deadline_us = 500 * MS};
    open_served(&waiters, 10, 1);
    CHECK_OK(queue_enter(queue, &waiters.places[0], &entry, 0));
    CHECK_OK(enter(&waiters, 1, PRIORITY_NORMAL));
    CHECK_EQ(queue_wake_us(queue), 100 * MS);
    queue_set_coming(queue, true, 50 * MS);
    CHECK_OK(queue_enter(queue, &waiters.places[2], &hasty, 60 * MS));
    CHECK_EQ(expired(&waiters, 100 * MS), 1);
    CHECK_EQ(expired(&waiters, 100 * MS), -1);
    CHECK_EQ(queue_wake_us(queue), 500 * MS);
    CHECK_EQ(expired(&waiters, 500 * MS), 2);
    queue_set_coming(queue, false, 600 * MS); /* it is there, or failed */
    CHECK_EQ(queue_wake_us(queue), 700 * MS);
    queue_set_coming(queue, true, 650 * MS); /* not for ever: from its entering on */
    CHECK_EQ(expired(&waiters, 1000 * MS - 1), -1);
    CHECK_EQ(expired(&waiters, 1000 * MS), 0);
    CHECK_EQ(queue_wake_us(queue), UINT64_MAX);
}

/* An answer that goes on; `index` is also when it arrived. */
static enum err enter_bound(struct waiters *waiters, int index, enum request_priority priority,
                            const char *numerics)
{
    struct queue_entry entry = {.priority = priority,
                                .arrived_ms = index,
                                .is_again = true,
                                .deadline_us = UINT64_MAX,
                                .numerics = numerics};
    return queue_enter(&waiters->queue, &waiters->places[index], &entry, 0);
}

/* Thousands of answers may have lost their worker at once, and each new request asks whose turn it
 * is. */
TEST(a_line_that_nobody_can_serve_costs_one_question_however_long_it_is)
{
    struct waiters waiters;
    open_served(&waiters, 8, 1);
    for (int i = 0; i < 20; i++)
        CHECK_OK(enter_bound(&waiters, i, PRIORITY_NORMAL, "b"));
    CHECK_OK(enter(&waiters, 20, PRIORITY_LOW));
    struct free_workers workers = {"a", 0};
    CHECK_EQ(index_of(&waiters, queue_first(&waiters.queue, is_free, &workers)), 20);
    CHECK_EQ(workers.asked, 2);
    CHECK_EQ(index_of(&waiters, first_for(&waiters, "b")), 0);
}

TEST(of_all_lines_that_go_on_the_best_place_goes_first)
{
    static const struct {
        const char *letters;
        long first;
    } cases[] = {{"", 1}, {"b", 1}, {"c", 3}, {"bc", 3}};
    struct waiters waiters;
    open_served(&waiters, 8, 1);
    CHECK_OK(enter(&waiters, 1, PRIORITY_NORMAL));
    CHECK_OK(enter_bound(&waiters, 2, PRIORITY_NORMAL, "b"));
    CHECK_OK(enter_bound(&waiters, 3, PRIORITY_HIGH, "c"));
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        CHECK_EQ(index_of(&waiters, first_for(&waiters, cases[i].letters)), cases[i].first);
    CHECK_OK(enter_bound(&waiters, 0, PRIORITY_NORMAL, "b"));
    CHECK_EQ(index_of(&waiters, first_for(&waiters, "b")), 0);
    CHECK_EQ(index_of(&waiters, first_for(&waiters, "")), 1);
}

TEST(who_stands_in_another_line_fills_no_queue_and_is_before_nobody)
{
    struct waiters waiters;
    open_served(&waiters, 1, 1);
    queue_count_served(&waiters.queue, 100 * MS);
    for (int i = 0; i < 5; i++)
        CHECK_OK(enter_bound(&waiters, i, PRIORITY_HIGH, i % 2 ? "b" : "c"));
    CHECK_EQ(queue_retry_after_ms(&waiters.queue), 100);
    CHECK_OK(enter(&waiters, 5, PRIORITY_NORMAL));
    CHECK_EQ(waiters.places[5].position, 0);
    CHECK_EQ(waiters.places[4].position, 2);
    CHECK_ERR(enter(&waiters, 6, PRIORITY_NORMAL), ERR_FULL);
    queue_leave(&waiters.queue, &waiters.places[0]);
    queue_number(&waiters.queue);
    CHECK_EQ(waiters.places[5].position, 0);
    CHECK_EQ(waiters.places[4].position, 1);
    CHECK_EQ(waiters.places[3].position, 1);
    CHECK_EQ(waiters.queue.count, 5);
}

TEST(lines_are_bounded_and_one_that_is_empty_is_anybodys)
{
    struct waiters waiters;
    char numerics[2] = "a";
    open_served(&waiters, 8, 1);
    for (int i = 1; i < QUEUE_LINES_MAX; i++, numerics[0]++)
        CHECK_OK(enter_bound(&waiters, i, PRIORITY_NORMAL, numerics));
    CHECK_ERR(enter_bound(&waiters, 20, PRIORITY_NORMAL, "z"), ERR_LIMIT);
    CHECK_OK(enter_bound(&waiters, 21, PRIORITY_NORMAL, "c"));
    CHECK_OK(enter(&waiters, 22, PRIORITY_NORMAL));
    CHECK_EQ(waiters.queue.count, QUEUE_LINES_MAX + 1);
    queue_leave(&waiters.queue, &waiters.places[1]);
    CHECK_OK(enter_bound(&waiters, 20, PRIORITY_HIGH, "z"));
    CHECK_EQ(index_of(&waiters, first_for(&waiters, "z")), 20);
}

TEST(whoever_waits_is_visited_and_expires_in_whatever_line)
{
    struct waiters waiters;
    bool visited[32] = {0};
    open_served(&waiters, 32, 1);
    for (int i = 0; i < 32; i++)
        CHECK_OK(enter_bound(&waiters, i, i % 3, (const char *[]){"", "b", "c", "d"}[i % 4]));
    for (struct queue_place *place = NULL; (place = queue_after(&waiters.queue, place));) {
        CHECK(!visited[index_of(&waiters, place)]);
        visited[index_of(&waiters, place)] = true;
    }
    for (int i = 0; i < 32; i++)
        CHECK(visited[i] && expired(&waiters, 100 * MS) >= 0);
    CHECK_EQ(waiters.queue.count, 0);
    CHECK(queue_after(&waiters.queue, NULL) == NULL);
}
