/* What workers say, and what becomes of requests when they come and go. */
#include "base/clock.h"
#include "base/mem.h"
#include "manager/manager_rig.h"
#include "manager/queue.h"
#include "manager/sched.h"
#include "testing/test.h"

#include <stdio.h>

static struct rig rig;
static struct peer *asker;

static void open_rig(void)
{
    rig_init(&rig);
    rig_open_greeted(&rig);
    asker = rig_peer(&rig);
}

/* Sees and keeps what it was given: no room left. */
static void see_all(struct peer *worker)
{
    worker_say_load(worker, heard_last(worker, WIRE_SUBMIT)->seq, 1, 0);
}

/* Nodes say that they are there, so that only the test's own silence counts. */
static void keep_alive(struct peer *const *workers, size_t count, uint64_t ms)
{
    for (uint64_t at = 0; at < ms; at += 500) {
        for (size_t i = 0; i < count; i++)
            worker_state(workers[i], NODE_READY, "");
        rig_run(&rig, 500);
    }
}

TEST(requests_spread_over_the_workers_with_most_room)
{
    open_rig();
    struct peer *large = rig_ready_worker(&rig, "m", 8, 8);
    struct peer *small = rig_ready_worker(&rig, "m", 4, 4);
    for (uint64_t i = 1; i <= 12; i++)
        rig_ask(asker, i);
    CHECK_EQ(heard_count(large, WIRE_SUBMIT), 8);
    CHECK_EQ(heard_count(small, WIRE_SUBMIT), 4);
    CHECK_EQ(manager_stats(rig.manager).queued, 0);
    rig_ask(asker, 13);
    CHECK_EQ(manager_stats(rig.manager).queued, 1);
    rig_close(&rig);
}

static void tell_numerics(struct peer *worker, const char *numerics)
{
    worker->numerics = numerics;
    worker_state(worker, NODE_READY, "");
}

static void ask_to_go_on(uint64_t stream, const char *numerics)
{
    struct request request = rig_request(asker, stream);
    request.epoch = 2;
    request.continue_from.numerics = slice_str(numerics);
    rig_submit(asker, &request);
}

TEST(an_answer_goes_on_with_a_worker_of_the_same_numerics_and_holds_nobody_up)
{
    static const char mine[] = "0123456789abcdef0123456789abcdef";
    static const char others[] = "0123456789abcdef0123456789abcdee";
    open_rig();
    struct peer *other = rig_ready_worker(&rig, "m", 8, 8);
    struct peer *like = rig_ready_worker(&rig, "m", 1, 1);
    tell_numerics(other, others);
    tell_numerics(like, mine);
    ask_to_go_on(1, mine);
    CHECK_EQ(heard_for(like, WIRE_SUBMIT, 1), 1);
    ask_to_go_on(2, mine); /* there is room, but not there */
    rig_ask(asker, 3);
    CHECK_EQ(heard_for(other, WIRE_SUBMIT, 3), 1);
    CHECK_EQ(manager_stats(rig.manager).queued, 1);
    worker_say_released(like, heard_last(like, WIRE_SUBMIT)->seq, 1, 1, 1, 1000);
    CHECK_EQ(heard_for(like, WIRE_SUBMIT, 2), 1);
    CHECK_EQ(heard_for(other, WIRE_SUBMIT, 2), 0);
    rig_close(&rig);
}

TEST(an_answer_that_no_worker_may_go_on_with_ends_when_its_time_is_up)
{
    open_rig();
    struct peer *other = rig_ready_worker(&rig, "m", 8, 8);
    tell_numerics(other, "0123456789abcdef0123456789abcdee");
    ask_to_go_on(1, "0123456789abcdef0123456789abcdef");
    keep_alive(&other, 1, rig.options.queue_wait_ms - 500);
    CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
    keep_alive(&other, 1, 1000);
    check_error(asker, 1, FAULT_WORKER_LOST);
    CHECK_EQ(heard_count(other, WIRE_SUBMIT), 0);
    rig_close(&rig);
}

/* Thousands of answers may have lost their worker at once, and the only other one has other
 * numerics. */
