#include "testing/test.h"
#include "worker/worker_rig.h"

#include "base/clock.h"
#include "base/mem.h"
#include "wire/frame.h"

#include <stdio.h>

enum { MS = 1000 };

/* --- what a request gets --- */

TEST(an_answer_is_the_whole_script_with_its_events_in_order)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct request request = rig_request();
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    rig_check_whole(answer);
    size_t last = answer->event_count - 1;
    CHECK_EQ(answer->types[0], EVENT_ACCEPTED);
    CHECK_EQ(answer->types[1], EVENT_STARTED);
    for (size_t i = 2; i < last - 1; i++)
        CHECK_EQ(answer->types[i], EVENT_DELTA);
    CHECK_EQ(answer->types[last - 1], EVENT_USAGE);
    CHECK_EQ(answer->types[last], EVENT_DONE);
    CHECK_EQ(answer->prompt_tokens, 6);
    CHECK_EQ(answer->completion_tokens, 20);
    rig_until_idle(rig);
    CHECK_EQ(rig->state.phase, NODE_READY);
    CHECK_EQ(rig->state.slots, 1);
    CHECK_EQ(worker_stats(rig->worker).done, 1);
    rig_free(rig);
}

TEST(a_seed_that_we_make_fits_into_a_json_number_and_one_that_is_given_is_kept)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct request request = rig_request();
    struct answer *made = rig_ask(rig, 0, &request);
    request = rig_request();
    request.sampling.has_seed = true;
    request.sampling.seed = UINT64_MAX;
    struct answer *given = rig_ask(rig, 1, &request);
    rig_until_ended(made);
    rig_until_ended(given);
    CHECK(made->seed < 1ull << 53);
    CHECK(given->seed == UINT64_MAX);
    rig_free(rig);
}

TEST(two_hundred_at_once_all_get_their_answers)
{
    struct rig *rig = rig_new();
    rig->engine.slots = 8;
    rig->options.queue_max = 200;
    rig->options.queue_wait_ms = 60000;
    rig_start_ready(rig);
    for (int i = 0; i < 200; i++) {
        struct request request = rig_request();
        request.want_progress = i % 2;
        request.priority = i % 3;
        rig_ask(rig, i, &request);
    }
    for (int i = 0; i < 200; i++)
        rig_until_ended(&rig->answers[i]);
    for (int i = 0; i < 200; i++)
        rig_check_whole(&rig->answers[i]);
    rig_until_idle(rig);
    CHECK_EQ(worker_stats(rig->worker).done, 200);
    CHECK_EQ(worker_stats(rig->worker).accepted, 200);
    CHECK_EQ(ask_hub_stats(rig->hub).lost, 0);
    rig_free(rig);
}

TEST(what_the_model_cannot_do_is_refused_with_the_reason)
{
    struct rig *rig = rig_new();
    rig->engine.context_tokens = 16;
    rig_start_ready(rig);
    struct request request = rig_request();
    request.prompt = SLICE("sixteen bytes ab");
    struct answer *too_long = rig_ask(rig, 0, &request);
    request = rig_request();
    request.prompt = SLICE("");
    struct answer *empty = rig_ask(rig, 1, &request);
    rig_until_ended(too_long);
    rig_until_ended(empty);
    rig_check_error(too_long, FAULT_CONTEXT_LENGTH_EXCEEDED);
    CHECK(strstr(too_long->message, "16"));
    CHECK_STR(too_long->param, "prompt");
    rig_check_error(empty, FAULT_INVALID_REQUEST);
    rig_until_idle(rig);
    CHECK_EQ(worker_stats(rig->worker).refused, 2);
    rig_free(rig);
}

/* --- the queue --- */

/* The slot is taken by a request that goes on until it is cancelled. */
static struct answer *occupy(struct rig *rig, int index)
{
    struct request request = rig_request();
    struct answer *answer = rig_ask(rig, index, &request);
    rig_until_first_text(answer);
    return answer;
}

static struct rig *start_stalling(uint32_t queue_max, uint32_t queue_wait_ms)
{
    struct rig *rig = rig_new();
    rig->engine.stall_at = 3;
    rig->options.queue_max = queue_max;
    rig->options.queue_wait_ms = queue_wait_ms;
    rig_start_ready(rig);
    return rig;
}

