/* What askers say and are told. */
#include "base/clock.h"
#include "manager/manager_rig.h"
#include "testing/test.h"

#include <stdio.h>

static struct rig rig;
static struct peer *asker;

static void open_rig(void)
{
    rig_open_greeted(&rig);
    asker = rig_peer(&rig);
}

static struct peer *open_with_worker(uint32_t slots, uint32_t room)
{
    rig_init(&rig);
    open_rig();
    return rig_ready_worker(&rig, "m", slots, room);
}

/* It has neither room nor anything to do. */
static struct peer *open_busy(void)
{
    return open_with_worker(1, 0);
}

static uint64_t ms_now(void)
{
    return loop_now_us(rig.loop) / 1000;
}

TEST(a_request_goes_to_the_worker_as_it_came)
{
    struct peer *worker = open_with_worker(2, 2);
    struct request request = rig_request(asker, 5);
    struct text payload;
    text_init(&payload, 1 << 16);
    request_encode(&request, &payload);
    rig_submit(asker, &request);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1);
    CHECK_EQ(heard_last(worker, WIRE_SUBMIT)->stream, 5);
    CHECK_EQ(heard_last(worker, WIRE_SUBMIT)->seq, 1);
    CHECK_EQ(heard_last(worker, WIRE_SUBMIT)->epoch, 1);
    CHECK_SLICES(text_slice(&worker->submit), text_slice(&payload));
    CHECK_STR(worker->reply, rig.manager_control);
    CHECK_EQ(manager_stats(rig.manager).assigned, 1);
    CHECK_EQ(manager_stats(rig.manager).submits, 1);
    text_fini(&payload);
    rig_close(&rig);
}

/* Its worker says that it has it: one frame less for each request, and no broadcast for everybody.
 */
TEST(who_need_not_wait_is_not_told_that_it_waits)
{
    struct peer *worker = open_with_worker(2, 2);
    size_t told = rig.states_heard;
    while (rig.states_heard == told)
        rig_run(&rig, 1); /* now the regular one is half a second away */
    told = rig.states_heard;
    rig_ask(asker, 5);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1);
    CHECK_EQ(asker->heard_count, 0);
    rig_run(&rig, 200); /* a change would be told within 50 ms */
    CHECK_EQ(rig.states_heard, told);
    rig_ask(asker, 5); /* it repeats the request: the manager says that somebody has it */
    CHECK_EQ(heard_count(asker, RIG_QUEUED), 1);
    CHECK_EQ(heard_last(asker, RIG_QUEUED)->seq, 0);
    CHECK_STR(asker->reply, rig.manager_control);
    rig_close(&rig);
}

TEST(a_request_waits_until_a_worker_has_room)
{
    struct peer *worker = open_busy();
    rig_ask(asker, 1);
    rig_ask(asker, 2);
    CHECK_EQ(heard_last(asker, RIG_QUEUED)->position, 1);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 0);
    worker_say_load(worker, 0, 1, 1);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1);
    CHECK_EQ(heard_last(worker, WIRE_SUBMIT)->stream, 1);
    worker_say_load(worker, 0, 1, 1); /* it has not seen the first yet: no more room */
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1);
    worker_say_load(worker, 1, 1, 1);
    CHECK_EQ(heard_last(worker, WIRE_SUBMIT)->stream, 2);
    CHECK_EQ(heard_last(worker, WIRE_SUBMIT)->seq, 2);
    rig_close(&rig);
}

TEST(only_who_wants_progress_hears_of_it_and_only_news)
{
    struct peer *worker = open_busy();
    struct peer *curious = rig_peer(&rig);
    rig_ask(asker, 1);
    rig_ask(asker, 2);
    struct request request = rig_request(curious, 3);
    request.want_progress = true;
    rig_submit(curious, &request);
    rig_run(&rig, 600);
    CHECK_EQ(heard_count(curious, RIG_QUEUED), 1);
    CHECK_EQ(heard_last(curious, RIG_QUEUED)->position, 2);
    worker_say_load(worker, 0, 1, 1);
    worker_say_load(worker, 1, 1, 1);
    CHECK_EQ(heard_count(curious, RIG_QUEUED), 1); /* at most every 250 ms */
    rig_run(&rig, 250);
    CHECK_EQ(heard_count(curious, RIG_QUEUED), 2);
    CHECK_EQ(heard_last(curious, RIG_QUEUED)->position, 0);
    CHECK_EQ(heard_count(asker, RIG_QUEUED), 2);
    rig_close(&rig);
}