TEST(answers_that_nobody_can_go_on_with_fill_no_queue)
{
    rig_init(&rig);
    rig.options.queue_max = 2;
    rig_open_greeted(&rig);
    asker = rig_peer(&rig);
    struct peer *other = rig_ready_worker(&rig, "m", 1, 1);
    tell_numerics(other, "0123456789abcdef0123456789abcdee");
    for (uint64_t stream = 1; stream <= 5; stream++)
        ask_to_go_on(stream, "0123456789abcdef0123456789abcdef");
    for (uint64_t stream = 6; stream <= 8; stream++)
        rig_ask(asker, stream);
    CHECK_EQ(heard_for(other, WIRE_SUBMIT, 6), 1);
    CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
    CHECK_EQ(manager_stats(rig.manager).queued, 7);
    rig_ask(asker, 9);
    check_error(asker, 9, FAULT_QUEUE_FULL);
    rig_close(&rig);
}

TEST(answers_of_too_many_numerics_end_by_name)
{
    char numerics[] = "0123456789abcdef0123456789abcde0";
    open_rig();
    struct peer *other = rig_ready_worker(&rig, "m", 1, 1);
    tell_numerics(other, "0123456789abcdef0123456789abcdef");
    for (uint64_t stream = 1; stream < QUEUE_LINES_MAX; stream++, numerics[31]++)
        ask_to_go_on(stream, numerics);
    CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
    ask_to_go_on(QUEUE_LINES_MAX, numerics);
    check_error(asker, QUEUE_LINES_MAX, FAULT_WORKER_LOST);
    rig_close(&rig);
}

/* It refuses what it cannot compare, each time at the cost of one of the few reruns. */
TEST(a_worker_with_adapters_gets_an_answer_to_go_on_with_once_its_numerics_are_known)
{
    static const char mine[] = "0123456789abcdef0123456789abcdef";
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 8, 8);
    worker->has_adapters = true;
    worker_state(worker, NODE_READY, "");
    ask_to_go_on(1, mine);
    rig_ask(asker, 2);
    CHECK_EQ(heard_for(worker, WIRE_SUBMIT, 1), 0);
    CHECK_EQ(heard_for(worker, WIRE_SUBMIT, 2), 1);
    tell_numerics(worker, mine);
    CHECK_EQ(heard_for(worker, WIRE_SUBMIT, 1), 1);
    rig_close(&rig);
}

TEST(an_answer_waits_for_the_successor_of_its_worker_though_another_one_serves)
{
    static const char mine[] = "0123456789abcdef0123456789abcdef";
    open_rig();
    struct peer *other = rig_ready_worker(&rig, "m", 8, 8), *host = rig_peer(&rig);
    tell_numerics(other, "0123456789abcdef0123456789abcdee");
    worker_state_from(host, "m.host", "m", NODE_LOADING, 0, "");
    ask_to_go_on(1, mine);
    for (uint64_t ms = 0; ms < 2 * rig.options.queue_wait_ms; ms += 500) {
        worker_state_from(host, "m.host", "m", NODE_LOADING, 0, "");
        keep_alive(&other, 1, 500);
    }
    CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
    CHECK_EQ(heard_count(other, WIRE_SUBMIT), 0);
    CHECK_EQ(heard_for(rig_ready_worker(&rig, "m", 1, 1), WIRE_SUBMIT, 1), 1);
    rig_close(&rig);
}

TEST(workers_of_other_models_get_nothing)
{
    open_rig();
    struct peer *other = rig_ready_worker(&rig, "other", 4, 4);
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 1);
    rig_ask(asker, 1);
    rig_ask(asker, 2);
    CHECK_EQ(heard_count(other, WIRE_SUBMIT), 0);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1);
    rig_close(&rig);
}