TEST(the_queue_takes_queue_max_and_refuses_the_next_at_once)
{
    struct rig *rig = start_stalling(2, 60000);
    occupy(rig, 0);
    for (int i = 1; i <= 2; i++) {
        struct request request = rig_request();
        request.want_progress = true;
        rig_ask(rig, i, &request);
    }
    struct request request = rig_request();
    struct answer *third = rig_ask(rig, 3, &request);
    rig_until_ended(third);
    rig_check_error(third, FAULT_QUEUE_FULL);
    CHECK(third->retry_after_ms > 0);
    CHECK(!rig->answers[1].has_ended && !rig->answers[2].has_ended);
    CHECK_EQ(worker_stats(rig->worker).queued, 2);
    for (int i = 0; i <= 2; i++)
        ask_cancel(rig->answers[i].ask);
    for (int i = 0; i <= 2; i++) {
        rig_until_ended(&rig->answers[i]);
        CHECK(!rig->answers[i].is_error);
        CHECK_EQ(rig->answers[i].reason, DONE_CANCELLED);
    }
    CHECK_EQ(rig->answers[1].first_position, 0);
    CHECK_EQ(rig->answers[2].first_position, 1);
    rig_until_idle(rig);
    rig_free(rig);
}

TEST(who_waits_too_long_is_refused_when_the_time_is_up)
{
    struct rig *rig = start_stalling(4, 80);
    struct answer *first = occupy(rig, 0);
    struct request request = rig_request();
    struct answer *late = rig_ask(rig, 1, &request);
    request = rig_request();
    request.deadline_ms = 30;
    struct answer *in_a_hurry = rig_ask(rig, 2, &request);
    rig_until_ended(in_a_hurry);
    CHECK(!late->has_ended);
    rig_until_ended(late);
    rig_check_error(late, FAULT_QUEUE_TIMEOUT);
    rig_check_error(in_a_hurry, FAULT_QUEUE_TIMEOUT);
    CHECK(late->ended_us - late->opened_us >= 79 * MS);
    CHECK(in_a_hurry->ended_us - in_a_hurry->opened_us >= 29 * MS);
    CHECK(late->retry_after_ms > 0);
    CHECK(!first->has_ended);
    ask_cancel(first->ask);
    rig_until_idle(rig);
    rig_free(rig);
}

TEST(a_queue_of_none_takes_only_what_starts_at_once)
{
    struct rig *rig = start_stalling(0, 0);
    struct answer *first = occupy(rig, 0);
    struct request request = rig_request();
    struct answer *second = rig_ask(rig, 1, &request);
    rig_until_ended(second);
    rig_check_error(second, FAULT_QUEUE_FULL);
    ask_cancel(first->ask);
    rig_until_idle(rig);
    occupy(rig, 2);
    rig_free(rig);
}

TEST(a_high_priority_starts_before_those_that_came_earlier)
{
    struct rig *rig = rig_new();
    rig->engine.delay_us = 2 * MS;
    rig->options.queue_wait_ms = 60000;
    rig_start_ready(rig);
    occupy(rig, 0);
    static const enum request_priority priorities[] = {PRIORITY_LOW, PRIORITY_NORMAL,
                                                       PRIORITY_HIGH};
    for (int i = 0; i < 3; i++) {
        struct request request = rig_request();
        request.priority = priorities[i];
        rig_ask(rig, 1 + i, &request);
    }
    for (int i = 0; i < 4; i++)
        rig_until_ended(&rig->answers[i]);
    CHECK(rig->answers[3].ended_us < rig->answers[2].ended_us);
    CHECK(rig->answers[2].ended_us < rig->answers[1].ended_us);
    rig_free(rig);
}

/* --- cancelling --- */

TEST(cancel_reaches_a_queued_request)
{
    struct rig *rig = start_stalling(4, 60000);
    struct answer *first = occupy(rig, 0);
    struct request request = rig_request();
    struct answer *queued = rig_ask(rig, 1, &request);
    while (worker_stats(rig->worker).queued == 0)
        loop_turn(rig->loop, true);
    ask_cancel(queued->ask);
    rig_until_ended(queued);
    CHECK_EQ(queued->reason, DONE_CANCELLED);
    CHECK_EQ(worker_stats(rig->worker).queued, 0);
    CHECK(!first->has_ended);
    ask_cancel(first->ask);
    rig_until_ended(first);
    rig_until_idle(rig);
    rig_free(rig);
}