TEST(who_waits_for_a_model_that_loads_hears_how_far_it_is)
{
    rig_init(&rig);
    open_rig();
    struct peer *host = rig_peer(&rig);
    worker_state_from(host, "m-1", "m", NODE_LOADING, 0.25f, "");
    struct request request = rig_request(asker, 1);
    request.want_progress = true;
    rig_submit(asker, &request);
    rig_run(&rig, 600);
    CHECK_EQ(heard_count(asker, RIG_LOADING), 1);
    CHECK_NEAR(heard_last(asker, RIG_LOADING)->fraction, 0.25, 0.01);
    CHECK_EQ(heard_last(asker, RIG_LOADING)->seq, 0);
    worker_state_from(host, "m-1", "m", NODE_LOADING, 0.75f, "");
    rig_run(&rig, 300);
    CHECK_EQ(heard_count(asker, RIG_LOADING), 2);
    rig_close(&rig);
}

TEST(the_queue_takes_queue_max_and_refuses_the_next_with_a_time)
{
    for (uint32_t queue_max = 0; queue_max <= 3; queue_max++) {
        rig_init(&rig);
        rig.options.queue_max = queue_max;
        open_rig();
        struct peer *worker = rig_ready_worker(&rig, "m", 2, 1);
        rig_ask(asker, 100);
        worker_say_released(worker, 1, 2, 0, 100, 8000000); /* one of two each 4 s */
        for (uint32_t i = 0; i < queue_max; i++)
            rig_ask(asker, i + 1);
        CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
        CHECK_EQ(manager_stats(rig.manager).queued, queue_max);
        rig_ask(asker, 50);
        check_error(asker, 50, FAULT_QUEUE_FULL);
        CHECK_EQ(heard_last(asker, RIG_ERROR)->retry_after_ms, 4000 * (queue_max + 1));
        CHECK_EQ(manager_stats(rig.manager).refused, 1);
        rig_close(&rig);
    }
}

TEST(room_that_was_given_away_is_no_place_in_the_queue)
{
    rig_init(&rig);
    rig.options.queue_max = 0;
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 2, 2);
    rig_ask(asker, 1);
    rig_ask(asker, 2);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 2);
    rig_ask(asker, 3);
    check_error(asker, 3, FAULT_QUEUE_FULL);
    rig_close(&rig);
}

TEST(what_waits_is_bounded_in_bytes)
{
    for (int more = -1; more <= 1; more++) {
        struct request request;
        struct text payload;
        rig_init(&rig);
        rig_open_greeted(&rig);
        asker = rig_peer(&rig);
        request = rig_request(asker, 1);
        text_init(&payload, 1 << 16);
        request_encode(&request, &payload);
        size_t two = 2 * payload.len;
        text_fini(&payload);
        rig_close(&rig);

        rig_init(&rig);
        rig.options.waiting_bytes_max = (size_t)((long)two + more);
        open_rig();
        (void)rig_ready_worker(&rig, "m", 1, 0);
        rig_ask(asker, 1);
        rig_ask(asker, 2);
        CHECK_EQ(heard_count(asker, RIG_ERROR), more < 0);
        if (more < 0)
            check_error(asker, 2, FAULT_QUEUE_FULL);
        peer_say(asker, WIRE_CANCEL, 1, 1); /* its bytes are free again */
        rig_ask(asker, 3);
        CHECK_EQ(heard_count(asker, RIG_ERROR), more < 0);
        rig_close(&rig);
    }
}

TEST(who_waited_long_enough_is_refused_at_that_time)
{
    (void)open_busy();
    rig_ask(asker, 1);
    rig_run(&rig, 1999);
    CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
    rig_run(&rig, 1);
    check_error(asker, 1, FAULT_QUEUE_TIMEOUT);
    CHECK_EQ(heard_last(asker, RIG_ERROR)->retry_after_ms, 1000);
    CHECK_EQ(manager_stats(rig.manager).queued, 0);
    rig_close(&rig);
}

TEST(a_model_that_loads_too_long_is_an_error_of_its_own)
{
    rig_init(&rig);
    rig.options.load_timeout_ms = 3000;
    open_rig();
    struct peer *host = rig_peer(&rig);
    worker_state_from(host, "m-1", "m", NODE_LOADING, 0, "");
    rig_ask(asker, 1);
    rig_run(&rig, 2999);
    CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
    rig_run(&rig, 1);
    check_error(asker, 1, FAULT_LOADING);
    rig_close(&rig);
}