TEST(when_a_worker_dies_its_askers_hear_it_and_ask_again_elsewhere)
{
    open_rig();
    struct peer *first = rig_ready_worker(&rig, "m", 2, 2);
    rig_ask(asker, 1);
    rig_ask(asker, 2);
    worker_say_load(first, 1, 2, 0); /* the second is not even seen */
    struct peer *second = rig_ready_worker(&rig, "m", 2, 2);
    peer_leave(first);
    rig_run(&rig, 200); /* the next ping */
    CHECK_EQ(heard_for(asker, WIRE_UNKNOWN_STREAM, 1), 1);
    CHECK_EQ(heard_for(asker, WIRE_UNKNOWN_STREAM, 2), 1);
    CHECK_EQ(manager_stats(rig.manager).nodes, 1);
    CHECK_EQ(manager_stats(rig.manager).assigned, 0);
    rig_ask(asker, 1); /* a submit that was long on its way: never twice in one epoch */
    CHECK_EQ(heard_for(asker, WIRE_UNKNOWN_STREAM, 1), 2);
    CHECK_EQ(heard_count(second, WIRE_SUBMIT), 0);
    struct request request = rig_request(asker, 1);
    request.epoch = 2;
    rig_submit(asker, &request);
    CHECK_EQ(heard_count(second, WIRE_SUBMIT), 1);
    CHECK_EQ(heard_last(second, WIRE_SUBMIT)->epoch, 2);
    rig_close(&rig);
}

/* Its asker notices first. A rerun that is given to a dead worker is one of three. */
TEST(who_asks_again_is_not_given_to_the_worker_that_it_lost)
{
    open_rig();
    struct peer *first = rig_ready_worker(&rig, "m", 2, 2);
    rig_ask(asker, 1);
    worker_say_load(first, 1, 2, 1);
    peer_leave(first);
    struct request request = rig_request(asker, 1);
    request.epoch = 2;
    rig_submit(asker, &request);
    rig_run(&rig, 1);
    CHECK_EQ(manager_stats(rig.manager).nodes, 0);
    CHECK_EQ(heard_count(asker, WIRE_UNKNOWN_STREAM), 0);
    struct peer *second = rig_ready_worker(&rig, "m", 2, 2);
    CHECK_EQ(heard_last(second, WIRE_SUBMIT)->epoch, 2);
    rig_close(&rig);
}

TEST(a_worker_that_says_nothing_for_its_lease_is_gone)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 1);
    rig_ask(asker, 1);
    see_all(worker);
    rig_run(&rig, 4700);
    CHECK_EQ(manager_stats(rig.manager).nodes, 1);
    rig_run(&rig, 500);
    CHECK_EQ(manager_stats(rig.manager).nodes, 0);
    CHECK_EQ(heard_count(asker, WIRE_UNKNOWN_STREAM), 1);
    /* It was only stopped: what its asker has not given up goes on, and so do its numbers. */
    wire_add_held(worker_load(worker, 1, 1, 0, true), 1, 1, &(struct wire_held){HELD_RUNNING, 3});
    worker_report(worker);
    CHECK_EQ(heard_count(worker, WIRE_CANCEL), 0);
    peer_say(asker, WIRE_WAITING, 1, 1);
    CHECK_STR(heard_last(asker, WIRE_ASSIGNED)->text, worker->control);
    worker_state(worker, NODE_READY, "");
    rig_ask(asker, 2);
    worker_say_load(worker, 1, 1, 1);
    CHECK_EQ(heard_last(worker, WIRE_SUBMIT)->seq, 2);
    struct request request = rig_request(asker, 1); /* now it has given up the first */
    request.epoch = 2;
    rig_submit(asker, &request);
    wire_add_held(worker_load(worker, 2, 1, 0, true), 1, 1, &(struct wire_held){HELD_RUNNING, 3});
    worker_report(worker);
    CHECK_EQ(heard_count(worker, WIRE_CANCEL), 1);
    CHECK_EQ(heard_last(worker, WIRE_CANCEL)->epoch, 1);
    rig_close(&rig);
}

TEST(while_the_bus_takes_nothing_nobody_is_silent)
{
    open_rig();
    (void)rig_ready_worker(&rig, "m", 1, 1);
    for (int i = 0; i < 50; i++) {
        mem_test_fail_nth(1); /* one of two frames of this time, now and then the ping */
        rig_run(&rig, 200);
    }
    mem_test_fail_nth(0);
    CHECK_EQ(manager_stats(rig.manager).nodes, 1);
    rig_run(&rig, 5400);
    CHECK_EQ(manager_stats(rig.manager).nodes, 0);
    rig_close(&rig);
}