TEST(cancel_reaches_into_the_prompt)
{
    struct rig *rig = rig_new();
    rig->engine.prefill_us_per_token = 100 * MS;
    rig_start_ready(rig);
    struct request request = rig_request();
    request.prompt = SLICE("a prompt that would take seconds to be put in, one batch");
    struct answer *answer = rig_ask(rig, 0, &request);
    while (worker_stats(rig->worker).running == 0)
        loop_turn(rig->loop, true);
    uint64_t cancelled_us = clock_monotonic_us();
    ask_cancel(answer->ask);
    rig_until_ended(answer);
    CHECK_EQ(answer->reason, DONE_CANCELLED);
    CHECK_EQ(answer->token_count, 0);
    rig_until_idle(rig);
    CHECK(clock_monotonic_us() - cancelled_us < 1000 * MS);
    rig_free(rig);
}

TEST(cancel_ends_a_stalled_engine_and_the_slot_is_free_again)
{
    struct rig *rig = start_stalling(4, 60000);
    struct answer *first = occupy(rig, 0);
    uint64_t cancelled_us = clock_monotonic_us();
    ask_cancel(first->ask);
    rig_until_ended(first);
    CHECK_EQ(first->reason, DONE_CANCELLED);
    CHECK(first->completion_tokens > 0);
    rig_until_idle(rig);
    CHECK(clock_monotonic_us() - cancelled_us < 1000 * MS);
    occupy(rig, 1);
    rig_free(rig);
}

/* --- askers that are not ours: frames by hand --- */

struct raw {
    struct rig *rig;
    struct bus *bus;
    size_t accepted, ends, unknown, heartbeats, others;
    uint64_t high_seq;
    enum fault fault;
    char message[256];
};

static void on_raw_record(struct raw *raw, const struct wire_record *record)
{
    struct text scratch;
    struct event event;
    text_init(&scratch, 1 << 16);
    if (record->type == WIRE_UNKNOWN_STREAM) {
        raw->unknown++;
    } else if (record->type == WIRE_HEARTBEAT) {
        raw->heartbeats++;
    } else {
        CHECK_OK(event_decode(record, &scratch, &event));
        raw->accepted += event.type == EVENT_ACCEPTED;
        raw->ends += event_is_end(event.type);
        raw->others++;
        if (record->seq > raw->high_seq)
            raw->high_seq = record->seq;
        if (event.type == EVENT_ERROR) {
            raw->fault = event.error.fault;
            snprintf(raw->message, sizeof(raw->message), SLICE_FMT, SLICE_ARG(event.error.message));
        }
    }
    text_fini(&scratch);
}

static void on_raw_frame(void *ctx, const struct bus_message *message)
{
    struct wire_reader reader;
    struct wire_record record;
    CHECK_OK(wire_open(message->frame, &reader));
    while (wire_next(&reader, &record) == ERR_OK)
        on_raw_record(ctx, &record);
}

static struct raw *raw_open(struct rig *rig)
{
    struct bus_subscription *until_closed;
    struct raw *raw = mem_alloc(sizeof(*raw));
    raw->rig = rig;
    raw->bus = bus_mem_open(rig->bus_mem, rig->loop);
    CHECK_OK(bus_subscribe(raw->bus, bus_inbox(raw->bus), (struct slice){0}, on_raw_frame, raw,
                           &until_closed));
    return raw;
}

static void raw_close(struct raw *raw)
{
    bus_close(&raw->bus);
    mem_free(raw);
}

static void raw_send(struct raw *raw, struct slice subject, const struct wire_record *record)
{
    struct text frame;
    struct wire_writer writer;
    text_init(&frame, 1 << 20);
    wire_begin(&writer, &frame, WIRE_CONTROL);
    wire_add(&writer, record);
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(bus_publish(raw->bus, subject, bus_inbox(raw->bus), text_slice(&frame)));
    text_fini(&frame);
}

static void raw_submit(struct raw *raw, const struct request *request)
{
    struct text payload;
    text_init(&payload, 1 << 20);
    request_encode(request, &payload);
    raw_send(raw, SLICE("submit.dummy"),
             &(struct wire_record){.stream = request_stream(request),
                                   .epoch = request->epoch,
                                   .type = WIRE_SUBMIT,
                                   .payload = text_slice(&payload)});
    text_fini(&payload);
}