TEST(a_deadline_counts_from_the_arrival)
{
    (void)open_busy();
    struct request request = rig_request(asker, 1);
    request.deadline_ms = 500;
    rig_submit(asker, &request);
    request = rig_request(asker, 2);
    request.arrival_ms = clock_wall_ms() - 1000;
    request.deadline_ms = 900;
    rig_submit(asker, &request);
    rig_run(&rig, 1);
    check_error(asker, 2, FAULT_QUEUE_TIMEOUT);
    CHECK_EQ(heard_count(asker, RIG_ERROR), 1);
    rig_run(&rig, 499);
    check_error(asker, 1, FAULT_QUEUE_TIMEOUT);
    rig_close(&rig);
}

TEST(a_cancelled_request_that_waits_ends_at_once)
{
    (void)open_busy();
    rig_ask(asker, 1);
    peer_say(asker, WIRE_CANCEL, 1, 1);
    CHECK_EQ(heard_count(asker, RIG_DONE), 1);
    CHECK_EQ(heard_last(asker, RIG_DONE)->seq, 1);
    CHECK_EQ(heard_last(asker, RIG_DONE)->reason, DONE_CANCELLED);
    CHECK_EQ(manager_stats(rig.manager).queued, 0);
    CHECK_EQ(manager_stats(rig.manager).cancelled, 1);
    rig_close(&rig);
}

/* A hub answers a record for an ask that it has forgotten with a cancel. */
TEST(a_cancel_for_what_has_ended_does_not_go_back_and_forth)
{
    (void)open_busy();
    rig_ask(asker, 1);
    peer_say(asker, WIRE_CANCEL, 1, 1);
    peer_say(asker, WIRE_CANCEL, 1, 1);
    CHECK_EQ(heard_count(asker, RIG_DONE), 1);
    CHECK_EQ(heard_count(asker, WIRE_UNKNOWN_STREAM), 0);
    peer_say(asker, WIRE_CANCEL, 1, 1); /* so the end was lost: this is as good */
    CHECK_EQ(heard_count(asker, WIRE_UNKNOWN_STREAM), 1);
    rig_run(&rig, 2000);
    CHECK_EQ(heard_count(asker, RIG_DONE), 1);
    rig_close(&rig);
}

TEST(a_cancel_for_an_assigned_request_is_passed_on_until_the_worker_lets_go)
{
    struct peer *worker = open_with_worker(1, 1);
    rig_ask(asker, 1);
    worker_say_load(worker, 1, 1, 0);
    peer_say(asker, WIRE_CANCEL, 1, 1);
    CHECK_EQ(heard_count(worker, WIRE_CANCEL), 1);
    CHECK_EQ(heard_count(asker, RIG_DONE), 0); /* the worker makes the end */
    wire_add_held(worker_load(worker, 1, 1, 0, true), 1, 1, &(struct wire_held){HELD_RUNNING, 1});
    worker_report(worker);
    CHECK_EQ(heard_count(worker, WIRE_CANCEL), 2);
    worker_say_released(worker, 1, 1, 1, 1, 1000);
    CHECK_EQ(manager_stats(rig.manager).assigned, 0);
    rig_close(&rig);
}

TEST(a_cancel_of_what_nobody_has_is_its_end)
{
    (void)open_busy();
    peer_say(asker, WIRE_CANCEL, 77, 3);
    CHECK_EQ(heard_count(asker, WIRE_UNKNOWN_STREAM), 1);
    CHECK_EQ(heard_last(asker, WIRE_UNKNOWN_STREAM)->stream, 77);
    CHECK_EQ(heard_last(asker, WIRE_UNKNOWN_STREAM)->epoch, 3);
    rig_close(&rig);
}

TEST(an_end_is_repeated_until_it_is_acknowledged)
{
    (void)open_busy();
    rig_ask(asker, 1);
    peer_say(asker, WIRE_CANCEL, 1, 1);
    rig_run(&rig, 1000);
    size_t repeated = heard_count(asker, RIG_DONE);
    CHECK(repeated >= 3 && repeated <= 5);
    peer_acknowledge(asker, 1, 2); /* of another epoch */
    rig_run(&rig, 500);
    CHECK(heard_count(asker, RIG_DONE) > repeated);
    peer_acknowledge(asker, 1, 1);
    repeated = heard_count(asker, RIG_DONE);
    rig_run(&rig, 1000);
    CHECK_EQ(heard_count(asker, RIG_DONE), repeated);
    rig_close(&rig);
}