TEST(a_manager_that_was_stopped_blames_nobody_for_it)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 1);
    rig_ask(asker, 1);
    see_all(worker);
    struct request request = rig_request(asker, 2);
    request.model = SLICE("n");
    struct peer *host = rig_peer(&rig);
    worker_state_from(host, "n-1", "n", NODE_LOADING, 0, "");
    rig_submit(asker, &request);
    loop_skip(rig.loop, 60 * 1000000ull);
    rig_run(&rig, 400);
    CHECK_EQ(manager_stats(rig.manager).nodes, 2);
    CHECK_EQ(manager_stats(rig.manager).queued, 1);
    CHECK_EQ(heard_count(asker, WIRE_UNKNOWN_STREAM), 0);
    rig_close(&rig);
}

TEST(an_assignment_is_repeated_until_the_worker_has_seen_it)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 1);
    rig_ask(asker, 1);
    rig_run(&rig, 1000);
    size_t repeated = heard_count(worker, WIRE_SUBMIT);
    CHECK(repeated >= 3 && repeated <= 5);
    CHECK_EQ(heard_last(worker, WIRE_SUBMIT)->seq, 1);
    see_all(worker);
    rig_run(&rig, 1000);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), repeated);
    rig_close(&rig);
}

TEST(a_worker_that_never_sees_its_assignment_does_not_keep_the_request)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 1);
    rig_ask(asker, 1);
    keep_alive(&worker, 1, 5500);
    CHECK_EQ(heard_count(asker, WIRE_UNKNOWN_STREAM), 1);
    CHECK_EQ(manager_stats(rig.manager).assigned, 0);
    rig_close(&rig);
}

TEST(the_full_list_makes_up_for_a_lost_release)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 3, 3);
    for (uint64_t i = 1; i <= 3; i++)
        rig_ask(asker, i);
    struct wire_writer *writer = worker_load(worker, 2, 3, 1, true); /* the third is under way */
    wire_add_held(writer, 2, 1, &(struct wire_held){HELD_PARKED, 9});
    worker_report(worker);
    CHECK_EQ(manager_stats(rig.manager).assigned, 2); /* 2, and 3 which it has not seen */
    (void)worker_load(worker, 3, 3, 3, true);
    worker_report(worker);
    CHECK_EQ(manager_stats(rig.manager).assigned, 0);
    CHECK_EQ(heard_count(asker, WIRE_UNKNOWN_STREAM), 0); /* the worker tells its askers */
    rig_close(&rig);
}

TEST(a_list_that_is_cut_ends_nothing)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 1);
    rig_ask(asker, 1);
    see_all(worker);
    wire_add_held(worker_load(worker, 1, 1, 0, true), 1, 1, &(struct wire_held){HELD_RUNNING, 1});
    CHECK_OK(wire_finish(&worker->writer));
    worker->out.data[WIRE_FRAME_HEADER_BYTES + WIRE_RECORD_HEADER_BYTES + 20 + 20] = 100;
    peer_send_bytes(worker, rig.manager_control, text_slice(&worker->out));
    CHECK_EQ(manager_stats(rig.manager).assigned, 1);
    rig_close(&rig);
}

TEST(a_load_that_was_overtaken_does_not_count)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 2, 2);
    rig_ask(asker, 1);
    rig_ask(asker, 2);
    worker_say_load(worker, 2, 2, 0);
    (void)worker_load(worker, 1, 2, 2, true); /* says that 1 has ended, and that there is room */
    worker_report(worker);
    CHECK_EQ(manager_stats(rig.manager).assigned, 2);
    rig_ask(asker, 3);
    CHECK_EQ(manager_stats(rig.manager).queued, 1);
    rig_close(&rig);
}