static struct request raw_request(const struct raw *raw)
{
    struct request request = rig_request();
    request.epoch = 1;
    request.inbox = bus_inbox(raw->bus);
    request.credit_events = 64;
    request.credit_bytes = 65536;
    return request;
}

static bool raw_has_end(void *ctx)
{
    return ((struct raw *)ctx)->ends > 0;
}

static bool raw_has_unknown(void *ctx)
{
    return ((struct raw *)ctx)->unknown > 0;
}

static bool raw_is_accepted(void *ctx)
{
    return ((struct raw *)ctx)->accepted > 0;
}

static bool raw_has_heartbeat(void *ctx)
{
    return ((struct raw *)ctx)->heartbeats > 0;
}

static void raw_credit(struct raw *raw, const struct request *request, uint64_t acked_seq,
                       bool resend)
{
    struct text frame;
    struct wire_writer writer;
    text_init(&frame, 4096);
    wire_begin(&writer, &frame, WIRE_CONTROL);
    wire_add_credit(&writer, request_stream(request), request->epoch,
                    &(struct wire_credit){acked_seq, 1000, 100000}, resend);
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(bus_publish(raw->bus, bus_inbox(raw->rig->worker_bus), bus_inbox(raw->bus),
                         text_slice(&frame)));
    text_fini(&frame);
}

static void turns(struct rig *rig)
{
    while (loop_turn(rig->loop, false))
        ;
}

TEST(an_asker_that_dies_frees_its_slots_and_its_places)
{
    struct rig *rig = start_stalling(4, 60000);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    raw_submit(raw, &request);
    request.id = id_new();
    raw_submit(raw, &request);
    rig_until(rig, raw_is_accepted, raw);
    while (worker_stats(rig->worker).running != 1 || worker_stats(rig->worker).queued != 1)
        loop_turn(rig->loop, true);
    raw_close(raw);
    rig_until_idle(rig); /* the next heartbeat bounces, if no event does */
    CHECK_EQ(worker_stats(rig->worker).cancelled, 2);
    rig_free(rig);
}

TEST(a_repeated_submit_runs_once_and_brings_back_what_is_not_acknowledged)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    for (int i = 0; i < 3; i++)
        raw_submit(raw, &request);
    rig_until(rig, raw_has_end, raw);
    rig_until_idle(rig);
    CHECK_EQ(worker_stats(rig->worker).accepted, 1);
    CHECK_EQ(worker_stats(rig->worker).done, 1);
    uint64_t events = raw->high_seq;

    raw->ends = raw->others = 0; /* it has ended, and its end is not acknowledged */
    raw_submit(raw, &request);
    rig_until(rig, raw_has_end, raw);
    CHECK_EQ(raw->others, events);

    raw->ends = raw->others = 0;
    raw_credit(raw, &request, events, false);
    turns(rig);
    raw_submit(raw, &request); /* came late: everybody knows the end */
    turns(rig);
    CHECK_EQ(raw->others, 0);
    CHECK_EQ(worker_stats(rig->worker).accepted, 1);
    raw_close(raw);
    rig_free(rig);
}

TEST(heartbeats_go_on_until_the_end_is_acknowledged)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    raw_submit(raw, &request);
    rig_until(rig, raw_has_end, raw);
    raw->heartbeats = 0;
    rig_until(rig, raw_has_heartbeat, raw);
    raw->ends = 0;
    raw_credit(raw, &request, raw->high_seq - 1, true);
    rig_until(rig, raw_has_end, raw);
    raw_credit(raw, &request, raw->high_seq, false);
    turns(rig);
    raw->heartbeats = 0;
    size_t states = rig->state_count;
    while (rig->state_count < states + 2) /* two seconds */
        loop_turn(rig->loop, true);
    CHECK_EQ(raw->heartbeats, 0);
    raw_close(raw);
    rig_free(rig);
}

