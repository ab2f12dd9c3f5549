/* Limits that change while the manager runs (SIGHUP). */
#include "manager/manager_rig.h"
#include "testing/test.h"

static struct rig rig;
static struct peer *asker;

/* One slot, taken; `queue_max` may wait. */
static struct peer *open_full(uint32_t queue_max)
{
    rig_init(&rig);
    rig.options.queue_max = queue_max;
    rig_open_greeted(&rig);
    asker = rig_peer(&rig);
    return rig_ready_worker(&rig, "m", 1, 0);
}

static void set_limits(uint32_t queue_max, uint32_t queue_wait_ms, uint32_t load_timeout_ms)
{
    manager_set_limits(rig.manager, &(struct manager_limits){.queue_max = queue_max,
                                                             .queue_wait_ms = queue_wait_ms,
                                                             .load_timeout_ms = load_timeout_ms});
}

TEST(a_new_queue_max_holds_for_the_next_one_and_nobody_is_sent_away)
{
    (void)open_full(1);
    rig_ask(asker, 1);
    rig_ask(asker, 2);
    CHECK_EQ(heard_for(asker, RIG_ERROR, 2), 1);
    set_limits(3, 2000, 300000);
    rig_ask(asker, 3);
    rig_ask(asker, 4);
    CHECK_EQ(manager_stats(rig.manager).queued, 3);
    set_limits(0, 2000, 300000);
    CHECK_EQ(manager_stats(rig.manager).queued, 3);
    rig_ask(asker, 5);
    CHECK_EQ(heard_for(asker, RIG_ERROR, 5), 1);
    rig_close(&rig);
}

TEST(a_new_wait_holds_for_who_comes_after_it)
{
    (void)open_full(8);
    rig_ask(asker, 1);
    set_limits(8, 500, 300000);
    rig_ask(asker, 2);
    rig_run(&rig, 499);
    CHECK_EQ(manager_stats(rig.manager).queued, 2);
    rig_run(&rig, 1);
    CHECK_EQ(manager_stats(rig.manager).queued, 1);
    CHECK_EQ(heard_for(asker, RIG_ERROR, 1), 0);
    rig_run(&rig, 1500);
    CHECK(heard_for(asker, RIG_ERROR, 1) > 0);
    rig_close(&rig);
}

/* Also for models that are heard of only later. */
TEST(a_new_load_timeout_holds_for_every_model)
{
    (void)open_full(8);
    set_limits(8, 2000, 1000);
    struct peer *late = rig_worker(&rig, "late");
    worker_state(late, NODE_LOADING, "");
    struct request request = rig_request(asker, 9);
    request.model = SLICE("late");
    rig_submit(asker, &request);
    for (int i = 0; i < 9; i++) {
        rig_run(&rig, 100);
        worker_state(late, NODE_LOADING, "");
    }
    CHECK_EQ(manager_stats(rig.manager).queued, 1);
    rig_run(&rig, 100);
    CHECK_EQ(manager_stats(rig.manager).queued, 0);
    check_error(asker, 9, FAULT_LOADING);
    rig_close(&rig);
}

/* A dead worker's request that nobody has seen a token of runs elsewhere: even if the queue has
 * become full since it was let in. */
TEST(who_asks_again_is_let_in_although_the_queue_is_full)
{
    (void)open_full(1);
    rig_ask(asker, 1);
    struct request request = rig_request(asker, 2);
    rig_submit(asker, &request);
    check_error(asker, 2, FAULT_QUEUE_FULL);
    request = rig_request(asker, 3);
    request.epoch = 2;
    request.arrival_ms -= 5000;
    rig_submit(asker, &request);
    CHECK_EQ(heard_for(asker, RIG_ERROR, 3), 0);
    CHECK_EQ(manager_stats(rig.manager).queued, 2);
    CHECK_EQ(heard_for(asker, RIG_QUEUED, 3), 1);
    rig_close(&rig);
}

/* Who asked our predecessor is let in as well, as long as somebody may still have done so: askers
 * repeat themselves, and one that is silent for 10 s is not waited for. */
TEST(who_asked_before_us_is_let_in_by_a_full_queue_for_ten_seconds)
{
    for (uint64_t after_ms = 9999; after_ms <= 10000; after_ms++) {
        struct peer *worker = open_full(0);
        uint64_t until_ms = rig.opened_us / 1000 + after_ms;
        for (uint64_t left_ms; (left_ms = until_ms - loop_now_us(rig.loop) / 1000) > 0;) {
            worker_state(worker, NODE_READY, ""); /* it keeps its lease */
            rig_run(&rig, left_ms < 500 ? left_ms : 500);
        }
        struct request request = rig_request(asker, 1);
        request.arrival_ms -= 60000;
        rig_submit(asker, &request);
        CHECK_EQ(manager_stats(rig.manager).queued, after_ms < 10000);
        if (after_ms == 10000)
            check_error(asker, 1, FAULT_QUEUE_FULL);
        rig_close(&rig);
    }
}