TEST(what_workers_hold_is_known_to_the_next_manager)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 2, 2);
    rig_ask(asker, 1);
    see_all(worker);
    rig_restart_manager(&rig);
    CHECK_EQ(manager_stats(rig.manager).nodes, 0);
    struct wire_taken taken = rig_taken(asker, 1);
    wire_add_taken(worker_load(worker, 0, 2, 1, true), 1, &taken);
    worker_report(worker);
    CHECK_EQ(manager_stats(rig.manager).assigned, 1);
    peer_say(asker, WIRE_WAITING, 1, 1);
    CHECK_STR(heard_last(asker, WIRE_ASSIGNED)->text, worker->control);
    worker_state(worker, NODE_READY, "");
    rig_ask(asker, 2);
    CHECK_EQ(heard_last(worker, WIRE_SUBMIT)->stream, 2);
    CHECK_EQ(heard_last(worker, WIRE_SUBMIT)->seq, 1);
    worker_say_released(worker, 1, 2, 1, 1, 1000);
    CHECK_EQ(manager_stats(rig.manager).assigned, 1);
    rig_close(&rig);
}

/* The asker is quicker than the worker to find the new manager. */
TEST(what_a_predecessor_gave_to_a_worker_is_not_given_to_another)
{
    open_rig();
    struct peer *first = rig_ready_worker(&rig, "m", 1, 1);
    rig_ask(asker, 1);
    see_all(first);
    rig_restart_manager(&rig);
    struct peer *second = rig_ready_worker(&rig, "m", 1, 1);
    struct request request = rig_request(asker, 1);
    request.arrival_ms = clock_wall_ms() - 60000;
    rig_submit(asker, &request);
    CHECK_EQ(heard_count(second, WIRE_SUBMIT), 0);
    rig_run(&rig, 500);
    struct wire_taken taken = rig_taken(asker, 1);
    wire_add_taken(worker_load(first, 0, 1, 0, true), 1, &taken);
    worker_report(first);
    rig_run(&rig, 1000);
    CHECK_EQ(heard_count(second, WIRE_SUBMIT), 0);
    CHECK_EQ(manager_stats(rig.manager).queued, 0);
    CHECK_EQ(manager_stats(rig.manager).assigned, 1);
    rig_close(&rig);
}

TEST(what_only_the_predecessor_had_is_given_as_soon_as_the_workers_have_spoken)
{
    open_rig();
    rig_restart_manager(&rig);
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 1);
    struct request request = rig_request(asker, 1);
    request.arrival_ms = clock_wall_ms() - 60000;
    rig_submit(asker, &request);
    rig_run(&rig, 700);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 0);
    rig_run(&rig, 50);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1);
    rig_close(&rig);
}

TEST(of_two_epochs_the_later_stays)
{
    open_rig();
    struct peer *first = rig_ready_worker(&rig, "m", 1, 0);
    struct peer *second = rig_ready_worker(&rig, "m", 1, 0);
    struct wire_taken taken = rig_taken(asker, 1);
    wire_add_taken(worker_load(first, 0, 1, 0, true), 1, &taken);
    worker_report(first);
    wire_add_taken(worker_load(second, 0, 1, 0, true), 2, &taken);
    worker_report(second);
    CHECK_EQ(heard_count(first, WIRE_CANCEL), 1);
    CHECK_EQ(heard_count(second, WIRE_CANCEL), 0);
    CHECK_EQ(manager_stats(rig.manager).assigned, 1);
    wire_add_taken(worker_load(first, 0, 1, 0, true), 1, &taken);
    worker_report(first);
    CHECK_EQ(heard_count(first, WIRE_CANCEL), 2);
    CHECK_EQ(manager_stats(rig.manager).assigned, 1);
    rig_close(&rig);
}