TEST(a_later_epoch_takes_the_place_of_an_earlier_one)
{
    struct rig *rig = start_stalling(4, 60000);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    raw_submit(raw, &request);
    while (worker_stats(rig->worker).running != 1)
        loop_turn(rig->loop, true);
    request.epoch = 3;
    raw_submit(raw, &request);
    while (worker_stats(rig->worker).cancelled != 1)
        loop_turn(rig->loop, true);
    request.epoch = 2; /* came late */
    raw_submit(raw, &request);
    turns(rig);
    CHECK_EQ(worker_stats(rig->worker).accepted, 2);
    CHECK_EQ(raw->ends, 0);
    raw_send(
        raw, bus_inbox(rig->worker_bus),
        &(struct wire_record){.stream = request_stream(&request), .epoch = 3, .type = WIRE_CANCEL});
    rig_until(rig, raw_has_end, raw);
    rig_until_idle(rig);
    raw_close(raw);
    rig_free(rig);
}

TEST(cancel_and_credit_for_a_stream_that_is_not_here_are_answered)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    raw_credit(raw, &request, 5, false);
    rig_until(rig, raw_has_unknown, raw);
    raw->unknown = 0;
    struct wire_record cancel = {
        .stream = request_stream(&request), .epoch = 1, .type = WIRE_CANCEL};
    raw_send(raw, bus_inbox(rig->worker_bus), &cancel);
    rig_until(rig, raw_has_unknown, raw);
    raw->unknown = 0;
    raw_send(raw, SLICE("submit.dummy"), &cancel); /* another worker may have it */
    turns(rig);
    CHECK_EQ(raw->unknown, 0);
    raw_close(raw);
    rig_free(rig);
}

TEST(a_submit_that_cannot_be_read_is_refused_and_hurts_nobody)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    struct wire_record record = {
        .stream = 99, .epoch = 1, .type = WIRE_SUBMIT, .payload = SLICE("{\"id\":1}")};
    raw_send(raw, SLICE("submit.dummy"), &record);
    rig_until(rig, raw_has_end, raw);
    CHECK_STR(fault_name(raw->fault), "invalid_request");
    CHECK(strstr(raw->message, "id"));

    struct text payload;
    text_init(&payload, 1 << 16);
    request_encode(&request, &payload);
    record.stream = request_stream(&request) + 1; /* lies about whose it is */
    record.payload = text_slice(&payload);
    raw->ends = 0;
    raw_send(raw, SLICE("submit.dummy"), &record);
    rig_until(rig, raw_has_end, raw);
    CHECK(strstr(raw->message, "another"));
    text_fini(&payload);

    for (size_t cut = 0; cut < 100; cut++) {
        char noise[100];
        uint64_t random = cut;
        for (size_t i = 0; i < cut; i++)
            noise[i] = (char)test_random(&random);
        CHECK_OK(bus_publish(raw->bus, SLICE("submit.dummy"), bus_inbox(raw->bus),
                             slice_of(noise, cut)));
        CHECK_OK(bus_publish(raw->bus, bus_inbox(rig->worker_bus), bus_inbox(raw->bus),
                             slice_of(noise, cut)));
    }
    turns(rig);
    request = rig_request();
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    rig_check_whole(answer);
    raw_close(raw);
    rig_free(rig);
}

/* --- loss and credit --- */

TEST(nothing_is_lost_or_doubled_when_one_frame_in_three_is_lost)
{
    struct rig *rig = rig_new();
    rig->lose_one_in = 3;
    rig->engine.slots = 4;
    rig->engine.delay_us = 1 * MS;
    rig->options.queue_wait_ms = 60000;
    rig->ask.repeat_ms = 20;
    rig->ask.silence_ms = 60000;
    rig->ask.submit_ms = 60000;
    rig_start_ready(rig);
    for (int i = 0; i < 40; i++) {
        struct request request = rig_request();
        rig_ask(rig, i, &request);
    }
    for (int i = 0; i < 40; i++) {
        rig_until_ended(&rig->answers[i]);
        rig_check_whole(&rig->answers[i]); /* on_event() checks the numbers */
    }
    CHECK(rig->lost > 20);
    CHECK_EQ(worker_stats(rig->worker).accepted, 40);
    rig_until_idle(rig);
    rig_free(rig);
}