TEST(an_end_that_nobody_acknowledges_is_not_repeated_for_ever)
{
    (void)open_busy();
    rig_ask(asker, 1);
    peer_say(asker, WIRE_CANCEL, 1, 1);
    rig_run(&rig, 5200);
    size_t repeated = heard_count(asker, RIG_DONE);
    CHECK(repeated <= 26);
    rig_run(&rig, 5000);
    CHECK_EQ(heard_count(asker, RIG_DONE), repeated);
    rig_close(&rig);
}

TEST(a_repeated_submit_is_answered_and_never_given_twice)
{
    struct peer *worker = open_with_worker(2, 2);
    rig_ask(asker, 1);
    rig_ask(asker, 1);
    CHECK_EQ(heard_count(asker, RIG_QUEUED), 1); /* the worker may not have seen it yet */
    CHECK_EQ(heard_count(asker, WIRE_ASSIGNED), 0);
    worker_say_load(worker, 1, 2, 1);
    rig_ask(asker, 1);
    CHECK_EQ(heard_count(asker, WIRE_ASSIGNED), 1);
    CHECK_STR(heard_last(asker, WIRE_ASSIGNED)->text, worker->control);
    worker_say_released(worker, 1, 2, 2, 1, 1000);
    rig_ask(asker, 1); /* it has not heard the end: the worker has it still */
    CHECK_EQ(heard_count(asker, WIRE_ASSIGNED), 2);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1);
    rig_run(&rig, 61000); /* nodes and memory of it are gone */
    rig_close(&rig);
}

TEST(waiting_is_answered_with_where_the_request_is)
{
    struct peer *worker = open_busy();
    peer_say(asker, WIRE_WAITING, 9, 1);
    CHECK_EQ(heard_for(asker, WIRE_UNKNOWN_STREAM, 9), 1);
    rig_ask(asker, 1);
    rig_ask(asker, 2);
    peer_say(asker, WIRE_WAITING, 2, 1);
    CHECK_EQ(heard_for(asker, RIG_QUEUED, 2), 2);
    CHECK_EQ(heard_last(asker, RIG_QUEUED)->position, 1);
    peer_say(asker, WIRE_WAITING, 2, 2); /* an epoch that we have not */
    CHECK_EQ(heard_for(asker, WIRE_UNKNOWN_STREAM, 2), 1);
    worker_say_load(worker, 0, 1, 1);
    worker_say_load(worker, 1, 1, 0);
    peer_say(asker, WIRE_WAITING, 1, 1);
    CHECK_EQ(heard_for(asker, WIRE_ASSIGNED, 1), 1);
    rig_close(&rig);
}

TEST(a_later_epoch_replaces_an_earlier_one_and_an_earlier_one_is_not_heard)
{
    struct peer *worker = open_with_worker(2, 2);
    struct request request = rig_request(asker, 1);
    rig_submit(asker, &request);
    worker_say_load(worker, 1, 2, 1);
    request.epoch = 2;
    rig_submit(asker, &request);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1); /* does it live at all? */
    worker_say_load(worker, 1, 2, 2);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 2);
    CHECK_EQ(heard_last(worker, WIRE_SUBMIT)->epoch, 2);
    CHECK_EQ(heard_count(worker, WIRE_CANCEL), 1);
    CHECK_EQ(heard_last(worker, WIRE_CANCEL)->epoch, 1);
    size_t heard = asker->heard_count;
    request.epoch = 1;
    rig_submit(asker, &request);
    CHECK_EQ(asker->heard_count, heard);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 2);
    rig_close(&rig);
}

TEST(two_requests_with_one_handle_do_not_disturb_each_other)
{
    struct peer *worker = open_with_worker(2, 2);
    struct request request = rig_request(asker, 1);
    rig_submit(asker, &request);
    request.id.high++;
    request.epoch = 2;
    rig_submit(asker, &request);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1);
    CHECK_EQ(heard_count(worker, WIRE_CANCEL), 0);
    rig_close(&rig);
}