TEST(requests_wait_for_a_model_whose_worker_is_gone_until_its_lease_ends)
{
    rig_init(&rig);
    rig.options.model_lease_ms = 8000;
    rig_open_greeted(&rig);
    asker = rig_peer(&rig);
    peer_leave(rig_ready_worker(&rig, "m", 1, 1));
    rig_run(&rig, 400);
    CHECK_EQ(manager_stats(rig.manager).nodes, 0);
    rig_ask(asker, 1);
    rig_run(&rig, 5000);
    CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
    struct peer *next = rig_ready_worker(&rig, "m", 1, 1);
    CHECK_EQ(heard_last(next, WIRE_SUBMIT)->stream, 1);
    see_all(next);
    rig_ask(asker, 2);
    peer_leave(next);
    rig_run(&rig, 200);
    peer_say(asker, WIRE_WAITING, 2, 1);
    CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
    rig_run(&rig, 8200);
    check_error(asker, 2, FAULT_MODEL_FAILED);
    CHECK_EQ(manager_stats(rig.manager).models, 0);
    rig_ask(asker, 3);
    check_error(asker, 3, FAULT_MODEL_NOT_FOUND);
    rig_close(&rig);
}

TEST(a_worker_that_its_host_holds_back_fails_what_waits_with_the_reason)
{
    open_rig();
    struct peer *host = rig_peer(&rig);
    worker_state_from(host, "m-1", "m", NODE_LOADING, 0, "");
    rig_ask(asker, 1);
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 0);
    worker_state_from(host, "m-1", "m", NODE_FAILED, 0, "it crashed 5 times");
    CHECK_EQ(heard_count(asker, RIG_ERROR), 0); /* another is left */
    peer_leave(worker);
    rig_run(&rig, 200);
    CHECK_EQ(heard_count(asker, RIG_ERROR), 0); /* it served until now: it may be replaced */
    rig_run(&rig, SCHED_HOPE_MS);
    check_error(asker, 1, FAULT_MODEL_FAILED);
    CHECK_STR(heard_last(asker, RIG_ERROR)->text, "it crashed 5 times");
    rig_ask(asker, 2);
    check_error(asker, 2, FAULT_MODEL_FAILED);
    rig_close(&rig);
}

/* With and without a word of it before it ends. */
TEST(one_of_two_workers_is_replaced_although_the_other_one_is_held_back)
{
    for (int drains = 0; drains < 2; drains++) {
        open_rig();
        worker_state_from(rig_peer(&rig), "m.host1", "m", NODE_FAILED, 0, "it crashed 3 times");
        struct peer *worker = rig_ready_worker(&rig, "m", 1, 0);
        rig_ask(asker, 1);
        if (drains)
            worker_state(worker, NODE_DRAINING, "");
        rig_run(&rig, 1);
        CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
        peer_leave(worker);
        rig_run(&rig, 200);
        worker_state_from(rig_peer(&rig), "m.host", "m", NODE_LOADING, 0, "");
        rig_run(&rig, SCHED_HOPE_MS);
        CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
        CHECK_EQ(heard_for(rig_ready_worker(&rig, "m", 1, 1), WIRE_SUBMIT, 1), 1);
        rig_close(&rig);
    }
}

TEST(a_model_whose_workers_all_drain_refuses_unless_one_is_replaced_in_time)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 1);
    worker_state(worker, NODE_DRAINING, "");
    rig_ask(asker, 1);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 0);
    rig_run(&rig, 999);
    CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
    rig_run(&rig, 1);
    check_error(asker, 1, FAULT_DRAINING);
    CHECK_EQ(heard_last(asker, RIG_ERROR)->retry_after_ms, 1000);
    rig_ask(asker, 2);
    check_error(asker, 2, FAULT_DRAINING);
    struct peer *next = rig_ready_worker(&rig, "m", 1, 1);
    rig_ask(asker, 3);
    CHECK_EQ(heard_last(next, WIRE_SUBMIT)->stream, 3);
    rig_close(&rig);
}

TEST(a_load_may_come_before_the_state_and_the_state_before_the_load)
{
    open_rig();
    struct peer *worker = rig_worker(&rig, "m");
    worker_say_load(worker, 0, 1, 1);
    CHECK_EQ(manager_stats(rig.manager).nodes, 1);
    CHECK_EQ(manager_stats(rig.manager).models, 0);
    worker_state(worker, NODE_READY, "");
    CHECK_EQ(manager_stats(rig.manager).nodes, 1);
    rig_ask(asker, 1);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1);
    rig_close(&rig);
}