TEST(a_reader_that_pauses_parks_its_sequence_and_goes_on_where_it_was)
{
    static const uint32_t credits[] = {1, 2, 3, 8};
    for (size_t i = 0; i < ARRAY_COUNT(credits); i++) {
        struct rig *rig = rig_new();
        rig->engine.slots = 2;
        rig->engine.tokens = 40;
        rig->ask.credit_events = credits[i];
        rig_start_ready(rig);
        struct request request = rig_request();
        request.want_progress = i % 2;
        struct answer *pausing = rig_ask(rig, 0, &request);
        pausing->reads = false;
        while (worker_stats(rig->worker).parked == 0)
            loop_turn(rig->loop, true);
        request = rig_request();
        struct answer *other = rig_ask(rig, 1, &request);
        rig_until_ended(other);
        rig_check_whole(other);
        CHECK(!pausing->has_ended);
        CHECK(pausing->held_events <= credits[i]);
        rig_read_on(pausing);
        rig_until_ended(pausing);
        rig_check_whole(pausing);
        rig_until_idle(rig);
        rig_free(rig);
    }
}

TEST(credit_in_bytes_is_kept_as_well)
{
    struct rig *rig = rig_new();
    rig->engine.tokens = 40;
    rig->ask.credit_bytes = 200;
    rig_start_ready(rig);
    struct request request = rig_request();
    struct answer *answer = rig_ask(rig, 0, &request);
    answer->reads = false;
    while (worker_stats(rig->worker).parked == 0)
        loop_turn(rig->loop, true);
    rig_until_first_text(answer);
    CHECK(answer->held_events < 20);
    rig_read_on(answer);
    rig_until_ended(answer);
    rig_check_whole(answer);
    rig_free(rig);
}

TEST(a_parked_request_can_be_cancelled)
{
    struct rig *rig = rig_new();
    rig->ask.credit_events = 2;
    rig_start_ready(rig);
    struct request request = rig_request();
    struct answer *answer = rig_ask(rig, 0, &request);
    answer->reads = false;
    while (worker_stats(rig->worker).parked == 0)
        loop_turn(rig->loop, true);
    ask_cancel(answer->ask);
    rig_until_ended(answer);
    CHECK(!answer->is_error);
    CHECK_EQ(answer->reason, DONE_CANCELLED);
    CHECK(answer->types[answer->event_count - 2] == EVENT_USAGE); /* the worker's end, not ask's */
    rig_until_idle(rig);
    rig_free(rig);
}

/* --- loading, failing, stopping --- */

TEST(a_request_waits_for_the_model_and_hears_how_far_it_is)
{
    struct rig *rig = rig_new();
    rig->engine.load_ms = 700;
    rig->options.queue_wait_ms = 100; /* does not count while loading */
    rig_start(rig);
    struct request request = rig_request();
    request.want_progress = true;
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    rig_check_whole(answer);
    CHECK_EQ(answer->types[1], EVENT_LOADING);
    CHECK(answer->progress_count >= 2);
    CHECK(answer->last_fraction > 0 && answer->last_fraction < 1);
    CHECK(rig->is_ready && !rig->has_failed);
    rig_free(rig);
}

TEST(loading_has_its_own_timeout)
{
    struct rig *rig = rig_new();
    rig->engine.load_ms = 60000;
    rig->options.load_timeout_ms = 50;
    rig_start(rig);
    struct request request = rig_request();
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    rig_check_error(answer, FAULT_LOADING);
    CHECK_EQ(rig->state.phase, NODE_LOADING);
    rig_free(rig); /* breaks the load off */
}

TEST(a_model_that_cannot_be_loaded_fails_those_who_wait_and_all_later_ones)
{
    struct rig *rig = rig_new();
    rig->loads_badly = true;
    rig_start(rig);
    struct request request = rig_request();
    struct answer *waiting = rig_ask(rig, 0, &request);
    rig_until_ended(waiting);
    rig_check_error(waiting, FAULT_MODEL_FAILED);
    CHECK_STR(waiting->message, "the model file is torn");
    CHECK(rig->has_failed && !rig->is_ready);
    CHECK_EQ(rig->failed_why, ERR_PROTOCOL);
    CHECK_STR(rig->failed_note, "the model file is torn");
    request = rig_request();
    struct answer *later = rig_ask(rig, 1, &request);
    rig_until_ended(later);
    rig_check_error(later, FAULT_MODEL_FAILED);
    while (rig->state.phase != NODE_FAILED)
        loop_turn(rig->loop, true);
    CHECK_SLICE(rig->state.detail, "the model file is torn");
    rig_free(rig);
}