TEST(a_model_that_nobody_serves_is_not_found_at_once)
{
    (void)open_busy();
    struct request request = rig_request(asker, 1);
    request.model = SLICE("other");
    rig_submit(asker, &request);
    check_error(asker, 1, FAULT_MODEL_NOT_FOUND);
    CHECK_EQ(manager_stats(rig.manager).models, 1);
    rig_close(&rig);
}

TEST(a_new_manager_waits_for_nodes_before_it_says_that_there_is_no_model)
{
    rig_init(&rig);
    rig_open(&rig);
    asker = rig_peer(&rig);
    rig_ask(asker, 1);
    struct request request = rig_request(asker, 2);
    request.model = SLICE("other");
    rig_submit(asker, &request);
    rig_run(&rig, 1400);
    CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 1);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1);
    CHECK_EQ(heard_last(worker, WIRE_SUBMIT)->stream, 1);
    rig_run(&rig, 100);
    check_error(asker, 2, FAULT_MODEL_NOT_FOUND);
    CHECK_EQ(manager_stats(rig.manager).models, 1);
    rig_close(&rig);
}

TEST(askers_cannot_make_more_models_than_there_may_be)
{
    rig_init(&rig);
    rig_open(&rig);
    asker = rig_peer(&rig);
    for (uint64_t i = 1; i <= 257; i++) {
        char name[32];
        struct request request = rig_request(asker, i);
        request.model = slice_of(name, (size_t)snprintf(name, sizeof(name), "model-%d", (int)i));
        rig_submit(asker, &request);
        CHECK_EQ(heard_count(asker, RIG_ERROR), i == 257);
    }
    check_error(asker, 257, FAULT_MODEL_NOT_FOUND);
    CHECK_EQ(manager_stats(rig.manager).models, 256);
    asker->heard_count = 0;
    rig_run(&rig, 1500);
    CHECK_EQ(manager_stats(rig.manager).models, 0);
    CHECK_EQ(manager_stats(rig.manager).queued, 0);
    rig_close(&rig);
}

TEST(an_asker_that_is_silent_for_ten_seconds_waits_no_more)
{
    rig_init(&rig);
    open_rig();
    struct peer *host = rig_peer(&rig);
    worker_state_from(host, "m-1", "m", NODE_LOADING, 0, "");
    rig_ask(asker, 1);
    rig_ask(asker, 2);
    for (int i = 0; i < 12; i++) {
        worker_state_from(host, "m-1", "m", NODE_LOADING, 0, "");
        peer_say(asker, WIRE_WAITING, 2, 1);
        rig_run(&rig, 1000);
    }
    CHECK_EQ(manager_stats(rig.manager).queued, 1);
    CHECK_EQ(heard_count(asker, RIG_ERROR), 0);
    peer_say(asker, WIRE_WAITING, 1, 1);
    CHECK_EQ(heard_for(asker, WIRE_UNKNOWN_STREAM, 1), 1);
    rig_close(&rig);
}

TEST(an_asker_that_is_gone_waits_no_more)
{
    (void)open_busy();
    struct peer *other = rig_peer(&rig);
    rig_ask(asker, 1);
    rig_ask(asker, 2);
    rig_ask(other, 3);
    peer_say(other, WIRE_CANCEL, 1, 1); /* its end is said to the asker, */
    peer_leave(asker);
    rig_run(&rig, 500); /* and repeated: it bounces */
    CHECK_EQ(manager_stats(rig.manager).queued, 1);
    rig_close(&rig);
}

TEST(a_malformed_request_is_refused_where_it_came_from)
{
    (void)open_busy();
    static const struct slice payloads[] = {
        {"", 0}, {"x", 1}, {"\x02\0\0\0{}", 6}, {"\xff\xff\xff\xff{}", 6}, {"\x04\0\0\0null", 8}};
    for (size_t i = 0; i < ARRAY_COUNT(payloads); i++) {
        wire_add(peer_frame(asker, WIRE_CONTROL),
                 &(struct wire_record){
                     .stream = i, .epoch = 1, .type = WIRE_SUBMIT, .payload = payloads[i]});
        peer_send(asker, "submit");
        check_error(asker, i, FAULT_INVALID_REQUEST);
        CHECK(heard_last(asker, RIG_ERROR)->text[0] != 0);
    }
    CHECK_EQ(manager_stats(rig.manager).submits, 0);
    rig_close(&rig);
}