TEST(a_host_and_its_workers_are_told_apart_although_it_speaks_of_many)
{
    open_rig();
    struct peer *host = rig_peer(&rig);
    worker_state_from(host, "a", "m", NODE_LOADING, 0, "");
    worker_state_from(host, "b", "n", NODE_LOADING, 0, "");
    CHECK_EQ(manager_stats(rig.manager).nodes, 2);
    CHECK_EQ(manager_stats(rig.manager).models, 2);
    rig_run(&rig, 1000);
    CHECK_EQ(host->frames_heard, 0); /* no pings: it is no worker */
    rig_close(&rig);
}

TEST(an_unknown_node_is_greeted_at_once)
{
    open_rig();
    rig_run(&rig, 120);
    size_t states = rig.states_heard;
    struct peer *worker = rig_worker(&rig, "m");
    worker_state(worker, NODE_READY, "");
    CHECK_EQ(rig.states_heard, states + 1);
    worker_state(worker, NODE_READY, "");
    CHECK_EQ(rig.states_heard, states + 1);
    rig_close(&rig);
}

TEST(nodes_are_bounded_and_one_that_is_gone_makes_place)
{
    open_rig();
    struct peer *host = rig_peer(&rig);
    for (int i = 1; i <= 513; i++) {
        char node[32];
        snprintf(node, sizeof(node), "n-%d", i);
        worker_state_from(host, node, "m", NODE_LOADING, 0, "");
        CHECK_EQ(manager_stats(rig.manager).nodes, i < 512 ? i : 512);
    }
    struct peer *worker = rig_worker(&rig, "m");
    worker_say_load(worker, 0, 1, 1);
    CHECK_EQ(manager_stats(rig.manager).nodes, 512);
    rig_run(&rig, 5200);
    CHECK_EQ(manager_stats(rig.manager).nodes, 0);
    worker_say_load(worker, 0, 1, 1);
    CHECK_EQ(manager_stats(rig.manager).nodes, 1);
    rig_close(&rig);
}

/* A worker that does not read, and has place for one such request. */
struct crowd {
    struct loop *loop;
    struct peer *worker;
};

static struct crowd open_crowd(void)
{
    rig_init(&rig);
    rig.peer_bytes_max = 20000;
    rig_open_greeted(&rig);
    asker = rig_peer(&rig);
    struct crowd crowd = {.loop = loop_new_virtual(1)};
    crowd.worker = rig_peer_on(&rig, crowd.loop);
    crowd.worker->model = "m";
    snprintf(crowd.worker->node, sizeof(crowd.worker->node), "crowded");
    worker_state(crowd.worker, NODE_READY, "");
    worker_say_load(crowd.worker, 0, 4, 4);
    return crowd;
}

static void close_crowd(struct crowd *crowd)
{
    peer_leave(crowd->worker);
    loop_advance(crowd->loop, 0);
    rig_close(&rig);
    loop_free(crowd->loop);
}

/* Published, and not yet delivered. */
static void submit_large(uint64_t stream)
{
    static char filler[12000];
    struct request request = rig_request(asker, stream);
    memset(filler, 'x', sizeof(filler));
    request.prompt = slice_of(filler, sizeof(filler));
    struct wire_writer *writer = peer_frame(asker, WIRE_CONTROL);
    wire_open_record(writer,
                     &(struct wire_record){.stream = stream, .epoch = 1, .type = WIRE_SUBMIT});
    request_encode(&request, writer->out);
    wire_close_record(writer);
    CHECK_OK(wire_finish(writer));
    CHECK_OK(
        bus_publish(asker->bus, SLICE("submit"), bus_inbox(asker->bus), text_slice(&asker->out)));
}