TEST(an_engine_that_fails_ends_every_stream_and_the_node_says_so)
{
    struct rig *rig = rig_new();
    rig->engine.fail_at = 5;
    rig->engine.delay_us = 1 * MS;
    rig->options.queue_wait_ms = 60000;
    rig_start_ready(rig);
    for (int i = 0; i < 3; i++) {
        struct request request = rig_request();
        rig_ask(rig, i, &request);
    }
    for (int i = 0; i < 3; i++) {
        rig_until_ended(&rig->answers[i]);
        rig_check_error(&rig->answers[i], FAULT_WORKER_LOST);
        CHECK_STR(rig->answers[i].message, "the engine failed");
    }
    CHECK_EQ(rig->answers[0].token_count, 4);
    struct request request = rig_request();
    struct answer *later = rig_ask(rig, 3, &request);
    rig_until_ended(later);
    rig_check_error(later, FAULT_MODEL_FAILED);
    while (rig->state.phase != NODE_FAILED)
        loop_turn(rig->loop, true);
    CHECK(rig->state.detail.len > 0);
    rig_free(rig);
}

TEST(a_draining_worker_finishes_what_runs_and_refuses_what_comes)
{
    struct rig *rig = rig_new();
    rig->engine.delay_us = 5 * MS;
    rig_start_ready(rig);
    struct request request = rig_request();
    struct answer *running = rig_ask(rig, 0, &request);
    rig_until_first_text(running);
    rig_stop(rig, 60000);
    request = rig_request();
    struct answer *late = rig_ask(rig, 1, &request);
    rig_until_ended(late);
    rig_check_error(late, FAULT_DRAINING);
    CHECK(!running->has_ended);
    CHECK_EQ(rig->state.phase, NODE_DRAINING);
    rig_until_ended(running);
    rig_check_whole(running);
    rig_until_stopped(rig);
    rig_free(rig);
}

TEST(when_the_drain_is_over_the_rest_ends_with_an_error_and_the_worker_stops)
{
    for (uint32_t drain_ms = 0; drain_ms <= 50; drain_ms += 50) {
        struct rig *rig = start_stalling(4, 60000);
        struct answer *running = occupy(rig, 0);
        struct request request = rig_request();
        struct answer *queued = rig_ask(rig, 1, &request);
        while (worker_stats(rig->worker).queued == 0)
            loop_turn(rig->loop, true);
        rig_stop(rig, drain_ms);
        rig_until_stopped(rig);
        rig_until_ended(running);
        rig_until_ended(queued);
        rig_check_error(running, FAULT_DRAINING);
        rig_check_error(queued, FAULT_DRAINING);
        rig_free(rig);
    }
}

TEST(an_idle_or_a_loading_or_a_failed_worker_can_be_stopped)
{
    for (int i = 0; i < 3; i++) {
        struct rig *rig = rig_new();
        rig->engine.load_ms = i == 1 ? 60000 : 0;
        rig->loads_badly = i == 2;
        rig_start(rig);
        while (i != 1 && !rig->is_ready && !rig->has_failed)
            loop_turn(rig->loop, true);
        rig_stop(rig, 60000);
        rig_until_stopped(rig);
        CHECK_EQ(rig->has_failed, i == 2);
        rig_free(rig);
    }
}

TEST(a_model_name_that_makes_no_subject_is_refused)
{
    char name[BUS_SUBJECT_MAX_BYTES];
    struct worker *worker = NULL;
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    rig->options.model = "";
    CHECK_ERR(worker_start(rig->asker_bus, &rig->options, NULL, NULL, NULL, &worker), ERR_LIMIT);
    memset(name, 'm', sizeof(name));
    name[sizeof(name) - sizeof("submit.") + 1] = '\0'; /* one too long */
    name[sizeof(name) - 1] = '\0';
    rig->options.model = name;
    CHECK_EQ(strlen(name), BUS_SUBJECT_MAX_BYTES - 7);
    memmove(name + 1, name, sizeof(name) - 1);
    CHECK_ERR(worker_start(rig->asker_bus, &rig->options, NULL, NULL, NULL, &worker), ERR_LIMIT);
    rig_free(rig);
}