TEST(a_record_that_names_another_request_than_its_head_is_refused)
{
    (void)open_busy();
    for (int i = 0; i < 2; i++) {
        struct request request = rig_request(asker, 5);
        struct wire_writer *writer = peer_frame(asker, WIRE_CONTROL);
        wire_open_record(writer, &(struct wire_record){
                                     .stream = i ? 5 : 6, .epoch = i ? 2 : 1, .type = WIRE_SUBMIT});
        request_encode(&request, writer->out);
        wire_close_record(writer);
        peer_send(asker, "submit");
        check_error(asker, i ? 5 : 6, FAULT_INVALID_REQUEST);
    }
    rig_close(&rig);
}

TEST(answers_of_one_turn_leave_in_one_frame)
{
    (void)open_busy();
    struct wire_writer *writer = peer_frame(asker, WIRE_CONTROL);
    for (uint64_t i = 1; i <= 20; i++) {
        struct request request = rig_request(asker, i);
        wire_open_record(writer,
                         &(struct wire_record){.stream = i, .epoch = 1, .type = WIRE_SUBMIT});
        request_encode(&request, writer->out);
        wire_close_record(writer);
    }
    peer_send(asker, "submit");
    CHECK_EQ(heard_count(asker, RIG_QUEUED), 20);
    CHECK_EQ(asker->frames_heard, 1);
    rig_close(&rig);
}

TEST(draining_lets_go_of_what_waits_and_of_nothing_else)
{
    struct peer *worker = open_with_worker(1, 1);
    rig_ask(asker, 1);
    worker_say_load(worker, 1, 1, 0);
    rig_ask(asker, 2);
    size_t states = rig.states_heard;
    rig_drain(&rig);
    CHECK(rig.is_drained);
    CHECK_EQ(heard_count(asker, WIRE_UNKNOWN_STREAM), 1);
    CHECK_EQ(heard_last(asker, WIRE_UNKNOWN_STREAM)->stream, 2);
    CHECK_EQ(heard_count(worker, WIRE_CANCEL), 0);
    rig_ask(asker, 3); /* nobody hears it here any more */
    rig_run(&rig, 2000);
    CHECK_EQ(heard_for(asker, RIG_QUEUED, 3), 0);
    CHECK_EQ(rig.states_heard, states);
    rig_close(&rig);
}

TEST(the_broadcast_tells_the_queues_at_most_every_fifty_ms)
{
    (void)open_busy();
    rig_run(&rig, 100);
    size_t states = rig.states_heard;
    uint64_t before_ms = ms_now();
    for (uint64_t i = 1; i <= 10; i++) {
        rig_ask(asker, i);
        rig_run(&rig, 10);
    }
    CHECK(rig.states_heard - states <= (ms_now() - before_ms) / 50 + 1);
    rig_run(&rig, 50);
    CHECK_EQ(rig.queued_told, 10);
    states = rig.states_heard;
    rig_run(&rig, 1000);
    CHECK_NEAR(rig.states_heard - states, 2, 1);
    CHECK_EQ(rig.queued_told, 10);
    rig_run(&rig, 2000);
    CHECK_EQ(rig.queued_told, 0);
    rig_close(&rig);
}

TEST(what_happens_is_counted)
{
    struct peer *worker = open_with_worker(1, 1);
    rig_ask(asker, 1);
    worker_say_load(worker, 1, 1, 0);
    rig_ask(asker, 2);
    rig_run(&rig, 2000);
    struct metrics *metrics = rig.metrics;
    CHECK_NEAR(
        metric_value(metrics_get(metrics, METRIC_GAUGE, "millrace_assigned", "", "model=\"m\"")), 1,
        0);
    CHECK_NEAR(metric_value(metrics_get(metrics, METRIC_HISTOGRAM, "millrace_queue_wait_seconds",
                                        "", "model=\"m\"")),
               1, 0);
    CHECK_NEAR(metric_value(metrics_get(metrics, METRIC_COUNTER, "millrace_refused_total", "",
                                        "reason=\"queue_timeout\"")),
               1, 0);
    CHECK_NEAR(metric_value(metrics_get(metrics, METRIC_GAUGE, "millrace_nodes", "",
                                        "model=\"m\",phase=\"ready\"")),
               1, 0);
    CHECK_NEAR(metric_value(metrics_get(metrics, METRIC_HISTOGRAM, "millrace_retry_after_seconds",
                                        "", NULL)),
               1, 0);
    rig_close(&rig);
}