TEST(an_assignment_that_did_not_fit_gets_a_new_number)
{
    struct crowd crowd = open_crowd();
    submit_large(1);
    rig_run(&rig, 0);
    submit_large(2);
    rig_run(&rig, 100); /* the second finds the worker full */
    loop_advance(crowd.loop, 0);
    CHECK_EQ(heard_for(crowd.worker, WIRE_SUBMIT, 1), 1);
    CHECK_EQ(heard_for(crowd.worker, WIRE_SUBMIT, 2), 0);
    worker_say_load(crowd.worker, 1, 4, 3);
    rig_run(&rig, 400);
    loop_advance(crowd.loop, 0);
    CHECK_EQ(heard_for(crowd.worker, WIRE_SUBMIT, 2), 1);
    CHECK_EQ(heard_last(crowd.worker, WIRE_SUBMIT)->seq, 3);
    CHECK_EQ(manager_stats(rig.manager).nodes, 1);
    close_crowd(&crowd);
}

/* Its number was overtaken before it came back: what it carried is not there any more. */
TEST(an_assignment_that_came_back_after_it_seemed_seen_is_asked_for_again)
{
    struct crowd crowd = open_crowd();
    submit_large(1);
    rig_run(&rig, 0);
    submit_large(2);
    (void)worker_load(crowd.worker, 2, 4, 2, false);
    CHECK_OK(wire_finish(&crowd.worker->writer));
    peer_send_bytes(crowd.worker, rig.manager_control, text_slice(&crowd.worker->out));
    CHECK_EQ(heard_for(asker, WIRE_UNKNOWN_STREAM, 2), 1);
    CHECK_EQ(heard_for(asker, WIRE_UNKNOWN_STREAM, 1), 0);
    CHECK_EQ(manager_stats(rig.manager).assigned, 1);
    close_crowd(&crowd);
}

TEST(of_two_names_for_one_worker_the_first_stays)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 1);
    worker_state_from(worker, "another-name", "n", NODE_READY, 1, "");
    CHECK_EQ(manager_stats(rig.manager).nodes, 1);
    rig_ask(asker, 1);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1);
    rig_close(&rig);
}

TEST(absurd_numbers_of_a_worker_do_no_harm)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", UINT32_MAX, UINT32_MAX);
    worker_say_load(worker, UINT64_MAX, UINT32_MAX, UINT32_MAX); /* not believed */
    worker_say_load(worker, (uint64_t)1 << 62, UINT32_MAX, UINT32_MAX);
    rig_ask(asker, 1);
    CHECK_EQ(heard_last(worker, WIRE_SUBMIT)->seq, ((uint64_t)1 << 62) + 1);
    for (int i = 0; i < 3; i++)
        worker_say_released(worker, (uint64_t)1 << 62, 1, 1, 1, UINT64_MAX);
    CHECK_EQ(manager_stats(rig.manager).assigned, 0);
    rig_close(&rig);
}

TEST(what_a_worker_says_of_streams_that_are_not_its_own_changes_nothing)
{
    open_rig();
    struct peer *owner = rig_ready_worker(&rig, "m", 1, 1);
    rig_ask(asker, 1);
    see_all(owner);
    struct peer *other = rig_ready_worker(&rig, "m", 1, 0);
    worker_say_released(other, 0, 1, 0, 1, 1000);
    CHECK_EQ(manager_stats(rig.manager).assigned, 1);
    struct wire_writer *writer = worker_load(other, 0, 1, 0, true);
    wire_add_held(writer, 1, 1, &(struct wire_held){HELD_RUNNING, 1});
    wire_add_held(writer, 99, 1, &(struct wire_held){HELD_RUNNING, 1});
    worker_report(other);
    CHECK_EQ(manager_stats(rig.manager).assigned, 1);
    peer_say(asker, WIRE_WAITING, 1, 1);
    CHECK_STR(heard_last(asker, WIRE_ASSIGNED)->text, owner->control);
    rig_close(&rig);
}

TEST(a_worker_that_still_runs_what_ended_here_is_told_to_stop)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 0);
    rig_ask(asker, 1);
    peer_say(asker, WIRE_CANCEL, 1, 1);
    struct wire_taken taken = rig_taken(asker, 1);
    wire_add_taken(worker_load(worker, 0, 1, 0, true), 1, &taken);
    worker_report(worker);
    CHECK_EQ(heard_count(worker, WIRE_CANCEL), 1);
    rig_close(&rig);
}
